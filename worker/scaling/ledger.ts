/**
 * What all isolates have reported, put together: demand and counters for each provider. Pure state in memory; a new one
 * begins at 0 with its counters and without a demand.
 *
 * How exact it is: a batch that comes again to the same isolate counts once, and so does one that is refused by
 * several. One that is refused by one isolate and then taken by another counts twice, never more often; one that was
 * taken and is sent again to another isolate, since its sender did not hear of it, counts again.
 */

import { type BatchOutcome, noBatches, type ScalingReport } from './calls.ts';
import { Demand } from './demand.ts';
import { RecentKeys } from './recent.ts';

/** Far more than isolates and refused batches of two minutes. */
const REPORTS_REMEMBERED_MAX = 20_000;

interface Counters {
  ticksOffered: number;
  batches: Record<BatchOutcome, number>;
}

/** Invariant: each report is counted once. */
export class ScalingLedger {
  readonly #demand: Demand;
  readonly #reports = new RecentKeys(REPORTS_REMEMBERED_MAX);
  readonly #refused = new RecentKeys();
  /** Only providers with credentials have batches: at most as many. */
  readonly #counters = new Map<string, Counters>();
  readonly #bufferedMs = new Map<string, number>();

  constructor(bornMs: number) {
    this.#demand = new Demand(bornMs);
  }

  take(report: ScalingReport, nowMs: number): void {
    if (!this.#reports.isFirst(report.id, nowMs)) return;
    for (const { provider, second, ticks } of report.arrivals) this.#arrived(provider, second, ticks, nowMs);
    for (const { batch, provider, second, ticks } of report.refused) {
      if (this.#refused.isFirst(batch, nowMs)) this.#arrived(provider, second, ticks, nowMs);
    }
    for (const { provider, outcome, count } of report.batches) {
      this.#of(provider).batches[outcome] += count;
      if (outcome === 'buffered') this.#bufferedMs.set(provider, nowMs);
    }
  }

  ticksPerSecond(provider: string, nowMs: number): number | undefined {
    return this.#demand.perSecond(provider, nowMs);
  }

  counters(provider: string): Counters {
    return this.#counters.get(provider) ?? { ticksOffered: 0, batches: noBatches() };
  }

  /** When a batch of this provider was last reported to have gone into the outbox. */
  bufferedMs(provider: string): number | undefined {
    return this.#bufferedMs.get(provider);
  }

  #arrived(provider: string, second: number, ticks: number, nowMs: number): void {
    this.#demand.add(provider, second, ticks, nowMs);
    this.#of(provider).ticksOffered += ticks;
  }

  #of(provider: string): Counters {
    let counters = this.#counters.get(provider);
    if (counters === undefined) this.#counters.set(provider, (counters = { ticksOffered: 0, batches: noBatches() }));
    return counters;
  }
}
