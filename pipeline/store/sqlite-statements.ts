/**
 * What runs inside the store's threads: committing groups of batches with their ledger entries, forgetting old
 * ledger entries, and reading ticks back. Synchronous, on one connection, no threads and no timers.
 */

import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Rejection } from '../contract/answer.ts';
import {
  type BatchColumns,
  generatedId,
  type QuoteColumns,
  SIDE_NAMES,
  type TradeColumns,
} from '../contract/columns.ts';
import type { BatchResult, StoreBatch } from '../queue/delivery.ts';
import type { QuoteRecord, TickQuery, TradeRecord } from '../sink/store.ts';
import { RowsInsert } from './rows-insert.ts';

const TRADE_COLUMNS = 'symbol, ts AS tsNs, id, price, size, side, venue, conditions, stored_at_ms AS storedAtMs, pod';
const QUOTE_COLUMNS =
  'symbol, ts AS tsNs, id, bid_price AS bidPrice, bid_size AS bidSize, ask_price AS askPrice, ask_size AS askSize, ' +
  'venue, conditions, stored_at_ms AS storedAtMs, pod';

/** Ledger entries deleted in one transaction: short enough not to be felt by a waiting group. */
const FORGET_MAX_ROWS = 2_000;

/** The writing half. Invariant: outside `write` and `forget` no transaction is open. */
export class SqliteWriterStatements {
  readonly #pod: string;
  readonly #db: DatabaseSync;
  readonly #known: StatementSync;
  readonly #ledger: StatementSync;
  readonly #trades: RowsInsert;
  readonly #quotes: RowsInsert;
  readonly #changes: StatementSync;
  readonly #forget: StatementSync;

