/** Runs `simulate:faults` in a process of its own: what it puts in the place of the globals is for good. */

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
/** Most of what a world makes is garbage soon: the default of 16 MB has it copied about. */
const NODE_OPTIONS = ['--max-semi-space-size=64'];
const OUTPUT_MAX_BYTES = 64 * 1024 * 1024;

export interface Simulated {
  seeds: number;
  /** Of all that happened: the same number, the same run. */
  hash: number;
  happened: number;
  virtualMs: number;
  seconds: number;
  violations: { seed: number; kind: string; detail: string }[];
}

/** Rejects when the simulation itself breaks. With a planted bug it ends at the first violation. */
export function simulate(seeds: number, start: number, mutation?: string): Promise<Simulated> {
  const args = [...NODE_OPTIONS, MAIN, '--json', '--seeds', String(seeds), '--start', String(start)];
  if (mutation !== undefined) args.push('--mutation', mutation);
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { maxBuffer: OUTPUT_MAX_BYTES }, (cause, stdout, stderr) => {
      // It ends with 1 when there are violations, and has said so.
      if (stdout.startsWith('{')) resolve(JSON.parse(stdout) as Simulated);
      else reject(new Error(`the simulation broke: ${stderr}`, { cause }));
    });
  });
}
