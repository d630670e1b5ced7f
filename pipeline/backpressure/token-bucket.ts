/**
 * A provider's budget: ticks per second and a burst, both multiplied by the rate scale of the level. Pure: the
 * clock comes in as an argument.
 */

export interface Budget {
  ticksPerSecond: number;
  burst: number;
}

export type BudgetOutcome = { ok: true } | { ok: false; retryAfterSeconds: number };

/**
 * Invariant: the balance never exceeds the scaled burst. It may fall below 0: a batch larger than what a scaled
 * burst can ever hold is let through by a full bucket and paid for afterwards, or it could never pass.
 */
export class TokenBucket {
  readonly budget: Budget;
  #balance: number;
  #asOfMs: number;

  constructor(budget: Budget, nowMs: number) {
    this.budget = budget;
    this.#balance = budget.burst;
    this.#asOfMs = nowMs;
  }

  /** Takes `ticks` from the budget, or says in how many seconds to ask again. At scale 0 nothing passes. */
  take(ticks: number, scale: number, nowMs: number): BudgetOutcome {
    this.#refill(scale, nowMs);
    if (scale <= 0) return { ok: false, retryAfterSeconds: Number.POSITIVE_INFINITY };
    const needed = Math.min(ticks, this.budget.burst * scale);
    if (this.#balance < needed) {
      return { ok: false, retryAfterSeconds: (needed - this.#balance) / (this.budget.ticksPerSecond * scale) };
    }
    this.#balance -= ticks;
    return { ok: true };
  }

  /** Takes `ticks` whether they are there or not: another bucket has let them through. */
  spend(ticks: number, scale: number, nowMs: number): void {
    this.#refill(scale, nowMs);
    this.#balance -= ticks;
  }

  /** Undoes a `take` or `spend` whose ticks went nowhere. */
  giveBack(ticks: number): void {
    this.#balance = Math.min(this.#balance + ticks, this.budget.burst);
  }

  /** Ticks that would pass this instant. */
  remaining(scale: number, nowMs: number): number {
    this.#refill(scale, nowMs);
    return scale <= 0 ? 0 : Math.max(0, this.#balance);
  }

  #refill(scale: number, nowMs: number): void {
    // A clock that steps back gives nothing and takes nothing.
    const seconds = Math.max(0, nowMs - this.#asOfMs) / 1000;
    this.#asOfMs = nowMs;
    const earned = this.#balance + seconds * this.budget.ticksPerSecond * scale;
    this.#balance = Math.min(earned, this.budget.burst * scale);
  }
}
