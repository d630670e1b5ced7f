/**
 * What the reading thread of the SQLite store runs, on a connection of its own: ticks, ledger entries and dead letters.
 */

import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { RejectReason, Rejection } from '../contract/answer.ts';
import type {
  DeadLetterQuery,
  DeadLetterRecord,
  LedgerRecord,
  QuoteRecord,
  TickQuery,
  TradeRecord,
} from '../sink/store.ts';

const TRADE_COLUMNS = 'symbol, ts AS tsNs, id, price, size, side, venue, conditions, stored_at_ms AS storedAtMs, pod';
const QUOTE_COLUMNS =
  'symbol, ts AS tsNs, id, bid_price AS bidPrice, bid_size AS bidSize, ask_price AS askPrice, ask_size AS askSize, ' +
  'venue, conditions, stored_at_ms AS storedAtMs, pod';

const SYMBOLS = `${walkSymbols('trades')} UNION ${walkSymbols('quotes')} ORDER BY symbol LIMIT $limit`;

export class SqliteReads {
  readonly #symbols: StatementSync;
  readonly #trades: StatementSync;
  readonly #quotes: StatementSync;
  readonly #ledger: StatementSync;
  readonly #deadLetters: StatementSync;
  readonly #deadLettersOfBatch: StatementSync;

  constructor(db: DatabaseSync) {
    this.#symbols = db.prepare(SYMBOLS);
    this.#trades = db.prepare(selectTicks(TRADE_COLUMNS, 'trades'));
    this.#quotes = db.prepare(selectTicks(QUOTE_COLUMNS, 'quotes'));
    this.#trades.setReadBigInts(true);
    this.#quotes.setReadBigInts(true);
    this.#ledger = db.prepare(
      `SELECT stored, duplicates, rejected, ignored_fields, stored_at_ms, pod FROM batches
       WHERE provider = ? AND batch = ?`,
    );
    this.#deadLetters = db.prepare(selectDeadLetters(''));
    this.#deadLettersOfBatch = db.prepare(selectDeadLetters('AND batch = ?'));
  }

  symbols(provider: string, limit: number): string[] {
    return this.#symbols.all({ provider, limit }).map(({ symbol }) => String(symbol));
  }

  trades(query: TickQuery): TradeRecord[] {
    return select(this.#trades, query) as unknown as TradeRecord[];
  }

  quotes(query: TickQuery): QuoteRecord[] {
    return select(this.#quotes, query) as unknown as QuoteRecord[];
  }

  ledger(provider: string, batchId: string): LedgerRecord | undefined {
    const row = this.#ledger.get(provider, batchId);
    if (row === undefined) return undefined;
    return {
      stored: Number(row['stored']),
      duplicates: Number(row['duplicates']),
      rejected: JSON.parse(String(row['rejected'])) as Rejection[],
      ignoredFields: Number(row['ignored_fields']),
      storedAtMs: Number(row['stored_at_ms']),
      pod: String(row['pod']),
    };
  }

  deadLetters({ provider, batchId, after, limit }: DeadLetterQuery): DeadLetterRecord[] {
    const { deadAtMs, batchId: afterBatch, index } = after ?? { deadAtMs: 0, batchId: '', index: -1 };
    const from = [provider, deadAtMs, afterBatch, index] as const;
    const rows =
      batchId === undefined
        ? this.#deadLetters.all(...from, limit)
        : this.#deadLettersOfBatch.all(...from, batchId, limit);
    return rows.map((row) => ({
      batchId: String(row['batch']),
      index: Number(row['tick_index']),
      reason: String(row['reason']) as RejectReason,
      detail: String(row['detail']),
      bytes: row['bytes'] as Uint8Array,
      sizeBytes: Number(row['size_bytes']),
      deadAtMs: Number(row['dead_at_ms']),
      pod: String(row['pod']),
    }));
  }
}

/** From one symbol to the next along the primary key: as many steps as there are symbols, whatever the rows. */
function walkSymbols(table: string): string {
  const next = `SELECT min(symbol) FROM ${table} WHERE provider = $provider`;
  return `SELECT symbol FROM (
    WITH RECURSIVE walk (symbol) AS (
      ${next}
      UNION ALL SELECT (${next} AND symbol > walk.symbol) FROM walk WHERE walk.symbol IS NOT NULL
    ) SELECT symbol FROM walk WHERE symbol IS NOT NULL LIMIT $limit)`;
}

function selectTicks(columns: string, table: string): string {
  return (
    `SELECT ${columns} FROM ${table} WHERE provider = ? AND symbol = ? AND ts >= ? AND ts < ? ` +
    'ORDER BY ts DESC, id DESC LIMIT ?'
  );
}

function select(statement: StatementSync, query: TickQuery): Record<string, unknown>[] {
  const rows = statement.all(query.provider, query.symbol, query.fromNs, query.toNs, query.limit);
  return rows.map((row) => ({ ...row, storedAtMs: Number(row['storedAtMs']) }));
}

function selectDeadLetters(filter: string): string {
  return `
    SELECT batch, tick_index, reason, detail, bytes, size_bytes, dead_at_ms, pod FROM dead_letters
    WHERE provider = ? AND (dead_at_ms, batch, tick_index) > (?, ?, ?) ${filter}
    ORDER BY dead_at_ms, batch, tick_index LIMIT ?`;
}
