/**
 * Borrowing a connection for one call, and giving it back in a known state: at rest after the call, or destroyed.
 * A call has a deadline on this side, an AbortSignal, because a server that has stopped keeps none of its own; and
 * shorter ones on the server, because a pod that has died cannot take back what it began.
 */

import type { ClientBase, QueryResult } from 'pg';
import { CallTimeoutError, failureKind, isAnswer } from './postgres-failure.ts';

export interface Borrowed extends ClientBase {
  release(destroy?: boolean): void;
}

/** A pool, or whatever else hands out connections. */
export interface Lender {
  connect(): Promise<Borrowed>;
}

/** What a call sends its statements to. */
export interface Session {
  query(text: string, values?: unknown[]): Promise<QueryResult<Record<string, unknown>>>;
}

/** Runs `body` on a connection. Throws what `body` threw, or {@link CallTimeoutError} once `deadline` has passed. */
export async function inSession<T>(
  lender: Lender,
  deadline: AbortSignal,
  body: (session: Session) => Promise<T>,
): Promise<T> {
  const connecting = lender.connect();
  const client = await Promise.race([connecting, passed(deadline)]);
  if (client === undefined) {
    // Whatever still comes of it is nobody's any more.
    connecting.then(
      (late) => late.release(),
      () => {},
    );
    throw new CallTimeoutError();
  }
  let released = false;
  const destroy = (): void => {
    if (released) return;
    released = true;
    client.release(true);
  };
  // Destroying the connection ends the statement under way with an error, and so the wait for it.
  deadline.addEventListener('abort', destroy, { once: true });
  try {
    const value = await body(client);
    if (!released) client.release();
    released = true;
    return value;
  } catch (cause) {
    // After an answer that said what was wrong, and the ROLLBACK that followed, the connection is as good as before.
    // Else it is in doubt: the server may be gone, or an answer still on its way.
    if (failureKind(cause) === 'unavailable' || !isAnswer(cause)) destroy();
    else if (!released) client.release();
    released = true;
    throw deadline.aborted ? new CallTimeoutError() : cause;
  } finally {
    deadline.removeEventListener('abort', destroy);
  }
}

function passed(deadline: AbortSignal): Promise<undefined> {
  if (deadline.aborted) return Promise.resolve(undefined);
  return new Promise((resolve) => deadline.addEventListener('abort', () => resolve(undefined), { once: true }));
}

export interface TransactionLimits {
  /** Of one statement. */
  statementMs: number;
  /** Of one wait for a lock. */
  lockMs: number;
}

/** As shares of a call's time, so that the server gives up first and the connection can be kept. */
export function limitsWithin(callTimeoutMs: number): TransactionLimits {
  return { statementMs: Math.ceil(callTimeoutMs * 0.9), lockMs: Math.ceil(callTimeoutMs * 0.7) };
}

/**
 * Runs `body` in one READ COMMITTED transaction. What is set is set for this transaction alone, so a pooler between
 * us and the server may hand its connection to anybody afterwards, and no default of server, role or URL counts:
 * `synchronous_commit` may be stronger than `on`, never weaker, or a commit that was answered could be lost. The
 * idle limit frees the locks of a pod that was cut off in the middle.
 */
export function inTransaction<T>(session: Session, limits: TransactionLimits, body: () => Promise<T>): Promise<T> {
  return within(session, limits, async () => {
    const value = await body();
    const { command } = await session.query('COMMIT');
    // The server answers the COMMIT of a transaction that has failed with ROLLBACK, and calls it no error.
    if (command !== 'COMMIT') throw new Error(`the transaction ended with ${command}`);
    return value;
  });
}

/** As {@link inTransaction}, up to what the server would look at when it commits; then takes everything back. */
export function inRehearsal<T>(session: Session, limits: TransactionLimits, body: () => Promise<T>): Promise<T> {
  return within(session, limits, async () => {
    const value = await body();
    await session.query('SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK');
    return value;
  });
}

async function within<T>(
  session: Session,
  { statementMs, lockMs }: TransactionLimits,
  body: () => Promise<T>,
): Promise<T> {
  await session.query(
    `BEGIN ISOLATION LEVEL READ COMMITTED;
     SET LOCAL statement_timeout = ${statementMs};
     SET LOCAL lock_timeout = ${lockMs};
     SET LOCAL idle_in_transaction_session_timeout = ${statementMs};
     SELECT set_config('synchronous_commit', 'on', true)
       WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')`,
  );
  try {
    return await body();
  } catch (cause) {
    await session.query('ROLLBACK').catch(() => {});
    throw cause;
  }
}
