/**
 * Forgetting what is older than its retention: dead letters, the ledger's entries and the checks of pods that are no
 * more. A few rows in each transaction, so that no group waits long for the disk because of it.
 */

import { inTransaction, type Session, type TransactionLimits } from './postgres-session.ts';

interface Kept {
  table: string;
  key: string;
  age: string;
  /** Deleted in one transaction. */
  maxRows: number;
}

/** Dead letters go before their ledger entries, so that a batch that is new again finds none of its own. */
const KEPT: readonly Kept[] = [
  // Of up to 64 KiB each.
  { table: 'dead_letters', key: 'provider, batch, tick_index', age: 'dead_at', maxRows: 500 },
  { table: 'batches', key: 'provider, batch', age: 'stored_at', maxRows: 2_000 },
  { table: 'store_checks', key: 'pod', age: 'checked_at', maxRows: 2_000 },
];

/** Forgets what is from before `beforeMs`, or as much of it as there is time for until `isOver`. */
export async function forgetOld(
  session: Session,
  limits: TransactionLimits,
  beforeMs: number,
  isOver: () => boolean,
): Promise<void> {
  const before = new Date(beforeMs);
  for (const kept of KEPT) {
    while (!isOver() && (await inTransaction(session, limits, () => forgetSome(session, kept, before))));
  }
}

/** True when there may be more. Other pods forget too: what one of them has in hand is passed over, not waited for. */
async function forgetSome(session: Session, { table, key, age, maxRows }: Kept, before: Date): Promise<boolean> {
  const { rowCount } = await session.query(
    `DELETE FROM ${table} WHERE (${key}) IN
       (SELECT ${key} FROM ${table} WHERE ${age} < $1 LIMIT ${maxRows} FOR UPDATE SKIP LOCKED)`,
    [before],
  );
  return rowCount === maxRows;
}
