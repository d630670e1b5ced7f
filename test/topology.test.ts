/** A pod as a process of its own: how it starts, how it refuses to, and how it ends. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type RunningPod, startPod } from '../deploy/local/pod.ts';
import { trades } from './support/pod-batch.ts';
import { podStatus, type ShownStatus } from './support/pod-in-process.ts';
import { post } from './support/pod-request.ts';

const MAIN = fileURLToPath(new URL('../pipeline/main.ts', import.meta.url));

let directory: string;
let path: string;
let pods: RunningPod[];
let logged: Record<string, unknown>[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'mdp-pod-'));
  path = join(directory, 'ticks.db');
  pods = [];
  logged = [];
});
afterEach(async () => {
  for (const pod of pods) await pod.kill();
  rmSync(directory, { recursive: true, force: true });
});

async function start(settings: Record<string, string> = {}): Promise<RunningPod> {
  const pod = await startPod({
    settings: { MDP_PORT: '0', MDP_DEV: '1', MDP_STORE: `sqlite:${path}`, ...settings },
    onLog: (line) => void logged.push(JSON.parse(line) as Record<string, unknown>),
  });
  pods.push(pod);
  return pod;
}

/** Runs a pod that is expected to end by itself. */
async function run(
  settings: Record<string, string>,
): Promise<{ code: number | null; lines: Record<string, unknown>[] }> {
  const env = { PATH: process.env['PATH'], MDP_PORT: '0', MDP_DEV: '1', MDP_STORE: `sqlite:${path}`, ...settings };
  const child = spawn(process.execPath, [MAIN], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return {
    code,
    lines: text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>),
  };
}

/** Polls the pod until its status is as wanted; the pod's own time limits end a wait in vain. */
async function until(pod: RunningPod, wanted: (status: ShownStatus) => boolean): Promise<void> {
  while (!wanted(await podStatus(pod.url)));
}

const events = (): unknown[] => logged.map(({ event }) => event);

function lock(): DatabaseSync {
  const db = new DatabaseSync(path);
  db.exec('BEGIN EXCLUSIVE');
  return db;
}

