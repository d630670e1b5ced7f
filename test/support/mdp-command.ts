/** `mdp` as its user runs it, from a directory of the test's own. */

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { UserProcess } from './user-process.ts';

export const MDP = join(import.meta.dirname, '../../deploy/mdp/mdp.js');
/** No command of it takes so long, on a loaded machine neither. */
const TIMEOUT_MS = 60_000;

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs it to its end; `input` is what comes on stdin. A variable in `env` takes the place of the test's. */
export function mdp(args: string[], cwd: string, env: Record<string, string> = {}, input = ''): Promise<Ran> {
  const own = { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '' };
  return new Promise((resolve) => {
    const options = { cwd, env: { ...own, ...env }, timeout: TIMEOUT_MS };
    const child = execFile(process.execPath, [MDP, ...args], options, (_, stdout, stderr) => {
      resolve({ code: child.exitCode ?? -1, stdout, stderr });
    });
    child.stdin?.end(input);
  });
}

/** Runs it until the test ends it. */
export function startMdp(args: string[], cwd: string): UserProcess {
  return new UserProcess({ file: MDP, args, cwd });
}
