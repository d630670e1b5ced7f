/**
 * The queue behind the outbox: what it has, it has; it delivers each message at least once, in any order, to the
 * Worker's own consumer.
 */

import { type OfferedBatch, type OutboxNamespace } from '../../worker/outbox/calls.ts';
import { type OverflowMessage, takeBack } from '../../worker/outbox/overflow.ts';
import type { Random } from '../support/random.ts';
import type { Scheduler } from './scheduler.ts';

interface Kept {
  body: OfferedBatch;
  attempts: number;
  dueMs: number;
}

const LOOK_MS = 5_000;

export class OverflowQueue {
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #namespace: OutboxNamespace;
  readonly #kept = new Set<Kept>();
  /** A share of messages that are delivered once more although they were let go. */
  repeated = 0;

  constructor(scheduler: Scheduler, random: Random, namespace: OutboxNamespace) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#namespace = namespace;
  }

  get isEmpty(): boolean {
    return this.#kept.size === 0;
  }

  send(body: OfferedBatch): Promise<void> {
    this.#kept.add({ body, attempts: 1, dueMs: this.#scheduler.nowMs + this.#random.next() * LOOK_MS });
    if (this.#kept.size === 1) this.#scheduler.after(LOOK_MS, () => void this.#deliver());
    return Promise.resolve();
  }

  async #deliver(): Promise<void> {
    this.#scheduler.trace(`overflow has ${this.#kept.size}`);
    const due = [...this.#kept].filter(({ dueMs }) => dueMs <= this.#scheduler.nowMs);
    if (due.length > 0) {
      // Another try for whoever neither lets it go nor asks for it later: its consumer died.
      for (const one of due) one.dueMs = this.#scheduler.nowMs + 60_000;
      await takeBack(
        this.#namespace,
        due.toSorted(() => this.#random.next() - 0.5).map((one) => this.#message(one)),
      );
    }
    if (!this.isEmpty) this.#scheduler.after(LOOK_MS, () => void this.#deliver());
  }

  #message(one: Kept): OverflowMessage {
    return {
      body: structuredClone(one.body),
      attempts: one.attempts,
      ack: () => {
        if (!this.#random.chance(this.repeated)) this.#kept.delete(one);
      },
      retry: ({ delaySeconds }) => {
        one.attempts += 1;
        one.dueMs = this.#scheduler.nowMs + delaySeconds * 1000;
      },
    };
  }
}
