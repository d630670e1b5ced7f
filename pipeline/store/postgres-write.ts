/**
 * Writes one group in one transaction: first its entries in the ledger, then its ticks and dead letters; and replays
 * dead letters. An entry claims its batch: whoever else has the same batch in hand waits at the ledger until we have committed, and then finds the receipt.
 */

import { placesOf } from '../contract/columns.ts';
import type { Rejection } from '../contract/answer.ts';
import type { BatchResult, StoreBatch } from '../queue/delivery.ts';
import { insertDeadLetters, removeDeadLetters } from './postgres-dead-letters.ts';
import { BatchesNotToldApartError, isInternalError, LedgerChangedError } from './postgres-failure.ts';
import { batchPlaces, INSERT_TICKS, quoteRows, storedByBatch, type TickRows, tradeRows } from './postgres-rows.ts';
import type { Session } from './postgres-session.ts';

/** When a group is written and by whom: what stands beside every row of it. */
export interface Origin {
  storedAtMs: number;
  pod: string;
}

/**
 * The entries are written with the numbers they nearly always have, everything stored and no duplicates. By key, so
 * that two pods with the same batches wait for each other in one order and never in a circle.
 */
const CLAIM = `
  INSERT INTO batches (provider, batch, body_hash, stored, duplicates, rejected, ignored_fields, stored_at, pod)
  SELECT provider, batch, body_hash, stored, 0, rejected::json, ignored_fields, $7::timestamptz, $8::text
  FROM unnest($1::text[], $2::text[], $3::bytea[], $4::int4[], $5::text[], $6::int4[])
    AS u (provider, batch, body_hash, stored, rejected, ignored_fields)
  ORDER BY provider COLLATE "C", batch COLLATE "C"
  ON CONFLICT DO NOTHING RETURNING provider, batch`;

const KNOWN = `
  SELECT provider, batch, body_hash, stored, duplicates, rejected::text AS rejected, ignored_fields
  FROM batches JOIN unnest($1::text[], $2::text[]) AS u (provider, batch) USING (provider, batch)`;

const CORRECT = `
  UPDATE batches SET stored = u.stored, duplicates = u.duplicates
  FROM unnest($1::text[], $2::text[], $3::int4[], $4::int4[]) AS u (provider, batch, stored, duplicates)
  WHERE batches.provider = u.provider AND batches.batch = u.batch`;

/** A ledger entry as this group finds it or has made it. */
interface Entry {
  bodyHash: Uint8Array;
  result: BatchResult & { outcome: 'stored' };
}

/** Results of all batches, in order. Only for within a transaction; throws what the server said. */
export async function writeGroup(
  session: Session,
  batches: readonly StoreBatch[],
  origin: Origin,
): Promise<BatchResult[]> {
  // The first of its id in the group speaks for it; the others are answered from its entry, as later groups are.
  const first = new Map<string, StoreBatch>();
  for (const batch of batches) {
    const key = keyOf(batch);
    if (!first.has(key)) first.set(key, batch);
  }
  const { claimed, others } = await claim(session, [...first.values()], origin);
  const entries = await known(session, others);
  const storedOf = await insertTicks(session, claimed, origin);
  await insertDeadLetters(session, claimed, origin);
  const wrong: { batch: StoreBatch; stored: number; duplicates: number }[] = [];
  claimed.forEach((batch, place) => {
    const stored = storedOf[place]!;
    const offered = goodTicks(batch);
    const duplicates = offered - stored;
    if (duplicates !== 0) wrong.push({ batch, stored, duplicates });
    const { rejected, ignoredFields, bodyHash } = batch;
    const receipt = { stored, duplicates, rejected, ignoredFields };
    entries.set(keyOf(batch), { bodyHash, result: { outcome: 'stored', again: false, receipt } });
  });
  if (wrong.length > 0) {
    await session.query(CORRECT, [
      wrong.map(({ batch }) => batch.provider),
      wrong.map(({ batch }) => batch.batchId),
      wrong.map(({ stored }) => stored),
      wrong.map(({ duplicates }) => duplicates),
    ]);
  }
  return batches.map((batch) => {
    const key = keyOf(batch);
    const { bodyHash, result } = entries.get(key)!;
    if (!sameBytes(bodyHash, batch.bodyHash)) return { outcome: 'conflict' };
    return first.get(key) === batch ? result : { ...result, again: true };
  });
}

