/** `npm start` and `npm run demo` as a user meets them: what is printed works as pasted, and Ctrl-C leaves nothing. */

import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type DemoOptions, demoBatches, demoTicks } from '../../deploy/local/demo.ts';
import type { Batch } from '../../deploy/replay/batches.ts';
import { seededRandom } from '../../deploy/replay/shuffle.ts';
import { temporaryDirectory } from '../replay/captures.ts';
import type { PodStatus } from '../support/running-system.ts';
import { freePorts, isFree } from '../../deploy/local/free-ports.ts';
import { childrenOf, isRunning, shell, UserProcess } from '../support/user-process.ts';

const ROOT = join(import.meta.dirname, '../..');
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
const noCurl = spawnSync('curl', ['--version']).status !== 0;
const NEEDS_CURL = noCurl ? ' (skipped: there is no curl)' : '';
const START_TIMEOUT_MS = 60_000;
const READY = /Stop: Ctrl-C/;

/** The npm script's own command, run where `cwd` is the clone. */
function script(name: string, cwd: string, args: string[] = [], env: Record<string, string> = {}): UserProcess {
  const [node, file, ...own] = scripts[name]!.split(' ');
  expect(node).toBe('node');
  return new UserProcess({ file: join(ROOT, file!), args: [...own, ...args], cwd, env });
}

interface Started extends AsyncDisposable {
  process: UserProcess;
  edgePort: number;
  podPort: number;
}

