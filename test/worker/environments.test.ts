/** Each environment of wrangler.toml as wrangler would deploy it: complete, and without anything to warn of. */

import { execFile } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const run = promisify(execFile);
const WRANGLER = join(createRequire(import.meta.url).resolve('wrangler/package.json'), '..', 'bin', 'wrangler.js');
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const QUIET = {
  WRANGLER_HIDE_BANNER: 'true',
  WRANGLER_SEND_METRICS: 'false',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_WRITE_LOGS: 'false',
};

it.each(['', 'staging', 'production'])('wrangler would deploy the environment "%s"', async (environment) => {
  const directory = await mkdtemp(join(tmpdir(), 'mdp-deploy-'));
  try {
    const args = [WRANGLER, 'deploy', '--dry-run', '--env', environment, '--outdir', directory];
    const { stdout, stderr } = await run(process.execPath, args, { cwd: ROOT, env: { ...process.env, ...QUIET } });
    expect(stderr).toBe('');
    expect(stdout).not.toMatch(/warning/i);
    expect(stdout).toContain('--dry-run: exiting now.');
    const bound = [...stdout.matchAll(/^env\.(\w+) \((\w+)\)/gm)].map(([, name, of]) => `${name} ${of}`);
    // Seen failing: without the METER of production, which is not inherited.
    expect(bound.toSorted()).toEqual(['METER Meter', 'OUTBOX Outbox', 'SOCKETS Sockets', 'STATUS_BOARD StatusBoard']);
    expect((await stat(join(directory, 'index.js'))).size).toBeLessThan(150 * 1024);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
