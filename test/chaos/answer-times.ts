/** How long answers took, from one look to the next. */

import { Durations } from '../../deploy/replay/account.ts';

export class AnswerTimes {
  #sinceLook = new Durations();

  add(answerMs: number): void {
    this.#sinceLook.add(answerMs);
  }

  /** In ms, of those since this was last asked. */
  take(): { p50: number; p99: number; max: number } {
    const summary = this.#sinceLook.summary();
    this.#sinceLook = new Durations();
    return summary;
  }
}
