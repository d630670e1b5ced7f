/**
 * The network between machines: each message takes its own time, and so passes others; some are lost, some arrive
 * twice, and a way can be cut for a while.
 */

import type { Random } from '../support/random.ts';
import type { Scheduler } from './scheduler.ts';

export interface Weather {
  /** Shares of messages. */
  lost: number;
  repeated: number;
  slow: number;
  /** What a slow one takes at most. */
  slowMaxMs: number;
}

export const FAIR_WEATHER: Weather = { lost: 0, repeated: 0, slow: 0, slowMaxMs: 0 };
const LATENCY_MAX_MS = 20;

export type Cut = 'open' | 'refused' | 'silent';

export class Network {
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  weather = FAIR_WEATHER;
  /** Between the edge and the pods. */
  cluster: Cut = 'open';

  constructor(scheduler: Scheduler, random: Random) {
    this.#scheduler = scheduler;
    this.#random = random;
  }

  /** Delivers a message never, once or twice. */
  pass(deliver: () => void): void {
    const { lost, repeated } = this.weather;
    if (lost > 0 && this.#random.chance(lost)) return;
    this.#scheduler.after(this.#latencyMs(), deliver);
    if (repeated > 0 && this.#random.chance(repeated)) this.#scheduler.after(this.#latencyMs(), deliver);
  }

  /** Delivers it once: within one machine room, where what is lost is told. */
  passSurely(deliver: () => void): void {
    this.#scheduler.after(this.#latencyMs(), deliver);
  }

  #latencyMs(): number {
    const { slow, slowMaxMs } = this.weather;
    if (slow > 0 && this.#random.chance(slow)) return this.#random.next() * slowMaxMs;
    return this.#random.next() * LATENCY_MAX_MS;
  }
}
