/**
 * The first word with a server, at the start and after each loss: on a new connection, leaving the schema, the
 * rights and the partitions as writes need them.
 */

import type { Partitions } from './postgres-partitions.ts';
import { checkWritable, isSchemaCurrent, migrate, unsafeSettings } from './postgres-schema.ts';
import { inSession, type Lender, type Session } from './postgres-session.ts';

/** An older schema may be in another pod's hands already, and is waited for; or takes its time to migrate. */
const MIGRATION_TIMEOUT_MS = 60_000;

/** The server's settings with which a power cut loses what was committed. Throws when no group could be written. */
export async function makeReady(
  lender: Lender,
  partitions: Partitions,
  callTimeoutMs: number,
  nowMs: number,
): Promise<string[]> {
  const current = await inSession(lender, AbortSignal.timeout(callTimeoutMs), async (session) =>
    (await isSchemaCurrent(session)) ? await prepare(session, partitions, nowMs) : undefined,
  );
  if (current !== undefined) return current;
  return inSession(lender, AbortSignal.timeout(MIGRATION_TIMEOUT_MS), async (session) => {
    await migrate(session, { statementMs: MIGRATION_TIMEOUT_MS, lockMs: MIGRATION_TIMEOUT_MS }, nowMs);
    return prepare(session, partitions, nowMs);
  });
}

async function prepare(session: Session, partitions: Partitions, nowMs: number): Promise<string[]> {
  await checkWritable(session);
  await partitions.prepare(session, nowMs);
  return unsafeSettings(session);
}
