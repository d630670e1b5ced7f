/**
 * How long to wait before the same batch goes again. The one place that decides it, from the outcome alone.
 */

import type { Outcome } from './pusher.ts';

export const BACKOFF_MIN_MS = 100;
export const BACKOFF_MAX_MS = 5_000;
/** A longer Retry-After is asked again after this long. */
export const RETRY_AFTER_MAX_MS = 120_000;
/** Added to what Retry-After says, so that senders refused together do not come back together. */
export const RETRY_JITTER_MAX_MS = 250;

/**
 * The wait in milliseconds, or `undefined` when the outcome is final. `tries` counts this batch's attempts that
 * ended without telling when to come back, this one not included; `random` is of [0, 1).
 */
export function retryDelayMs(outcome: Outcome, tries: number, random: number): number | undefined {
  switch (outcome.kind) {
    case 'stored':
    case 'buffered':
    case 'failed':
      return undefined;
    case 'refused':
      if (outcome.retryAfterMs === undefined) return backoffMs(tries, random);
      return Math.min(outcome.retryAfterMs, RETRY_AFTER_MAX_MS) + random * RETRY_JITTER_MAX_MS;
    case 'unclear':
      return backoffMs(tries, random);
  }
}

/** Doubles with each try; the upper half of it is left to chance. */
function backoffMs(tries: number, random: number): number {
  const ceilingMs = Math.min(BACKOFF_MAX_MS, 2 * BACKOFF_MIN_MS * 2 ** Math.min(tries, 30));
  return ceilingMs / 2 + (random * ceilingMs) / 2;
}
