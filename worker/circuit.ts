/**
 * Whether one isolate should ask the cluster at all. When it was away a moment ago, batches go straight to the outbox,
 * and one of them in a while goes ahead to look. Pure state: told what happened and when. Refusals of a pod do not
 * count: another pod may take the next batch.
 */

import type { NoAnswer } from './relay.ts';

/** A connection that fails for all attempts of one batch says enough; a batch that is not answered may be the reason itself. */
export const TIMEOUTS_TO_OPEN = 3;
/** How long after a failure the next batch goes to look. */
export const LOOK_INTERVAL_MS = 2_000;
/** A look that nobody reports on is given up after this. */
export const LOOK_MAX_MS = 15_000;

/** `look`: this one batch goes to see whether the cluster is back, with one attempt. */
export type Passage = 'open' | 'look' | 'closed';

/** Invariant: while the cluster is known to be away, at most one batch is on its way to look. */
export class Circuit {
  #timeouts = 0;
  /** When the next batch may look; `undefined` while the way is open. */
  #lookMs: number | undefined;

  passage(nowMs: number): Passage {
    if (this.#lookMs === undefined) return 'open';
    const leftMs = this.#lookMs - nowMs;
    // No wait is longer than that: the clock was set back, and would keep the way closed for as long.
    if (leftMs > 0 && leftMs <= LOOK_MAX_MS) return 'closed';
    this.#lookMs = nowMs + LOOK_MAX_MS;
    return 'look';
  }

  noteAnswer(): void {
    this.#timeouts = 0;
    this.#lookMs = undefined;
  }

  noteFailure(why: NoAnswer['why'], nowMs: number): void {
    // Something did answer, and at once: asking again costs little.
    if (why === 'not_a_pod' || why === 'refused_edge') return this.noteAnswer();
    if (why === 'timeout') this.#timeouts += 1;
    if (why === 'unreachable' || this.#timeouts >= TIMEOUTS_TO_OPEN || this.#lookMs !== undefined) {
      this.#lookMs = nowMs + LOOK_INTERVAL_MS;
    }
  }
}
