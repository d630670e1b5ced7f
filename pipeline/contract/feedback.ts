/**
 * What a foreign store says about its own queue, as the broadcaster of the original system sends it: six keys, or
 * eight; others are ignored. Source: market_data_store 0.6.68, its feedback broadcaster, on the wire.
 */

import { isLevel, type Level } from './level.ts';
import { isPrintable } from './tick.ts';

export const FEEDBACK_BODY_MAX_BYTES = 4 * 1024;
export const COORDINATOR_ID_MAX_CHARS = 64;

export interface Feedback {
  coordinatorId: string;
  queueSize: number;
  capacity: number;
  level: Level;
  /** When it was sent, by the sender's clock; only the eight-key form says. */
  sentMs: number | undefined;
}

export type FeedbackOutcome = { ok: true; feedback: Feedback } | { ok: false; detail: string };

/** Reads one body of at most {@link FEEDBACK_BODY_MAX_BYTES}; the detail names the field and what it must be. */
export function parseFeedback(text: string): FeedbackOutcome {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return wrong('the body is not JSON');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return wrong('the body must be a JSON object');
  const given = body as Record<string, unknown>;
  const { coordinator_id: coordinatorId, queue_size: queueSize, capacity, utilization, ts } = given;
  if (typeof coordinatorId !== 'string' || !isPrintable(coordinatorId, COORDINATOR_ID_MAX_CHARS)) {
    return wrong(`coordinator_id must be 1 to ${COORDINATOR_ID_MAX_CHARS} printable characters without blanks`);
  }
  if (!isCount(queueSize)) return wrong('queue_size must be an integer of 0 or more');
  if (!isCount(capacity) || capacity === 0) return wrong('capacity must be an integer above 0');
  const level = typeof given['level'] === 'string' ? given['level'].toLowerCase() : undefined;
  if (!isLevel(level)) return wrong('level must be ok, soft or hard');
  // Looked at though not used: a body in which it is something else is not the broadcaster's.
  if (utilization !== undefined && !isShare(utilization)) return wrong('utilization must be a number of 0 or more');
  if (ts !== undefined && !isSeconds(ts)) return wrong('ts must be epoch seconds');
  const sentMs = ts === undefined ? undefined : ts * 1000;
  return { ok: true, feedback: { coordinatorId, queueSize, capacity, level, sentMs } };
}

function wrong(detail: string): FeedbackOutcome {
  return { ok: false, detail };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** A full queue may be reported as more than 1. */
function isShare(value: unknown): value is number {
  return typeof value === 'number' && value >= 0;
}

/** Beyond it no later word could be told from an earlier one. */
function isSeconds(value: unknown): value is number {
  return isShare(value) && value * 1000 <= Number.MAX_SAFE_INTEGER;
}
