/** For commands that go on until they are stopped: Ctrl-C ends them between two looks, with the terminal as it was. */

import { setTimeout as sleep } from 'node:timers/promises';

export interface Stopping {
  readonly signal: AbortSignal;
  /** Ends early when stopped. */
  pause(ms: number): Promise<void>;
}

export function stoppedByUser(): Stopping {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  // A reader that has seen enough, as `head` has.
  process.stdout.once('error', () => stop.abort());
  return {
    signal: stop.signal,
    async pause(ms) {
      await sleep(ms, undefined, { signal: stop.signal }).catch(() => undefined);
    },
  };
}
