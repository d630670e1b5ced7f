/**
 * What the pipeline asks of a store. A store commits groups of batches, each with its entry in the batch
 * ledger, in one transaction; and it reads ticks back.
 */

import type { Rejection } from '../contract/answer.ts';
import type { TickBytes } from '../contract/tick-bytes.ts';
import type { BatchResult, Receipt, StoreBatch } from '../queue/delivery.ts';

/**
 * - `unavailable`: the store, the way to it, its disk or our rights are not what they have to be. Wait.
 * - `contention`: the store is well, and what was in the way passes. Try again soon.
 * - `data`: a tick of the group cannot be written as it is, however often it is tried. Split the group.
 */
export type FailureKind = 'unavailable' | 'contention' | 'data';

/** Nothing of the group is known to be stored; offering it again is safe. */
export interface WriteFailure {
  ok: false;
  kind: FailureKind;
  detail: string;
}

export type WriteOutcome =
  /** One result for each batch, in order. */
  { ok: true; results: BatchResult[] } | WriteFailure;

export interface TradeRecord {
  symbol: string;
  tsNs: bigint;
  id: string;
  price: number;
  size: number;
  side: string | null;
  venue: string | null;
  conditions: string | null;
  storedAtMs: number;
  pod: string;
}

export interface QuoteRecord {
  symbol: string;
  tsNs: bigint;
  id: string;
  bidPrice: number | null;
  bidSize: number | null;
  askPrice: number | null;
  askSize: number | null;
  venue: string | null;
  conditions: string | null;
  storedAtMs: number;
  pod: string;
}

/** Ticks of one symbol, newest first, `fromNs` included and `toNs` not. */
export interface TickQuery {
  provider: string;
  symbol: string;
  fromNs: bigint;
  toNs: bigint;
  limit: number;
}

/** The ledger's entry of a batch. */
export interface LedgerRecord extends Receipt {
  storedAtMs: number;
  pod: string;
}

/** A tick that was set aside: why, what it was, and where it came from. */
export interface DeadLetterRecord extends Rejection, TickBytes {
  batchId: string;
  deadAtMs: number;
  pod: string;
}

/** Dead letters of one provider, of one batch when it is given, oldest first, after the one at `after`. */
export interface DeadLetterQuery {
  provider: string;
  batchId?: string | undefined;
  after?: { deadAtMs: number; batchId: string; index: number } | undefined;
  limit: number;
}

/** Every call has a deadline of its own and ends. Those that write never throw; those that read throw when they cannot. */
export interface Store {
  /** Opens and migrates; throws {@link StoreOpenError} when this store can never serve. */
  open(): Promise<void>;
  /** Whether a write has a chance now. */
  readonly isOpen: boolean;
  /** Commits the group: ticks, dead letters and ledger entries in one transaction. */
  write(batches: readonly StoreBatch[]): Promise<WriteOutcome>;
  /** What {@link write} would say of this batch alone. Everything is taken back. */
  rehearse(batch: StoreBatch): Promise<WriteOutcome>;
  /** Commits something small that is nobody's. Null: a write has a chance now. */
  check(): Promise<WriteFailure | null>;
  /**
   * Stores the ticks of dead letters and removes their letters, in one transaction: those of `batch.batchId` at the
   * places in `batch.columns`. The ledger stays as it is.
   */
  replay(batch: StoreBatch): Promise<WriteOutcome>;
  /** The first of a provider's symbols by their code points, at most `limit`. */
  readSymbols(provider: string, limit: number): Promise<string[]>;
  readTrades(query: TickQuery): Promise<TradeRecord[]>;
  readQuotes(query: TickQuery): Promise<QuoteRecord[]>;
  readLedger(provider: string, batchId: string): Promise<LedgerRecord | undefined>;
  readDeadLetters(query: DeadLetterQuery): Promise<DeadLetterRecord[]>;
  /** Ends after the writes under way. */
  close(): Promise<void>;
}

/** A store that cannot be opened: wrong path, newer schema, not a database. */
export class StoreOpenError extends Error {
  override readonly name = 'StoreOpenError';
  readonly code = 'store_open';
}
