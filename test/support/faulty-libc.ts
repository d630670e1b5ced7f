/**
 * Faults below running processes, by a library that is loaded before their C library: input and output that fails,
 * syncs that do nothing, clocks that step. Compiled where there is a C compiler; elsewhere it cannot be had.
 */

import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, writeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('./faulty-libc.c', import.meta.url));

export interface LibcFaults {
  /** Of reads of files, and of writes and syncs. */
  readFails?: 'EIO';
  writeFails?: 'EIO' | 'EROFS' | 'ENOSPC';
  /** A sync that says it has synced, and has not. */
  syncLies?: boolean;
  /** How far the wall clock is ahead of the true one. */
  clockStepMs?: number;
}

export const lacksCompiler = process.platform !== 'linux' || spawnSync('cc', ['--version']).error !== undefined;

/** Invariant: every process that was started with {@link FaultyLibc.under} suffers the same, from `suffer` on. */
export class FaultyLibc implements AsyncDisposable {
  readonly #home = mkdtempSync('/tmp/mdp-libc-');
  readonly #control: number;

  constructor() {
    execFileSync('cc', ['-shared', '-fPIC', '-O2', '-Wall', '-Werror', '-o', this.#library, SOURCE, '-ldl']);
    this.#control = openSync(this.#controlPath, 'w+');
    ftruncateSync(this.#control, 24);
  }

  /** What runs a command with it; only files below the directory suffer. */
  under(directory: string): readonly string[] {
    const settings = { LD_PRELOAD: this.#library, FAULTY_LIBC: this.#controlPath, FAULTY_LIBC_BELOW: directory };
    return ['/usr/bin/env', ...Object.entries(settings).map(([name, value]) => `${name}=${value}`)];
  }

  /** These faults and no others from now on. */
  suffer({ readFails, writeFails, syncLies = false, clockStepMs = 0 }: LibcFaults): void {
    const control = new DataView(new ArrayBuffer(24));
    control.setInt32(0, readFails === undefined ? 0 : constants.errno[readFails], true);
    control.setInt32(4, writeFails === undefined ? 0 : constants.errno[writeFails], true);
    control.setInt32(8, syncLies ? 1 : 0, true);
    control.setBigInt64(16, BigInt(clockStepMs), true);
    writeSync(this.#control, control, 0, 24, 0);
  }

  heal(): void {
    this.suffer({});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    closeSync(this.#control);
    await rm(this.#home, { recursive: true, force: true });
  }

  get #library(): string {
    return join(this.#home, 'faulty-libc.so');
  }

  get #controlPath(): string {
    return join(this.#home, 'control');
  }
}
