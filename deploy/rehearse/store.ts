/**
 * The one store of all pods, and what is in it as its own client reads it, past every pod: a real PostgreSQL where one is
 * installed, or else one SQLite file that the pods share.
 */

import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { POSTGRES_BIN, startPostgres } from '../local/postgres.ts';

export const STORE_KINDS = ['postgres', 'sqlite'] as const;
export type StoreKind = (typeof STORE_KINDS)[number];
export const STORE_KIND_DEFAULT: StoreKind = POSTGRES_BIN === undefined ? 'sqlite' : 'postgres';

/** An entry of the batch ledger. */
export interface StoredBatch {
  id: string;
  storedTicks: number;
  storedAtMs: number;
  pod: string;
}

export interface SharedStore extends AsyncDisposable {
  /** `MDP_STORE` of every pod. */
  readonly setting: string;
  batches(provider: string): Promise<StoredBatch[]>;
  /** Rows of trades, and how many of their ids are different whole numbers of `idsBelow` and less. */
  trades(provider: string, idsBelow: number): Promise<{ rows: number; ids: number }>;
}

type Row = Record<string, unknown>;

export async function openStore(kind: StoreKind, directory: string): Promise<SharedStore> {
  return kind === 'postgres' ? openPostgres() : openSqlite(directory);
}

async function openPostgres(): Promise<SharedStore> {
  const server = await startPostgres();
  const database = await server.createDatabase();
  return {
    setting: server.url(database),
    ...reader('extract(epoch FROM stored_at) * 1000', (text, values) => server.query(database, text, values)),
    [Symbol.asyncDispose]: () => server.remove(),
  };
}

function openSqlite(directory: string): SharedStore {
  const path = join(directory, 'ticks.db');
  const query = (text: string, values: (string | number)[]): Promise<Row[]> => {
    const db = new DatabaseSync(path, { readOnly: true });
    try {
      return Promise.resolve(db.prepare(text.replaceAll('$', '?')).all(...values));
    } finally {
      db.close();
    }
  };
  return {
    setting: `sqlite:${path}`,
    ...reader('stored_at_ms', query),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

type Query = (text: string, values: (string | number)[]) => Promise<Row[]>;

function reader(storedAtMs: string, query: Query): Pick<SharedStore, 'batches' | 'trades'> {
  return {
    async batches(provider) {
      const sql = `SELECT batch, stored, ${storedAtMs} AS at_ms, pod FROM batches WHERE provider = $1`;
      return (await query(sql, [provider])).map(({ batch, stored, at_ms: atMs, pod }) => ({
        id: String(batch),
        storedTicks: Number(stored),
        storedAtMs: Number(atMs),
        pod: String(pod),
      }));
    },
    async trades(provider, idsBelow) {
      const sql = `SELECT count(*) AS rows, count(DISTINCT CASE WHEN CAST(id AS bigint) < $2 THEN id END) AS ids
        FROM trades WHERE provider = $1`;
      const [row] = await query(sql, [provider, idsBelow]);
      return { rows: Number(row!['rows']), ids: Number(row!['ids']) };
    },
  };
}