describe('a pod', () => {
  it('says "Application startup complete" once it is ready, with where it listens', async () => {
    const pod = await start({ MDP_POD_NAME: 'pod-7' });
    expect((await fetch(`${pod.url}/ready`)).status).toBe(200);
    expect(logged.at(-1)).toMatchObject({
      level: 'info',
      event: 'Application startup complete',
      port: pod.port,
      pod: 'pod-7',
    });
    expect(logged.every(({ time }) => !Number.isNaN(Date.parse(String(time))))).toBe(true);
  });

  it('is called as its host when it is given no name', async () => {
    const { hostname } = await import('node:os');
    await start();
    expect(logged.at(-1)).toMatchObject({ pod: hostname() });
  });

  it('ends with 0 and nothing more to say when it is stopped with nothing in hand', async () => {
    const pod = await start();
    expect(await pod.stop()).toBe(0);
    expect(events()).toEqual([
      'unsigned_requests_accepted',
      'Application startup complete',
      'signal',
      'draining',
      'drained',
    ]);
    expect(logged.at(-1)).toMatchObject({ settled: true, depthTicks: 0 });
  });

  it('drains and ends with 0 although nobody reads its log any more', async () => {
    // Seen failing: EPIPE at the first line after the signal, and exit code 1 in the midst of the drain.
    const env = { PATH: process.env['PATH'], MDP_PORT: '0', MDP_DEV: '1', MDP_STORE: `sqlite:${path}` };
    const child = spawn(process.execPath, [MAIN], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = once(child, 'exit');
    let text = '';
    for await (const chunk of child.stdout.setEncoding('utf8')) {
      text += String(chunk);
      // Leaving the loop closes our end.
      if (text.includes('Application startup complete')) break;
    }
    child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
  });

  it('keeps what it answered, and gives it back after a restart', async () => {
    const first = await start();
    await post(first.url, 'ibkr', trades(100), { 'webhook-id': 'b1' });
    await first.kill();
    const second = await start();
    expect((await post(second.url, 'ibkr', trades(100), { 'webhook-id': 'b1' })).body).toMatchObject({
      stored: 100,
      duplicates: 0,
    });
    expect((await podStatus(second.url)).providers['ibkr']).toMatchObject({ stored: 0, duplicate: 100 });
  });
});

describe('a pod told to stop while batches are held', () => {
  it('is not ready first, refuses new ones, answers every held one as stored, and ends with 0', async () => {
    // Seen failing: with connections closed before the queue had drained each held sender saw "socket hang up";
    // without the guard on `stopping`, three drains in the log.
    const pod = await start();
    await post(pod.url, 'ibkr', trades(1, 0));
    const other = lock();
    const held = [1, 2, 3].map((at) => post(pod.url, 'ibkr', trades(10, at * 10), { 'webhook-id': `b${at}` }));
    await until(pod, ({ providers }) => providers['ibkr']?.inFlight === 30);
    const exited = pod.stop();
    await until(pod, ({ phase }) => phase === 'draining');
    const ready = await fetch(`${pod.url}/ready`);
    expect([ready.status, await ready.json()]).toEqual([503, { status: 'not ready', reason: 'draining' }]);
    const late = await post(pod.url, 'ibkr', trades(1, 90));
    expect([late.status, late.says, late.headers['retry-after']]).toEqual([503, 'draining', '2']);
    // A second signal, of either kind, changes nothing.
    process.kill(pod.pid, 'SIGTERM');
    process.kill(pod.pid, 'SIGINT');
    expect((await fetch(`${pod.url}/health`)).status).toBe(200);
    other.exec('ROLLBACK');
    const answers = await Promise.all(held);
    expect(answers.map(({ status, body }) => [status, body['stored']])).toEqual([
      [200, 10],
      [200, 10],
      [200, 10],
    ]);
    expect(await exited).toBe(0);
    expect(events().filter((event) => event === 'signal' || event === 'draining')).toEqual(['signal', 'draining']);
    expect(Number(other.prepare('SELECT count(*) AS n FROM trades').get()?.['n'])).toBe(31);
    other.close();
  });

  it('gives up after its time limit, says so, and ends with 1', async () => {
    const pod = await start({ MDP_DRAIN_TIMEOUT_MS: '100' });
    await post(pod.url, 'ibkr', trades(1));
    const other = lock();
    const held = post(pod.url, 'ibkr', trades(10)).then(
      ({ status }) => status,
      () => 'no answer',
    );
    await until(pod, ({ providers }) => providers['ibkr']?.inFlight === 10);
    expect(await pod.stop()).toBe(1);
    // The store's own wait for the lock is longer than the drain's: whatever the sender was told, it was not 200.
    expect(await held).not.toBe(200);
    expect(logged.at(-1)).toMatchObject({ level: 'error', event: 'drained', settled: false });
    other.close();
  });
});

describe('a pod that cannot start', () => {
  it('ends with 2 on wrong settings, with every problem in one line and no secret in it', async () => {
    const { code, lines } = await run({
      MDP_PORT: 'http',
      MDP_LOG_LEVEL: 'loud',
      MDP_SPEED: '9',
      MDP_EDGE_SECRETS: 'whsec_hunter2',
    });
    expect(code).toBe(2);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: 'error', event: 'wrong_settings' });
    expect(lines[0]!['problems']).toHaveLength(4);
    expect(JSON.stringify(lines)).not.toContain('hunter2');
  });

  it('ends with 1 when the path of its store is not to be used, and names it', async () => {
    writeFileSync(join(directory, 'file'), '');
    const { code, lines } = await run({ MDP_STORE: `sqlite:${directory}/file/ticks.db` });
    expect(code).toBe(1);
    expect(lines).toMatchObject([{ level: 'error', event: 'store_cannot_open' }]);
    expect(lines[0]!['detail']).toContain(`${directory}/file/ticks.db`);
  });

  it('ends with 1 when its port is taken', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { code, lines } = await run({ MDP_PORT: String((taken.address() as AddressInfo).port) });
    taken.close();
    expect(code).toBe(1);
    expect(lines).toMatchObject([{ level: 'error', event: 'cannot_start' }]);
    expect(lines[0]!['detail']).toContain('EADDRINUSE');
  });
});
