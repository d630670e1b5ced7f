/**
 * How many ticks the store may have in hand, so that a write takes about half a second: a store whose time grows with the
 * rows is then not handed four seconds of work at once, which would look like a store that is slow, and keep scaling from
 * helping. Begins small, and grows as long as a write stays below that or more in hand brings more a second; a store that
 * takes its time whatever the size is so handed all it can get. Lowered only when a trial of more brought no more, and
 * never to see whether less would help: that would be at the cost of those who wait behind it. Pure: told what each write took.
 */

/** Well below the 2 s from which scaling takes a store for slow: it reads them from buckets that end at 1 and 2.5 s. */
export const WRITE_TARGET_MS = 500;
/** What is not known yet is tried small: four connections that begin with the most would be seconds at it. */
export const FIRST_TICKS = 500;
/** Twice as much in hand that brings this many times as much a second was worth it. */
const WORTHWHILE_GROWTH = 1.3;
/** So many writes at the target go by before more is tried: one longer write among them does not move their p95. */
export const FIRST_PATIENCE_WRITES = 20;
/** And so many before more is tried again that was not worth it. */
export const PATIENCE_WRITES = 100;
/** A write that takes so many times the target ends the patience: less in hand does not make them short, it seems. */
const IMPATIENT_SHARE = 2.5;

export interface Write {
  /** With the store when this group was handed over, its own included: what the store did in that time. */
  inFlightTicks: number;
  ms: number;
}

/** Invariant: 1 to `maxTicks`; beyond the target only as long as it was seen to bring more a second. */
export class InFlightLimit {
  readonly #maxTicks: number;
  #ticks: number;
  /** Ticks per millisecond before the limit was doubled to see whether that brings more; undefined while it is not. */
  #rateBefore: number | undefined;
  #patienceWrites = FIRST_PATIENCE_WRITES;
  /** The most that was seen at this limit: one late write must not make what follows look like a gain. */
  #bestRate = 0;

  constructor(maxTicks: number) {
    this.#maxTicks = maxTicks;
    this.#ticks = Math.min(maxTicks, FIRST_TICKS);
  }

  get ticks(): number {
    return this.#ticks;
  }

  note({ inFlightTicks, ms }: Write): void {
    // Far from the limit, it says nothing about more.
    if (inFlightTicks * 2 <= this.#ticks) return;
    const rate = inFlightTicks / ms;
    if (this.#rateBefore !== undefined && rate < this.#rateBefore * WORTHWHILE_GROWTH) {
      // That more brought no more says that its time grows with the rows.
      const targetTicks = Math.floor(Math.max(rate, this.#rateBefore) * WRITE_TARGET_MS);
      this.#move(Math.max(1, Math.min(targetTicks, Math.floor(this.#ticks / 2))));
      this.#patienceWrites = PATIENCE_WRITES;
      return;
    }
    this.#rateBefore = undefined;
    this.#bestRate = Math.max(this.#bestRate, rate);
    if (ms < WRITE_TARGET_MS) {
      // No further than the target, should its time grow with the rows.
      this.#raise(Math.floor(rate * WRITE_TARGET_MS));
    } else if (this.#patienceWrites > 0 && ms < WRITE_TARGET_MS * IMPATIENT_SHARE) {
      this.#patienceWrites -= 1;
    } else if (this.#ticks < this.#maxTicks) {
      const rateBefore = this.#bestRate;
      this.#raise(this.#maxTicks);
      this.#rateBefore = rateBefore;
    }
  }

  /** At most twofold, and to `mostTicks`. */
  #raise(mostTicks: number): void {
    const ticks = Math.min(this.#maxTicks, this.#ticks * 2, mostTicks);
    if (ticks > this.#ticks) this.#move(ticks);
  }

  #move(ticks: number): void {
    this.#ticks = ticks;
    this.#rateBefore = undefined;
    this.#bestRate = 0;
  }
}
