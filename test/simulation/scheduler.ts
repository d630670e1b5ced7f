/**
 * Virtual time: what is to happen, in the order of its time, one after the other. All that one happening sets off in
 * this process has run before the next begins, so that the same happenings in the same order make the same run.
 */

// Not the virtual one, which takes its name among the globals.
import { setImmediate as realImmediate } from 'node:timers';

/** What has run is remembered as one number: the same number, the same run. Source: FNV-1a, 32 bits. */
const HASH_START = 0x811c9dc5;
const HASH_PRIME = 0x01000193;

export interface Happening {
  readonly atMs: number;
  readonly order: number;
  /** Undefined: taken back. */
  run: (() => void) | undefined;
}

/** Invariant: `nowMs` never goes back. */
export class Scheduler {
  nowMs: number;
  happened = 0;
  hash = HASH_START;
  /** Told of each line of the trace, when somebody wants to read it. */
  onTrace: ((line: string) => void) | undefined;
  /** A heap: the next one is the first. */
  readonly #heap: Happening[] = [];
  #order = 0;

  constructor(nowMs: number) {
    this.nowMs = nowMs;
  }

  after(ms: number, run: () => void): Happening {
    this.#order += 1;
    const happening = { atMs: this.nowMs + Math.max(0, ms), order: this.#order, run };
    const heap = this.#heap;
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(happening, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = happening;
    return happening;
  }

  /** One line of what happened, for the hash and for whoever reads along. */
  trace(what: string): void {
    let hash = Math.imul(this.hash ^ (Math.round(this.nowMs * 1000) & 0xffffffff), HASH_PRIME);
    for (let at = 0; at < what.length; at += 1) hash = Math.imul(hash ^ what.charCodeAt(at), HASH_PRIME);
    this.hash = hash >>> 0;
    this.onTrace?.(`${this.nowMs.toFixed(3)} ${what}`);
  }

  /** Lets happen what is due until `untilMs`, or until `isOver` says so after one. False: the time ran out. */
  async run(untilMs: number, isOver: () => boolean = () => false): Promise<boolean> {
    await settled();
    if (isOver()) return true;
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= untilMs; next = this.#heap[0]) {
      this.#removeFirst();
      if (next.run === undefined) continue;
      this.nowMs = Math.max(this.nowMs, next.atMs);
      this.happened += 1;
      next.run();
      await settled();
      if (isOver()) return true;
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
    return false;
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    const { length } = heap;
    if (length === 0) return;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= length) break;
      if (child + 1 < length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(left: Happening, right: Happening): boolean {
  return left.atMs < right.atMs || (left.atMs === right.atMs && left.order < right.order);
}

/** When no promise of this process has anything left to do: there is no I/O that one could wait for. */
export function settled(): Promise<void> {
  return new Promise((resolve) => realImmediate(resolve));
}
