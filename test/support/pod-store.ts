/** A store in memory that does what the test says: commits, refuses, throws, or waits to be told. */

import type { BatchResult, StoreBatch } from '../../pipeline/queue/delivery.ts';
import type { QuoteRecord, Store, TradeRecord, WriteOutcome } from '../../pipeline/sink/store.ts';

export interface HeldWrite {
  batches: readonly StoreBatch[];
  ticks: number;
  /** Ends the write: as committed, or as given. */
  release(outcome?: WriteOutcome): void;
  fail(cause: unknown): void;
}

/** While `holding`, writes wait in `held`; else they end at once as `outcome` says. */
export class ControllableStore implements Store {
  isOpen = true;
  holding = false;
  held: HeldWrite[] = [];
  /** Ticks of every write that was handed over. */
  readonly groups: number[] = [];
  outcome: (batches: readonly StoreBatch[]) => WriteOutcome = (batches) => this.committed(batches);
  readonly #ledger = new Map<string, { hash: string; result: BatchResult & { outcome: 'stored' } }>();
  #onWrite: (() => void)[] = [];

  open(): Promise<void> {
    return Promise.resolve();
  }

  write(batches: readonly StoreBatch[]): Promise<WriteOutcome> {
    const ticks = batches.reduce((sum, batch) => sum + batch.ticks, 0);
    this.groups.push(ticks);
    for (const resolve of this.#onWrite.splice(0)) resolve();
    if (!this.holding) return new Promise((resolve) => resolve(this.outcome(batches)));
    return new Promise((resolve, reject) => {
      const end = (): void => void this.held.splice(this.held.indexOf(held), 1);
      const held: HeldWrite = {
        batches,
        ticks,
        release: (outcome) => (end(), resolve(outcome ?? this.committed(batches))),
        fail: (cause) => (end(), reject(cause)),
      };
      this.held.push(held);
    });
  }

  /** Resolves at the next write. */
  nextWrite(): Promise<void> {
    return new Promise((resolve) => this.#onWrite.push(resolve));
  }

  /** Releases what waits now and stops holding. */
  releaseAll(): void {
    this.holding = false;
    while (this.held.length > 0) this.held[0]!.release();
  }

  /** What a store says that keeps a ledger but forgets ticks. */
  committed(batches: readonly StoreBatch[]): WriteOutcome {
    return { ok: true, results: batches.map((batch) => this.#commit(batch)) };
  }

  readTrades(): Promise<TradeRecord[]> {
    return Promise.resolve([]);
  }

  readQuotes(): Promise<QuoteRecord[]> {
    return Promise.resolve([]);
  }

  close(): Promise<void> {
    this.isOpen = false;
    return Promise.resolve();
  }

  #commit(batch: StoreBatch): BatchResult {
    const key = `${batch.provider}/${batch.batchId}`;
    const hash = Buffer.from(batch.bodyHash).toString('hex');
    const known = this.#ledger.get(key);
    if (known !== undefined) return known.hash === hash ? { ...known.result, again: true } : { outcome: 'conflict' };
    const { rejected, ignoredFields } = batch;
    const receipt = { stored: batch.ticks - rejected.length, duplicates: 0, rejected, ignoredFields };
    const result = { outcome: 'stored' as const, again: false, receipt };
    this.#ledger.set(key, { hash, result });
    return result;
  }
}
