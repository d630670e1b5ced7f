/**
 * The meter: the one Durable Object that hears how many ticks every isolate was offered, asks the outboxes what they
 * hold, and tells scalers and scrapers. In memory alone: a meter that has just begun says that it does not know.
 */

import { DurableObject } from 'cloudflare:workers';
import { outboxOf } from './outbox/calls.ts';
import type { MeterCalls, ProviderFigures, ScalingFigures, ScalingReport } from './scaling/calls.ts';
import { ScalingLedger } from './scaling/ledger.ts';
import { OutboxWatch } from './scaling/outstanding.ts';
import { settingsOf } from './settings.ts';

export interface MeterParts {
  nowMs: () => number;
}

export class MeterObject extends DurableObject<object> implements MeterCalls {
  readonly #nowMs: () => number;
  readonly #ledger: ScalingLedger;
  readonly #outboxes: OutboxWatch;

  constructor(ctx: DurableObjectState, env: object, { nowMs }: MeterParts) {
    super(ctx, env);
    this.#nowMs = nowMs;
    this.#ledger = new ScalingLedger(nowMs());
    this.#outboxes = new OutboxWatch(nowMs);
  }

  report(report: ScalingReport): Promise<void> {
    this.#ledger.take(report, this.#nowMs());
    return Promise.resolve();
  }

  async figures(): Promise<ScalingFigures | undefined> {
    const { outcome } = await settingsOf(this.env);
    if (!outcome.ok) return undefined;
    const names = [...outcome.settings.providers.keys()];
    const figures = await Promise.all(names.map(async (name) => [name, await this.#figuresOf(name)] as const));
    return { atMs: this.#nowMs(), providers: Object.fromEntries(figures) };
  }

  async #figuresOf(provider: string): Promise<ProviderFigures> {
    const bufferedMs = this.#ledger.bufferedMs(provider);
    const outstanding = await this.#outboxes.outstanding(outboxOf(this.env), provider, bufferedMs);
    return {
      ticksPerSecond: this.#ledger.ticksPerSecond(provider, this.#nowMs()) ?? null,
      outstandingTicks: outstanding?.ticks ?? null,
      oldestOutstandingSeconds: outstanding?.oldestSeconds ?? null,
      ...this.#ledger.counters(provider),
    };
  }
}
