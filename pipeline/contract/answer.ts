/**
 * What a sender is told: the answer to a stored batch, and RFC 9457 problem details for everything else.
 * One table of problems serves the edge, the pod, the docs and the tests.
 */

import type { Level } from './level.ts';
import { LEVEL_HEADER, RATE_SCALE_HEADER } from './level.ts';

/** Why one tick was rejected. Stable: senders and dashboards key on them. */
export type RejectReason =
  | 'not_utf8'
  | 'not_json'
  | 'not_object'
  | 'tick_too_large'
  | 'duplicate_field'
  | 'unknown_type'
  | 'missing_field'
  | 'wrong_type'
  | 'bad_time'
  | 'time_range'
  | 'future_time'
  | 'unsafe_integer'
  | 'bad_decimal'
  | 'precision'
  | 'number_range'
  | 'price_not_positive'
  | 'negative_size'
  | 'bad_symbol'
  | 'bad_id'
  | 'bad_side'
  | 'bad_venue'
  | 'bad_conditions'
  /** Valid, and yet the store would not take it: its operator's rule, or our bug. */
  | 'unstorable';

/** One rejected tick: its place in the batch (0-based, blank lines not counted) and why. */
export interface Rejection {
  index: number;
  reason: RejectReason;
  /** Names the field and the limit; at most 200 characters. */
  detail: string;
}

/** The body of a 200. `stored + duplicates + rejected.length` is the number of ticks in the batch. */
export interface StoredAnswer {
  batch: string;
  status: 'stored';
  stored: number;
  duplicates: number;
  rejected: Rejection[];
  /** Members of ticks that this version does not know; ignored, and counted here. */
  ignoredFields: number;
  /** Present when the sender gave no batch id. */
  warning?: string;
}

export const NO_BATCH_ID_WARNING =
  'no webhook-id or idempotency-key was sent: a re-send of this batch will not be recognised';

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  batch?: string;
  rejected?: Rejection[];
}

interface ProblemKind {
  status: number;
  title: string;
  /** What the sender should do; shown in the docs and under the problem's own address at the edge. */
  todo: string;
}

export const PROBLEMS = {
  unreadable: { status: 400, title: 'The body cannot be read', todo: 'Mend the body; nothing was stored.' },
  'bad-request': { status: 400, title: 'The request cannot be understood', todo: 'Mend the request.' },
  unauthenticated: {
    status: 401,
    title: 'Missing or wrong credentials',
    todo: 'Sign with an active secret of this provider, or send its bearer token. Check your clock.',
  },
  forbidden: {
    status: 403,
    title: 'These credentials are for another provider',
    todo: 'Push to your own path.',
  },
  'not-found': { status: 404, title: 'No such resource', todo: 'Check the path.' },
  'method-not-allowed': { status: 405, title: 'Method not allowed', todo: 'See the Allow header.' },
  'request-timeout': {
    status: 408,
    title: 'The body took too long to arrive',
    todo: 'Send the same batch again over a faster connection, or in smaller batches.',
  },
  'batch-conflict': {
    status: 409,
    title: 'This batch id was used for another body',
    todo: 'Use a new batch id for a new body. The receipt of this id tells of the body that it stands for.',
  },
  'too-large': { status: 413, title: 'The batch is too large', todo: 'Split it. Nothing was stored.' },
  'unsupported-type': {
    status: 415,
    title: 'Content type or encoding not supported',
    todo: 'Send application/x-ndjson or application/json, as it is or gzipped.',
  },
  'all-rejected': {
    status: 422,
    title: 'Every tick of the batch was rejected',
    todo: 'See "rejected" for each tick. Sending it again unchanged changes nothing.',
  },
  'over-budget': {
    status: 429,
    title: 'Over the budget of this provider',
    todo: 'Keep the batch, wait Retry-After seconds, send it again with the same id.',
  },
  backpressure: {
    status: 429,
    title: 'Slowed down by the level of the system',
    todo: 'Keep the batch, wait Retry-After seconds, send it again with the same id.',
  },
  'over-credit': {
    status: 429,
    title: 'More unanswered ticks than this socket has credit for',
    todo: 'Keep the batch; send it again with the same id when fewer of your ticks are unanswered than the last credit says.',
  },
  'too-many-requests': {
    status: 429,
    title: 'Too many requests from one address',
    todo: 'Wait Retry-After seconds. Send larger batches, and check your credentials: those that fail count many times.',
  },
  internal: {
    status: 500,
    title: 'Internal error',
    todo: 'Send the same batch again, with the same id. If it persists, tell the operator.',
  },
  draining: {
    status: 503,
    title: 'This pod is shutting down',
    todo: 'Keep the batch, wait Retry-After seconds, send it again with the same id.',
  },
  'store-unavailable': {
    status: 503,
    title: 'The store cannot be written to now',
    todo: 'Keep the batch, wait Retry-After seconds, send it again with the same id.',
  },
  'no-room': {
    status: 503,
    title: 'No room in the queue',
    todo: 'Keep the batch, wait Retry-After seconds, send it again with the same id.',
  },
  'cluster-unreachable': {
    status: 503,
    title: 'The cluster did not answer in time',
    todo: 'Keep the batch, wait Retry-After seconds, send it again with the same id. It may have been stored.',
  },
} as const satisfies Record<string, ProblemKind>;

export type ProblemName = keyof typeof PROBLEMS;

export const PROBLEM_PATH = '/problems/';
export const PROBLEM_CONTENT_TYPE = 'application/problem+json';
export const RETRY_AFTER_HEADER = 'retry-after';
/** Pod to edge: how many ticks the batch holds, whatever became of them; for counting alone. */
export const BATCH_TICKS_HEADER = 'mdp-batch-ticks';

/** Builds one problem; `type` is the path under which the edge explains it. Source: RFC 9457, section 3.1. */
export function problem(
  name: ProblemName,
  detail: string,
  more: { batch?: string; rejected?: Rejection[] } = {},
): Problem {
  const kind = PROBLEMS[name];
  return { type: PROBLEM_PATH + name, title: kind.title, status: kind.status, detail, ...more };
}

/** The name in a problem's `type`, whatever stands before it; `undefined` for problems of others. */
export function problemName(type: unknown): ProblemName | undefined {
  if (typeof type !== 'string') return undefined;
  const name = type.slice(type.lastIndexOf('/') + 1);
  return Object.hasOwn(PROBLEMS, name) ? (name as ProblemName) : undefined;
}

/** A provider's admission as an answer shows it. */
export interface Admission {
  level: Level;
  rateScale: number;
  /** Ticks per second that the level admits now. */
  quotaTicksPerSecond: number;
  /** Ticks that would be admitted this instant. */
  remainingTicks: number;
}

/**
 * The headers every answer about a provider's ticks carries.
 * Source: draft-ietf-httpapi-ratelimit-headers-10 (`q` quota, `w` window in seconds, `r` remaining, `t` seconds).
 */
export function admissionHeaders(admission: Admission): Record<string, string> {
  const quota = Math.floor(admission.quotaTicksPerSecond);
  return {
    [LEVEL_HEADER]: admission.level,
    [RATE_SCALE_HEADER]: String(admission.rateScale),
    'ratelimit-policy': `"ticks";q=${quota};w=1`,
    ratelimit: `"ticks";r=${Math.max(0, Math.floor(admission.remainingTicks))};t=1`,
  };
}
