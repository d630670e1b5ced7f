/**
 * The README says what is so: its examples run, and its tables are those of the code.
 */

import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { devCredentials, providerCredentials } from '../deploy/local/dev-credentials.ts';
import { type RunningSystem, startSystem } from '../deploy/local/system.ts';
import { SETTINGS } from '../pipeline/settings.ts';
import { PROBLEMS } from '../pipeline/contract/answer.ts';

const REPOSITORY = fileURLToPath(new URL('..', import.meta.url));
const README = await readFile(join(REPOSITORY, 'README.md'), 'utf8');
const run = promisify(execFile);
/** The examples find edge and pod by what {@link ported} puts in. */
const NOWHERE = { edgeUrl: '', podUrl: '' };

/** The fenced blocks of one language that contain `having`; exactly one is meant. */
function block(language: string, having: string): string {
  const blocks = [...README.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)]
    .filter((match) => match[1] === language && match[2]!.includes(having))
    .map((match) => match[2]!);
  expect(blocks).toHaveLength(1);
  return blocks[0]!;
}

describe('the README', () => {
  it('shows every setting of the pod with its default and meaning', () => {
    const rows = SETTINGS.map(({ name, fallback, meaning }) => {
      return `| \`${name}\` |${fallback === '' ? '' : ` \`${fallback}\``} | ${meaning} |`;
    });
    for (const row of rows) expect(README).toContain(row);
    expect(README.match(/^\| `MDP_\w+` /gm)).toHaveLength(rows.length);
  });

  it('lists every problem that a push can be answered with, beside its status', () => {
    const elsewhere = new Set(['not-found', 'method-not-allowed', 'internal']);
    const listed = [...README.matchAll(/^\| (\d{3}) \| (`[^|]*`) \|/gm)].flatMap(([, status, names]) =>
      names!.split(', ').map((name) => `${status} ${name.replaceAll('`', '')}`),
    );
    const expected = Object.entries(PROBLEMS)
      .filter(([name]) => !elsewhere.has(name))
      .map(([name, { status }]) => `${status} ${name}`);
    expect(listed.toSorted()).toEqual(expected.toSorted());
  });
});

const lacks = (program: string): boolean => spawnSync(program, ['--version']).error !== undefined;

describe('the examples of the README', () => {
  let dir: string;
  let system: RunningSystem;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mdp-readme-'));
    await symlink(join(REPOSITORY, 'node_modules'), join(dir, 'node_modules'));
    const credentials = await devCredentials(join(dir, 'data/dev-credentials.json'), NOWHERE);
    system = await startSystem({
      edgePort: 0,
      podSettings: { MDP_PORT: '0', MDP_STORE: `sqlite:${join(dir, 'data/ticks.db')}` },
      edgeSecret: credentials.edgeSecret,
      providerCredentials: providerCredentials(credentials),
    });
  });

  afterAll(async () => {
    await system?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  /** The example as it stands there, but for the two ports. */
  function ported(example: string): string {
    return example
      .replaceAll('http://127.0.0.1:8787', system.edge.url)
      .replaceAll('http://127.0.0.1:8000', system.pod.url);
  }

  it.skipIf(lacks('curl'))('push with curl, and read back with curl', async () => {
    const pushed = await run('sh', ['-c', ported(block('sh', 'idempotency-key'))], { cwd: dir });
    expect(pushed.stdout).toContain('HTTP/1.1 200 OK');
    expect(pushed.stdout).toContain('"stored":1');
    const readBack = await run('sh', ['-c', ported(block('sh', '/v1/trades/'))], { cwd: dir });
    expect(readBack.stdout).toContain('"ts":"2026-11-23T14:30:00.123456789Z","id":"1","price":"187.23","size":"100"');
    expect(readBack.stdout).toContain('"quotes":[]');
  });

  it('push from Node with the standardwebhooks library', async () => {
    const { stdout } = await run(
      process.execPath,
      ['--input-type=module', '-e', ported(block('js', 'standardwebhooks'))],
      {
        cwd: dir,
      },
    );
    expect(stdout).toMatch(/^200 \{/);
    expect(stdout).toContain('stored: 1');
  });

  it.skipIf(lacks('python3'))('push from Python, signed as the standardwebhooks library signs', async () => {
    const { stdout } = await run('python3', ['-c', ported(block('python', 'standardwebhooks'))], {
      cwd: dir,
      env: {
        ...process.env,
        PYTHONPATH: fileURLToPath(new URL('support/python', import.meta.url)),
        PYTHONDONTWRITEBYTECODE: '1',
      },
    });
    expect(stdout).toMatch(/^200 /);
    expect(stdout).toContain("'stored': 1");
  });

  it('push the two example ticks of the contract', async () => {
    const { providers } = await devCredentials(join(dir, 'data/dev-credentials.json'), NOWHERE);
    const answer = await fetch(`${system.edge.url}/v1/ticks/ibkr`, {
      method: 'POST',
      headers: { authorization: `Bearer ${providers.ibkr.token}`, 'content-type': 'application/x-ndjson' },
      body: block('json', '"type":"quote"'),
    });
    expect([answer.status, await answer.json()]).toMatchObject([
      200,
      { stored: 2, rejected: [], warning: expect.any(String) },
    ]);
  });
});
