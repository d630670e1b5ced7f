/** A small file system of the test's own, in memory, that can be filled to its last byte and emptied again. */

import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmdirSync, rmSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Pieces of the filler: first large ones, then as small as a file system has them. */
const PIECES_BYTES = [1024 * 1024, 4096];

/** Whether one can be had: on Linux, as root, with the right to mount. */
export function mayMount(): boolean {
  const at = '/tmp/mdp-mount-probe';
  try {
    mkdirSync(at, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', at], { stdio: 'ignore' });
    execFileSync('umount', [at], { stdio: 'ignore' });
    rmdirSync(at);
    return true;
  } catch {
    return false;
  }
}

export class SmallDisk implements AsyncDisposable {
  /** A directory on it that belongs to its owner. */
  readonly space: string;
  readonly #at: string;

  private constructor(at: string) {
    this.#at = at;
    this.space = join(at, 'space');
  }

  /** `owner` as `chown` takes it. */
  static async mount(sizeMiB: number, owner: string): Promise<SmallDisk> {
    const disk = new SmallDisk(await mkdtemp('/tmp/mdp-disk-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMiB}m,mode=777`, 'tmpfs', disk.#at]);
    mkdirSync(disk.space, { mode: 0o700 });
    execFileSync('chown', [owner, disk.space]);
    return disk;
  }

  fill(): void {
    const file = openSync(this.#filler, 'w');
    for (const bytes of PIECES_BYTES) {
      try {
        for (;;) writeSync(file, new Uint8Array(bytes));
      } catch (cause) {
        if (!(cause instanceof Error && 'code' in cause && cause.code === 'ENOSPC')) throw cause;
      }
    }
    closeSync(file);
  }

  free(): void {
    rmSync(this.#filler);
  }

  /** Once nobody uses it any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    execFileSync('umount', [this.#at]);
    await rm(this.#at, { recursive: true, force: true });
  }

  get #filler(): string {
    return join(this.#at, 'filler');
  }
}
