/** The commands beside `mdp verify`, before a real pod, as their users run them. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { devCredentials } from '../../deploy/local/dev-credentials.ts';
import { type RunningPod, startPod } from '../../deploy/local/pod.ts';
import { command as config } from '../../deploy/mdp/config.ts';
import { command as deadLetters } from '../../deploy/mdp/dead-letters.ts';
import { localSystem, tokenFor } from '../../deploy/mdp/local-system.ts';
import { command as push } from '../../deploy/mdp/push.ts';
import { command as tail } from '../../deploy/mdp/tail.ts';
import { command as topCommand } from '../../deploy/mdp/top.ts';
import { command as verify } from '../../deploy/mdp/verify/command.ts';
import { generateSecret } from '../../pipeline/contract/signature.ts';
import { MDP, mdp, startMdp } from '../support/mdp-command.ts';
import { shell } from '../support/user-process.ts';

const COMMANDS = ['verify', 'push', 'tail', 'top', 'dead-letters', 'config'];
/** A development pod checks a signature, and asks for none. */
const TOKEN = ['--token', 'that-nobody-looks-at'];
const ROOT = join(import.meta.dirname, '../..');

/** Trades of the symbol, a second apart, as a Binance capture has them. */
function capture(symbol: string, fromMs: number, count: number): string {
  return Array.from({ length: count }, (_, at) => {
    const message = { e: 'trade', s: symbol, t: at + 1, p: '187.23', q: '2', T: fromMs + at * 1000, m: true };
    return `${fromMs}000000 ${JSON.stringify({ data: message })}\n`;
  }).join('');
}

const tick = (price: string): string =>
  `{"symbol":"DEAD","ts":"2026-11-23T14:30:00Z","id":"1","price":"${price}","size":"1"}`;

async function check(args: string[], files: Record<string, string> = {}, env: Record<string, string> = {}, input = '') {
  const directory = await mkdtemp(join(tmpdir(), 'mdp-config-'));
  try {
    for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
    return await mdp(['config', 'check', ...args], directory, env, input);
  } finally {
    await rm(directory, { recursive: true });
  }
}