  constructor(db: DatabaseSync, pod: string) {
    this.#db = db;
    this.#pod = pod;
    this.#known = db.prepare(
      'SELECT body_hash, stored, duplicates, rejected, ignored_fields FROM batches WHERE provider = ? AND batch = ?',
    );
    this.#ledger = db.prepare('INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)');
    this.#trades = new RowsInsert(db, 'INSERT INTO trades', 10, sqlText(pod));
    this.#quotes = new RowsInsert(db, 'INSERT INTO quotes', 11, sqlText(pod));
    this.#changes = db.prepare('SELECT total_changes() AS changes');
    this.#forget = db.prepare(
      `DELETE FROM batches WHERE (provider, batch) IN
         (SELECT provider, batch FROM batches WHERE stored_at_ms < ? LIMIT ${FORGET_MAX_ROWS})`,
    );
  }

  /** Commits the group, or throws what SQLite threw with everything rolled back. */
  write(batches: readonly StoreBatch[], nowMs: number): BatchResult[] {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const results = batches.map((batch) => this.#writeBatch(batch, nowMs));
      this.#db.exec('COMMIT');
      return results;
    } catch (cause) {
      this.#rollback();
      throw cause;
    }
  }

  /** Deletes ledger entries from before `beforeMs`; true when there may be more. */
  forget(beforeMs: number): boolean {
    return Number(this.#forget.run(beforeMs).changes) === FORGET_MAX_ROWS;
  }

  #rollback(): void {
    // SQLite rolls back by itself on some errors (disk full among them); then there is nothing left to roll back.
    if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
  }

  #writeBatch(batch: StoreBatch, nowMs: number): BatchResult {
    const known = this.#known.get(batch.provider, batch.batchId);
    if (known !== undefined) {
      if (!sameBytes(known['body_hash'] as Uint8Array, batch.bodyHash)) return { outcome: 'conflict' };
      return {
        outcome: 'stored',
        again: true,
        receipt: {
          stored: Number(known['stored']),
          duplicates: Number(known['duplicates']),
          rejected: JSON.parse(String(known['rejected'])) as Rejection[],
          ignoredFields: Number(known['ignored_fields']),
        },
      };
    }
    const before = this.#totalChanges();
    const { columns } = batch;
    if (columns.trades !== null) this.#insertTrades(batch, columns, columns.trades, nowMs);
    if (columns.quotes !== null) this.#insertQuotes(batch, columns, columns.quotes, nowMs);
    const stored = this.#totalChanges() - before;
    const { rejected, ignoredFields } = batch;
    const duplicates = batch.ticks - rejected.length - stored;
    this.#ledger.run(
      batch.provider,
      batch.batchId,
      batch.bodyHash,
      stored,
      duplicates,
      JSON.stringify(rejected),
      ignoredFields,
      nowMs,
      this.#pod,
    );
    return { outcome: 'stored', again: false, receipt: { stored, duplicates, rejected, ignoredFields } };
  }

  #totalChanges(): number {
    return Number(this.#changes.get()!['changes']);
  }

  #insertTrades(batch: StoreBatch, columns: BatchColumns, trades: TradeColumns, nowMs: number): void {
    const rows = this.#trades;
    const { values } = rows;
    const words = dictionaryWithNull(columns);
    const ids = trades.ids.split('\n');
    const { index, symbol, tsNs, price, size, side, venue, conditions } = trades;
    for (let at = 0; at < index.length; at += 1) {
      const from = rows.place;
      values[from] = batch.provider;
      values[from + 1] = words[symbol[at]! + 1]!;
      values[from + 2] = tsNs[at]!;
      values[from + 3] = ids[at]! || generatedId(batch.batchId, index[at]!);
      values[from + 4] = price[at]!;
      values[from + 5] = size[at]!;
      values[from + 6] = SIDE_NAMES[side[at]!]!;
      values[from + 7] = words[venue[at]!]!;
      values[from + 8] = words[conditions[at]!]!;
      values[from + 9] = nowMs;
      rows.added();
    }
    rows.flush();
  }

  #insertQuotes(batch: StoreBatch, columns: BatchColumns, quotes: QuoteColumns, nowMs: number): void {
    const rows = this.#quotes;
    const { values } = rows;
    const words = dictionaryWithNull(columns);
    const ids = quotes.ids.split('\n');
    const { index, symbol, tsNs, bidPrice, bidSize, askPrice, askSize, venue, conditions } = quotes;
    for (let at = 0; at < index.length; at += 1) {
      const from = rows.place;
      values[from] = batch.provider;
      values[from + 1] = words[symbol[at]! + 1]!;
      values[from + 2] = tsNs[at]!;
      values[from + 3] = ids[at]! || generatedId(batch.batchId, index[at]!);
      // SQLite stores NaN, an absent side, as NULL.
      values[from + 4] = bidPrice[at]!;
      values[from + 5] = bidSize[at]!;
      values[from + 6] = askPrice[at]!;
      values[from + 7] = askSize[at]!;
      values[from + 8] = words[venue[at]!]!;
      values[from + 9] = words[conditions[at]!]!;
      values[from + 10] = nowMs;
      rows.added();
    }
    rows.flush();
  }
}

/** A text literal. It cannot hold NUL, which SQLite would take for the end of the statement. */
function sqlText(text: string): string {
  return `'${text.replaceAll('\0', '').replaceAll("'", "''")}'`;
}

/** The dictionary as optional columns point into it: place 0 is "absent". */
function dictionaryWithNull(columns: BatchColumns): (string | null)[] {
  return [null, ...columns.dictionary];
}

function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, at) => byte === right[at]);
}

/** The reading half, on a connection of its own. */
export class SqliteReaderStatements {
  readonly #trades: StatementSync;
  readonly #quotes: StatementSync;

  constructor(db: DatabaseSync) {
    this.#trades = db.prepare(selectTicks(TRADE_COLUMNS, 'trades'));
    this.#quotes = db.prepare(selectTicks(QUOTE_COLUMNS, 'quotes'));
    this.#trades.setReadBigInts(true);
    this.#quotes.setReadBigInts(true);
  }

  trades(query: TickQuery): TradeRecord[] {
    return select(this.#trades, query) as unknown as TradeRecord[];
  }

  quotes(query: TickQuery): QuoteRecord[] {
    return select(this.#quotes, query) as unknown as QuoteRecord[];
  }
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
