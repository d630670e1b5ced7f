/**
 * The tables of the PostgreSQL store and how they came to be: each migration once, in order, in one transaction with
 * its entry in `schema_version`, behind a lock, so that ten pods may start at once. Migrations are never edited, only
 * added. A role that may not create tables can serve on a schema that another has made.
 */

import { StoreOpenError } from '../sink/store.ts';
import { StoreNotReadyError } from './postgres-failure.ts';
import { inTransaction, type Session, type TransactionLimits } from './postgres-session.ts';

/** Keys of advisory locks: any numbers that nobody else in the database takes. */
export const ADVISORY_LOCK = { migration: 7_304_001, partitions: 7_304_002, retention: 7_304_003 } as const;

/** How the two tables of ticks are kept in pieces of a day. */
export type Layout = 'partitions' | 'hypertables';

/**
 * Words sort by bytes: it is what SQLite does, it is the same on every server, and it makes the index cheaper.
 * `rejected` is json, not jsonb, because a receipt comes back as it was, and jsonb refuses characters that a
 * rejection may quote.
 */
const KEY = `
  provider text COLLATE "C" NOT NULL, symbol text COLLATE "C" NOT NULL,
  ts timestamptz NOT NULL, ts_ns smallint NOT NULL, id text COLLATE "C" NOT NULL`;
const ORIGIN = `
  venue text, conditions text, stored_at timestamptz NOT NULL, pod text NOT NULL,
  PRIMARY KEY (provider, symbol, ts, ts_ns, id)`;

type Migration = (layout: Layout) => string;

const MIGRATIONS: readonly Migration[] = [
  (layout) => {
    const partitioned = layout === 'partitions' ? 'PARTITION BY RANGE (ts)' : '';
    return `
      CREATE TABLE trades (
        ${KEY}, price float8 NOT NULL, size float8 NOT NULL, side text, ${ORIGIN}
      ) ${partitioned};
      CREATE TABLE quotes (
        ${KEY}, bid_price float8, bid_size float8, ask_price float8, ask_size float8, ${ORIGIN}
      ) ${partitioned};
      CREATE TABLE batches (
        provider text COLLATE "C" NOT NULL, batch text COLLATE "C" NOT NULL, body_hash bytea NOT NULL,
        stored int4 NOT NULL, duplicates int4 NOT NULL, rejected json NOT NULL, ignored_fields int4 NOT NULL,
        stored_at timestamptz NOT NULL, pod text NOT NULL,
        PRIMARY KEY (provider, batch)
      );
      CREATE INDEX batches_by_age ON batches (stored_at);
      ${layout === 'partitions' ? DEFAULT_PARTITIONS : HYPERTABLES}`;
  },
  () => `
    CREATE TABLE dead_letters (
      provider text COLLATE "C" NOT NULL, batch text COLLATE "C" NOT NULL, tick_index int4 NOT NULL,
      reason text NOT NULL, detail text NOT NULL, bytes bytea NOT NULL, size_bytes int4 NOT NULL,
      dead_at timestamptz NOT NULL, pod text NOT NULL,
      PRIMARY KEY (provider, batch, tick_index)
    );
    CREATE INDEX dead_letters_by_provider ON dead_letters (provider, dead_at, batch, tick_index);
    CREATE INDEX dead_letters_by_age ON dead_letters (dead_at);
    CREATE TABLE store_checks (pod text COLLATE "C" PRIMARY KEY, checked_at timestamptz NOT NULL);`,
];

const DEFAULT_PARTITIONS = `
  CREATE TABLE trades_default PARTITION OF trades DEFAULT;
  CREATE TABLE quotes_default PARTITION OF quotes DEFAULT;
  CREATE INDEX trades_default_by_ts ON trades_default (ts);
  CREATE INDEX quotes_default_by_ts ON quotes_default (ts);`;

/**
 * TimescaleDB may be installed into any schema, which then is searched last, for this transaction. Only for within a
 * transaction; without the extension nothing happens.
 */
export const FIND_TIMESCALE = `
  SELECT set_config('search_path',
    concat_ws(', ', nullif(current_setting('search_path'), ''), quote_ident(nspname)), true)
  FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace WHERE extname = 'timescaledb'`;

/**
 * By the older of the two interfaces, which every version 2 has, up to 2.27 as read; `by_range` came with 2.13. Tested
 * with a stand-in for the extension (test/support/timescaledb-stand-in.sql); a real TimescaleDB it has not met.
 * Source: sql/ddl_api.sql of timescale/timescaledb, and its documentation of create_hypertable.
 */
