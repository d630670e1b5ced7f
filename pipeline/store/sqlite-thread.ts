/**
 * A thread of the SQLite store: one connection, one job at a time, so that no commit blocks the event loop.
 * The writer thread commits; the reader thread answers queries meanwhile (WAL lets it).
 */

import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { OPENING_JOB, type SqliteReply, type SqliteRequest, type SqliteThreadData } from './sqlite-jobs.ts';
import { migrate, PRAGMAS } from './sqlite-schema.ts';
import { SqliteReaderStatements, SqliteWriterStatements } from './sqlite-statements.ts';

const port = parentPort!;
const { role, path, pod, nowMs } = workerData as SqliteThreadData;

type Job = (request: SqliteRequest) => Extract<SqliteReply, { ok: true }>['value'];

function open(): { db: DatabaseSync; run: Job } {
  const db = new DatabaseSync(path, { readOnly: role === 'reader' });
  if (role === 'reader') {
    db.exec('PRAGMA busy_timeout = 5000');
    const statements = new SqliteReaderStatements(db);
    return {
      db,
      run: (request) => {
        if (request.kind === 'trades') return statements.trades(request.query);
        if (request.kind === 'quotes') return statements.quotes(request.query);
        throw new Error(`the reader has no job ${request.kind}`);
      },
    };
  }
  db.exec(PRAGMAS);
  migrate(db, nowMs);
  const statements = new SqliteWriterStatements(db, pod);
  return {
    db,
    run: (request) => {
      if (request.kind === 'write') return statements.write(request.batches, request.nowMs);
      if (request.kind === 'forget') return statements.forget(request.beforeMs);
      throw new Error(`the writer has no job ${request.kind}`);
    },
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
      reply({ job, ok: false, detail: messageOf(cause) });
    }
  });
  reply({ job: OPENING_JOB, ok: true, value: undefined });
}

function reply(message: SqliteReply): void {
  port.postMessage(message);
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

try {
  serve();
} catch (cause) {
  reply({ job: OPENING_JOB, ok: false, detail: messageOf(cause) });
}
