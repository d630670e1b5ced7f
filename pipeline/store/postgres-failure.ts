/**
 * What a failed call of the PostgreSQL store means: decided by SQLSTATE, or by there being none, never by the
 * text of a message.
 */

import type { FailureKind } from '../sink/store.ts';
import { isOurFault } from './our-fault.ts';

/** A call that was not over in time; its connection has been destroyed. */
export class CallTimeoutError extends Error {
  override readonly name = 'CallTimeoutError';
  readonly code = 'call_timeout';

  constructor() {
    super('the store did not answer in time');
  }
}

/** A server that answers but on which this pod cannot write now. */
export class StoreNotReadyError extends Error {
  override readonly name = 'StoreNotReadyError';
  readonly code = 'store_not_ready';
}

/** A ledger entry that was there a moment ago has been forgotten. */
export class LedgerChangedError extends Error {
  override readonly name = 'LedgerChangedError';
  readonly code = 'ledger_changed';

  constructor() {
    super('a batch was forgotten while it was being written');
  }
}

/**
 * The server cannot say which batch of a group its new rows are of: TimescaleDB gives no `xmin` once one chunk of the
 * table is compressed. Written each by itself, the batches need no telling apart.
 */
export class BatchesNotToldApartError extends Error {
  override readonly name = 'BatchesNotToldApartError';
  readonly code = 'batches_not_told_apart';

  constructor(cause: unknown) {
    super('the server does not tell the batches of a group apart', { cause });
  }
}

/** Names of SQLSTATEs. Source: PostgreSQL documentation, appendix A. */
const SERIALIZATION_FAILURE = '40001';
const DEADLOCK_DETECTED = '40P01';
const LOCK_NOT_AVAILABLE = '55P03';
const QUERY_CANCELED = '57014';
/** The table of locks is full: a group that touches very many partitions beside others. */
const OUT_OF_MEMORY = '53200';
const CHECK_VIOLATION = '23514';
/** A value that is too long for an index, for example. */
const PROGRAM_LIMIT_EXCEEDED = '54000';
/** Also what an extension answers where it has no better one. */
const INTERNAL_ERROR = 'XX000';

const CONTENTION = new Set([
  SERIALIZATION_FAILURE,
  DEADLOCK_DETECTED,
  LOCK_NOT_AVAILABLE,
  QUERY_CANCELED,
  OUT_OF_MEMORY,
]);

/**
 * Classes "data exception", "integrity constraint violation", "WITH CHECK OPTION violation" and "PL/pgSQL error", which
 * is what an operator's own trigger raises.
 */
const DATA_CLASSES = new Set(['22', '23', '44', 'P0']);

export function failureKind(cause: unknown): FailureKind {
  if (cause instanceof LedgerChangedError) return 'contention';
  if (isOurFault(cause) || cause instanceof BatchesNotToldApartError) return 'data';
  const state = sqlState(cause);
  if (state === undefined) return 'unavailable';
  if (CONTENTION.has(state)) return 'contention';
  const isData = DATA_CLASSES.has(state.slice(0, 2)) || state === PROGRAM_LIMIT_EXCEEDED;
  return isData ? 'data' : 'unavailable';
}

/** Authorisation refused, no such database, no URL at all: no waiting helps a pod that has just been started. */
export function isWrongAddress(cause: unknown): boolean {
  if (cause instanceof Error && 'code' in cause && cause.code === 'ERR_INVALID_URL') return true;
  const state = sqlState(cause);
  return state !== undefined && (state.startsWith('28') || state === '3D000');
}

/** Whether the server itself said what was wrong; else the way to it has failed. */
export function isAnswer(cause: unknown): boolean {
  return sqlState(cause) !== undefined;
}

/**
 * Of a partition, or of a rule of the operator's own. A partition's may pass: it was attached between the moment at
 * which a row was sent to the default partition and its arrival there, and sent again the row goes to the new one.
 */
export function isCheckViolation(cause: unknown): boolean {
  return sqlState(cause) === CHECK_VIOLATION;
}

export function isInternalError(cause: unknown): boolean {
  return sqlState(cause) === INTERNAL_ERROR;
}

/** For logs and answers: the SQLSTATE or error code and the message. Neither holds a password. */
export function failureDetail(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined;
  // Refused on all of a name's addresses, an error comes without a message of its own.
  const message = cause.message || cause.name;
  return code === undefined ? message : `${code}: ${message}`;
}

/** Five digits and capitals beside a severity: what a server sends. Node's own codes (ECONNRESET, EPIPE) have none. */
function sqlState(cause: unknown): string | undefined {
  if (!(cause instanceof Error) || !('severity' in cause) || !('code' in cause)) return undefined;
  return typeof cause.code === 'string' && /^[0-9A-Z]{5}$/.test(cause.code) ? cause.code : undefined;
}
