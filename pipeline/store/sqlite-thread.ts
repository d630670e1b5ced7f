/**
 * A thread of the SQLite store: one connection, one job at a time, so that no commit blocks the event loop.
 * The writer thread commits; the reader thread answers queries meanwhile (WAL lets it).
 */

import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf, sqliteFailureKind } from './sqlite-failure.ts';
import {
  OPENING_JOB,
  type SqliteHandlers,
  type SqliteReaderJobs,
  type SqliteReply,
  type SqliteRequest,
  type SqliteThreadData,
  type SqliteWriterJobs,
} from './sqlite-jobs.ts';
import { SqliteReads } from './sqlite-read.ts';
import { lockTimeout, migrate, PRAGMAS } from './sqlite-schema.ts';
import { SqliteWrites } from './sqlite-write.ts';

/** While opening: another pod may be making or migrating the same file. */
const OPEN_LOCK_TIMEOUT_MS = 5_000;
const OPEN_LOCK_LOOK_MS = 20;
/** Of housekeeping: what it does not get at once it leaves for the next time, for a group may be waiting. */
const FORGET_LOCK_TIMEOUT_MS = 100;

const port = parentPort!;
const { role, path, pod, lockTimeoutMs, nowMs } = workerData as SqliteThreadData;

type Run = (request: SqliteRequest) => unknown;

function open(): { db: DatabaseSync; run: Run } {
  const db = new DatabaseSync(path, { readOnly: role === 'reader' });
  lockTimeout(db, OPEN_LOCK_TIMEOUT_MS);
  const run = runOf(role === 'reader' ? readerJobs(db) : writerJobs(db));
  lockTimeout(db, lockTimeoutMs);
  return { db, run };
}

function readerJobs(db: DatabaseSync): SqliteHandlers<SqliteReaderJobs> {
  const reads = new SqliteReads(db);
  return {
    symbols: ({ provider, limit }) => reads.symbols(provider, limit),
    trades: ({ query }) => reads.trades(query),
    quotes: ({ query }) => reads.quotes(query),
    ledger: ({ provider, batchId }) => reads.ledger(provider, batchId),
    deadLetters: ({ query }) => reads.deadLetters(query),
  };
}

function writerJobs(db: DatabaseSync): SqliteHandlers<SqliteWriterJobs> {
  setPragmas(db);
  migrate(db, nowMs);
  const writes = new SqliteWrites(db, pod);
  return {
    write: (asks) => writes.write(asks.batches, asks.nowMs),
    rehearse: (asks) => writes.rehearse(asks.batch, asks.nowMs),
    replay: (asks) => writes.replay(asks.batch, asks.nowMs),
    check: (asks) => writes.check(asks.nowMs),
    forget: ({ beforeMs }) => {
      lockTimeout(db, FORGET_LOCK_TIMEOUT_MS);
      try {
        return writes.forget(beforeMs);
      } finally {
        lockTimeout(db, lockTimeoutMs);
      }
    },
  };
}

/**
 * SQLite itself does not wait where a file that another pod is making becomes a write-ahead log: a reader turns writer.
 * Throws SQLite's error: after OPEN_LOCK_TIMEOUT_MS when the file is still locked, any other at once.
 */
function setPragmas(db: DatabaseSync): void {
  lockTimeout(db, 0);
  for (let leftMs = OPEN_LOCK_TIMEOUT_MS; ; leftMs -= OPEN_LOCK_LOOK_MS) {
    try {
      db.exec(PRAGMAS);
      break;
    } catch (cause) {
      if (sqliteFailureKind(cause) !== 'contention' || leftMs <= 0) throw cause;
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, OPEN_LOCK_LOOK_MS);
  }
  lockTimeout(db, OPEN_LOCK_TIMEOUT_MS);
}

function runOf(handlers: object): Run {
  const known = new Map<string, (asks: unknown) => unknown>(Object.entries(handlers));
  return ({ kind, asks }) => {
    const handle = known.get(kind);
    if (handle === undefined) throw new Error(`the ${role} has no job ${kind}`);
    return handle(asks);
  };
}

function serve(): void {
  const { db, run } = open();
  port.on('message', (request: SqliteRequest) => {
    const { job } = request;
    if (request.kind === 'close') {
      db.close();
      reply({ job, ok: true, value: undefined });
      port.close();
      return;
    }
    try {
      reply({ job, ok: true, value: run(request) });
    } catch (cause) {
      replyFailure(job, cause);
    }
  });
  reply({ job: OPENING_JOB, ok: true, value: undefined });
}

function reply(message: SqliteReply): void {
  port.postMessage(message);
}

function replyFailure(job: number, cause: unknown): void {
  reply({ job, ok: false, kind: sqliteFailureKind(cause), detail: messageOf(cause) });
}

try {
  serve();
} catch (cause) {
  replyFailure(OPENING_JOB, cause);
}
