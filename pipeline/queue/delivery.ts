/**
 * What waits in the queue: a batch on its way to the store, and the way back to its sender.
 */

import type { Rejection } from '../contract/answer.ts';
import type { BatchColumns } from '../contract/columns.ts';
import type { Sized } from './bounded-queue.ts';

/** One decoded batch on its way into the store. */
export interface StoreBatch {
  provider: string;
  batchId: string;
  /** SHA-256 of the unpacked body: the same id with another hash is a conflict. */
  bodyHash: Uint8Array;
  /** Ticks offered: in `columns` and rejected. */
  ticks: number;
  columns: BatchColumns;
  rejected: Rejection[];
  ignoredFields: number;
}

/** What the ledger says of a batch; the same however often it is asked. */
export interface Receipt {
  stored: number;
  duplicates: number;
  rejected: Rejection[];
  ignoredFields: number;
}

export type BatchResult =
  /** Committed and synced. `again`: the ledger knew it, and nothing was written now. */
  | { outcome: 'stored'; receipt: Receipt; again: boolean }
  /** The ledger holds this batch id with another body. Nothing was written. */
  | { outcome: 'conflict' };

/** How a delivery ended. */
export type Settlement = BatchResult | { outcome: 'store_unavailable'; detail: string };

export interface Delivery extends Sized {
  readonly batch: StoreBatch;
  /** Ends the sender's wait; a second call changes nothing. */
  settle(settlement: Settlement): void;
}
