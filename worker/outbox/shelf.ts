/**
 * The batches of one provider that are held on disk: taken in, found when due, and let go with a receipt. Statements
 * and bounds only; synchronous. Knows neither network nor clock, and decides no fate.
 */

import type { DeadCause, OfferedBatch, OfferOutcome, OutboxTotals, SettledReceipt, StoredReceipt } from './calls.ts';
import { bytesOf, number, type Row, type Statements, text } from './database.ts';
import type { StoredFacts } from './fate.ts';
import { deadReceipt, storedReceipt } from './receipt.ts';

/** Well under the 10 GB of one object: 4 GiB held, 1 GiB dead, 3.1 GiB of the fullest receipts. */
export const OUTBOX_MAX_BYTES = 4 * 1024 ** 3;
export const OUTBOX_MAX_BATCHES = 500_000;
export const OUTBOX_MAX_AGE_SECONDS = 3 * 24 * 3_600;
/** Whatever the sums above say. */
export const DATABASE_MAX_BYTES = 9_000_000_000;
/** Held batches that one call of {@link Shelf.expire} looks at, so that nobody waits for it. */
export const EXPIRE_MAX_BATCHES = 500;

export interface ShelfBounds {
  maxBytes: number;
  maxBatches: number;
  maxAgeMs: number;
}

export const SHELF_BOUNDS: ShelfBounds = {
  maxBytes: OUTBOX_MAX_BYTES,
  maxBatches: OUTBOX_MAX_BATCHES,
  maxAgeMs: OUTBOX_MAX_AGE_SECONDS * 1000,
};

/** A held batch without its body. */
export interface HeldBatch {
  seq: number;
  batch: string;
  batchIdMade: boolean;
  contentType: string;
  encoding: 'gzip' | null;
  ticks: number;
  bytes: number;
  attempts: number;
}

const NONE: ReadonlySet<number> = new Set();

/**
 * Invariants: an id is held or stored once, and a dead one's is free again; there is a body exactly for what is held
 * and what is dead; a batch stops being held only in the transaction that writes its receipt.
 */
export class Shelf {
  readonly #sql: Statements;
  readonly #bounds: ShelfBounds;
  /** What is held now; also what an uncommitted transaction would change, so written only after it. */
  #held: { batches: number; ticks: number; bytes: number };

  constructor(sql: Statements, bounds: ShelfBounds = SHELF_BOUNDS) {
    this.#sql = sql;
    this.#bounds = bounds;
    const sums = sql.one(
      'SELECT count(*) AS batches, sum(ticks) AS ticks, sum(bytes) AS bytes FROM batches INDEXED BY batches_held ' +
        'WHERE settled_ms IS NULL',
    )!;
    this.#held = { batches: number(sums, 'batches'), ticks: number(sums, 'ticks'), bytes: number(sums, 'bytes') };
  }

  get isEmpty(): boolean {
    return this.#held.batches === 0;
  }

