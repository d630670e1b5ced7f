/**
 * What the writing thread of the SQLite store runs: committing groups of batches with their ledger entries and dead
 * letters, rehearsing that, replaying dead letters, and forgetting what is old. Synchronous, on one connection.
 */

import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Rejection } from '../contract/answer.ts';
import {
  type BatchColumns,
  generatedId,
  placesOf,
  type QuoteColumns,
  SIDE_NAMES,
  type TradeColumns,
} from '../contract/columns.ts';
import { unpackTicks } from '../contract/tick-bytes.ts';
import type { BatchResult, StoreBatch } from '../queue/delivery.ts';
import { storableText } from './dead-letters.ts';
import { RowsInsert } from './rows-insert.ts';

/** Deleted in one transaction: few enough not to be felt by a waiting group. */
const FORGET_MAX_ENTRIES = 2_000;
/** Of up to 64 KiB each. */
const FORGET_MAX_DEAD_LETTERS = 500;

/** Invariant: between calls no transaction is open. Each throws what SQLite threw, with everything rolled back. */
export class SqliteWrites {
  readonly #pod: string;
  readonly #db: DatabaseSync;
  readonly #known: StatementSync;
  readonly #ledger: StatementSync;
  readonly #trades: RowsInsert;
  readonly #quotes: RowsInsert;
  readonly #deadLetter: StatementSync;
  readonly #removeDeadLetter: StatementSync;
  readonly #check: StatementSync;
  readonly #forgetDeadLetters: StatementSync;
  readonly #forgetEntries: StatementSync;
  readonly #forgetChecks: StatementSync;

