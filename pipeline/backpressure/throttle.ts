/**
 * The level of this pod and what each provider may push at it: watermarks and budgets put together. Pure: depth,
 * store state and clock come in as arguments.
 */

import type { Admission } from '../contract/answer.ts';
import type { Level } from '../contract/level.ts';
import { worstLevel } from '../contract/level.ts';
import { type Budget, TokenBucket } from './token-bucket.ts';
import { nextLevel } from './watermark.ts';

/** Buckets kept for providers that no setting names; beyond it they share one, so that names cost no memory. */
export const UNLISTED_PROVIDERS_MAX = 1_000;

export type AdmitOutcome =
  | { ok: true }
  /** Over the provider's own budget at full scale. */
  | { ok: false; why: 'over-budget'; retryAfterSeconds: number }
  /** Because of the level; at `hard` the wait is not the bucket's to know and is infinite here. */
  | { ok: false; why: 'backpressure'; retryAfterSeconds: number };

/** Invariant: `level` is the worst of the reasons last observed. */
export class Throttle {
  readonly #budgets: ReadonlyMap<string, Budget>;
  readonly #otherBudget: Budget;
  readonly #rateScale: Readonly<Record<Level, number>>;
  readonly #buckets = new Map<string, TokenBucket>();
  #shared: TokenBucket | undefined;
  #queueLevel: Level = 'ok';
  #storeLevel: Level = 'ok';
  #feedbackLevel: Level = 'ok';

  constructor(budgets: ReadonlyMap<string, Budget>, otherBudget: Budget, rateScale: Readonly<Record<Level, number>>) {
    this.#budgets = budgets;
    this.#otherBudget = otherBudget;
    this.#rateScale = rateScale;
  }

  /** To be called before `level` is shown or used: on every answer and every scrape. */
  observe(queueShare: number, storeOpen: boolean, feedback: Level = 'ok'): void {
    this.#queueLevel = nextLevel(this.#queueLevel, queueShare);
    this.#storeLevel = storeOpen ? 'ok' : 'hard';
    this.#feedbackLevel = feedback;
  }

  get level(): Level {
    return worstLevel(Object.values(this.reasons));
  }

  /** What each reason says by itself. */
  get reasons(): Readonly<Record<'queue' | 'store' | 'feedback', Level>> {
    return { queue: this.#queueLevel, store: this.#storeLevel, feedback: this.#feedbackLevel };
  }

  get rateScale(): number {
    return this.#rateScale[this.level];
  }

  /** Takes `ticks` from the provider's budget, or says why not and when to ask again. */
  admit(provider: string, ticks: number, nowMs: number): AdmitOutcome {
    const outcome = this.#bucket(provider, nowMs).take(ticks, this.rateScale, nowMs);
    if (outcome.ok) return outcome;
    return { ...outcome, why: this.level === 'ok' ? 'over-budget' : 'backpressure' };
  }

  /**
   * Returns what {@link admit} took, when the ticks were refused after it. Without it our own lack of room would use
   * up the provider's budget, and the next refusal would blame the provider.
   */
  giveBack(provider: string, ticks: number, nowMs: number): void {
    this.#bucket(provider, nowMs).giveBack(ticks);
  }

  /** The provider's admission for the headers of an answer. */
  admission(provider: string, nowMs: number): Admission {
    const bucket = this.#bucket(provider, nowMs);
    const { level, rateScale } = this;
    return {
      level,
      rateScale,
      quotaTicksPerSecond: bucket.budget.ticksPerSecond * rateScale,
      remainingTicks: bucket.remaining(rateScale, nowMs),
    };
  }

  #bucket(provider: string, nowMs: number): TokenBucket {
    const known = this.#buckets.get(provider);
    if (known !== undefined) return known;
    const listed = this.#budgets.get(provider);
    if (listed === undefined && this.#buckets.size >= UNLISTED_PROVIDERS_MAX + this.#budgets.size) {
      this.#shared ??= new TokenBucket(this.#otherBudget, nowMs);
      return this.#shared;
    }
    const bucket = new TokenBucket(listed ?? this.#otherBudget, nowMs);
    this.#buckets.set(provider, bucket);
    return bucket;
  }
}
