/** The command line as its user meets it, and where it finds credentials. */

import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findCredential, isLoopback } from '../../deploy/replay/credentials.ts';
import { temporaryDirectory } from './captures.ts';
import { startFaultyEdge } from './faulty-edge.ts';

const MAIN = join(import.meta.dirname, '../../deploy/replay/main.ts');
const LINE = '1723161255088176367 {"data":{"e":"trade","s":"X","t":1,"p":"1","q":"2","T":1723161256322,"m":true}}\n';

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

async function command(args: string[], cwd: string, env: Record<string, string> = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [MAIN, ...args], { cwd, env }, (_, stdout, stderr) => {
      resolve({ code: child.exitCode, stdout, stderr });
    });
  });
}

describe('the command', () => {
  test('without a file explains itself in one line and ends with 2', async () => {
    using files = temporaryDirectory();
    const { code, stderr, stdout } = await command([], files.path);
    expect({ code, stderr, stdout }).toEqual({
      code: 2,
      stderr: 'replay: which FILE?\nSee npm run replay -- --help\n',
      stdout: '',
    });
  });

  test('pushes with the development credentials, prints the account and ends with 0', async () => {
    using files = temporaryDirectory();
    await using edge = await startFaultyEdge();
    mkdirSync(join(files.path, 'data'));
    const credentials = { edgeUrl: edge.url, providers: { ibkr: { secret: edge.secret } } };
    files.write('data/dev-credentials.json', JSON.stringify(credentials));
    const file = files.write('x.txt', `${LINE}nonsense\n`);
    const { code, stderr, stdout } = await command([file], files.path);
    expect(stderr).toBe('');
    expect(stdout).toContain('read            1 trade, 0 quotes\nunreadable      1 line\n');
    expect(stdout).toContain('stored          1\n');
    expect(code).toBe(0);
  });

  test('ends with 1 when a batch failed, and prints JSON alone when asked for it', async () => {
    using files = temporaryDirectory();
    await using edge = await startFaultyEdge(() => ({ do: 'problem', name: 'batch-conflict' }));
    const args = [files.write('x.txt', LINE), '--to', edge.url, '--json'];
    const { code, stdout } = await command(args, files.path, { MDP_PROVIDER_SECRET: edge.secret });
    expect(JSON.parse(stdout)).toMatchObject({ failed: 1, failedBatchesByProblem: { 'batch-conflict': 1 } });
    expect(code).toBe(1);
  });

  test('stopped by SIGINT prints its account and ends with 130', async () => {
    using files = temporaryDirectory();
    const arrived = Promise.withResolvers<void>();
    await using edge = await startFaultyEdge(() => {
      arrived.resolve();
      return { do: 'problem', name: 'no-room', retryAfter: '60' };
    });
    const args = [MAIN, files.write('x.txt', LINE), '--to', edge.url, '--secret', edge.secret];
    const ended = await new Promise<Ended>((resolve) => {
      const child = execFile(process.execPath, args, { cwd: files.path }, (_, stdout, stderr) => {
        resolve({ code: child.exitCode, stdout, stderr });
      });
      void arrived.promise.then(() => child.kill('SIGINT'));
    });
    expect(ended.stdout).toContain('stopped before the end');
    expect(ended.stdout).toContain('unsent          1 tick in 1 batch without a final answer');
    expect(ended.code).toBe(130);
  });
});

describe('credentials', () => {
  const wanted = { to: undefined, provider: 'ibkr', secret: undefined, token: undefined };

  test('come from flags before the environment, and from the environment before the development file', () => {
    using files = temporaryDirectory();
    mkdirSync(join(files.path, 'data'));
    files.write('data/dev-credentials.json', '{"providers":{"ibkr":{"secret":"dev"}}}');
    const environment = { MDP_PROVIDER_SECRET: 'environment' };
    const find = (more: object, env: Record<string, string>): unknown => {
      const found = findCredential({ ...wanted, ...more }, env, files.path);
      return found.ok ? found.credential : found.why;
    };
    expect(find({ secret: 'flag' }, environment)).toEqual({ secret: 'flag' });
    expect(find({ token: 'flag' }, environment)).toEqual({ token: 'flag' });
    expect(find({}, environment)).toEqual({ secret: 'environment' });
    expect(find({}, { MDP_PROVIDER_SECRET_FILE: files.write('secret', 'file\n') })).toEqual({ secret: 'file' });
    expect(find({}, {})).toEqual({ secret: 'dev' });
    expect(find({ provider: 'other' }, {})).toContain('only for: ibkr');
    expect(find({ secret: 'a', token: 'b' }, {})).toContain('not both');
  });

  test('of development are never used towards another machine', () => {
    using files = temporaryDirectory();
    mkdirSync(join(files.path, 'data'));
    files.write('data/dev-credentials.json', '{"edgeUrl":"http://evil.example","providers":{"ibkr":{"secret":"dev"}}}');
    const find = (to: string | undefined): unknown => findCredential({ ...wanted, to }, {}, files.path);
    expect(find('https://edge.example.com')).toMatchObject({ ok: false });
    expect(find(undefined)).toMatchObject({ ok: true, to: 'http://127.0.0.1:8787' });
  });

  test('that are missing are named, with the ways to get them', () => {
    using files = temporaryDirectory();
    expect(findCredential(wanted, {}, files.path)).toMatchObject({
      ok: false,
      why: expect.stringMatching(/dev-credentials\.json is not there.*npm start.*--secret.*MDP_PROVIDER_SECRET/),
    });
  });

  test.each([
    ['http://127.0.0.1:8787', true],
    ['http://localhost', true],
    ['http://[::1]:1', true],
    ['http://127.0.0.1.evil.example', false],
    ['http://localhost@evil.example', false],
    ['nonsense', false],
  ])('%s is loopback: %s', (address, expected) => {
    expect(isLoopback(address)).toBe(expected);
  });
});
