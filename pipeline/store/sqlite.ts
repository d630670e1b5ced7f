/**
 * The embedded store: SQLite in two threads of this process. This side only hands over jobs and waits; a thread
 * that dies is started again, and what it held is answered as "not stored, as far as we know".
 */

import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { BatchResult, StoreBatch } from '../queue/delivery.ts';
import {
  type QuoteRecord,
  type Store,
  StoreOpenError,
  type TickQuery,
  type TradeRecord,
  type WriteOutcome,
} from '../sink/store.ts';
import { OPENING_JOB, type SqliteReply, type SqliteRequest, type SqliteThreadData } from './sqlite-jobs.ts';

/** Wait before a thread that died is started again. */
const RESTART_DELAY_MS = 500;
/** How often old ledger entries are looked for. */
const FORGET_INTERVAL_MS = 60_000;

type RequestBody = SqliteRequest extends infer Request
  ? Request extends { job: number }
    ? Omit<Request, 'job'>
    : never
  : never;

interface PendingJob {
  resolve(value: unknown): void;
  reject(cause: Error): void;
}

/** One thread and the jobs it owes us. Invariant: every job ends, by its reply or by the thread's death. */
class SqliteThread {
  readonly #data: Omit<SqliteThreadData, 'nowMs'>;
  readonly #onDeath: (detail: string) => void;
  #worker: Worker | undefined;
  #jobs = new Map<number, PendingJob>();
  #lastJob = OPENING_JOB;

  constructor(data: Omit<SqliteThreadData, 'nowMs'>, onDeath: (detail: string) => void) {
    this.#data = data;
    this.#onDeath = onDeath;
  }

  /** Resolves when the file is open; rejects with the reason when it cannot be. */
  async start(nowMs: number): Promise<void> {
    const worker = new Worker(new URL('./sqlite-thread.ts', import.meta.url), {
      workerData: { ...this.#data, nowMs } satisfies SqliteThreadData,
      name: `sqlite-${this.#data.role}`,
    });
    const opened = this.#expect(OPENING_JOB);
    let isOpen = false;
    let lastError = '';
    worker.on('message', (reply: SqliteReply) => this.#settle(reply));
    worker.on('error', (cause) => (lastError = cause instanceof Error ? cause.message : String(cause)));
    worker.on('exit', (code) => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      const detail = `the ${this.#data.role} thread ended (${lastError || `code ${code}`})`;
      for (const job of this.#jobs.values()) job.reject(new Error(detail));
      this.#jobs.clear();
      // A death while opening is the caller's to hear of, from the rejection; told twice, it would start two threads.
      if (isOpen) this.#onDeath(detail);
    });
    this.#worker = worker;
    try {
      await opened;
      isOpen = true;
    } catch (cause) {
      this.#worker = undefined;
      await worker.terminate();
      throw cause;
    }
  }

  run(body: RequestBody): Promise<unknown> {
    const worker = this.#worker;
    if (worker === undefined) return Promise.reject(new Error(`the ${this.#data.role} thread is not running`));
    this.#lastJob += 1;
    const job = this.#lastJob;
    const done = this.#expect(job);
    // The columns are copied, not transferred: after a failure the same batch may be offered again.
    worker.postMessage({ ...body, job });
    return done;
  }

  /** Ends after the jobs under way. */
  async close(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    await this.run({ kind: 'close' });
    this.#worker = undefined;
    await worker.terminate();
  }

  #expect(job: number): Promise<unknown> {
    return new Promise((resolve, reject) => this.#jobs.set(job, { resolve, reject }));
  }

  #settle(reply: SqliteReply): void {
    const job = this.#jobs.get(reply.job);
    this.#jobs.delete(reply.job);
    if (reply.ok) job?.resolve(reply.value);
    else job?.reject(new Error(reply.detail));
  }
}

export interface SqliteStoreOptions {
  path: string;
  pod: string;
  /** How long a batch id is recognised. */
  ledgerRetentionMs: number;
  nowMs: () => number;
  /** Told of everything an operator should see. */
  onEvent: (level: 'warn' | 'error', event: string, detail: string) => void;
}

/** Invariant: `isOpen` only while both threads have the file open. */
export class SqliteStore implements Store {
  readonly #options: SqliteStoreOptions;
  readonly #writer: SqliteThread;
  readonly #reader: SqliteThread;
  readonly #running = new Set<SqliteThread>();
  #forgetTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: SqliteStoreOptions) {
    this.#options = options;
    const { path, pod } = options;
    this.#writer = new SqliteThread({ role: 'writer', path, pod }, (detail) => this.#restart(this.#writer, detail));
    this.#reader = new SqliteThread({ role: 'reader', path, pod }, (detail) => this.#restart(this.#reader, detail));
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
    this.#forgetTimer = setInterval(() => void this.#forgetOld(), FORGET_INTERVAL_MS).unref();
  }

  async write(batches: readonly StoreBatch[]): Promise<WriteOutcome> {
    const nowMs = this.#options.nowMs();
    try {
      return { ok: true, results: (await this.#writer.run({ kind: 'write', batches, nowMs })) as BatchResult[] };
    } catch (cause) {
      return { ok: false, detail: messageOf(cause) };
    }
  }

  async readTrades(query: TickQuery): Promise<TradeRecord[]> {
    return (await this.#reader.run({ kind: 'trades', query })) as TradeRecord[];
  }

  async readQuotes(query: TickQuery): Promise<QuoteRecord[]> {
    return (await this.#reader.run({ kind: 'quotes', query })) as QuoteRecord[];
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#forgetTimer);
    await this.#reader.close();
    await this.#writer.close();
    this.#running.clear();
  }

  async #start(thread: SqliteThread): Promise<void> {
    await thread.start(this.#options.nowMs());
    this.#running.add(thread);
  }

  #restart(thread: SqliteThread, detail: string): void {
    this.#running.delete(thread);
    if (this.#closed) return;
    this.#options.onEvent('error', 'store_thread_died', detail);
    setTimeout(() => void this.#startAgain(thread), RESTART_DELAY_MS).unref();
  }

  async #startAgain(thread: SqliteThread): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#start(thread);
      this.#options.onEvent('warn', 'store_thread_restarted', this.#options.path);
    } catch (cause) {
      this.#restart(thread, messageOf(cause));
    }
  }

  async #forgetOld(): Promise<void> {
    const beforeMs = this.#options.nowMs() - this.#options.ledgerRetentionMs;
    try {
      while ((await this.#writer.run({ kind: 'forget', beforeMs })) === true);
    } catch (cause) {
      this.#options.onEvent('warn', 'ledger_not_trimmed', messageOf(cause));
    }
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