describe('mdp', { timeout: 60_000 }, () => {
  let home: string;
  let pod: RunningPod;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'mdp-commands-'));
    const path = join(home, 'data/dev-credentials.json');
    // It takes what is pushed to it directly, and so stands for the edge, too.
    pod = await startPod({
      settings: { MDP_PORT: '0', MDP_DEV: '1', MDP_STORE: `sqlite:${join(home, 'ticks.db')}` },
    });
    // As npm start writes it: the commands find everything there.
    await devCredentials(path, { edgeUrl: pod.url, podUrl: pod.url });
  });

  afterAll(async () => {
    await pod?.stop();
    await rm(home, { recursive: true, force: true });
  });

  it('tells of every command, and each of them tells the rest', async () => {
    const help = await mdp(['--help'], home);
    expect(help.code).toBe(0);
    expect([...help.stdout.matchAll(/^ {2}([\w-]+) {2,}\S/gm)].map(([, name]) => name)).toEqual(
      expect.arrayContaining(COMMANDS),
    );
    const top = await mdp(['top', '--help'], home);
    expect(top).toEqual({ code: 0, stdout: topCommand.help, stderr: '' });
    for (const { help: text } of [verify, push, tail, topCommand, deadLetters, config]) {
      expect(text).toMatch(/\n {2}npx mdp .*[\s\S]*--json[\s\S]*\nExit codes: 0 [\s\S]*\nExamples\n {2}/);
      expect(text.split('\n').filter((line) => line.length > 130)).toEqual([]);
    }
  });

  it('says what is wrong with its use, and ends with 2', async () => {
    for (const [args, why] of [
      [['constructor'], /there is no command "constructor"\nSee npx mdp --help/],
      [['tail'], /which PROVIDER\?\nSee npx mdp tail --help/],
      [['push'], /which FILE\?\nSee npx mdp push --help/],
    ] as const) {
      const { code, stdout, stderr } = await mdp([...args], home);
      expect([code, stdout], args.join(' ')).toEqual([2, '']);
      expect(stderr).toMatch(why);
    }
    for (const [{ run }, args, why] of [
      [tail, ['ib kr'], 'PROVIDER must be'],
      [deadLetters, ['ibkr'], 'list or replay?'],
      [topCommand, ['--interval', '1'], '--interval must be a whole number of 100 to 3600000'],
      [config, [], 'config check'],
    ] as const) {
      await expect(run([...args])).rejects.toThrow(why);
    }
  });

  it('runs by its name in the clone', async () => {
    const { code, stdout } = await shell('npx --no-install mdp --help', ROOT);
    expect(code).toBe(0);
    expect(stdout).toBe((await mdp(['--help'], home)).stdout);
    expect(await readFile(MDP, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  });

  it('pushes a capture, and shows the newest of its ticks', async () => {
    const fromMs = Date.UTC(2026, 10, 23, 14, 30);
    await writeFile(join(home, 'capture'), capture('PUSHED', fromMs, 25));
    const pushed = await mdp(['push', 'capture', ...TOKEN, '--json'], home);
    expect(JSON.parse(pushed.stdout)).toMatchObject({ stored: 25, ticksUnsettled: 0, end: 'complete' });
    expect(pushed.code).toBe(0);
    const shown = await mdp(['tail', 'ibkr', 'PUSHED', '--lines', '2', '--no-follow'], home);
    expect(shown.stdout).toMatch(
      /^2026-11-23T14:30:23\.0{9}Z +trade +PUSHED +187\.23 x 2 .*\n2026-11-23T14:30:24\.0{9}Z .* ms +\S+\n$/,
    );
    const lines = (await mdp(['tail', 'ibkr', 'PUSHED', '--lines', '3', '--no-follow', '--json'], home)).stdout;
    const ids = lines
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { id: string }).id);
    expect(ids).toEqual(['23', '24', '25']);
  });

  it('needs no symbols: it shows those that there are', async () => {
    const { stdout } = await mdp(['tail', 'ibkr', '--lines', '1', '--no-follow'], home);
    expect(stdout).toMatch(/^2026-11-23T14:30:24\.0{9}Z +trade +PUSHED /m);
  });

  it('goes on with those that follow, each once, until it is stopped', async () => {
    const fromMs = Date.UTC(2026, 10, 23, 15);
    const write = (count: number): Promise<void> => writeFile(join(home, 'more'), capture('FOLLOWED', fromMs, count));
    await write(3);
    await mdp(['push', 'more', ...TOKEN, '--batch-prefix', 'a'], home);
    await using tail = startMdp(['tail', 'ibkr', 'FOLLOWED', '--interval', '100', '--json'], home);
    await tail.prints(/"id":"3"/);
    await write(6);
    await mdp(['push', 'more', ...TOKEN, '--batch-prefix', 'b'], home);
    await tail.prints(/"id":"6"/);
    tail.kill('SIGINT');
    expect(await tail.ended).toEqual({ code: 0, signal: null });
    expect([...tail.output.matchAll(/"id":"(\d+)"/g)].map(([, id]) => id)).toEqual(['1', '2', '3', '4', '5', '6']);
  });

  it('shows what a pod does, as a table and as JSON', async () => {
    const table = await mdp(['top', '--once', '--interval', '100'], home);
    expect(table.code).toBe(0);
    expect(table.stdout).toMatch(
      /^pod \S+ {2}serving {2}up .* level ok {2}store sqlite, circuit closed\nqueue 0 of 10,000 ticks/,
    );
    expect(table.stdout).toMatch(/\nibkr +ok +\d/);
    const figures = JSON.parse((await mdp(['top', '--once', '--json', '--interval', '100'], home)).stdout) as object;
    expect(figures).toMatchObject({ phase: 'serving', level: 'ok', depthTicks: 0, circuit: 'closed' });
    expect(figures).toHaveProperty(
      'providers',
      expect.arrayContaining([expect.objectContaining({ provider: 'ibkr', residueTicks: 0 })]),
    );
    const away = await mdp(['top', '--once', '--cluster', 'http://127.0.0.1:9'], home);
    expect([away.code, away.stdout]).toEqual([1, '']);
    expect(away.stderr).toMatch(/^mdp top: http:\/\/127\.0\.0\.1:9: /);
  });

  it('lists dead letters, and replays them: the books then say what stayed', async () => {
    const answer = await fetch(`${pod.url}/v1/ticks/ibkr`, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-ndjson',
        'idempotency-key': 'dead-1',
      },
      body: `${tick('1')}\n${tick('-5')}\nnonsense`,
    });
    expect(answer.status).toBe(200);
    const listed = await mdp(['dead-letters', 'list', 'ibkr', '--batch', 'dead-1'], home);
    expect(listed.stdout).toMatch(
      / {2}dead-1\/1 {2}price_not_positive: .*\n {4}\{"symbol":"DEAD".*"-5".*\n.* {2}dead-1\/2 {2}not_json: .*\n {4}nonsense\n2 shown\n$/,
    );
    const one = await mdp(['dead-letters', 'list', 'ibkr', '--limit', '1', '--json'], home);
    expect(JSON.parse(one.stdout)).toMatchObject({ batch: 'dead-1', index: 1, tick: tick('-5') });
    const replayed = await mdp(['dead-letters', 'replay', 'ibkr', '--json'], home);
    expect(replayed.code).toBe(1);
    expect(JSON.parse(replayed.stdout)).toMatchObject({
      replayed: 2,
      stored: 0,
      rejected: [{ index: 1 }, { index: 2 }],
    });
  });

  it('never sends a development token anywhere but to this machine', () => {
    const { opsToken, podUrl } = localSystem(home);
    expect(podUrl).toBe(pod.url);
    expect(tokenFor(podUrl, undefined, undefined, opsToken)).toBe(opsToken);
    expect(tokenFor('https://pod.example.com', undefined, undefined, opsToken)).toBeUndefined();
    expect(tokenFor('https://pod.example.com', undefined, 'of the environment', opsToken)).toBe('of the environment');
  });
});