  /** Takes a batch in, or says what is known of its id. The same body again changes nothing. */
  offer(offered: OfferedBatch): OfferOutcome {
    const known = this.#sql.one(
      'SELECT body_hash, settled_ms, receipt FROM batches WHERE batch = ? AND dead = 0',
      offered.batch,
    );
    if (known !== undefined) {
      if (!sameBytes(bytesOf(known, 'body_hash'), offered.bodyHash)) {
        if (offered.promised) this.#takeInDead(offered);
        return { kind: 'conflict' };
      }
      if (known['settled_ms'] === null) return { kind: 'buffered' };
      return { kind: 'stored', receipt: JSON.parse(text(known, 'receipt')) as StoredReceipt };
    }
    const detail = this.#whyFull(offered.body.length);
    if (detail !== undefined) return { kind: 'full', detail };
    this.#sql.transaction(() => void this.#insert(offered));
    const { batches, ticks, bytes } = this.#held;
    this.#held = { batches: batches + 1, ticks: ticks + offered.ticks, bytes: bytes + offered.body.length };
    return { kind: 'buffered' };
  }

  #insert({ batch, bodyHash, arrivedMs, ticks, body, contentType, encoding, batchIdMade }: OfferedBatch): number {
    const row = this.#sql.one(
      'INSERT INTO batches (batch, id_made, body_hash, content_type, encoding, arrived_ms, ticks, bytes) ' +
        'VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq',
      batch,
      batchIdMade ? 1 : 0,
      bodyHash,
      contentType,
      encoding,
      arrivedMs,
      ticks,
      body.length,
    )!;
    this.#sql.run('INSERT INTO bodies (seq, body) VALUES (?, ?)', number(row, 'seq'), body);
    return number(row, 'seq');
  }

  /** Its sender was told that it is held, and then it could not be: it must not be gone without a word. */
  #takeInDead(offered: OfferedBatch): void {
    const cause = { reason: 'batch-conflict', detail: 'the outbox holds this batch id with another body' };
    this.#sql.transaction(() => {
      this.#finish(this.#insert(offered), deadReceipt(offered.batch, cause, offered.arrivedMs), offered.arrivedMs);
    });
  }

  #whyFull(bytes: number): string | undefined {
    const { maxBytes, maxBatches } = this.#bounds;
    if (this.#held.bytes + bytes > maxBytes) return `the outbox holds ${this.#held.bytes} of ${maxBytes} bytes`;
    if (this.#held.batches >= maxBatches) return `the outbox holds ${maxBatches} batches`;
    if (this.#sql.sizeBytes() + bytes > DATABASE_MAX_BYTES) return 'the database of the outbox has no room';
    return undefined;
  }

  /** The oldest held batch that is due and not in `except`; `undefined` when there is none. */
  nextDue(nowMs: number, except: ReadonlySet<number>): HeldBatch | undefined {
    const seqs = this.#sql.all(
      'SELECT seq FROM batches INDEXED BY batches_held WHERE settled_ms IS NULL AND due_ms <= ? ORDER BY seq LIMIT ?',
      nowMs,
      except.size + 1,
    );
    const seq = seqs.map((row) => number(row, 'seq')).find((one) => !except.has(one));
    if (seq === undefined) return undefined;
    return heldBatch(this.#sql.one('SELECT * FROM batches WHERE seq = ?', seq)!);
  }

  /** When the next held batch is due, `nowMs` or later; `undefined` when none is held. */
  nextDueMs(nowMs: number): number | undefined {
    if (this.nextDue(nowMs, NONE) !== undefined) return nowMs;
    const row = this.#sql.one(
      'SELECT min(due_ms) AS due_ms FROM batches INDEXED BY batches_held WHERE settled_ms IS NULL',
    )!;
    return row['due_ms'] === null ? undefined : number(row, 'due_ms');
  }

  body(seq: number): Uint8Array<ArrayBuffer> | undefined {
    const row = this.#sql.one('SELECT body FROM bodies WHERE seq = ?', seq);
    return row === undefined ? undefined : bytesOf(row, 'body');
  }

  /** Not now: it stays where it is. */
  postpone(seq: number, dueMs: number): void {
    this.#sql.run('UPDATE batches SET attempts = attempts + 1, due_ms = ? WHERE seq = ?', dueMs, seq);
  }

  /** Committed in the store: a receipt takes the place of its body. */
  settle(held: HeldBatch, facts: StoredFacts, nowMs: number): void {
    this.#sql.transaction(() => {
      this.#finish(held.seq, storedReceipt(held.batch, facts), nowMs);
      this.#sql.run('DELETE FROM bodies WHERE seq = ?', held.seq);
    });
    this.#release(held);
  }

  /** Set aside for good, with its body. */
  bury(held: HeldBatch, cause: DeadCause, nowMs: number): void {
    this.#sql.transaction(() => this.#finish(held.seq, deadReceipt(held.batch, cause, nowMs), nowMs));
    this.#release(held);
  }

  #finish(seq: number, receipt: SettledReceipt, nowMs: number): void {
    this.#sql.run(
      'UPDATE batches SET attempts = attempts + 1, settled_ms = ?, dead = ?, receipt = ? WHERE seq = ?',
      nowMs,
      receipt.status === 'dead' ? 1 : 0,
      JSON.stringify(receipt),
      seq,
    );
  }

  #release({ ticks, bytes }: HeldBatch): void {
    const held = this.#held;
    this.#held = { batches: held.batches - 1, ticks: held.ticks - ticks, bytes: held.bytes - bytes };
  }

  /**
   * Makes dead letters of the oldest held batches that have been here too long, save those in `except`. At most
   * {@link EXPIRE_MAX_BATCHES}; returns how many.
   */
  expire(nowMs: number, except: ReadonlySet<number>): number {
    const { maxAgeMs } = this.#bounds;
    const oldest = this.#sql.all(
      'SELECT seq, arrived_ms FROM batches INDEXED BY batches_held WHERE settled_ms IS NULL ORDER BY seq LIMIT ?',
      EXPIRE_MAX_BATCHES,
    );
    const detail = `the store did not take it within ${Math.round(maxAgeMs / 1000)} s`;
    let expired = 0;
    for (const row of oldest) {
      if (number(row, 'arrived_ms') > nowMs - maxAgeMs) break;
      const seq = number(row, 'seq');
      if (except.has(seq)) continue;
      const held = heldBatch(this.#sql.one('SELECT * FROM batches WHERE seq = ?', seq)!);
      this.bury(held, { reason: 'expired', detail }, nowMs);
      expired += 1;
    }
    return expired;
  }

  totals(): OutboxTotals {
    const oldest = this.#sql.one(
      'SELECT arrived_ms FROM batches INDEXED BY batches_held WHERE settled_ms IS NULL ORDER BY seq LIMIT 1',
    );
    return { ...this.#held, oldestMs: oldest === undefined ? null : number(oldest, 'arrived_ms') };
  }
}

function heldBatch(row: Row): HeldBatch {
  return {
    seq: number(row, 'seq'),
    batch: text(row, 'batch'),
    batchIdMade: number(row, 'id_made') === 1,
    contentType: text(row, 'content_type'),
    encoding: row['encoding'] === null ? null : 'gzip',
    ticks: number(row, 'ticks'),
    bytes: number(row, 'bytes'),
    attempts: number(row, 'attempts'),
  };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
