/**
 * What one isolate has seen since it last told the board. Plain counting in memory, cheap enough for every batch;
 * knows neither the board nor when to tell it.
 */

import type { Level } from '../../pipeline/contract/level.ts';
import { addCounts, type EdgeReport, NO_BATCHES, PROVIDERS_KEPT_MAX } from './window.ts';

/** What the sender of a batch was told: 200, 202, a refusal of the system's, or an error of the sender's own. */
export type BatchFate = 'stored' | 'buffered' | 'refused' | 'rejected';

/** By the answer's status; a 429 that is the sender's own doing (`/over-budget`) is no refusal of the system's. */
export function fateOf(status: number, overBudget: boolean): BatchFate {
  if (status === 200) return 'stored';
  if (status === 202) return 'buffered';
  return status >= 500 || (status === 429 && !overBudget) ? 'refused' : 'rejected';
}

export interface NotedAnswer {
  provider: string;
  fate: BatchFate;
  /** In the batch, when they were counted. */
  ticks?: number;
  level?: Level | undefined;
}

/** Invariant: what was noted is in exactly one report, or still here. */
export class EdgeTally {
  #counts = { ...NO_BATCHES };
  #providers: Record<string, Level | null> = {};
  #providersNoted = 0;

  get isEmpty(): boolean {
    const { stored, buffered, refused, rejected, failed } = this.#counts;
    return stored + buffered + refused + rejected + failed === 0;
  }

  noteAnswer({ provider, fate, ticks = 0, level }: NotedAnswer): void {
    this.#counts[fate] += 1;
    // Ticks that were sent back come again, and are counted then.
    if (fate === 'stored' || fate === 'buffered') this.#counts.ticks += ticks;
    this.#noteProvider(provider, level ?? null);
  }

  /** The cluster gave a batch no answer, whatever its sender is told. */
  noteFailure(): void {
    this.#counts.failed += 1;
  }

  take(): EdgeReport {
    const report = { counts: this.#counts, providers: this.#providers };
    this.#counts = { ...NO_BATCHES };
    this.#providers = {};
    this.#providersNoted = 0;
    return report;
  }

  /** A report that did not reach the board. */
  putBack({ counts, providers }: EdgeReport): void {
    this.#counts = addCounts(this.#counts, counts);
    for (const [name, level] of Object.entries(providers)) this.#noteProvider(name, this.#providers[name] ?? level);
  }

  #noteProvider(name: string, level: Level | null): void {
    const before = this.#providers[name];
    if (before === undefined) {
      if (this.#providersNoted >= PROVIDERS_KEPT_MAX) return;
      this.#providersNoted += 1;
    }
    this.#providers[name] = level ?? before ?? null;
  }
}
