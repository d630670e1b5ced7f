/**
 * Keys that came of late: enough to tell a first arrival from a repeat. Forgets the oldest; pure, the clock comes in as
 * an argument.
 */

/** A key that comes again within one to two of these is a repeat. */
export const REMEMBER_MS = 120_000;
/**
 * Per isolate about 5 MB with ids of 36 characters, 10 MB with the longest. At 2,000 batches a second the last 12 to 25
 * seconds are remembered, which is still more than the `Retry-After` of a refusal.
 */
export const REMEMBERED_MAX = 50_000;

export class RecentKeys {
  readonly #max: number;
  /** Of now and of before; turned over when old or many. */
  #recent = new Set<string>();
  #before = new Set<string>();
  #turnedMs = Number.NEGATIVE_INFINITY;

  constructor(max: number = REMEMBERED_MAX) {
    this.#max = max;
  }

  has(key: string, nowMs: number): boolean {
    // What is still here from before a long silence is no longer recent.
    if (nowMs - this.#turnedMs >= 2 * REMEMBER_MS) return false;
    return this.#recent.has(key) || this.#before.has(key);
  }

  /** Whether `key` is new; it is remembered from now on. */
  isFirst(key: string, nowMs: number): boolean {
    if (this.has(key, nowMs)) return false;
    const ageMs = nowMs - this.#turnedMs;
    if (ageMs >= REMEMBER_MS || this.#recent.size >= this.#max / 2) {
      this.#before = ageMs >= 2 * REMEMBER_MS ? new Set() : this.#recent;
      this.#recent = new Set();
      this.#turnedMs = nowMs;
    }
    this.#recent.add(key);
    return true;
  }
}
