/**
 * Preloaded into a pod (`node --import`): its store then takes no more than so many ticks a second, as a slower machine's
 * would. On one machine a pod's share of it, and so what eight pods can do beyond one, could not be told otherwise.
 * All else is the pod's own: pipeline/main.ts, its settings, its store.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { StoreBatch } from '../../pipeline/queue/delivery.ts';
import { PostgresStore } from '../../pipeline/store/postgres.ts';
import { SqliteStore } from '../../pipeline/store/sqlite.ts';

/** C: what the pod's store takes. */
export const STORE_RATE_SETTING = 'REHEARSAL_STORE_TICKS_PER_SECOND';

/** One way in for all connections of the store: a group waits for those before it, and then its own time. */
class Pace {
  readonly #ticksPerSecond: number;
  #freeAtMs = 0;

  constructor(ticksPerSecond: number) {
    this.#ticksPerSecond = ticksPerSecond;
  }

  async take(batches: readonly StoreBatch[]): Promise<void> {
    const ticks = batches.reduce((sum, batch) => sum + batch.ticks, 0);
    const nowMs = performance.now();
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + (ticks * 1000) / this.#ticksPerSecond;
    await sleep(this.#freeAtMs - nowMs);
  }
}

const ticksPerSecond = Number(process.env[STORE_RATE_SETTING]);
if (ticksPerSecond > 0) {
  const pace = new Pace(ticksPerSecond);
  for (const { prototype } of [SqliteStore, PostgresStore]) {
    const write = Reflect.get(prototype, 'write');
    prototype.write = async function paced(this: unknown, batches) {
      await pace.take(batches);
      return Reflect.apply(write, this, [batches]);
    };
  }
}
