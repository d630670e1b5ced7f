/**
 * Demand: ticks that arrive for the first time, a second, over the last 20 whole seconds that all isolates have had the
 * time to report. Pure: the clock comes in as an argument. What was not listened to for long enough is not known. Nor is
 * how many ticks a batch has before its answer: one that waits for it is counted late, in the second of its arrival.
 */

/** Source: the scaling signal; the pods' own demand has the same window. */
export const DEMAND_WINDOW_SECONDS = 20;
/** An isolate reports every two seconds, and a report takes its way: younger seconds are not complete. */
export const SETTLE_SECONDS = 3;
/** Less is too little to tell a rate from: a new meter says nothing for this and {@link SETTLE_SECONDS}. */
export const LISTENED_MIN_SECONDS = 5;
/** How late a report may be and still be counted in its own seconds. */
const KEPT_SECONDS = 60;

export class Demand {
  /** The first second that was listened to as a whole. */
  readonly #fromSecond: number;
  readonly #seconds = new Map<number, Map<string, number>>();

  constructor(bornMs: number) {
    this.#fromSecond = Math.ceil(bornMs / 1000);
  }

  /** A clock that is ahead counts as ours. */
  add(provider: string, second: number, ticks: number, nowMs: number): void {
    const now = Math.floor(nowMs / 1000);
    if (second < now - KEPT_SECONDS) return;
    const at = Math.min(second, now);
    let ticksOf = this.#seconds.get(at);
    if (ticksOf === undefined) {
      for (const old of this.#seconds.keys()) if (old < now - KEPT_SECONDS) this.#seconds.delete(old);
      this.#seconds.set(at, (ticksOf = new Map()));
    }
    ticksOf.set(provider, (ticksOf.get(provider) ?? 0) + ticks);
  }

  /** Undefined while it has not been listened for long enough. */
  perSecond(provider: string, nowMs: number): number | undefined {
    const end = Math.floor(nowMs / 1000) - SETTLE_SECONDS;
    const start = Math.max(end - DEMAND_WINDOW_SECONDS, this.#fromSecond);
    if (end - start < LISTENED_MIN_SECONDS) return undefined;
    let ticks = 0;
    for (let second = start; second < end; second += 1) ticks += this.#seconds.get(second)?.get(provider) ?? 0;
    return ticks / (end - start);
  }
}
