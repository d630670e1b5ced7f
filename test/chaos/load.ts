/**
 * Providers that push at a steady rate, by the code of the replay tool: several batches in flight, the same batch again
 * under the same id until it is acknowledged, obeying `Retry-After`, level and credit. What becomes of it is for the
 * {@link Ledger}.
 */

import { deliver, type DeliveryResult } from '../../deploy/replay/delivery.ts';
import type { Batch } from '../../deploy/replay/batches.ts';
import { createPusher, type Credential } from '../../deploy/replay/pusher.ts';
import { lines } from '../support/pod-batch.ts';
import { serialTicks } from '../support/serial-ticks.ts';
import { Ledger } from './ledger.ts';
import { paced } from './pace.ts';

const IN_FLIGHT = 32;
/** No fault that is told of here is longer; whatever is not acknowledged by then never will be. */
const GIVE_UP_AFTER_MS = 15 * 60_000;

export interface LoadOptions {
  to: string;
  credentials: Readonly<Record<string, Credential>>;
  /** Of all providers together; infinite: as fast as the answers come. */
  ticksPerSecond: number;
  batchTicks: number;
  /** The event time of the batch that is made next; now unless told. */
  tsMs?: () => number;
}

/** Invariant: numbers, and so batch ids and serials, are never used twice. */
export class Load {
  readonly ledger = new Ledger();
  /** Of all providers together; infinite: as fast as the answers come. */
  ticksPerSecond: number;
  readonly #options: LoadOptions;
  readonly #numberOf = new Map<string, number>();
  readonly #over = new AbortController();
  readonly #cut = new AbortController();
  readonly #delivering: Promise<DeliveryResult[]>;
  #rest: Promise<void> | undefined;
  #made = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.ticksPerSecond = options.ticksPerSecond;
    this.#delivering = Promise.all(Object.entries(options.credentials).map((one) => this.#deliver(...one)));
    // Told when it is ended; until then somebody else may be waiting for what will never come.
    this.#delivering.catch(() => undefined);
  }

  /** Batches that were offered so far are numbered up to this. */
  get made(): number {
    return this.#made;
  }

  /** Whether every batch up to number `last` is acknowledged, and none is known to be held at the edge. */
  isStoredUpTo(last: number): boolean {
    return [...this.#numberOf.values(), ...this.ledger.held.keys()].every((number) => number > last);
  }

  /** Offers nothing new while that lasts. */
  async resting<Result>(during: () => Promise<Result>): Promise<Result> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#rest = promise;
    try {
      return await during();
    } finally {
      this.#rest = undefined;
      resolve();
    }
  }

  /** Offers nothing new, and resolves when all that was offered has its end, or the time is over; with what has none. */
  async end(timeoutMs: number): Promise<{ unsettled: string[] }> {
    this.#over.abort();
    const timer = setTimeout(() => this.#cut.abort(), timeoutMs);
    const results = await this.#delivering;
    clearTimeout(timer);
    return { unsettled: results.flatMap(({ unsettled }) => unsettled.map(({ id }) => id)) };
  }

  async #deliver(provider: string, credential: Credential): Promise<DeliveryResult> {
    const pusher = await createPusher({ to: this.#options.to, provider, credential, connections: IN_FLIGHT });
    try {
      return await deliver(this.#batches(), {
        push: pusher.push,
        inFlightMax: IN_FLIGHT,
        giveUpAfterMs: GIVE_UP_AFTER_MS,
        stop: this.#cut.signal,
        onAttempt: (batch, attempt) => {
          this.ledger.note({ number: this.#numberOf.get(batch.id)!, provider, batch }, attempt);
          const { kind } = attempt.outcome;
          if (kind === 'stored' || kind === 'buffered') this.#numberOf.delete(batch.id);
        },
      });
    } finally {
      await pusher.close();
    }
  }

  async *#batches(): AsyncGenerator<Batch> {
    const { batchTicks, credentials } = this.#options;
    const together = 1_000 * batchTicks * Object.keys(credentials).length;
    const due = paced(() => together / this.ticksPerSecond, this.#over.signal);
    for await (const _ of due) {
      await this.#rest;
      yield this.#batch();
    }
  }

  #batch(): Batch {
    this.#made += 1;
    const number = this.#made;
    const id = `chaos-${number}`;
    this.#numberOf.set(id, number);
    const { batchTicks, tsMs = Date.now } = this.#options;
    const body = Buffer.from(lines(serialTicks(number, batchTicks, tsMs())));
    return { id, ticks: batchTicks, body, dueMs: 0 };
  }
}
