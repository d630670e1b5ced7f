/** The command line of the rehearsals, as far as nothing is started. */

import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';

function rehearse(...args: string[]) {
  return spawnSync(process.execPath, ['deploy/rehearse/main.ts', ...args], { encoding: 'utf8' });
}

it('tells what it does, which options it has, and what its exit codes mean', () => {
  const { status, stdout } = rehearse('--help');
  expect(status).toBe(0);
  for (const word of ['rolling', '--manifest', '--capacity', '--store', '--seed', '--quick', '--svg', 'Exit code']) {
    expect(stdout).toContain(word);
  }
});

it('refuses what it does not know before anything is started', () => {
  const { status, stderr } = rehearse('dancing');
  expect(status).toBe(2);
  expect(stderr).toContain('scaling or rolling is rehearsed');
});
