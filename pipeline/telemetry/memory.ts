/**
 * How much of its memory the pod really needs, as a share of what it may have. What is resident would not do: it
 * holds on to what nobody needs any more, and a level made of it would never heal in a pod that has gone quiet.
 */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Node itself, its code, and the threads of the store: resident in a pod that has nothing in hand (measured: 88 MiB). */
export const BASE_BYTES = 96 * 1024 * 1024;
/** Asking at every answer would cost more than the answer. */
const LOOK_INTERVAL_MS = 100;
/** From this share on garbage is collected before the share is believed, … */
const COLLECT_FROM_SHARE = 0.7;
/** … but not more often than this. */
const COLLECT_INTERVAL_MS = 2_000;

export interface MemoryParts {
  /** 0, or a number beyond any memory: there is no limit. */
  limitBytes: number;
  nowMs: () => number;
  /** Bytes in use by objects and buffers, garbage among them. */
  usedBytes: () => number;
  collectGarbage: () => void;
}

export class MemoryMeter {
  readonly #parts: MemoryParts;
  #share = 0;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #collectedMs = Number.NEGATIVE_INFINITY;

  constructor(parts: MemoryParts) {
    this.#parts = parts;
  }

  /** 0 to 1, and above it when more is in use than there should be. */
  share(): number {
    const { limitBytes, nowMs, collectGarbage } = this.#parts;
    if (limitBytes <= 0 || nowMs() - this.#lookedMs < LOOK_INTERVAL_MS) return this.#share;
    this.#lookedMs = nowMs();
    this.#share = this.#look();
    if (this.#share >= COLLECT_FROM_SHARE && nowMs() - this.#collectedMs >= COLLECT_INTERVAL_MS) {
      this.#collectedMs = nowMs();
      collectGarbage();
      this.#share = this.#look();
    }
    return this.#share;
  }

  #look(): number {
    const { limitBytes, usedBytes } = this.#parts;
    // A limit that leaves nothing beside Node itself is one that nobody can keep.
    return usedBytes() / Math.max(limitBytes - BASE_BYTES, BASE_BYTES);
  }
}

/** Of this process. */
export function usedBytes(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** V8 has no other door to this than a flag and a fresh context. */
export function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
