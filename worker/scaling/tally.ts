/**
 * What one isolate has seen since its last report to the meter: ticks by the second in which their batch arrived,
 * however long its answer took, and how batches ended. First arrivals alone. Plain counting in memory, cheap enough for every batch.
 */

import { scopedBatchId } from '../../pipeline/contract/identity.ts';
import type { Arrivals, BatchOutcome, ScalingReport } from './calls.ts';
import { RecentKeys } from './recent.ts';

/** Pairs of provider and second: a minute of a hundred providers while the meter is away. The oldest go first. */
export const ARRIVALS_MAX = 6_000;
/** Beyond it a refused batch counts as any other: once for each isolate that it comes to. */
export const REFUSED_MAX = 1_000;

export interface NotedBatch {
  provider: string;
  batch: string;
  outcome: BatchOutcome;
  /** In the batch; undefined when nobody could count them. */
  ticks: number | undefined;
  arrivedMs: number;
}

/** Invariant: a tick is in at most one report; in exactly one, unless the meter is away for a minute. */
export class ScalingTally {
  readonly #recent = new RecentKeys();
  #arrivals = new Map<string, Arrivals>();
  #refused: ScalingReport['refused'] = [];
  #batches = new Map<string, ScalingReport['batches'][number]>();

  get isEmpty(): boolean {
    return this.#batches.size === 0;
  }

  /** Whether a batch was counted already, so that its ticks need not be. */
  isKnown(provider: string, batch: string, nowMs: number): boolean {
    return this.#recent.has(scopedBatchId(provider, batch), nowMs);
  }

  note({ provider, batch, outcome, ticks, arrivedMs }: NotedBatch, nowMs: number): void {
    this.#noteOutcome(provider, outcome);
    if (ticks === undefined || ticks === 0) return;
    const key = scopedBatchId(provider, batch);
    if (!this.#recent.isFirst(key, nowMs)) return;
    const second = Math.floor(arrivedMs / 1000);
    const comesAgain = outcome === 'over_budget' || outcome === 'refused';
    if (comesAgain && this.#refused.length < REFUSED_MAX) {
      this.#refused.push({ batch: key, provider, second, ticks });
    } else {
      this.#noteArrival(provider, second, ticks);
    }
  }

  take(id: string): ScalingReport {
    const report = {
      id,
      arrivals: [...this.#arrivals.values()],
      refused: this.#refused,
      batches: [...this.#batches.values()],
    };
    this.#arrivals = new Map();
    this.#refused = [];
    this.#batches = new Map();
    return report;
  }

  #noteOutcome(provider: string, outcome: BatchOutcome): void {
    const key = `${provider} ${outcome}`;
    const known = this.#batches.get(key);
    if (known === undefined) this.#batches.set(key, { provider, outcome, count: 1 });
    else known.count += 1;
  }

  #noteArrival(provider: string, second: number, ticks: number): void {
    const key = `${provider} ${second}`;
    const known = this.#arrivals.get(key);
    if (known !== undefined) {
      known.ticks += ticks;
      return;
    }
    if (this.#arrivals.size >= ARRIVALS_MAX) this.#arrivals.delete(this.#arrivals.keys().next().value!);
    this.#arrivals.set(key, { provider, second, ticks });
  }
}
