/**
 * The embedded store: SQLite in two threads of this process. This side only hands over jobs and waits, not longer than
 * a call may take; a thread that dies is started again, and what it held is answered as "not stored, as far as we know".
 */

import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { BatchResult, StoreBatch } from '../queue/delivery.ts';
import {
  type DeadLetterQuery,
  type DeadLetterRecord,
  type LedgerRecord,
  type QuoteRecord,
  type Store,
  StoreOpenError,
  type TickQuery,
  type TradeRecord,
  type WriteFailure,
  type WriteOutcome,
} from '../sink/store.ts';
import { messageOf } from './sqlite-failure.ts';
import { SqliteHandle, SqliteJobError } from './sqlite-handle.ts';

export const CALL_TIMEOUT_DEFAULT_MS = 5_000;
/**
 * Of a call's time what one job may wait for a file that another process holds: two groups that wait one after the
 * other in the thread are both told that this was the reason, and not that time had passed.
 */
const LOCK_SHARE = 0.4;
/** Wait before a thread that died is started again. */
const RESTART_DELAY_MS = 500;
/** How often old ledger entries and dead letters are looked for. */
const FORGET_INTERVAL_MS = 60_000;

export interface SqliteStoreOptions {
  path: string;
  pod: string;
  /** How long a write or a read may take, waiting for those before it included. */
  callTimeoutMs?: number | undefined;
  /** How long a batch id is recognised, and a dead letter kept. */
  ledgerRetentionMs: number;
  nowMs: () => number;
  /** Told of everything an operator should see. */
  onEvent: (level: 'warn' | 'error', event: string, detail: string) => void;
}

/** Invariant: `isOpen` only while both threads have the file open. */
export class SqliteStore implements Store {
  readonly #options: SqliteStoreOptions;
  readonly #writer: SqliteHandle;
  readonly #reader: SqliteHandle;
  readonly #running = new Set<SqliteHandle>();
  #forgetTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: SqliteStoreOptions) {
    this.#options = options;
    const { path, pod, callTimeoutMs = CALL_TIMEOUT_DEFAULT_MS } = options;
    const shared = { path, pod, lockTimeoutMs: Math.ceil(callTimeoutMs * LOCK_SHARE) };
    this.#writer = new SqliteHandle({ ...shared, role: 'writer' }, callTimeoutMs, (detail) =>
      this.#restart(this.#writer, detail),
    );
    this.#reader = new SqliteHandle({ ...shared, role: 'reader' }, callTimeoutMs, (detail) =>
      this.#restart(this.#reader, detail),
    );
  }

  get isOpen(): boolean {
    return this.#running.size === 2;
  }

  async open(): Promise<void> {
    try {
      await mkdir(dirname(this.#options.path), { recursive: true });
      await this.#start(this.#writer);
      await this.#start(this.#reader);
    } catch (cause) {
      this.#closed = true;
      await this.#writer.close();
      throw new StoreOpenError(`sqlite:${this.#options.path}: ${messageOf(cause)}`, { cause });
    }
    this.#forgetTimer = setInterval(() => void this.maintain(), FORGET_INTERVAL_MS).unref();
  }

  write(batches: readonly StoreBatch[]): Promise<WriteOutcome> {
    return outcomeOf(this.#writer.run('write', { batches, nowMs: this.#options.nowMs() }), batches);
  }

  rehearse(batch: StoreBatch): Promise<WriteOutcome> {
    return outcomeOf(this.#writer.run('rehearse', { batch, nowMs: this.#options.nowMs() }), [batch]);
  }

  async check(): Promise<WriteFailure | null> {
    try {
      await this.#writer.run('check', { nowMs: this.#options.nowMs() });
      return null;
    } catch (cause) {
      return failureOf(cause);
    }
  }

  replay(batch: StoreBatch): Promise<WriteOutcome> {
    return outcomeOf(this.#writer.run('replay', { batch, nowMs: this.#options.nowMs() }), [batch]);
  }

  readSymbols(provider: string, limit: number): Promise<string[]> {
    return this.#reader.run('symbols', { provider, limit });
  }

  readTrades(query: TickQuery): Promise<TradeRecord[]> {
    return this.#reader.run('trades', { query });
  }

  readQuotes(query: TickQuery): Promise<QuoteRecord[]> {
    return this.#reader.run('quotes', { query });
  }

  readLedger(provider: string, batchId: string): Promise<LedgerRecord | undefined> {
    return this.#reader.run('ledger', { provider, batchId });
  }

  readDeadLetters(query: DeadLetterQuery): Promise<DeadLetterRecord[]> {
    return this.#reader.run('deadLetters', { query });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#forgetTimer);
    await this.#reader.close();
    await this.#writer.close();
    this.#running.clear();
  }

  /** What the timer does: forgets old ledger entries and dead letters, a few at a time, between groups. Never throws. */
  async maintain(): Promise<void> {
    const beforeMs = this.#options.nowMs() - this.#options.ledgerRetentionMs;
    try {
      while (!this.#closed && (await this.#writer.run('forget', { beforeMs })));
    } catch (cause) {
      if (!this.#closed) this.#options.onEvent('warn', 'ledger_not_trimmed', messageOf(cause));
    }
  }

  async #start(thread: SqliteHandle): Promise<void> {
    await thread.start(this.#options.nowMs());
    this.#running.add(thread);
  }

  #restart(thread: SqliteHandle, detail: string): void {
    this.#running.delete(thread);
    if (this.#closed) return;
    this.#options.onEvent('error', 'store_thread_died', detail);
    setTimeout(() => void this.#startAgain(thread), RESTART_DELAY_MS).unref();
  }

  async #startAgain(thread: SqliteHandle): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#start(thread);
      this.#options.onEvent('warn', 'store_thread_restarted', this.#options.path);
    } catch (cause) {
      this.#restart(thread, messageOf(cause));
    }
  }
}

async function outcomeOf(writing: Promise<BatchResult[]>, batches: readonly StoreBatch[]): Promise<WriteOutcome> {
  try {
    const results = await writing;
    results.forEach((result, at) => {
      // The thread sends none of a batch that is new to it: they may be 10,000.
      if (result.outcome === 'stored' && !result.again) result.receipt.rejected = batches[at]!.rejected;
    });
    return { ok: true, results };
  } catch (cause) {
    return failureOf(cause);
  }
}

function failureOf(cause: unknown): WriteFailure {
  const kind = cause instanceof SqliteJobError ? cause.kind : 'unavailable';
  return { ok: false, kind, detail: messageOf(cause) };
}
