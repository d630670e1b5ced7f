/** Runs the same tests on each store, on real files and on a real server, and gives them one hold on both. */

import { afterAll, afterEach, beforeEach, describe } from 'vitest';
import type { BatchResult, StoreBatch } from '../../pipeline/queue/delivery.ts';
import type { Store } from '../../pipeline/sink/store.ts';
import { sqliteBench } from '../support/pod-sqlite.ts';
import { POSTGRES_BIN, type PostgresServer, startPostgres } from '../../deploy/local/postgres.ts';
import { postgresStores } from '../support/postgres-stores.ts';

export type StoreKind = 'sqlite' | 'postgres';
export type Table = 'trades' | 'quotes' | 'batches' | 'dead_letters';
export type MaintainedStore = Store & { maintain(): Promise<void> };

export interface StoreBench {
  kind: StoreKind;
  /** Open. */
  store: MaintainedStore;
  clock: { nowMs: number };
  events: string[];
  /** Opens a further store on the same tables, as another pod. */
  open(pod?: string): Promise<MaintainedStore>;
  /** Runs a query of the test's own and gives its rows; or several statements, each with its ";". */
  sql(text: string): Promise<Record<string, unknown>[]>;
  count(table: Table): Promise<number>;
  /** Writes one group; throws when that fails. */
  write(...batches: StoreBatch[]): Promise<BatchResult[]>;
}

interface Held {
  bench: StoreBench;
  remove: () => Promise<void>;
}

/** `name` ends a sentence that begins with the store. */
export function describeEachStore(name: string, body: (bench: () => StoreBench) => void): void {
  let bench: StoreBench;
  let remove: () => Promise<void>;

  describe(`the SQLite store: ${name}`, () => {
    beforeEach(async () => ({ bench, remove } = await onSqlite()));
    afterEach(() => remove());
    body(() => bench);
  });

  describe.skipIf(POSTGRES_BIN === undefined)(`the PostgreSQL store: ${name} (needs an installed PostgreSQL)`, () => {
    beforeEach(async () => ({ bench, remove } = await onPostgres(await sharedServer())));
    afterEach(() => remove());
    body(() => bench);
  });
}

/** One for all tests of a file, each of which has a database of its own. */
let server: Promise<PostgresServer> | undefined;
afterAll(async () => (await server)?.remove());

function sharedServer(): Promise<PostgresServer> {
  server ??= startPostgres();
  return server;
}

async function onSqlite(): Promise<Held> {
  const files = await sqliteBench();
  const store = await files.open();
  const bench: StoreBench = {
    kind: 'sqlite',
    store,
    clock: files.clock,
    events: files.events,
    open: (pod = 'pod-1') => files.open({ pod }),
    sql(text) {
      const db = files.connect();
      const isScript = text.includes(';');
      const rows = isScript ? [] : db.prepare(text).all();
      if (isScript) db.exec(text);
      db.close();
      return Promise.resolve(rows);
    },
    count: (table) => Promise.resolve(files.count(table)),
    write: (...batches) => written(store, batches),
  };
  return { bench, remove: () => files.remove() };
}

async function onPostgres(on: PostgresServer): Promise<Held> {
  const stores = await postgresStores(on);
  const store = await stores.open();
  const bench: StoreBench = {
    kind: 'postgres',
    store,
    clock: stores.clock,
    events: stores.events,
    open: (pod = 'pod-1') => stores.open({ pod }),
    sql: (text) => stores.rows(text),
    count: (table) => stores.count(table),
    write: (...batches) => written(store, batches),
  };
  return { bench, remove: () => stores.close() };
}

async function written(store: Store, batches: readonly StoreBatch[]): Promise<BatchResult[]> {
  const outcome = await store.write(batches);
  if (!outcome.ok) throw new Error(outcome.detail);
  return outcome.results;
}

/** The result of a batch without rejections. */
export function stored(count: number, duplicates = 0, again = false): BatchResult {
  return { outcome: 'stored', again, receipt: { stored: count, duplicates, rejected: [], ignoredFields: 0 } };
}
