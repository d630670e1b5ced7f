/**
 * Questions to the store, a few at a time: the answer to a large one keeps the event loop busy for some 10 ms, and
 * thousands at once would keep it from everything else, probes and batches first of all.
 */

import { problem, RETRY_AFTER_HEADER } from '../contract/answer.ts';
import { type Handler, problemAnswer } from './http.ts';

/** One that the store reads, and one whose answer is written. */
export const READS_AT_ONCE = 2;
/** Further ones are refused with 503. */
export const READS_WAITING_MAX = 64;

/** Invariant: at most {@link READS_AT_ONCE} are under way, and any wait only while so many are. */
export class ReadTurns {
  #underWay = 0;
  readonly #waiting: (() => void)[] = [];

  /** The same handler, taking its turn. */
  inTurn(handle: Handler): Handler {
    return async (request, parts, url) => {
      if (this.#underWay >= READS_AT_ONCE) {
        if (this.#waiting.length >= READS_WAITING_MAX) {
          const detail = `${READS_WAITING_MAX} questions wait for the store already`;
          return problemAnswer(problem('no-room', detail), { [RETRY_AFTER_HEADER]: '1' });
        }
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
      } else {
        this.#underWay += 1;
      }
      try {
        return await handle(request, parts, url);
      } finally {
        this.#next();
      }
    };
  }

  /** The place goes to whoever waits longest, in a turn of the event loop of its own. */
  #next(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#underWay -= 1;
    else setImmediate(next);
  }
}
