/**
 * The level of each provider and what it may push: reasons, watermarks and budgets put together. Pure: queue, store
 * state, memory and clock come in as arguments.
 */

import type { Admission } from '../contract/answer.ts';
import type { Level } from '../contract/level.ts';
import { LEVEL_NUMBER, worstLevel } from '../contract/level.ts';
import { creditTicks, EMPTY_FILL, providerShare, queueFill, queueShare, type QueueView } from './fair-share.ts';
import { type Budget, TokenBucket } from './token-bucket.ts';
import { MEMORY_WATERMARKS, nextLevel, WATERMARKS } from './watermark.ts';

/** Accounts kept for providers that no setting names; beyond it they share one, so that names cost no memory. */
export const UNLISTED_PROVIDERS_MAX = 1_000;

export type Circuit = 'closed' | 'half_open' | 'open';

export const CIRCUIT_LEVEL: Readonly<Record<Circuit, Level>> = { closed: 'ok', half_open: 'soft', open: 'hard' };

export interface Observed {
  /** Looked at again whenever a provider's own part of it matters. */
  queue: QueueView;
  circuit: Circuit;
  /** The worst of what foreign stores say. It names a coordinator and no provider, and so concerns them all. */
  feedback: Level;
  /** Memory in use, as a share of its limit. */
  memoryShare: number;
}

/** What each reason says by itself. */
export type Reasons = Readonly<Record<'queue' | 'store' | 'feedback' | 'memory', Level>>;

export type AdmitOutcome =
  | { ok: true }
  /** Over the provider's own budget at full scale. */
  | { ok: false; why: 'over-budget'; retryAfterSeconds: number }
  /** Full scale would have admitted it; at `hard` the wait is not the bucket's to know and is infinite here. */
  | { ok: false; why: 'backpressure'; retryAfterSeconds: number };

interface Account {
  /** What the level admits. */
  scaled: TokenBucket;
  /**
   * What full scale would have admitted, of all that was offered. Invariant: what was admitted and what was blamed on
   * the level are, together, within the rate of the budget; a provider within its budget is never blamed.
   */
  full: TokenBucket;
  queueLevel: Level;
}

/** Invariant: a level is the worst of the reasons last observed, and no provider's is worse than the pod's. */
export class Throttle {
  readonly #budgets: ReadonlyMap<string, Budget>;
  readonly #otherBudget: Budget;
  readonly #rateScale: Readonly<Record<Level, number>>;
  readonly #accounts = new Map<string, Account>();
  #shared: Account | undefined;
  #ticksOf: (provider: string) => number = () => 0;
  #fill = EMPTY_FILL;
  #queueLevel: Level = 'ok';
  #circuitLevel: Level = 'ok';
  #feedbackLevel: Level = 'ok';
  #memoryLevel: Level = 'ok';

  constructor(budgets: ReadonlyMap<string, Budget>, otherBudget: Budget, rateScale: Readonly<Record<Level, number>>) {
    this.#budgets = budgets;
    this.#otherBudget = otherBudget;
    this.#rateScale = rateScale;
  }

