/**
 * What the pipeline asks of a store. A store commits groups of batches, each with its entry in the batch
 * ledger, in one transaction; and it reads ticks back.
 */

import type { BatchResult, StoreBatch } from '../queue/delivery.ts';

export type WriteOutcome =
  /** One result for each batch, in order. */
  | { ok: true; results: BatchResult[] }
  /** Nothing of the group is known to be stored; offering it again is safe. */
  | { ok: false; detail: string };

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

export interface Store {
  /** Opens and migrates; throws {@link StoreOpenError} when this store can never serve. */
  open(): Promise<void>;
  /** Whether a write has a chance now. */
  readonly isOpen: boolean;
  /** Never throws. */
  write(batches: readonly StoreBatch[]): Promise<WriteOutcome>;
  /** Throws when the store cannot answer. */
  readTrades(query: TickQuery): Promise<TradeRecord[]>;
  readQuotes(query: TickQuery): Promise<QuoteRecord[]>;
  /** Ends after the writes under way. */
  close(): Promise<void>;
}

/** A store that cannot be opened: wrong path, newer schema, not a database. */
export class StoreOpenError extends Error {
  override readonly name = 'StoreOpenError';
  readonly code = 'store_open';
}
