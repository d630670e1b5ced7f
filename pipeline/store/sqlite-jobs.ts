/**
 * What the event loop and the threads of the SQLite store say to each other.
 */

import type { BatchResult, StoreBatch } from '../queue/delivery.ts';
import type {
  DeadLetterQuery,
  DeadLetterRecord,
  FailureKind,
  LedgerRecord,
  QuoteRecord,
  TickQuery,
  TradeRecord,
} from '../sink/store.ts';

/** A thread has no clock of its own: `nowMs` is the pod's at the moment of the start, and comes with each write. */
export interface SqliteThreadData {
  role: 'writer' | 'reader';
  path: string;
  pod: string;
  /** How long a job waits for a file that another process holds. */
  lockTimeoutMs: number;
  nowMs: number;
}

interface Job<Asks, Gives> {
  asks: Asks;
  gives: Gives;
}

export interface SqliteWriterJobs {
  write: Job<{ batches: readonly StoreBatch[]; nowMs: number }, BatchResult[]>;
  rehearse: Job<{ batch: StoreBatch; nowMs: number }, BatchResult[]>;
  replay: Job<{ batch: StoreBatch; nowMs: number }, BatchResult[]>;
  check: Job<{ nowMs: number }, void>;
  /** Whether there may be more to forget. */
  forget: Job<{ beforeMs: number }, boolean>;
}

export interface SqliteReaderJobs {
  symbols: Job<{ provider: string; limit: number }, string[]>;
  trades: Job<{ query: TickQuery }, TradeRecord[]>;
  quotes: Job<{ query: TickQuery }, QuoteRecord[]>;
  ledger: Job<{ provider: string; batchId: string }, LedgerRecord | undefined>;
  deadLetters: Job<{ query: DeadLetterQuery }, DeadLetterRecord[]>;
}

export interface SqliteJobs extends SqliteWriterJobs, SqliteReaderJobs {
  close: Job<undefined, void>;
}

export type SqliteJobKind = keyof SqliteJobs;

/** What a thread does for each of the jobs it has. */
export type SqliteHandlers<Jobs extends Record<keyof Jobs, Job<unknown, unknown>>> = {
  [Kind in keyof Jobs]: (asks: Jobs[Kind]['asks']) => Jobs[Kind]['gives'];
};

export interface SqliteRequest {
  job: number;
  kind: SqliteJobKind;
  asks: unknown;
}

export type SqliteReply =
  | { job: number; ok: true; value: unknown }
  | { job: number; ok: false; kind: FailureKind; detail: string };

/** The job number of the reply that says whether the thread could open its file. */
export const OPENING_JOB = 0;
