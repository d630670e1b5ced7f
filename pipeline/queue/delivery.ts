/**
 * What waits in the queue: a batch on its way to the store, and the way back to its sender.
 */

import type { Rejection } from '../contract/answer.ts';
import type { PackedTicks, TickBytes } from '../contract/tick-bytes.ts';
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
  /** One for each of `rejected`, in the same order. */
  rejectedBytes: PackedTicks;
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

/** One batch, held for its sender. Invariant: it is settled once; what is said later is not heard. */
export class Delivery implements Sized {
  readonly batch: StoreBatch;
  readonly bytes: number;
  readonly offeredMs: number;
  /** When its sender gets an answer, whatever has become of it. */
  readonly deadlineMs: number;
  /** The bytes of the ticks at these places of the batch, in ascending order. */
  readonly bytesOf: (indices: ReadonlySet<number>) => TickBytes[];
  /** How it ended; its sender waits for it. */
  readonly settlement: Promise<Settlement>;
  #settle!: (settlement: Settlement) => void;
  #isSettled = false;

  constructor(parts: Pick<Delivery, 'batch' | 'bytes' | 'offeredMs' | 'deadlineMs' | 'bytesOf'>) {
    this.batch = parts.batch;
    this.bytes = parts.bytes;
    this.offeredMs = parts.offeredMs;
    this.deadlineMs = parts.deadlineMs;
    this.bytesOf = parts.bytesOf;
    this.settlement = new Promise((resolve) => (this.#settle = resolve));
  }

  get ticks(): number {
    return this.batch.ticks;
  }

  get provider(): string {
    return this.batch.provider;
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  settle(settlement: Settlement): void {
    this.#isSettled = true;
    this.#settle(settlement);
  }
}
