/** SQLite stores in a directory of their own, closed and removed after the test, and a second look at their file. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { TickQuery } from '../../pipeline/sink/store.ts';
import { SqliteStore, type SqliteStoreOptions } from '../../pipeline/store/sqlite.ts';
import { NOW_MS } from './pod-batch.ts';

export const WEEK_MS = 7 * 86_400_000;

export interface SqliteBench {
  directory: string;
  path: string;
  clock: { nowMs: number };
  events: string[];
  /** Opens a store on the file. */
  open(change?: Partial<SqliteStoreOptions>): Promise<SqliteStore>;
  /** A connection of the test's own. */
  connect(): DatabaseSync;
  /** One row of the file. */
  row(sql: string): Record<string, unknown>;
  count(table: 'trades' | 'quotes' | 'batches' | 'dead_letters'): number;
  remove(): Promise<void>;
}

export async function sqliteBench(): Promise<SqliteBench> {
  const directory = await mkdtemp(join(tmpdir(), 'mdp-store-'));
  const path = join(directory, 'ticks.db');
  const stores: SqliteStore[] = [];
  const connections: DatabaseSync[] = [];
  const clock = { nowMs: NOW_MS };
  const events: string[] = [];
  const bench: SqliteBench = { directory, path, clock, events, open, connect, row, count, remove };
  return bench;

  async function open(change: Partial<SqliteStoreOptions> = {}): Promise<SqliteStore> {
    const store = new SqliteStore({
      path,
      pod: 'pod-1',
      ledgerRetentionMs: WEEK_MS,
      nowMs: () => clock.nowMs,
      onEvent: (_, event) => void events.push(event),
      ...change,
    });
    await store.open();
    stores.push(store);
    return store;
  }

  function connect(): DatabaseSync {
    const db = new DatabaseSync(path);
    connections.push(db);
    return db;
  }

  function row(sql: string): Record<string, unknown> {
    const db = new DatabaseSync(path);
    try {
      const statement = db.prepare(sql);
      statement.setReadBigInts(true);
      return statement.get() ?? {};
    } finally {
      db.close();
    }
  }

  function count(table: string): number {
    return Number(row(`SELECT count(*) AS n FROM ${table}`)['n']);
  }

  async function remove(): Promise<void> {
    for (const db of connections) if (db.isOpen) db.close();
    for (const store of stores) await store.close();
    await rm(directory, { recursive: true, force: true });
  }
}

/** All ticks of AAPL of ibkr, changed as told. */
export function query(change: Partial<TickQuery> = {}): TickQuery {
  const all = { fromNs: -(2n ** 63n), toNs: 2n ** 63n - 1n, limit: 1_000 };
  return { provider: 'ibkr', symbol: 'AAPL', ...all, ...change };
}