describe('mdp config check', () => {
  it('reports all problems of pod and Worker at once, and that their secrets differ, without showing one', async () => {
    const [ofPod, ofWorker] = [generateSecret(), generateSecret()];
    const { code, stdout } = await check(['--pod', 'pod.env', '--worker', '.dev.vars'], {
      'pod.env': `MDP_PORT=99999\nMDP_PROT=8000\nMDP_EDGE_SECRETS="${ofPod}"\n`,
      '.dev.vars': `CLUSTER_URL=ftp://x\nEDGE_SECRET=${ofWorker}\nPROVIDER_CREDENTIALS={"ibkr":{"secrets":["${ofPod.slice(0, -8)}"]}}\nTYPO=1\n`,
    });
    expect(code).toBe(1);
    expect(stdout).toMatch(/^pod: 2 to mend\n {2}MDP_PROT is no setting of this pod\n {2}MDP_PORT must be/);
    expect(stdout).toMatch(/\nWorker: 2 to mend\n[\s\S]* {2}TYPO is not a setting/);
    expect(stdout).toMatch(/ {2}CLUSTER_URL must begin with https/);
    expect(stdout).toMatch(/\nbetween the two: 1 to mend\n {2}EDGE_SECRET of the Worker is none of MDP_EDGE_SECRETS/);
    for (const secret of [ofPod, ofWorker]) expect(stdout).not.toContain(secret.slice(6, 26));
  });

  it('finds nothing in settings that agree, from the environment and from a file', async () => {
    const secret = generateSecret();
    const credentials = JSON.stringify({ ibkr: { secrets: [generateSecret()] } });
    const worker = `CLUSTER_URL=https://pods.example.com\nEDGE_SECRET=${secret}\nPROVIDER_CREDENTIALS='${credentials}'\n`;
    const env = { MDP_EDGE_SECRETS: `${generateSecret()} ${secret}` };
    const { code, stdout } = await check(['--pod', 'environment', '--worker', 'w', '--json'], { w: worker }, env);
    expect(JSON.parse(stdout)).toEqual({
      ok: true,
      pod: { problems: [], notes: [] },
      worker: { problems: [], notes: [] },
      pair: { problems: [], notes: [] },
    });
    expect(code).toBe(0);
  });

  it('reads a manifest as the kubelet would, and says which secrets it could not see', async () => {
    const manifest = await readFile(join(ROOT, 'deploy/keda/deployment-pipeline.yaml'), 'utf8');
    const unseen = await check(['--pod', '-'], {}, {}, manifest);
    expect(unseen.code).toBe(0);
    expect(unseen.stdout).toMatch(/^pod: no problem\n {2}MDP_STORE_FILE is mounted: not checked/);
    const wrong = manifest.replace("value: '20000'", "value: 'long'");
    const files = { 'edge-secrets': 'no-secret', store: 'mysql://db' };
    const seen = await check(['--pod', '-', '--secrets', '.'], files, {}, wrong);
    expect(seen.code).toBe(1);
    expect(seen.stdout).toMatch(/^pod: 3 to mend\n/);
    for (const name of ['MDP_STORE', 'MDP_EDGE_SECRETS', 'MDP_DRAIN_TIMEOUT_MS']) expect(seen.stdout).toContain(name);
    const other = await check(['--pod', '-'], {}, {}, 'kind: Service\n');
    expect([other.code, other.stderr]).toEqual([2, expect.stringContaining('no Deployment with a container pipeline')]);
  });
});
