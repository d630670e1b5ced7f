/**
 * What the outboxes hold: each one is asked at most every five seconds, and one that is empty, and into which nothing
 * was reported to go, every minute. What none has said of late is not known.
 */

import { within } from '../deadline.ts';
import { outboxName, type OutboxNamespace, type OutboxTotals } from '../outbox/calls.ts';

export const ASK_INTERVAL_MS = 5_000;
/** Asking keeps an object in memory; one without batches may sleep. */
export const ASK_EMPTY_INTERVAL_MS = 60_000;
export const ASK_TIMEOUT_MS = 2_000;
/** An older word says nothing about now. */
export const KNOWN_MAX_MS = 10_000;

interface Known {
  atMs: number;
  totals: OutboxTotals;
}

export interface Outstanding {
  ticks: number;
  /** Of the oldest one; 0 when there is none. */
  oldestSeconds: number;
}

export class OutboxWatch {
  readonly #nowMs: () => number;
  readonly #known = new Map<string, Known>();
  /** Whoever asks meanwhile gets the same answer. */
  readonly #asking = new Map<string, Promise<void>>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** `bufferedMs`: when a batch last went in, as far as is known. Undefined when the outbox does not say. */
  async outstanding(
    outbox: OutboxNamespace | undefined,
    provider: string,
    bufferedMs: number | undefined,
  ): Promise<Outstanding | undefined> {
    if (outbox === undefined) return { ticks: 0, oldestSeconds: 0 }; // an edge without one holds nothing
    const before = this.#known.get(provider);
    const isQuiet = before?.totals.batches === 0 && (bufferedMs === undefined || bufferedMs < before.atMs);
    const intervalMs = isQuiet ? ASK_EMPTY_INTERVAL_MS : ASK_INTERVAL_MS;
    if (before === undefined || this.#nowMs() - before.atMs >= intervalMs) await this.#ask(outbox, provider);
    const known = this.#known.get(provider);
    const nowMs = this.#nowMs();
    if (known === undefined || nowMs - known.atMs > Math.max(KNOWN_MAX_MS, intervalMs)) return undefined;
    const { ticks, oldestMs } = known.totals;
    return { ticks, oldestSeconds: oldestMs === null ? 0 : Math.max(0, nowMs - oldestMs) / 1000 };
  }

  #ask(outbox: OutboxNamespace, provider: string): Promise<void> {
    let asking = this.#asking.get(provider);
    if (asking === undefined) {
      asking = this.#askNow(outbox, provider).finally(() => this.#asking.delete(provider));
      this.#asking.set(provider, asking);
    }
    return asking;
  }

  async #askNow(outbox: OutboxNamespace, provider: string): Promise<void> {
    const atMs = this.#nowMs();
    try {
      const totals = await within(outbox.getByName(outboxName(provider)).totals(), ASK_TIMEOUT_MS, undefined);
      if (totals !== undefined) this.#known.set(provider, { atMs, totals });
    } catch {
      // it is then not known
    }
  }
}