async function start(cwd: string, name = 'start'): Promise<Started> {
  const [edgePort, podPort] = (await freePorts(2)) as [number, number];
  const process = script(name, cwd, [], { EDGE_PORT: String(edgePort), MDP_PORT: String(podPort) });
  return { process, edgePort, podPort, [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() };
}

async function status(podPort: number): Promise<PodStatus> {
  return (await (await fetch(`http://127.0.0.1:${podPort}/status`)).json()) as PodStatus;
}

function isEdge(pid: number): boolean {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('workerd');
}

/** A line of a Binance capture. */
function capturedTrade(id: number): string {
  return `1723161255088176367 {"data":{"e":"trade","s":"X","t":${id},"p":"1","q":"2","T":1723161256322,"m":true}}\n`;
}

/** The commands of the welcome text, each exactly as it stands there. */
function printedCommands(output: string): string[] {
  return [...output.matchAll(/^ {2}curl (?:.*\\\n)*.*/gm)].map(([command]) => command);
}

describe('npm start', { timeout: START_TIMEOUT_MS }, () => {
  test.skipIf(noCurl)(`prints a curl that stores a tick and one that reads it back${NEEDS_CURL}`, async () => {
    using home = temporaryDirectory();
    await using system = await start(home.path);
    await system.process.prints(READY);
    const commands = printedCommands(system.process.output);
    expect(commands).toHaveLength(2);
    const [pushTick, readBack] = commands as [string, string];

    const pushed = await shell(pushTick, home.path);
    expect(pushed.code, pushed.stderr).toBe(0);
    expect(pushed.stdout).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(pushed.stdout).toMatch(/^mdp-level: ok\r$/im);
    const answer = JSON.parse(pushed.stdout.slice(pushed.stdout.indexOf('\r\n\r\n'))) as unknown;
    expect(answer).toMatchObject({ status: 'stored', stored: 1, duplicates: 0, rejected: [] });

    const read = await shell(readBack, home.path);
    expect(JSON.parse(read.stdout)).toMatchObject({
      provider: 'ibkr',
      symbol: 'AAPL',
      trades: [{ type: 'trade', symbol: 'AAPL', id: '1', price: '187.23', size: '100' }],
    });
    // Pasted once more it is the same batch.
    const again = await shell(pushTick, home.path);
    expect(again.stdout).toContain('"status":"stored","stored":1');
    expect((await status(system.podPort)).providers['ibkr']).toMatchObject({ stored: 1, duplicate: 1, residue: 0 });
  });

  test('ends on Ctrl-C with exit 0, and so do both of its children', async () => {
    using home = temporaryDirectory();
    await using system = await start(home.path);
    await system.process.prints(READY);
    const children = childrenOf(system.process.pid);
    expect(children).toHaveLength(process.platform === 'linux' ? 2 : 0);
    system.process.kill('SIGINT');
    expect(await system.process.ended).toEqual({ code: 0, signal: null });
    expect(system.process.output).toContain('stopped; everything that was acknowledged is in the store');
    expect(children.filter(isRunning)).toEqual([]);
    expect(await isFree(system.edgePort)).toBe(true);
    expect(await isFree(system.podPort)).toBe(true);
  });

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'leaves nothing behind when %s comes while it is still starting',
    async (signal) => {
      using home = temporaryDirectory();
      await using system = await start(home.path);
      // The pod is there long before the Worker has been bundled. That its port is taken is not enough: whether it is free
      // is tried by taking it, and until then nothing has been started and no signal is waited for.
      const answers = async (): Promise<boolean> => {
        const patience = AbortSignal.timeout(500);
        return fetch(`http://127.0.0.1:${system.podPort}/health`, { signal: patience }).then(
          ({ ok }) => ok,
          () => false,
        );
      };
      await expect.poll(answers, { timeout: 10_000, interval: 20 }).toBe(true);
      expect(system.process.output).not.toMatch(READY);
      const children = childrenOf(system.process.pid);
      system.process.kill(signal);
      expect(await system.process.ended).toEqual({ code: 0, signal: null });
      expect(children.filter(isRunning)).toEqual([]);
      expect(await isFree(system.podPort)).toBe(true);
    },
  );

  test('keeps its credentials from one start to the next, readable by their owner alone', async () => {
    using home = temporaryDirectory();
    const path = join(home.path, 'data/dev-credentials.json');
    const providers = (): unknown => (JSON.parse(readFileSync(path, 'utf8')) as { providers: unknown }).providers;
    let first: unknown;
    {
      await using system = await start(home.path);
      await system.process.prints(READY);
      first = providers();
      expect(statSync(path).mode & 0o777).toBe(0o600);
    }
    chmodSync(path, 0o644);
    await using system = await start(home.path);
    await system.process.prints(READY);
    expect(providers()).toEqual(first);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test.each(['EDGE_PORT', 'MDP_PORT'])('names %s when its port is taken, and ends with 1', async (setting) => {
    using home = temporaryDirectory();
    const [taken, free] = (await freePorts(2)) as [number, number];
    const occupant = createServer();
    await new Promise<void>((resolve) => occupant.listen(taken, '127.0.0.1', resolve));
    try {
      const env = { EDGE_PORT: String(free), MDP_PORT: String(free), [setting]: String(taken) };
      await using process = script('start', home.path, [], env);
      expect(await process.ended).toEqual({ code: 1, signal: null });
      expect(process.output.trim()).toBe(`port ${taken} is taken: set ${setting} to a free one`);
    } finally {
      await new Promise((resolve) => occupant.close(resolve));
    }
  });

  test.skipIf(process.platform !== 'linux').each([
    ['pod', 'the pod ended by itself'],
    ['edge', 'the edge ended by itself'],
  ])('says so and ends with 1 when its %s dies, and takes the other with it', async (which, message) => {
    using home = temporaryDirectory();
    await using system = await start(home.path);
    await system.process.prints(READY);
    const children = childrenOf(system.process.pid);
    process.kill(
      children.find((pid) => isEdge(pid) === (which === 'edge'))!,
      'SIGKILL',
    );
    expect(await system.process.ended).toEqual({ code: 1, signal: null });
    expect(system.process.output).toContain(message);
    await expect.poll(() => children.filter(isRunning), { timeout: 10_000 }).toEqual([]);
  });

  test('is found by npm run replay, with its address and credentials', async () => {
    using home = temporaryDirectory();
    const capture = home.write('capture.txt', [1, 2, 3].map(capturedTrade).join(''));
    await using system = await start(home.path);
    await system.process.prints(READY);
    await using replay = script('replay', home.path, [capture, '--json']);
    expect(await replay.ended).toEqual({ code: 0, signal: null });
    expect(JSON.parse(replay.output)).toMatchObject({
      to: `http://127.0.0.1:${system.edgePort}`,
      provider: 'ibkr',
      end: 'complete',
      stored: 3,
    });
    expect((await status(system.podPort)).providers['ibkr']).toMatchObject({ stored: 3, residue: 0 });
  });
});

describe('npm run demo', { timeout: START_TIMEOUT_MS }, () => {
  test('stores ticks of its own accord, more and more of them, and batches sent twice only once', async () => {
    using home = temporaryDirectory();
    await using system = await start(home.path, 'demo');
    await system.process.prints(READY);
    const books = async (): Promise<PodStatus['providers'][string] | undefined> =>
      (await status(system.podPort)).providers['demo'];
    await expect.poll(async () => (await books())?.stored ?? 0, { timeout: 10_000 }).toBeGreaterThan(0);
    const early = (await books())!.stored;
    await expect.poll(async () => (await books())!.stored, { timeout: 10_000 }).toBeGreaterThan(early);
    await expect.poll(async () => (await books())!.duplicate, { timeout: 10_000 }).toBeGreaterThan(0);
    expect(await books()).toMatchObject({ rejected: 0, refused: 0, residue: 0 });
    system.process.kill('SIGINT');
    expect(await system.process.ended).toEqual({ code: 0, signal: null });
  });

  test('makes the same ticks from the same seed', async () => {
    expect(ticksOf('7')).toEqual(ticksOf('7'));
    expect(ticksOf('7')).not.toEqual(ticksOf('8'));
    expect(await firstBatches(7)).toEqual(await firstBatches(7));
    expect(await firstBatches(7)).not.toEqual(await firstBatches(8));
  });
});

function ticksOf(seed: string): unknown {
  return demoTicks(2_000, 1_763_908_200_000, [187, 412, 512, 61_837], seededRandom(seed));
}

/** Of a demo whose clock is always past the next batch. */
async function firstBatches(seed: DemoOptions['seed']): Promise<Batch[]> {
  let nowMs = 1_763_908_200_000;
  const batches = demoBatches(seed, () => (nowMs += 60_000), new AbortController().signal);
  const first: Batch[] = [];
  for await (const batch of batches) {
    first.push(batch);
    if (first.length === 25) break;
  }
  return first;
}
