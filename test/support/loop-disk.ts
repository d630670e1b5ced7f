/**
 * A disk of the test's own: ext4 in a file, behind a loop device. Its power can be cut: from one moment to the next
 * nothing more reaches it, and what was written and not synced is gone, as far as the file system had not brought it
 * to the disk by itself. It does so every {@link COMMIT_SECONDS}, which no test is long enough to see.
 *
 * The cut is ext4's own (EXT4_IOC_SHUTDOWN without a flush of the log), the one that file systems are tested with.
 * It does not show a disk that lies about its syncs, or that tears a sector.
 */

import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, truncateSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';

const COMMIT_SECONDS = 300;
const MIB = 1024 * 1024;
/** Source: fs/ext4/ext4.h, EXT4_IOC_SHUTDOWN and EXT4_GOING_FLAGS_NOLOGFLUSH. Node has no ioctl. */
const CUT = `
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", 2))`;

/** Invariant: mounted, except between {@link LoopDisk.cutPower} and the end of {@link LoopDisk.powerOn}. */
export class LoopDisk implements AsyncDisposable {
  /** A directory on it. */
  readonly space: string;
  readonly #home: string;

  private constructor(home: string) {
    this.#home = home;
    this.space = join(this.#at, 'space');
  }

  static make(sizeMiB: number): LoopDisk {
    const disk = new LoopDisk(mkdtempSync('/tmp/mdp-loop-'));
    writeFileSync(disk.#image, '');
    truncateSync(disk.#image, sizeMiB * MIB);
    execFileSync('mkfs.ext4', ['-q', '-F', disk.#image]);
    mkdirSync(disk.#at);
    // Whoever it is for may enter it.
    chmodSync(disk.#home, 0o755);
    disk.#mount();
    mkdirSync(disk.space);
    disk.sync();
    return disk;
  }

  /** Whether one can be had: on Linux, as root, with the right to mount, and ext4 that can be shut down. */
  static async mayBeHad(): Promise<boolean> {
    try {
      const disk = LoopDisk.make(8);
      disk.cutPower();
      await disk[Symbol.asyncDispose]();
      return true;
    } catch {
      return false;
    }
  }

  /** All that is on it now will be there after a cut. */
  sync(): void {
    execFileSync('sync', ['-f', this.#at]);
  }

  cutPower(): void {
    execFileSync('python3', ['-c', CUT, this.#at]);
  }

  /** Once nobody has a file of it open any more. */
  powerOn(): void {
    execFileSync('umount', [this.#at]);
    this.#mount();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    execFileSync('umount', [this.#at]);
    await rm(this.#home, { recursive: true, force: true });
  }

  #mount(): void {
    execFileSync('mount', ['-o', `loop,commit=${COMMIT_SECONDS}`, this.#image, this.#at]);
  }

  get #at(): string {
    return join(this.#home, 'disk');
  }

  get #image(): string {
    return join(this.#home, 'image');
  }
}
