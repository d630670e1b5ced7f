/**
 * What is left of batches that are no longer held: receipts, and dead letters with their bodies, for as long as their
 * bounds allow. Reads what the shelf has written, and forgets the oldest of it.
 */

import type { DeadBody, DeadLetter, DeadReceipt, Receipt, SettledReceipt } from './calls.ts';
import { bytesOf, number, type Statements, text } from './database.ts';
import { ageSeconds } from './receipt.ts';

export const RECEIPT_MAX_AGE_MS = 7 * 24 * 3_600_000;
export const RECEIPTS_MAX = 200_000;
export const DEAD_MAX_AGE_MS = 30 * 24 * 3_600_000;
export const DEAD_MAX_BYTES = 1024 ** 3;
export const DEAD_LETTERS_MAX = 100_000;
export const DEAD_LIST_MAX = 1_000;
/** Of each kind, in one call of {@link Archive.tidy}, so that nobody waits for it. */
export const TIDY_MAX_ROWS = 500;

export interface ArchiveBounds {
  receiptMaxAgeMs: number;
  receiptsMax: number;
  deadMaxAgeMs: number;
  deadMaxBytes: number;
  deadLettersMax: number;
}

export const ARCHIVE_BOUNDS: ArchiveBounds = {
  receiptMaxAgeMs: RECEIPT_MAX_AGE_MS,
  receiptsMax: RECEIPTS_MAX,
  deadMaxAgeMs: DEAD_MAX_AGE_MS,
  deadMaxBytes: DEAD_MAX_BYTES,
  deadLettersMax: DEAD_LETTERS_MAX,
};

interface Bound {
  rows: number;
  bytes: number;
  maxAgeMs: number;
}

export class Archive {
  readonly #sql: Statements;
  readonly #bounds: ArchiveBounds;

  constructor(sql: Statements, bounds: ArchiveBounds = ARCHIVE_BOUNDS) {
    this.#sql = sql;
    this.#bounds = bounds;
  }

  /** Whether {@link tidy} will have something to do one day. */
  get isEmpty(): boolean {
    return this.#sql.one('SELECT 1 FROM batches WHERE settled_ms IS NOT NULL LIMIT 1') === undefined;
  }

  /** What is known of a batch, held or not: the newest, where a dead one's id was used again. */
  receipt(batch: string, nowMs: number): Receipt | undefined {
    const row = this.#sql.one(
      'SELECT seq, arrived_ms, attempts, receipt FROM batches WHERE batch = ? ORDER BY seq DESC LIMIT 1',
      batch,
    );
    if (row === undefined) return undefined;
    if (row['receipt'] !== null) return JSON.parse(text(row, 'receipt')) as SettledReceipt;
    const before = this.#sql.one(
      'SELECT count(*) AS batches FROM batches INDEXED BY batches_held WHERE settled_ms IS NULL AND seq < ?',
      number(row, 'seq'),
    )!;
    return {
      batch,
      status: 'buffered',
      position: number(before, 'batches'),
      ageSeconds: ageSeconds(number(row, 'arrived_ms'), nowMs),
      attempts: number(row, 'attempts'),
    };
  }

  /** Newest first, those before `beforeCursor`; at most {@link DEAD_LIST_MAX}. */
  deadLetters(limit: number, beforeCursor: number = Number.MAX_SAFE_INTEGER): DeadLetter[] {
    const rows = this.#sql.all(
      'SELECT seq, batch, arrived_ms, bytes, ticks, receipt FROM batches WHERE dead = 1 AND seq < ? ' +
        'ORDER BY seq DESC LIMIT ?',
      beforeCursor,
      Math.min(limit, DEAD_LIST_MAX),
    );
    return rows.map((row) => {
      const { reason, detail, at } = JSON.parse(text(row, 'receipt')) as DeadReceipt;
      return {
        cursor: number(row, 'seq'),
        batch: text(row, 'batch'),
        reason,
        detail,
        at,
        arrivedAt: new Date(number(row, 'arrived_ms')).toISOString(),
        bytes: number(row, 'bytes'),
        ticks: number(row, 'ticks'),
      };
    });
  }

  /** The newest dead body under this id. */
  deadBody(batch: string): DeadBody | undefined {
    const row = this.#sql.one(
      'SELECT body, encoding, content_type FROM batches JOIN bodies USING (seq) WHERE batch = ? AND dead = 1 ' +
        'ORDER BY seq DESC LIMIT 1',
      batch,
    );
    if (row === undefined) return undefined;
    const encoding = row['encoding'] === null ? null : 'gzip';
    return { body: bytesOf(row, 'body'), encoding, contentType: text(row, 'content_type') };
  }

  /**
   * Forgets receipts and dead letters that are beyond their bounds, oldest first. Says how many of each; `more` when
   * {@link TIDY_MAX_ROWS} were not enough.
   */
  tidy(nowMs: number): { receipts: number; deadLetters: number; more: boolean } {
    const { receiptMaxAgeMs, receiptsMax, deadMaxAgeMs, deadMaxBytes, deadLettersMax } = this.#bounds;
    const receipts = this.#forget(0, { rows: receiptsMax, bytes: Infinity, maxAgeMs: receiptMaxAgeMs }, nowMs);
    const deadBound = { rows: deadLettersMax, bytes: deadMaxBytes, maxAgeMs: deadMaxAgeMs };
    const deadLetters = this.#forget(1, deadBound, nowMs);
    return { receipts, deadLetters, more: Math.max(receipts, deadLetters) === TIDY_MAX_ROWS };
  }

  #forget(dead: 0 | 1, bound: Bound, nowMs: number): number {
    const sums = this.#sql.one(
      'SELECT count(*) AS held, sum(bytes) AS bytes FROM batches INDEXED BY batches_settled ' +
        'WHERE settled_ms IS NOT NULL AND dead = ?',
      dead,
    )!;
    let [rows, bytes] = [number(sums, 'held'), number(sums, 'bytes')];
    const oldest = this.#sql.all(
      'SELECT seq, settled_ms, bytes FROM batches INDEXED BY batches_settled ' +
        'WHERE settled_ms IS NOT NULL AND dead = ? ORDER BY settled_ms LIMIT ?',
      dead,
      TIDY_MAX_ROWS,
    );
    let forgotten = 0;
    this.#sql.transaction(() => {
      for (const row of oldest) {
        const isOld = number(row, 'settled_ms') <= nowMs - bound.maxAgeMs;
        if (!isOld && rows <= bound.rows && bytes <= bound.bytes) break;
        this.#sql.run('DELETE FROM bodies WHERE seq = ?', number(row, 'seq'));
        this.#sql.run('DELETE FROM batches WHERE seq = ?', number(row, 'seq'));
        rows -= 1;
        bytes -= number(row, 'bytes');
        forgotten += 1;
      }
    });
    return forgotten;
  }
}
