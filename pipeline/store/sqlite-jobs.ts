/**
 * What the event loop and the threads of the SQLite store say to each other.
 */

import type { BatchResult, StoreBatch } from '../queue/delivery.ts';
import type { QuoteRecord, TickQuery, TradeRecord } from '../sink/store.ts';

/** A thread has no clock of its own: `nowMs` is the pod's at the moment of the start, and comes with each write. */
export interface SqliteThreadData {
  role: 'writer' | 'reader';
  path: string;
  pod: string;
  nowMs: number;
}

export type SqliteRequest =
  | { job: number; kind: 'write'; batches: readonly StoreBatch[]; nowMs: number }
  | { job: number; kind: 'forget'; beforeMs: number }
  | { job: number; kind: 'trades' | 'quotes'; query: TickQuery }
  | { job: number; kind: 'close' };

export type SqliteReply =
  | { job: number; ok: true; value: BatchResult[] | TradeRecord[] | QuoteRecord[] | boolean | undefined }
  | { job: number; ok: false; detail: string };

/** The job number of the reply that says whether the thread could open its file. */
export const OPENING_JOB = 0;
