/**
 * How fast an outbox drains: how many batches at once, and how long to wait after which answer. Pure: time and
 * chance are passed in, and what is sent is the drain's.
 */

import type { Fate } from './fate.ts';

/** A Worker may wait for this many answers at once. Source: Workers limits, "Simultaneous open connections". */
export const IN_FLIGHT_MAX = 6;
/** After the first failure in a row; doubled by each next. */
export const BACKOFF_MIN_MS = 1_000;
/** The system is back for at most this long (and half as much) before the outbox finds out. */
export const BACKOFF_MAX_MS = 10_000;
/** What only an operator ends is looked at this often. */
export const OPERATOR_WAIT_MS = 30_000;
/** Each wait is drawn from its length times 1 to 1 plus this share: never earlier than was asked for. */
export const JITTER_SHARE = 0.5;

export interface Pace {
  /** Batches that may be on their way at once; 1 is a probe. */
  readonly window: number;
  /** Ticks that a pod last said it has room for; `undefined` while none has said. */
  readonly creditTicks: number | undefined;
  /** Failures in a row without an answer. */
  readonly failures: number;
  /** Something was answered, ever: a silence is then a change, and who met it first may be its reason. */
  readonly hasAnswered: boolean;
  readonly pausedUntilMs: number;
}

/** One batch alone, to see who is there. */
export const FIRST_PACE: Pace = {
  window: 1,
  creditTicks: undefined,
  failures: 0,
  hasAnswered: false,
  pausedUntilMs: 0,
};

/** Whether a batch of `ticks` may go now, beside those on their way. One alone may always ask for a new credit. */
export function mayGo(pace: Pace, inFlight: { batches: number; ticks: number }, ticks: number, nowMs: number): boolean {
  if (nowMs < pace.pausedUntilMs) return false;
  if (inFlight.batches === 0) return true;
  if (inFlight.batches >= pace.window) return false;
  return pace.creditTicks === undefined || inFlight.ticks + ticks <= pace.creditTicks;
}

/**
 * The pace after one answer. A final answer opens the window: to its bound where the pod tells its credit, which
 * then rules, else by one. Anything else closes it to one probe after a wait.
 */
export function paceAfter(
  pace: Pace,
  fate: Fate,
  creditTicks: number | undefined,
  nowMs: number,
  random: number,
): Pace {
  if (fate.kind === 'stored' || fate.kind === 'rejected') {
    const window = creditTicks === undefined ? Math.min(pace.window + 1, IN_FLIGHT_MAX) : IN_FLIGHT_MAX;
    // A wait that another answer has asked for goes on.
    return { ...pace, window, creditTicks, failures: 0, hasAnswered: true };
  }
  const hasAnswered = pace.hasAnswered || fate.kind !== 'no_answer';
  const closed = { ...pace, window: 1, creditTicks, hasAnswered };
  // Those sent together fail together: that is one failure.
  if (nowMs < pace.pausedUntilMs) return closed;
  const failures = fate.kind === 'no_answer' ? pace.failures + 1 : 0;
  return { ...closed, failures, pausedUntilMs: nowMs + jittered(waitMs(fate, failures), random) };
}

function waitMs(fate: Exclude<Fate, { kind: 'stored' | 'rejected' }>, failures: number): number {
  if (fate.kind !== 'no_answer') return fate.retryAfterSeconds * 1000;
  return fate.operator ? OPERATOR_WAIT_MS : backoffMs(failures);
}

/** How long to wait after failure number `failures` (1 is the first) in a row. */
export function backoffMs(failures: number, maxMs: number = BACKOFF_MAX_MS): number {
  return Math.min(maxMs, BACKOFF_MIN_MS * 2 ** Math.min(30, Math.max(0, failures - 1)));
}

export function jittered(ms: number, random: number): number {
  return Math.round(ms * (1 + JITTER_SHARE * random));
}

/** How long after a pause the batch of the last look is due: the next look is another one, and it keeps near its place. */
export const NEXT_LOOK_GAP_MS = 250;
/** A batch that may itself be the reason is tried again so rarely at last that it costs the others next to nothing. */
export const SUSPECT_WAIT_MAX_MS = 60_000;

/**
 * When a batch may be tried again after attempt number `attempts` (0 is the first) and the `pace` that followed. At
 * once, that is before those behind it, after a refusal that was not about it. Else a little after the pause, so that
 * the next probe is another batch; and later each time when the one before it was answered, which makes it suspect.
 * While nothing has ever been answered, as after a restart, nobody is.
 */
export function dueAfter(fate: Fate, attempts: number, pace: Pace, nowMs: number, random: number): number {
  const suspectWaitMs = backoffMs(attempts + 1, SUSPECT_WAIT_MAX_MS);
  const fromMs = Math.max(nowMs, pace.pausedUntilMs);
  switch (fate.kind) {
    case 'stored':
    case 'rejected':
    case 'over_budget':
    case 'refused':
      return nowMs;
    case 'failed':
      return fromMs + jittered(suspectWaitMs, random);
    case 'no_answer':
      if (fate.operator) return nowMs;
      return fromMs + jittered(pace.failures > 1 || !pace.hasAnswered ? NEXT_LOOK_GAP_MS : suspectWaitMs, random);
  }
}
