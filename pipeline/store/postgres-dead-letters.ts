/**
 * Dead letters in PostgreSQL: written with their batch, listed, and removed by a replay.
 */

import type { Rejection, RejectReason } from '../contract/answer.ts';
import { type TickBytes, unpackTicks } from '../contract/tick-bytes.ts';
import type { StoreBatch } from '../queue/delivery.ts';
import type { DeadLetterQuery, DeadLetterRecord } from '../sink/store.ts';
import { storableText } from './dead-letters.ts';
import { byteaArray, int4Array, textArray } from './postgres-arrays.ts';
import type { Session } from './postgres-session.ts';
import type { Origin } from './postgres-write.ts';

/** Bytes of ticks sent in one statement, its last tick aside. A group may have many times as much. */
const STATEMENT_MAX_BYTES = 8 * 1024 * 1024;

/** One that is there already is of a batch that the ledger has forgotten. */
const INSERT = `
  INSERT INTO dead_letters (provider, batch, tick_index, reason, detail, bytes, size_bytes, dead_at, pod)
  SELECT u.*, $8::timestamptz, $9::text
  FROM unnest($1::text[], $2::text[], $3::int4[], $4::text[], $5::text[], $6::bytea[], $7::int4[]) AS u
  ON CONFLICT (provider, batch, tick_index) DO UPDATE SET
    reason = excluded.reason, detail = excluded.detail, bytes = excluded.bytes, size_bytes = excluded.size_bytes,
    dead_at = excluded.dead_at, pod = excluded.pod`;

const REMOVE = 'DELETE FROM dead_letters WHERE provider = $1 AND batch = $2 AND tick_index = ANY($3::int4[])';

const SELECT = `
  SELECT batch, tick_index, reason, detail, bytes, size_bytes, dead_at, pod FROM dead_letters
  WHERE provider = $1 AND (dead_at, batch, tick_index) > ($2::timestamptz, $3::text, $4::int4)
    AND ($5::text IS NULL OR batch = $5)
  ORDER BY dead_at, batch, tick_index LIMIT $6`;

interface Letter extends Rejection, TickBytes {
  provider: string;
  batchId: string;
}

/** Those of all `batches`; no statement when they have none. */
export async function insertDeadLetters(
  session: Session,
  batches: readonly StoreBatch[],
  { storedAtMs, pod }: Origin,
): Promise<void> {
  let letters: Letter[] = [];
  let bytes = 0;
  for (const { provider, batchId, rejected, rejectedBytes } of batches) {
    const ticks = unpackTicks(rejectedBytes);
    for (const [at, rejection] of rejected.entries()) {
      const tick = ticks[at]!;
      letters.push({ provider, batchId, ...rejection, ...tick });
      bytes += tick.bytes.length;
      if (bytes >= STATEMENT_MAX_BYTES) {
        await insert(letters);
        letters = [];
        bytes = 0;
      }
    }
  }
  if (letters.length > 0) await insert(letters);

  async function insert(some: readonly Letter[]): Promise<void> {
    await session.query(INSERT, [
      textArray(some.map(({ provider }) => provider)),
      textArray(some.map(({ batchId }) => batchId)),
      int4Array(some.map(({ index }) => index)),
      textArray(some.map(({ reason }) => reason)),
      textArray(some.map(({ detail }) => storableText(detail))),
      byteaArray(some.map((letter) => letter.bytes)),
      int4Array(some.map(({ sizeBytes }) => sizeBytes)),
      new Date(storedAtMs),
      pod,
    ]);
  }
}

/** Removes those of `batch` at `places`, as far as they are there. */
export async function removeDeadLetters(
  session: Session,
  { provider, batchId }: StoreBatch,
  places: readonly number[],
): Promise<void> {
  if (places.length > 0) await session.query(REMOVE, [provider, batchId, int4Array(places)]);
}

export async function selectDeadLetters(session: Session, query: DeadLetterQuery): Promise<DeadLetterRecord[]> {
  const { provider, batchId, after, limit } = query;
  const { deadAtMs, batchId: afterBatch, index } = after ?? { deadAtMs: 0, batchId: '', index: -1 };
  const { rows } = await session.query(SELECT, [
    provider,
    new Date(deadAtMs),
    afterBatch,
    index,
    batchId ?? null,
    limit,
  ]);
  return rows.map((row) => ({
    batchId: String(row['batch']),
    index: Number(row['tick_index']),
    reason: String(row['reason']) as RejectReason,
    detail: String(row['detail']),
    // The driver's own are pieces of memory that others share.
    bytes: new Uint8Array(row['bytes'] as Uint8Array),
    sizeBytes: Number(row['size_bytes']),
    deadAtMs: (row['dead_at'] as Date).getTime(),
    pod: String(row['pod']),
  }));
}
