/**
 * Takes deliveries from the queue in groups, writes each group in one transaction, and settles every delivery
 * with what the store said. Settling is the sender's answer, so nothing is settled before its commit.
 */

import type { BoundedQueue } from '../queue/bounded-queue.ts';
import type { Delivery } from '../queue/delivery.ts';
import type { Store } from './store.ts';

export interface WriterBounds {
  /** Ticks in one transaction. */
  groupMaxTicks: number;
  /** Groups handed to the store at once; the second waits there, so that the store never waits for us. */
  inFlightMaxGroups: number;
  /** Ticks that must wait before a further group is handed over while one is being written. */
  pipelineMinTicks: number;
}

/**
 * Measured on two cores with 16,000 ticks in flight: groups of 4,000 to 16,000, one or two at a time, differ by less
 * than the machine does from run to run (0.71 to 1.13 of the bare writer). Two, so that the store need not wait for
 * a busy event loop; a second one from 2,000 on, so that the queue stays below its first watermark.
 */
export const WRITER_BOUNDS: WriterBounds = { groupMaxTicks: 8_000, inFlightMaxGroups: 2, pipelineMinTicks: 2_000 };

/** Invariant: every delivery taken from the queue is settled, whatever the store does. */
export class Writer {
  readonly #queue: BoundedQueue<Delivery>;
  readonly #store: Pick<Store, 'write'>;
  readonly #bounds: WriterBounds;
  #groupsInFlight = 0;
  #ticksInFlight = 0;
  #whenIdle: (() => void)[] = [];

  constructor(queue: BoundedQueue<Delivery>, store: Pick<Store, 'write'>, bounds: WriterBounds = WRITER_BOUNDS) {
    this.#queue = queue;
    this.#store = store;
    this.#bounds = bounds;
  }

  /** Ticks handed to the store and not yet settled. */
  get ticksInFlight(): number {
    return this.#ticksInFlight;
  }

  /** Starts what can be started. To be called after each offer; calls itself after each group. */
  wake(): void {
    while (!this.#queue.isEmpty && this.#mayStart()) {
      const group = this.#queue.take(this.#bounds.groupMaxTicks);
      this.#groupsInFlight += 1;
      void this.#write(group);
    }
  }

  /** Resolves when nothing waits and nothing is being written. */
  idle(): Promise<void> {
    if (this.#queue.isEmpty && this.#groupsInFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  #mayStart(): boolean {
    if (this.#groupsInFlight === 0) return true;
    return (
      this.#groupsInFlight < this.#bounds.inFlightMaxGroups && this.#queue.depthTicks >= this.#bounds.pipelineMinTicks
    );
  }

  async #write(group: readonly Delivery[]): Promise<void> {
    let ticks = 0;
    for (const delivery of group) ticks += delivery.ticks;
    this.#ticksInFlight += ticks;
    try {
      const outcome = await this.#store.write(group.map((delivery) => delivery.batch));
      group.forEach((delivery, at) => {
        const result = outcome.ok ? outcome.results[at] : undefined;
        delivery.settle(result ?? { outcome: 'store_unavailable', detail: outcome.ok ? 'no result' : outcome.detail });
      });
    } catch (cause) {
      // A store does not throw; should it all the same, its senders are told and the writer goes on.
      const detail = cause instanceof Error ? cause.message : String(cause);
      for (const delivery of group) delivery.settle({ outcome: 'store_unavailable', detail });
    } finally {
      this.#ticksInFlight -= ticks;
      this.#groupsInFlight -= 1;
      this.wake();
      if (this.#queue.isEmpty && this.#groupsInFlight === 0) {
        for (const resolve of this.#whenIdle.splice(0)) resolve();
      }
    }
  }
}
