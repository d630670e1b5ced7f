/** Outboxes in memory, on real SQLite: the shelf and the archive of a provider without the object around them. */

import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { Archive, ARCHIVE_BOUNDS, type ArchiveBounds } from '../../worker/outbox/archive.ts';
import type { OfferedBatch, OutboxCalls, OutboxNamespace } from '../../worker/outbox/calls.ts';
import { type Database, type Row, Statements } from '../../worker/outbox/database.ts';
import type { HeldBatch } from '../../worker/outbox/shelf.ts';
import { Shelf, SHELF_BOUNDS, type ShelfBounds } from '../../worker/outbox/shelf.ts';

export const NDJSON = 'application/x-ndjson';

/** SQLite as a Durable Object offers it: blobs come back as buffers. */
export function sqliteDatabase(db: DatabaseSync = new DatabaseSync(':memory:')): Database {
  return {
    exec: (query, ...bindings) => {
      const rows = db.prepare(query).all(...(bindings as SQLInputValue[])) as Row[];
      for (const row of rows) {
        for (const [name, value] of Object.entries(row)) {
          if (value instanceof Uint8Array) row[name] = value.slice().buffer;
        }
      }
      return rows;
    },
    transaction: (work) => {
      db.exec('SAVEPOINT work');
      try {
        const result = work();
        db.exec('RELEASE work');
        return result;
      } catch (error) {
        db.exec('ROLLBACK TO work');
        throw error;
      }
    },
    sizeBytes: () => 0,
  };
}

export interface MemoryOutbox {
  sql: Statements;
  shelf: Shelf;
  archive: Archive;
}

export function memoryOutbox(
  bounds: Partial<ShelfBounds & ArchiveBounds> = {},
  database: Database = sqliteDatabase(),
): MemoryOutbox {
  const sql = new Statements(database);
  return {
    sql,
    shelf: new Shelf(sql, { ...SHELF_BOUNDS, ...bounds }),
    archive: new Archive(sql, { ...ARCHIVE_BOUNDS, ...bounds }),
  };
}

/** The namespace as the routes see it, one outbox a provider. `broken` throws in its place while it is set. */
export function memoryNamespace(nowMs: () => number, bounds: Partial<ShelfBounds & ArchiveBounds> = {}) {
  const outboxes = new Map<string, MemoryOutbox>();
  const control: { broken: (() => Promise<never>) | undefined; calls: number } = { broken: undefined, calls: 0 };
  const of = (name: string): MemoryOutbox => {
    const known = outboxes.get(name) ?? memoryOutbox(bounds);
    outboxes.set(name, known);
    return known;
  };
  const call = async <Value>(value: () => Value): Promise<Value> => {
    control.calls += 1;
    return control.broken === undefined ? value() : control.broken();
  };
  const namespace: OutboxNamespace = {
    getByName: (name): OutboxCalls => ({
      offer: (offered) => call(() => of(name).shelf.offer(offered)),
      receipt: (batch) => call(() => of(name).archive.receipt(batch, nowMs())),
      deadLetters: (limit, before) => call(() => of(name).archive.deadLetters(limit, before)),
      deadBody: (batch) => call(() => of(name).archive.deadBody(batch)),
      totals: () => call(() => of(name).shelf.totals()),
    }),
  };
  return { namespace, of, control };
}

/** A batch as it is offered: `text` is both its body and what its hash is made of. */
export function offered(batch: string, text: string = batch, more: Partial<OfferedBatch> = {}): OfferedBatch {
  const body = new TextEncoder().encode(text);
  return {
    provider: 'ibkr',
    batch,
    batchIdMade: false,
    contentType: NDJSON,
    encoding: null,
    body,
    bodyHash: body,
    ticks: 1,
    arrivedMs: 0,
    waitMs: 0,
    promised: false,
    ...more,
  };
}

/** The batch that is sent next, which must be there. */
export function nextOf({ shelf }: MemoryOutbox, nowMs = 0): HeldBatch {
  const held = shelf.nextDue(nowMs, new Set());
  if (held === undefined) throw new Error('nothing is due');
  return held;
}
