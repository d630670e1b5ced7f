/** PostgreSQL stores on a database of their own, closed after the test, and a second look at that database. */

import { setTimeout as sleep } from 'node:timers/promises';
import { PostgresStore, type PostgresStoreOptions } from '../../pipeline/store/postgres.ts';
import { NOW_MS } from './pod-batch.ts';
import type { PostgresServer, Row } from '../../deploy/local/postgres.ts';

export const WEEK_MS = 7 * 86_400_000;
const UNTIL_TIMEOUT_MS = 15_000;
const UNTIL_INTERVAL_MS = 10;

export interface PostgresStores {
  database: string;
  clock: { nowMs: number };
  /** "name: detail" of everything an operator was told. */
  events: string[];
  create(change?: Partial<PostgresStoreOptions>): PostgresStore;
  /** Opens a store on the database. */
  open(change?: Partial<PostgresStoreOptions>): Promise<PostgresStore>;
  rows(sql: string): Promise<Row[]>;
  count(table: 'trades' | 'quotes' | 'batches' | 'dead_letters' | `${'trades' | 'quotes'}_${string}`): Promise<number>;
  close(): Promise<void>;
}

/** `options` end the CREATE DATABASE. */
export async function postgresStores(server: PostgresServer, options = ''): Promise<PostgresStores> {
  const database = await server.createDatabase(options);
  const stores: PostgresStore[] = [];
  const clock = { nowMs: NOW_MS };
  const events: string[] = [];
  return { database, clock, events, create, open, rows, count, close };

  function create(change: Partial<PostgresStoreOptions> = {}): PostgresStore {
    const store = new PostgresStore({
      url: server.url(database),
      pod: 'pod-1',
      ledgerRetentionMs: WEEK_MS,
      nowMs: () => clock.nowMs,
      random: () => 0.5,
      onEvent: (_, event, detail) => void events.push(`${event}: ${detail}`),
      ...change,
    });
    stores.push(store);
    return store;
  }

  async function open(change: Partial<PostgresStoreOptions> = {}): Promise<PostgresStore> {
    const store = create(change);
    await store.open();
    return store;
  }

  function rows(sql: string): Promise<Row[]> {
    return server.query(database, sql);
  }

  async function count(table: string): Promise<number> {
    return Number((await rows(`SELECT count(*)::int4 AS n FROM ${table}`))[0]!['n']);
  }

  async function close(): Promise<void> {
    await Promise.all(stores.map((store) => store.close()));
  }
}

/** Looks until it is so; throws, naming it, when it does not come to be. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  timeoutMs = UNTIL_TIMEOUT_MS,
): Promise<void> {
  const deadlineMs = Date.now() + timeoutMs;
  while (!(await isSo())) {
    if (Date.now() > deadlineMs) throw new Error(`never came to be: ${what}`);
    await sleep(UNTIL_INTERVAL_MS);
  }
}
