/**
 * How many ticks the store may have in hand, so that a write takes about half a second: a store whose time grows with the
 * rows is then not handed four seconds of work at once, which would look like a store that is slow, and keep scaling from
 * helping. A store that takes its time whatever the size is handed all it can get. Pure: told what each write took.
 */

/** Well below the 2 s from which scaling takes a store for slow: it reads them from buckets that end at 1 and 2.5 s. */
export const WRITE_TARGET_MS = 500;
/** What is not known yet is tried small: four connections that begin with the most would be seconds at it. */
export const FIRST_TICKS = 500;
/** A limit that was lowered is raised again after a write quicker than this share of the target. */
const QUICK_SHARE = 0.5;
/** Less than this share of the limit that took long did not take long for its size. */
const LARGE_SHARE = 0.25;
/** Less in hand that brings less than this share of what more brought a second was no help. */
const HELPFUL_SHARE = 0.6;
/** So many of them in a row; one alone may be a disk that was busy. */
const UNHELPFUL_MAX = 3;
/** Twice as much in hand that brings this many times as much a second was worth it. */
const WORTHWHILE_GROWTH = 1.3;
/** So many writes go by before less is tried again. */
export const PATIENCE_WRITES = 100;

export interface Write {
  /** With the store when this group was handed over, its own included: what the store did in that time. */
  inFlightTicks: number;
  ms: number;
}

/** Invariant: 1 to `maxTicks`; lowered only as long as that brings as many ticks a second. */
export class InFlightLimit {
  readonly #maxTicks: number;
  #ticks: number;
  /** Ticks per millisecond when it was found too large; undefined while the limit is not lowered. */
  #largeRate: number | undefined;
  /** Ticks per millisecond before the limit was doubled to see whether that brings more; undefined while it is not. */
  #rateBefore: number | undefined;
  #unhelpful = 0;
  #patienceWrites = 0;

  constructor(maxTicks: number) {
    this.#maxTicks = maxTicks;
    this.#ticks = Math.min(maxTicks, FIRST_TICKS);
  }

  get ticks(): number {
    return this.#ticks;
  }

  note({ inFlightTicks, ms }: Write): void {
    if (this.#patienceWrites > 0) {
      this.#patienceWrites -= 1;
      return;
    }
    const rate = inFlightTicks / ms;
    if (this.#rateBefore !== undefined) {
      if (inFlightTicks * 2 <= this.#ticks) return;
      if (rate >= this.#rateBefore * WORTHWHILE_GROWTH) return this.#grow(rate);
      this.#rateBefore = undefined;
      this.#largeRate = undefined;
    }
    if (ms <= WRITE_TARGET_MS) this.#unhelpful = 0;
    if (ms < WRITE_TARGET_MS * (this.#largeRate === undefined ? 1 : QUICK_SHARE)) {
      // Far from the limit, it says nothing about more.
      if (inFlightTicks * 2 > this.#ticks) this.#raise(this.#ticks * 2);
    } else if (ms > WRITE_TARGET_MS && inFlightTicks >= this.#ticks * LARGE_SHARE) {
      if (this.#largeRate !== undefined && rate < this.#largeRate * HELPFUL_SHARE) {
        this.#unhelpful += 1;
        if (this.#unhelpful >= UNHELPFUL_MAX) this.#grow(rate);
        return;
      }
      this.#largeRate ??= rate;
      this.#ticks = Math.max(1, Math.min(this.#ticks, Math.floor((inFlightTicks * WRITE_TARGET_MS) / ms)));
    }
  }

  /** Step by step: one late write, of a disk that was busy, must not hand out all at once. */
  #grow(rate: number): void {
    this.#unhelpful = 0;
    this.#rateBefore = rate;
    this.#raise(this.#ticks * 2);
    if (this.#ticks < this.#maxTicks) return;
    this.#rateBefore = undefined;
    this.#patienceWrites = PATIENCE_WRITES;
  }

  #raise(ticks: number): void {
    this.#ticks = Math.min(this.#maxTicks, ticks);
    if (this.#ticks === this.#maxTicks) this.#largeRate = undefined;
  }
}