  /** To be called before a level is shown or used: on every answer and every scrape. */
  observe({ queue, circuit, feedback, memoryShare }: Observed): void {
    this.#ticksOf = (provider) => queue.depthTicksOf(provider);
    this.#fill = queueFill(queue);
    this.#circuitLevel = CIRCUIT_LEVEL[circuit];
    this.#feedbackLevel = feedback;
    this.#memoryLevel = nextLevel(this.#memoryLevel, memoryShare, MEMORY_WATERMARKS);
    const before = this.#queueLevel;
    this.#queueLevel = nextLevel(before, queueShare(this.#fill));
    // Who has not been looked at meanwhile must not remember the last time.
    if (before !== 'ok' && this.#queueLevel === 'ok') {
      for (const account of this.#accounts.values()) account.queueLevel = 'ok';
      if (this.#shared !== undefined) this.#shared.queueLevel = 'ok';
    }
  }

  /** The pod's level: that of a provider who sees the queue as full as it is. */
  get level(): Level {
    return worstLevel(Object.values(this.reasons));
  }

  get reasons(): Reasons {
    return this.#reasonsWith(this.#queueLevel);
  }

  get rateScale(): number {
    return this.#rateScale[this.level];
  }

  levelOf(provider: string): Level {
    return worstLevel(Object.values(this.reasonsOf(provider)));
  }

  /** The queue's is the provider's own: others' floods are no reason for it. */
  reasonsOf(provider: string): Reasons {
    return this.#reasonsWith(this.#queueLevelOf(provider));
  }

  rateScaleOf(provider: string): number {
    return this.#rateScale[this.levelOf(provider)];
  }

  /** Ticks that this pod has room for from the provider now, without its level leaving ok; 0 at any other level. */
  creditOf(provider: string): number {
    return this.levelOf(provider) === 'ok' ? creditTicks(this.#fill, this.#ticksOf(provider)) : 0;
  }

  /** Takes `ticks` from the provider's budget, or says why not and when to ask again. */
  admit(provider: string, ticks: number, nowMs: number): AdmitOutcome {
    const account = this.#account(provider, nowMs);
    let outcome = account.scaled.take(ticks, this.rateScaleOf(provider), nowMs);
    if (outcome.ok && this.#wouldTurnHard(provider, ticks)) {
      account.scaled.giveBack(ticks);
      this.#queueLevel = 'hard';
      account.queueLevel = 'hard';
      outcome = account.scaled.take(ticks, this.rateScaleOf(provider), nowMs);
    }
    const fullScale = this.#rateScale.ok;
    if (outcome.ok) {
      account.full.spend(ticks, fullScale, nowMs);
      return outcome;
    }
    const atFullScale = account.full.take(ticks, fullScale, nowMs);
    if (atFullScale.ok) return { ...outcome, why: 'backpressure' };
    // Of two waits the scaled one is the longer, but at scale 0 there is none.
    const { retryAfterSeconds } = Number.isFinite(outcome.retryAfterSeconds) ? outcome : atFullScale;
    return { ok: false, why: 'over-budget', retryAfterSeconds };
  }

  /**
   * Returns what {@link admit} took, when the ticks were refused after it. Without it our own lack of room would use
   * up the provider's budget, and the next refusal would blame the provider.
   */
  giveBack(provider: string, ticks: number, nowMs: number): void {
    const { scaled, full } = this.#account(provider, nowMs);
    scaled.giveBack(ticks);
    full.giveBack(ticks);
  }

  /**
   * The provider's admission for the headers of an answer. Keeps no account for one that is not listed: names that
   * nobody has proved to have would use up those of others.
   */
  admission(provider: string, nowMs: number): Admission {
    const isListed = this.#budgets.has(provider);
    const account = isListed ? this.#account(provider, nowMs) : this.#known(provider);
    const { scaled } = account ?? newAccount(this.#otherBudget, nowMs);
    const level = this.levelOf(provider);
    const rateScale = this.#rateScale[level];
    return {
      level,
      rateScale,
      quotaTicksPerSecond: scaled.budget.ticksPerSecond * rateScale,
      remainingTicks: scaled.remaining(rateScale, nowMs),
    };
  }

  /**
   * Who is at soft already does not take the queue over the hard mark: the level turns instead, and the room beyond
   * it is kept for those within their fair share, who are still at ok.
   */
  #wouldTurnHard(provider: string, ticks: number): boolean {
    const { depthTicks, capacityTicks } = this.#fill;
    return this.#queueLevelOf(provider) === 'soft' && depthTicks + ticks > capacityTicks * WATERMARKS.hardFrom;
  }

  #reasonsWith(queue: Level): Reasons {
    return { queue, store: this.#circuitLevel, feedback: this.#feedbackLevel, memory: this.#memoryLevel };
  }

  #queueLevelOf(provider: string): Level {
    const account = this.#known(provider);
    const own = nextLevel(account?.queueLevel ?? 'ok', providerShare(this.#fill, this.#ticksOf(provider)));
    const level = milder(own, this.#queueLevel);
    if (account !== undefined) account.queueLevel = level;
    return level;
  }

  #budgetOf(provider: string): Budget {
    return this.#budgets.get(provider) ?? this.#otherBudget;
  }

  #known(provider: string): Account | undefined {
    return this.#accounts.get(provider) ?? (this.#budgets.has(provider) ? undefined : this.#shared);
  }

  #account(provider: string, nowMs: number): Account {
    const known = this.#accounts.get(provider);
    if (known !== undefined) return known;
    const isListed = this.#budgets.has(provider);
    if (!isListed && this.#accounts.size >= UNLISTED_PROVIDERS_MAX + this.#budgets.size) {
      this.#shared ??= newAccount(this.#otherBudget, nowMs);
      return this.#shared;
    }
    const account = newAccount(this.#budgetOf(provider), nowMs);
    this.#accounts.set(provider, account);
    return account;
  }
}

function newAccount(budget: Budget, nowMs: number): Account {
  return { scaled: new TokenBucket(budget, nowMs), full: new TokenBucket(budget, nowMs), queueLevel: 'ok' };
}

function milder(left: Level, right: Level): Level {
  return LEVEL_NUMBER[left] < LEVEL_NUMBER[right] ? left : right;
}