const HYPERTABLES = `
  ${FIND_TIMESCALE};
  SELECT create_hypertable('trades', 'ts', chunk_time_interval => interval '1 day', create_default_indexes => false);
  SELECT create_hypertable('quotes', 'ts', chunk_time_interval => interval '1 day', create_default_indexes => false);`;

export const SCHEMA_VERSION = MIGRATIONS.length;

/**
 * Whether there is nothing to migrate, which is nearly always. Throws {@link StoreOpenError} when the database has a
 * newer schema than this pod knows, which an older pod must not write into, or cannot hold every symbol.
 */
export async function isSchemaCurrent(session: Session): Promise<boolean> {
  const encoding = await value(session, "SELECT current_setting('server_encoding') AS value");
  if (encoding !== 'UTF8') throw new StoreOpenError(`the database has encoding ${String(encoding)}, not UTF8`);
  return (await versionOf(session)) === SCHEMA_VERSION;
}

/** Brings the schema up to {@link SCHEMA_VERSION}, whoever else is doing the same. */
export async function migrate(session: Session, limits: TransactionLimits, nowMs: number): Promise<void> {
  await inTransaction(session, limits, async () => {
    await session.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCK.migration]);
    const version = await versionOf(session);
    if (version === SCHEMA_VERSION) return;
    await session.query(
      'CREATE TABLE IF NOT EXISTS schema_version (version int4 PRIMARY KEY, applied_at timestamptz NOT NULL)',
    );
    const timescale = await value(session, "SELECT 1 AS value FROM pg_extension WHERE extname = 'timescaledb'");
    const layout: Layout = timescale === undefined ? 'partitions' : 'hypertables';
    for (let next = version; next < SCHEMA_VERSION; next += 1) {
      await session.query(MIGRATIONS[next]!(layout));
      await session.query('INSERT INTO schema_version VALUES ($1, $2)', [next + 1, new Date(nowMs)]);
    }
  });
}

async function versionOf(session: Session): Promise<number> {
  if ((await value(session, "SELECT to_regclass('schema_version') AS value")) === null) return 0;
  const version = Number(await value(session, 'SELECT coalesce(max(version), 0) AS value FROM schema_version'));
  if (version > SCHEMA_VERSION) {
    throw new StoreOpenError(
      `the store has schema version ${version}, this pod knows ${SCHEMA_VERSION}: use a newer pod`,
    );
  }
  return version;
}

export async function layoutOf(session: Session): Promise<Layout> {
  const kind = await value(session, "SELECT relkind AS value FROM pg_class WHERE oid = 'trades'::regclass");
  return kind === 'p' ? 'partitions' : 'hypertables';
}

const NEEDED_PRIVILEGES = Object.entries({
  trades: ['SELECT', 'INSERT'],
  quotes: ['SELECT', 'INSERT'],
  batches: ['SELECT', 'INSERT', 'UPDATE'],
  dead_letters: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  store_checks: ['SELECT', 'INSERT', 'UPDATE'],
}).flatMap(([name, privileges]) => privileges.map((privilege) => [name, privilege] as const));

/** Throws {@link StoreNotReadyError} unless this role can write what a group or a replay needs, here and now. */
export async function checkWritable(session: Session): Promise<void> {
  if ((await value(session, "SELECT current_setting('transaction_read_only') AS value")) === 'on') {
    throw new StoreNotReadyError('the server takes no writes: it is a standby, or set to read only');
  }
  const { rows } = await session.query(
    `SELECT name, privilege FROM unnest($1::text[], $2::text[]) AS needed (name, privilege)
     WHERE NOT has_table_privilege(name, privilege)`,
    [NEEDED_PRIVILEGES.map(([name]) => name), NEEDED_PRIVILEGES.map(([, privilege]) => privilege)],
  );
  const [missing] = rows;
  if (missing !== undefined) {
    throw new StoreNotReadyError(`this role lacks ${String(missing['privilege'])} on ${String(missing['name'])}`);
  }
}

/** Settings of the server with which a power cut loses what was committed; a pod cannot change them. */
export async function unsafeSettings(session: Session): Promise<string[]> {
  const { rows } = await session.query(
    "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'",
  );
  return rows.map(({ name }) => String(name));
}

async function value(session: Session, text: string): Promise<unknown> {
  const { rows } = await session.query(text);
  return rows[0]?.['value'];
}
