/**
 * What a failed job of the SQLite store means: decided by SQLite's result code, never by the text of a message.
 */

import type { FailureKind } from '../sink/store.ts';
import { isOurFault } from './our-fault.ts';

/** Names of result codes. Source: https://www.sqlite.org/rescode.html */
const BUSY = 5;
const LOCKED = 6;
const TOOBIG = 18;
/** A trigger that raises is one, too. */
const CONSTRAINT = 19;
const MISMATCH = 20;
const RANGE = 25;

const CONTENTION = new Set([BUSY, LOCKED]);
const DATA = new Set([TOOBIG, CONSTRAINT, MISMATCH, RANGE]);

/** A full disk, a file that cannot be read or is damaged, and what did not come from SQLite at all are `unavailable`. */
export function sqliteFailureKind(cause: unknown): FailureKind {
  if (isOurFault(cause)) return 'data';
  const code = resultCode(cause);
  if (code === undefined) return 'unavailable';
  if (CONTENTION.has(code)) return 'contention';
  return DATA.has(code) ? 'data' : 'unavailable';
}

export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** node:sqlite gives the extended code, whose low byte is the code itself. */
function resultCode(cause: unknown): number | undefined {
  if (!(cause instanceof Error) || !('errcode' in cause) || typeof cause.errcode !== 'number') return undefined;
  return cause.errcode & 0xff;
}
