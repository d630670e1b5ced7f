/**
 * A real store that can be made slow, absent or mad, as one file on one bad disk would be: its writing calls come one
 * after the other, and each waits, fails, throws or hangs as it is told when its turn comes. Reading is left alone.
 */

import type {
  DeadLetterQuery,
  DeadLetterRecord,
  LedgerRecord,
  QuoteRecord,
  Store,
  TickQuery,
  TradeRecord,
  WriteFailure,
  WriteOutcome,
} from '../../pipeline/sink/store.ts';
import type { StoreBatch } from '../../pipeline/queue/delivery.ts';

export interface StoreFault {
  /** What becomes of a call; `hang`: nothing, until the fault is another. */
  kind: 'none' | 'unavailable' | 'throw' | 'hang';
  /** How long each call takes beside its own work. */
  delayMs: number;
  /** Whether it meets the call before its commit or between the commit and its answer. */
  when: 'before' | 'after';
}

export const NO_FAULT: StoreFault = { kind: 'none', delayMs: 0, when: 'before' };

const AWAY: WriteFailure = { ok: false, kind: 'unavailable', detail: 'the test took the store away' };

export class FaultyStore implements Store {
  readonly #store: Store;
  #fault = NO_FAULT;
  #onChange = Promise.withResolvers<void>();
  /** The end of the last writing call. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(store: Store) {
    this.#store = store;
  }

  obey(fault: StoreFault): void {
    this.#fault = fault;
    this.#onChange.resolve();
    this.#onChange = Promise.withResolvers<void>();
  }

  get isOpen(): boolean {
    return this.#store.isOpen;
  }

  open(): Promise<void> {
    return this.#store.open();
  }

  write(batches: readonly StoreBatch[]): Promise<WriteOutcome> {
    return this.#suffer(AWAY, () => this.#store.write(batches));
  }

  rehearse(batch: StoreBatch): Promise<WriteOutcome> {
    return this.#suffer(AWAY, () => this.#store.rehearse(batch));
  }

  check(): Promise<WriteFailure | null> {
    return this.#suffer(AWAY, () => this.#store.check());
  }

  replay(batch: StoreBatch): Promise<WriteOutcome> {
    return this.#suffer(AWAY, () => this.#store.replay(batch));
  }

  readSymbols(provider: string, limit: number): Promise<string[]> {
    return this.#store.readSymbols(provider, limit);
  }

  readTrades(query: TickQuery): Promise<TradeRecord[]> {
    return this.#store.readTrades(query);
  }

  readQuotes(query: TickQuery): Promise<QuoteRecord[]> {
    return this.#store.readQuotes(query);
  }

  readLedger(provider: string, batchId: string): Promise<LedgerRecord | undefined> {
    return this.#store.readLedger(provider, batchId);
  }

  readDeadLetters(query: DeadLetterQuery): Promise<DeadLetterRecord[]> {
    return this.#store.readDeadLetters(query);
  }

  /** After the calls under way: while one hangs, never. */
  async close(): Promise<void> {
    await this.#turn;
    await this.#store.close();
  }

  #suffer<Outcome>(away: Outcome, call: () => Promise<Outcome>): Promise<Outcome> {
    const suffered = this.#turn.then(async () => {
      const { when } = this.#fault;
      if (when === 'before') return (await this.#meet(away)) ?? call();
      const outcome = await call();
      return (await this.#meet(away)) ?? outcome;
    });
    this.#turn = suffered.then(
      () => undefined,
      () => undefined,
    );
    return suffered;
  }

  /** Undefined: the call is let through. */
  async #meet<Outcome>(away: Outcome): Promise<Outcome | undefined> {
    if (this.#fault.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.#fault.delayMs));
    while (this.#fault.kind === 'hang') await this.#onChange.promise;
    if (this.#fault.kind === 'throw') throw new Error('the test made the store throw');
    return this.#fault.kind === 'unavailable' ? away : undefined;
  }
}
