/**
 * Reads ticks back: newest first, with every nanosecond and every digit; and entries of the ledger. Times come as
 * integers, since a Date would lose all below the millisecond.
 */

import type { Rejection } from '../contract/answer.ts';
import type { LedgerRecord, QuoteRecord, TickQuery, TradeRecord } from '../sink/store.ts';
import { instant } from './postgres-arrays.ts';
import type { Session } from './postgres-session.ts';

const COMMON =
  '(extract(epoch FROM ts) * 1000000)::int8 AS micros, ts_ns AS nanos, symbol, id, venue, conditions, pod, ' +
  'floor(extract(epoch FROM stored_at) * 1000)::int8 AS "storedAtMs"';

/** The bounds on `ts` alone let the planner leave out partitions; those with `ts_ns` beside it are the exact ones. */
function selectTicks(columns: string, table: string): string {
  return `
    SELECT ${COMMON}, ${columns} FROM ${table}
    WHERE provider = $1 AND symbol = $2
      AND ts >= $3::timestamptz AND (ts, ts_ns) >= ($3::timestamptz, $4::int2)
      AND ts <= $5::timestamptz AND (ts, ts_ns) < ($5::timestamptz, $6::int2)
    ORDER BY ts DESC, ts_ns DESC, id DESC LIMIT $7`;
}

const TRADES = selectTicks('price, size, side', 'trades');
const QUOTES = selectTicks(
  'bid_price AS "bidPrice", bid_size AS "bidSize", ask_price AS "askPrice", ask_size AS "askSize"',
  'quotes',
);

export async function selectTrades(session: Session, query: TickQuery): Promise<TradeRecord[]> {
  return (await select(session, TRADES, query)) as unknown as TradeRecord[];
}

export async function selectQuotes(session: Session, query: TickQuery): Promise<QuoteRecord[]> {
  return (await select(session, QUOTES, query)) as unknown as QuoteRecord[];
}

/** From one symbol to the next along the primary key: as many steps as there are symbols, whatever the rows. */
function walkSymbols(table: string): string {
  const next = `SELECT min(symbol) FROM ${table} WHERE provider = $1`;
  return `(
    WITH RECURSIVE walk (symbol) AS (
      ${next}
      UNION ALL SELECT (${next} AND symbol > walk.symbol) FROM walk WHERE walk.symbol IS NOT NULL
    ) SELECT symbol FROM walk WHERE symbol IS NOT NULL LIMIT $2)`;
}

const SYMBOLS = `
  SELECT symbol FROM (${walkSymbols('trades')} UNION ${walkSymbols('quotes')}) AS walked
  ORDER BY symbol COLLATE "C" LIMIT $2`;

export async function selectSymbols(session: Session, provider: string, limit: number): Promise<string[]> {
  const { rows } = await session.query(SYMBOLS, [provider, limit]);
  return rows.map(({ symbol }) => String(symbol));
}

const LEDGER = `
  SELECT stored, duplicates, rejected::text AS rejected, ignored_fields, stored_at, pod FROM batches
  WHERE provider = $1 AND batch = $2`;

export async function selectLedger(
  session: Session,
  provider: string,
  batchId: string,
): Promise<LedgerRecord | undefined> {
  const { rows } = await session.query(LEDGER, [provider, batchId]);
  const [row] = rows;
  if (row === undefined) return undefined;
  return {
    stored: Number(row['stored']),
    duplicates: Number(row['duplicates']),
    rejected: JSON.parse(String(row['rejected'])) as Rejection[],
    ignoredFields: Number(row['ignored_fields']),
    storedAtMs: (row['stored_at'] as Date).getTime(),
    pod: String(row['pod']),
  };
}

async function select(session: Session, text: string, query: TickQuery): Promise<Record<string, unknown>[]> {
  const { provider, symbol, limit } = query;
  const from = instant(query.fromNs);
  const to = instant(query.toNs);
  const { rows } = await session.query(text, [provider, symbol, from.ts, from.tsNs, to.ts, to.tsNs, limit]);
  return rows.map(({ micros, nanos, storedAtMs, ...row }) => ({
    ...row,
    tsNs: BigInt(String(micros)) * 1000n + BigInt(Number(nanos)),
    storedAtMs: Number(storedAtMs),
  }));
}
