/**
 * The tables of the SQLite store and how they came to be: each migration once, in order, in one transaction
 * with its entry in `schema_version`. Migrations are never edited, only added.
 */

import type { DatabaseSync } from 'node:sqlite';

/**
 * What a violated constraint of ticks does is said here and not in the inserts: a tick that is there already is
 * passed over, anything else fails. FAIL, for the default ABORT keeps a journal for each statement of several rows
 * (4.8 us a row against 2.1, measured); the writer rolls its whole transaction back all the same.
 */
const NEEDED = 'NOT NULL ON CONFLICT FAIL';
const TICK_KEY = `provider TEXT ${NEEDED}, symbol TEXT ${NEEDED}, ts INTEGER ${NEEDED}, id TEXT ${NEEDED}`;
const TICK_REST = `venue TEXT, conditions TEXT, stored_at_ms INTEGER ${NEEDED}, pod TEXT ${NEEDED},
     PRIMARY KEY (provider, symbol, ts, id) ON CONFLICT IGNORE`;

const MIGRATIONS: readonly string[] = [
  `CREATE TABLE trades (
     ${TICK_KEY},
     price REAL ${NEEDED}, size REAL ${NEEDED}, side TEXT, ${TICK_REST}
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE quotes (
     ${TICK_KEY},
     bid_price REAL, bid_size REAL, ask_price REAL, ask_size REAL, ${TICK_REST}
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE batches (
     provider TEXT NOT NULL, batch TEXT NOT NULL, body_hash BLOB NOT NULL,
     stored INTEGER NOT NULL, duplicates INTEGER NOT NULL, rejected TEXT NOT NULL, ignored_fields INTEGER NOT NULL,
     stored_at_ms INTEGER NOT NULL, pod TEXT NOT NULL,
     PRIMARY KEY (provider, batch)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX batches_by_age ON batches (stored_at_ms);`,
  // With row ids, unlike the others: their bytes would make the tree of a primary key wide and slow.
  `CREATE TABLE dead_letters (
     provider TEXT NOT NULL, batch TEXT NOT NULL, tick_index INTEGER NOT NULL,
     reason TEXT NOT NULL, detail TEXT NOT NULL, bytes BLOB NOT NULL, size_bytes INTEGER NOT NULL,
     dead_at_ms INTEGER NOT NULL, pod TEXT NOT NULL,
     PRIMARY KEY (provider, batch, tick_index)
   ) STRICT;
   CREATE INDEX dead_letters_by_provider ON dead_letters (provider, dead_at_ms, batch, tick_index);
   CREATE INDEX dead_letters_by_age ON dead_letters (dead_at_ms);
   CREATE TABLE store_checks (pod TEXT NOT NULL PRIMARY KEY, checked_at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;`,
];

export const SCHEMA_VERSION = MIGRATIONS.length;

/**
 * Pragmas of the writer's connection. WAL with FULL syncs the log at each commit: a commit that was answered survives a
 * power cut. The larger page and log spare a fifth of the writer's time over the defaults.
 */
export const PRAGMAS = `
  PRAGMA page_size = 8192;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA cache_size = -32768;
  PRAGMA wal_autocheckpoint = 2000;`;

/** How long statements of this connection wait for a file that another one holds, from now on. */
export function lockTimeout(db: DatabaseSync, timeoutMs: number): void {
  db.exec(`PRAGMA busy_timeout = ${timeoutMs}`);
}

/**
 * Brings the schema up to {@link SCHEMA_VERSION}. Throws when the file holds a newer schema than this pod knows:
 * an older pod must not write into it.
 */
export function migrate(db: DatabaseSync, nowMs: number): void {
  db.exec('BEGIN IMMEDIATE');
  try {
    db.exec(
      'CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at_ms INTEGER NOT NULL) STRICT',
    );
    const found = db.prepare('SELECT coalesce(max(version), 0) AS version FROM schema_version').get()!;
    const version = Number(found['version']);
    if (version > SCHEMA_VERSION) {
      throw new Error(`the store has schema version ${version}, this pod knows ${SCHEMA_VERSION}: use a newer pod`);
    }
    const applied = db.prepare('INSERT INTO schema_version (version, applied_at_ms) VALUES (?, ?)');
    for (let next = version; next < SCHEMA_VERSION; next += 1) {
      db.exec(MIGRATIONS[next]!);
      applied.run(next + 1, nowMs);
    }
    db.exec('COMMIT');
  } catch (cause) {
    db.exec('ROLLBACK');
    throw cause;
  }
}
