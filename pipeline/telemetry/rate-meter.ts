/**
 * How fast a count grows, from looks at it at any times. Pure: the clock comes in as an argument.
 */

/** A look sooner than this after the last one is answered with the last rate. */
const LOOK_INTERVAL_MIN_MS = 500;
/** Over a longer time without a look the count may have stood still for want of demand: it says nothing of speed. */
const LOOK_INTERVAL_MAX_MS = 5_000;
/** How much of the new rate a look takes over: a second or two of memory at the usual rate of looks. */
const NEW_SHARE = 0.5;

export class RateMeter {
  #count = 0;
  #asOfMs: number;
  #perSecond = 0;

  constructor(nowMs: number) {
    this.#asOfMs = nowMs;
  }

  /** The rate now that the count stands at `count`; 0 is not known yet, or no growth at all. */
  perSecond(count: number, nowMs: number): number {
    const elapsedMs = nowMs - this.#asOfMs;
    if (elapsedMs >= LOOK_INTERVAL_MIN_MS) {
      if (elapsedMs <= LOOK_INTERVAL_MAX_MS) {
        const rate = ((count - this.#count) * 1000) / elapsedMs;
        this.#perSecond = this.#perSecond === 0 ? rate : this.#perSecond * (1 - NEW_SHARE) + rate * NEW_SHARE;
      }
      this.#count = count;
      this.#asOfMs = nowMs;
    }
    return this.#perSecond;
  }
}
