/** The times of whoever sends at a steady rate. */

import { setTimeout as sleep } from 'node:timers/promises';

/** Whoever was held up makes good this much of the time, and then goes on at the rate. */
const CATCH_UP_MAX_MS = 1_000;

/** Yields whenever the next one is due, the first at once and each `intervalMs` after the last, until `over`. */
export async function* paced(intervalMs: () => number, over: AbortSignal): AsyncGenerator<void> {
  for (let dueMs = performance.now(); !over.aborted; dueMs += intervalMs()) {
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await sleep(waitMs, undefined, { signal: over }).catch(() => undefined);
    if (over.aborted) return;
    dueMs = Math.max(dueMs, performance.now() - CATCH_UP_MAX_MS);
    yield;
  }
}
