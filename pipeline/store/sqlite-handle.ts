/**
 * The event loop's end of a thread of the SQLite store: hands over jobs and waits for their replies, each for a
 * limited time. Knows what became of a job, and not what is in it.
 */

import { Worker } from 'node:worker_threads';
import type { FailureKind } from '../sink/store.ts';
import {
  OPENING_JOB,
  type SqliteJobKind,
  type SqliteJobs,
  type SqliteReply,
  type SqliteRequest,
  type SqliteThreadData,
} from './sqlite-jobs.ts';

/** A file may have a long log to recover, or an older schema. */
const OPEN_TIMEOUT_MS = 60_000;

/** A job that was not done, as far as we know. */
export class SqliteJobError extends Error {
  override readonly name = 'SqliteJobError';
  readonly code = 'sqlite_job';
  readonly kind: FailureKind;

  constructor(kind: FailureKind, detail: string) {
    super(detail);
    this.kind = kind;
  }
}

interface PendingJob {
  resolve(value: unknown): void;
  reject(cause: Error): void;
}

/**
 * One thread and the jobs it owes us. Invariants: every job ends, by its reply, by its deadline or by the thread's
 * death; while the reply of a job is overdue, the thread is given no other, so that nothing piles up before a disk
 * that does not answer. An overdue reply is for nobody any more: a group that is committed so late is recognised by
 * the ledger when it is offered again.
 */
export class SqliteHandle {
  readonly #data: Omit<SqliteThreadData, 'nowMs'>;
  readonly #callTimeoutMs: number;
  readonly #onDeath: (detail: string) => void;
  readonly #jobs = new Map<number, PendingJob>();
  readonly #overdue = new Set<number>();
  #worker: Worker | undefined;
  #lastJob = OPENING_JOB;

  constructor(
    data: Omit<SqliteThreadData, 'nowMs'>,
    callTimeoutMs: number,
    /** Told of a death that was not asked for, and not of one while opening, which `start` throws. */
    onDeath: (detail: string) => void,
  ) {
    this.#data = data;
    this.#callTimeoutMs = callTimeoutMs;
    this.#onDeath = onDeath;
  }

  /** Resolves when the file is open; rejects with the reason when it cannot be. */
  async start(nowMs: number): Promise<void> {
    const worker = new Worker(new URL('./sqlite-thread.ts', import.meta.url), {
      workerData: { ...this.#data, nowMs } satisfies SqliteThreadData,
      name: `sqlite-${this.#data.role}`,
    });
    const opened = this.#expect(OPENING_JOB, OPEN_TIMEOUT_MS);
    let isOpen = false;
    let lastError = '';
    worker.on('message', (reply: SqliteReply) => {
      if (this.#worker === worker) this.#settle(reply);
    });
    worker.on('error', (cause) => (lastError = cause instanceof Error ? cause.message : String(cause)));
    worker.on('exit', (code) => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      const detail = `the ${this.#data.role} thread ended (${lastError || `code ${code}`})`;
      this.#endAll(detail);
      // Told twice, the death of a thread that opens would start two.
      if (isOpen) this.#onDeath(detail);
    });
    this.#worker = worker;
    try {
      await opened;
      isOpen = true;
    } catch (cause) {
      this.#worker = undefined;
      this.#overdue.clear();
      // Not waited for: a thread that hangs in a call of the system ends with that call.
      void worker.terminate();
      throw cause;
    }
  }

  /** Rejects with {@link SqliteJobError}. */
  async run<Kind extends SqliteJobKind>(
    kind: Kind,
    asks: SqliteJobs[Kind]['asks'],
  ): Promise<SqliteJobs[Kind]['gives']> {
    const { role } = this.#data;
    if (this.#worker === undefined) throw new SqliteJobError('unavailable', `the ${role} thread is not running`);
    if (this.#overdue.size > 0) {
      throw new SqliteJobError('unavailable', `the ${role} thread has not ended an earlier job in time`);
    }
    return (await this.#send(this.#worker, kind, asks)) as SqliteJobs[Kind]['gives'];
  }

  /** Ends after the jobs under way, or when their time is over. */
  async close(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    const isClosed = await this.#send(worker, 'close', undefined).then(
      () => true,
      () => false,
    );
    this.#worker = undefined;
    this.#endAll(`the ${this.#data.role} thread was closed`);
    const ended = worker.terminate();
    if (isClosed) await ended;
  }

  #send(worker: Worker, kind: SqliteJobKind, asks: unknown): Promise<unknown> {
    this.#lastJob += 1;
    const job = this.#lastJob;
    // Copied, not transferred: after a failure the same batch may be offered again. What is copied of an array is
    // all of the memory it looks at, so the arrays of a batch have memory of their own.
    worker.postMessage({ job, kind, asks } satisfies SqliteRequest);
    return this.#expect(job, this.#callTimeoutMs);
  }

  #expect(job: number, timeoutMs: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const deadline = AbortSignal.timeout(timeoutMs);
      const pass = (): void => {
        this.#jobs.delete(job);
        this.#overdue.add(job);
        reject(
          new SqliteJobError('unavailable', `the ${this.#data.role} thread did not answer within ${timeoutMs} ms`),
        );
      };
      deadline.addEventListener('abort', pass, { once: true });
      const inTime = (): void => deadline.removeEventListener('abort', pass);
      this.#jobs.set(job, {
        resolve: (value) => (inTime(), resolve(value)),
        reject: (cause) => (inTime(), reject(cause)),
      });
    });
  }

  #settle(reply: SqliteReply): void {
    this.#overdue.delete(reply.job);
    const job = this.#jobs.get(reply.job);
    this.#jobs.delete(reply.job);
    if (reply.ok) job?.resolve(reply.value);
    else job?.reject(new SqliteJobError(reply.kind, reply.detail));
  }

  #endAll(detail: string): void {
    for (const job of this.#jobs.values()) job.reject(new SqliteJobError('unavailable', detail));
    this.#jobs.clear();
    this.#overdue.clear();
  }
}