/** Stores the batch's ticks and removes the dead letters of their places. As {@link writeGroup}. */
export async function replayBatch(session: Session, batch: StoreBatch, origin: Origin): Promise<BatchResult[]> {
  const places = placesOf(batch.columns);
  const [stored = 0] = await insertTicks(session, [batch], origin);
  await removeDeadLetters(session, batch, places);
  const { ignoredFields } = batch;
  const receipt = { stored, duplicates: places.length - stored, rejected: [], ignoredFields };
  return [{ outcome: 'stored', again: false, receipt }];
}

/** A change that is nobody's. */
export async function recordCheck(session: Session, { storedAtMs, pod }: Origin): Promise<void> {
  await session.query(
    'INSERT INTO store_checks VALUES ($1, $2) ON CONFLICT (pod) DO UPDATE SET checked_at = excluded.checked_at',
    [pod, new Date(storedAtMs)],
  );
}

/** Enters what the ledger does not have yet, `claimed`; `others` it has. */
async function claim(
  session: Session,
  batches: readonly StoreBatch[],
  origin: Origin,
): Promise<{ claimed: StoreBatch[]; others: StoreBatch[] }> {
  const { rows } = await session.query(CLAIM, [
    batches.map(({ provider }) => provider),
    batches.map(({ batchId }) => batchId),
    batches.map(({ bodyHash }) => Buffer.from(bodyHash)),
    batches.map(goodTicks),
    batches.map(({ rejected }) => JSON.stringify(rejected)),
    batches.map(({ ignoredFields }) => ignoredFields),
    new Date(origin.storedAtMs),
    origin.pod,
  ]);
  const keys = new Set(rows.map(({ provider, batch }) => `${String(provider)}/${String(batch)}`));
  return {
    claimed: batches.filter((batch) => keys.has(keyOf(batch))),
    others: batches.filter((batch) => !keys.has(keyOf(batch))),
  };
}

/** Reads the entries of `batches`, all of which the ledger has. */
async function known(session: Session, batches: readonly StoreBatch[]): Promise<Map<string, Entry>> {
  const entries = new Map<string, Entry>();
  if (batches.length === 0) return entries;
  const { rows } = await session.query(KNOWN, [
    batches.map(({ provider }) => provider),
    batches.map(({ batchId }) => batchId),
  ]);
  for (const row of rows) {
    const receipt = {
      stored: Number(row['stored']),
      duplicates: Number(row['duplicates']),
      rejected: JSON.parse(String(row['rejected'])) as Rejection[],
      ignoredFields: Number(row['ignored_fields']),
    };
    entries.set(`${String(row['provider'])}/${String(row['batch'])}`, {
      bodyHash: row['body_hash'] as Uint8Array,
      result: { outcome: 'stored', again: true, receipt },
    });
  }
  // Its retention ended between the two statements: offered again, the batch is a new one.
  if (entries.size < batches.length) throw new LedgerChangedError();
  return entries;
}

/** Inserts the ticks of `batches`; how many of each were new. */
async function insertTicks(session: Session, batches: readonly StoreBatch[], origin: Origin): Promise<number[]> {
  const stored = batches.map(() => 0);
  // Trades before quotes in every pod: the order of the waits once more.
  for (const rows of [tradeRows(batches), quoteRows(batches)]) {
    if (rows !== undefined) await insertRows(session, rows, origin, stored);
  }
  return stored;
}

async function insertRows(session: Session, rows: TickRows, origin: Origin, stored: number[]): Promise<void> {
  const { table, key, rest, batchOf, count } = rows;
  const storedAt = new Date(origin.storedAtMs);
  const { rowCount } = await session.query(INSERT_TICKS[table], [...key, ...rest, storedAt, origin.pod]);
  if (rowCount === count) {
    for (const part of batchOf) stored[part.batch]! += part.count;
  } else if (batchOf.length === 1) {
    stored[batchOf[0]!.batch]! += rowCount!;
  } else if (rowCount !== 0) {
    const places = batchPlaces(rows);
    const counted = await session
      .query(storedByBatch(table), [...key, places, storedAt, origin.pod])
      .catch((cause: unknown) => {
        throw isInternalError(cause) ? new BatchesNotToldApartError(cause) : cause;
      });
    for (const row of counted.rows) stored[Number(row['batch'])]! += Number(row['stored']);
  }
}

/** Ticks of the batch that can be stored. */
function goodTicks({ ticks, rejected }: StoreBatch): number {
  return ticks - rejected.length;
}

/** A provider name has no "/". */
function keyOf({ provider, batchId }: StoreBatch): string {
  return `${provider}/${batchId}`;
}

function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}
