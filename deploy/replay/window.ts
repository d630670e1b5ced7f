/**
 * How much a well-behaved sender may have in flight: a bound on requests, which the level lowers; a bound on
 * ticks, which is the credit last told; and a time before which nothing is sent at all. Pure: time is passed in.
 */

import type { Level } from '../../pipeline/contract/level.ts';
import type { Attempt } from './pusher.ts';

/**
 * How long a credit that covers no batch holds up a sender with nothing in flight. Only an answer tells a new
 * credit, so after this one batch goes and asks.
 */
export const CREDIT_STALE_MS = 500;

export type Verdict =
  | { kind: 'go' }
  /** Nothing will change before this much time has passed. */
  | { kind: 'later'; waitMs: number }
  /** Room comes with the next answer. */
  | { kind: 'after_an_answer' };

/**
 * Invariant: `requests` and `ticks` are what was entered and has not left, and no `go` is given that would
 * take them over what level and credit allow, save one batch alone to ask for a new credit.
 */
export class Window {
  readonly #requestsMax: number;
  #requests = 0;
  #ticks = 0;
  #level: Level = 'ok';
  /** Nothing is known before the first answer, which the first batch goes alone to get. */
  #creditTicks = 0;
  #isCreditTold = false;
  #creditToldAtMs = Number.NEGATIVE_INFINITY;
  #heldUntilMs = Number.NEGATIVE_INFINITY;

  constructor(requestsMax: number) {
    this.#requestsMax = requestsMax;
  }

  get requests(): number {
    return this.#requests;
  }

  get level(): Level {
    return this.#level;
  }

  /** Whether a batch of `ticks` ticks may be sent now. */
  ask(ticks: number, nowMs: number): Verdict {
    if (nowMs < this.#heldUntilMs) return { kind: 'later', waitMs: this.#heldUntilMs - nowMs };
    if (this.#requests >= this.#requestsAllowed()) return { kind: 'after_an_answer' };
    if (this.#ticks + ticks <= this.#creditTicks) return { kind: 'go' };
    if (this.#requests > 0) return { kind: 'after_an_answer' };
    const waitMs = this.#creditToldAtMs + CREDIT_STALE_MS - nowMs;
    return waitMs > 0 ? { kind: 'later', waitMs } : { kind: 'go' };
  }

  enter(ticks: number): void {
    this.#requests += 1;
    this.#ticks += ticks;
  }

  leave(ticks: number, told: Pick<Attempt, 'level' | 'creditTicks'>, nowMs: number): void {
    this.#requests -= 1;
    this.#ticks -= ticks;
    if (told.level !== undefined) this.#level = told.level;
    if (told.creditTicks !== undefined) {
      this.#creditTicks = told.creditTicks;
      this.#creditToldAtMs = nowMs;
      this.#isCreditTold = true;
    } else if (!this.#isCreditTold) {
      this.#creditTicks = Number.POSITIVE_INFINITY;
    }
  }

  /** Nothing goes before `untilMs`. */
  hold(untilMs: number): void {
    this.#heldUntilMs = Math.max(this.#heldUntilMs, untilMs);
  }

  #requestsAllowed(): number {
    switch (this.#level) {
      case 'ok':
        return this.#requestsMax;
      case 'soft':
        return Math.max(1, Math.floor(this.#requestsMax / 2));
      case 'hard':
        return 1; // not none: its answer is how the sender learns that the level has gone
    }
  }
}
