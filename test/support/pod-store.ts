/** A store in memory that does what the test says: commits, refuses, throws, or waits to be told. */

import type { BatchResult, StoreBatch } from '../../pipeline/queue/delivery.ts';
import type {
  DeadLetterRecord,
  LedgerRecord,
  QuoteRecord,
  Store,
  TradeRecord,
  WriteFailure,
  WriteOutcome,
} from '../../pipeline/sink/store.ts';

export interface HeldWrite {
  batches: readonly StoreBatch[];
  ticks: number;
  /** Ends the write: as committed, or as given. */
  release(outcome?: WriteOutcome): void;
  /** Commits it, and is not heard. */
  loseAnswer(): void;
  fail(cause: unknown): void;
}

/** While `holding`, writes wait in `held`; else they end at once as `outcome` says. */
export class ControllableStore implements Store {
  isOpen = true;
  holding = false;
  held: HeldWrite[] = [];
  /** Ticks of every write that was handed over. */
  readonly groups: number[] = [];
  /** Ids of the batches in them. */
  readonly written: string[] = [];
  readonly #last = new Map<string, StoreBatch>();
  /** Whether {@link outcome} is asked for what is not kept. */
  rehearsing = false;
  outcome: (batches: readonly StoreBatch[]) => WriteOutcome = (batches) => this.committed(batches);
  readonly #ledger = new Map<string, { hash: string; result: BatchResult & { outcome: 'stored' } }>();
  checks = 0;
  checkFailure: WriteFailure | null = null;
  #onWrite: (() => void)[] = [];

  open(): Promise<void> {
    return Promise.resolve();
  }

  write(batches: readonly StoreBatch[]): Promise<WriteOutcome> {
    const ticks = batches.reduce((sum, batch) => sum + batch.ticks, 0);
    this.groups.push(ticks);
    this.written.push(...batches.map(({ batchId }) => batchId));
    for (const batch of batches) this.#last.set(batch.batchId, batch);
    for (const resolve of this.#onWrite.splice(0)) resolve();
    if (!this.holding) return new Promise((resolve) => resolve(this.outcome(batches)));
    return new Promise((resolve, reject) => {
      const end = (): void => void this.held.splice(this.held.indexOf(held), 1);
      const held: HeldWrite = {
        batches,
        ticks,
        release: (outcome) => (end(), resolve(outcome ?? this.committed(batches))),
        loseAnswer: () => {
          this.committed(batches);
          held.release({ ok: false, kind: 'unavailable', detail: 'the answer was lost' });
        },
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

  /** The batch of this id as it was written last. */
  lastOf(batchId: string): StoreBatch | undefined {
    return this.#last.get(batchId);
  }

  readSymbols(): Promise<string[]> {
    return Promise.resolve([]);
  }

  readTrades(): Promise<TradeRecord[]> {
    return Promise.resolve([]);
  }

  readQuotes(): Promise<QuoteRecord[]> {
    return Promise.resolve([]);
  }

  /** As {@link outcome} says, but nothing is kept. */
  rehearse(batch: StoreBatch): Promise<WriteOutcome> {
    this.rehearsing = true;
    try {
      return Promise.resolve(this.outcome([batch]));
    } finally {
      this.rehearsing = false;
      this.#ledger.delete(keyOf(batch));
    }
  }

  check(): Promise<WriteFailure | null> {
    this.checks += 1;
    return Promise.resolve(this.checkFailure);
  }

  replay(batch: StoreBatch): Promise<WriteOutcome> {
    const { ticks, ignoredFields } = batch;
    const receipt = { stored: ticks, duplicates: 0, rejected: [], ignoredFields };
    return Promise.resolve({ ok: true, results: [{ outcome: 'stored', again: false, receipt }] });
  }

  readLedger(): Promise<LedgerRecord | undefined> {
    return Promise.resolve(undefined);
  }

  readDeadLetters(): Promise<DeadLetterRecord[]> {
    return Promise.resolve([]);
  }

  close(): Promise<void> {
    this.isOpen = false;
    return Promise.resolve();
  }

  #commit(batch: StoreBatch): BatchResult {
    const key = keyOf(batch);
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

function keyOf({ provider, batchId }: StoreBatch): string {
  return `${provider}/${batchId}`;
}