  constructor(db: DatabaseSync, pod: string) {
    this.#db = db;
    this.#pod = pod;
    this.#known = db.prepare(
      'SELECT body_hash, stored, duplicates, rejected, ignored_fields FROM batches WHERE provider = ? AND batch = ?',
    );
    this.#ledger = db.prepare('INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)');
    this.#trades = new RowsInsert(db, 'INSERT INTO trades', 8, sqlText(pod));
    this.#quotes = new RowsInsert(db, 'INSERT INTO quotes', 9, sqlText(pod));
    // One that is there is of a batch that the ledger has forgotten.
    this.#deadLetter = db.prepare('INSERT OR REPLACE INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)');
    this.#removeDeadLetter = db.prepare('DELETE FROM dead_letters WHERE provider = ? AND batch = ? AND tick_index = ?');
    this.#check = db.prepare('INSERT OR REPLACE INTO store_checks VALUES (?, ?)');
    this.#forgetDeadLetters = db.prepare(
      `DELETE FROM dead_letters WHERE rowid IN
         (SELECT rowid FROM dead_letters WHERE dead_at_ms < ? LIMIT ${FORGET_MAX_DEAD_LETTERS})`,
    );
    this.#forgetEntries = db.prepare(
      `DELETE FROM batches WHERE (provider, batch) IN
         (SELECT provider, batch FROM batches WHERE stored_at_ms < ? LIMIT ${FORGET_MAX_ENTRIES})`,
    );
    this.#forgetChecks = db.prepare('DELETE FROM store_checks WHERE checked_at_ms < ?');
  }

  write(batches: readonly StoreBatch[], nowMs: number): BatchResult[] {
    return this.#inTransaction('COMMIT', () => batches.map((batch) => this.#writeBatch(batch, nowMs)));
  }

  /** What {@link write} would say; nothing stays. */
  rehearse(batch: StoreBatch, nowMs: number): BatchResult[] {
    return this.#inTransaction('ROLLBACK', () => [this.#writeBatch(batch, nowMs)]);
  }

  /** Stores the batch's ticks and removes the dead letters of their places. */
  replay(batch: StoreBatch, nowMs: number): BatchResult[] {
    return this.#inTransaction('COMMIT', () => {
      const places = placesOf(batch.columns);
      const stored = this.#insertTicks(batch, nowMs);
      for (const index of places) this.#removeDeadLetter.run(batch.provider, batch.batchId, index);
      const { ignoredFields } = batch;
      const receipt = { stored, duplicates: places.length - stored, rejected: [], ignoredFields };
      return [{ outcome: 'stored', again: false, receipt }];
    });
  }

  /** A commit that is nobody's. */
  check(nowMs: number): void {
    this.#check.run(this.#pod, nowMs);
  }

  /** Deletes a part of what is from before `beforeMs`; true when there may be more. */
  forget(beforeMs: number): boolean {
    return this.#inTransaction('COMMIT', () => {
      // Before their ledger entries, so that a batch that is new again finds none of its own.
      const deadLetters = Number(this.#forgetDeadLetters.run(beforeMs).changes);
      if (deadLetters === FORGET_MAX_DEAD_LETTERS) return true;
      this.#forgetChecks.run(beforeMs);
      return Number(this.#forgetEntries.run(beforeMs).changes) === FORGET_MAX_ENTRIES;
    });
  }

  #inTransaction<T>(end: 'COMMIT' | 'ROLLBACK', body: () => T): T {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const value = body();
      this.#db.exec(end);
      return value;
    } catch (cause) {
      // SQLite rolls back by itself on some errors (disk full among them); then there is nothing left to roll back.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw cause;
    }
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
    const stored = this.#insertTicks(batch, nowMs);
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
    this.#insertDeadLetters(batch, nowMs);
    // Its rejections need not go the way back: sqlite.ts still has them.
    return { outcome: 'stored', again: false, receipt: { stored, duplicates, rejected: [], ignoredFields } };
  }

  #insertDeadLetters({ provider, batchId, rejected, rejectedBytes }: StoreBatch, nowMs: number): void {
    const ticks = unpackTicks(rejectedBytes);
    rejected.forEach(({ index, reason, detail }, at) => {
      const { bytes, sizeBytes } = ticks[at]!;
      const text = storableText(detail);
      this.#deadLetter.run(provider, batchId, index, reason, text, bytes, sizeBytes, nowMs, this.#pod);
    });
  }

  /** How many were new. */
  #insertTicks(batch: StoreBatch, nowMs: number): number {
    const { columns } = batch;
    const trades = columns.trades === null ? 0 : this.#insertTrades(batch, columns, columns.trades, nowMs);
    const quotes = columns.quotes === null ? 0 : this.#insertQuotes(batch, columns, columns.quotes, nowMs);
    return trades + quotes;
  }

  #insertTrades(batch: StoreBatch, columns: BatchColumns, trades: TradeColumns, nowMs: number): number {
    const rows = this.#trades;
    rows.start(batch.provider, nowMs);
    const { values } = rows;
    const words = dictionaryWithNull(columns);
    const ids = trades.ids.split('\n');
    const { index, symbol, tsNs, price, size, side, venue, conditions } = trades;
    for (let at = 0; at < index.length; at += 1) {
      const from = rows.place;
      values[from] = words[symbol[at]! + 1]!;
      values[from + 1] = tsNs[at]!;
      values[from + 2] = ids[at]! || generatedId(batch.batchId, index[at]!);
      values[from + 3] = price[at]!;
      values[from + 4] = size[at]!;
      values[from + 5] = SIDE_NAMES[side[at]!]!;
      values[from + 6] = words[venue[at]!]!;
      values[from + 7] = words[conditions[at]!]!;
      rows.added();
    }
    return rows.flush();
  }

  #insertQuotes(batch: StoreBatch, columns: BatchColumns, quotes: QuoteColumns, nowMs: number): number {
    const rows = this.#quotes;
    rows.start(batch.provider, nowMs);
    const { values } = rows;
    const words = dictionaryWithNull(columns);
    const ids = quotes.ids.split('\n');
    const { index, symbol, tsNs, bidPrice, bidSize, askPrice, askSize, venue, conditions } = quotes;
    for (let at = 0; at < index.length; at += 1) {
      const from = rows.place;
      values[from] = words[symbol[at]! + 1]!;
      values[from + 1] = tsNs[at]!;
      values[from + 2] = ids[at]! || generatedId(batch.batchId, index[at]!);
      // SQLite stores NaN, an absent side, as NULL.
      values[from + 3] = bidPrice[at]!;
      values[from + 4] = bidSize[at]!;
      values[from + 5] = askPrice[at]!;
      values[from + 6] = askSize[at]!;
      values[from + 7] = words[venue[at]!]!;
      values[from + 8] = words[conditions[at]!]!;
      rows.added();
    }
    return rows.flush();
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
