/**
 * Batches until each has its answer: several in flight, the same batch again under the same id for as long as
 * its outcome is open, obeying Retry-After, level and credit. Knows neither captures nor HTTP.
 */

import { setTimeout as delay } from 'node:timers/promises';
import type { Batch } from './batches.ts';
import type { Attempt } from './pusher.ts';
import { retryDelayMs } from './retry.ts';
import { Window } from './window.ts';

export const IN_FLIGHT_DEFAULT = 4;
export const IN_FLIGHT_MAX = 256;
export const GIVE_UP_AFTER_DEFAULT_MS = 300_000;
/** How long a stop waits for the answers of what is in flight. */
export const STOP_WAIT_MS = 5_000;

export interface Clock {
  /** Only differences count. */
  nowMs: () => number;
  /** Ends early, and without an error, when `signal` aborts. */
  sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

export const realClock: Clock = {
  nowMs: () => performance.now(),
  sleep: async (ms, signal) => {
    await delay(ms, undefined, { signal }).catch(() => {});
  },
};

export interface DeliveryOptions {
  push: (batch: Batch, cancel: AbortSignal) => Promise<Attempt>;
  inFlightMax?: number;
  /** Without any batch settled for this long, the delivery ends. */
  giveUpAfterMs?: number;
  /** Ends the delivery: nothing new is sent, and what is in flight has {@link STOP_WAIT_MS}. */
  stop?: AbortSignal;
  stopWaitMs?: number;
  clock?: Clock;
  random?: () => number;
  /** Milliseconds from now until the batch is due; for a replay at the captured pace. */
  dueInMs?: (batch: Batch) => number;
  /** After each attempt, answered or not; `resend` is true from a batch's second attempt on. */
  onAttempt?: (batch: Batch, attempt: Attempt, resend: boolean) => void;
}

export type DeliveryEnd =
  | { why: 'complete' }
  | { why: 'interrupted' }
  | { why: 'gave_up'; afterMs: number }
  /** The very first answers say that nothing can succeed: wrong credentials or address. */
  | { why: 'refused_outright'; problem: string; detail: string }
  /** The batches could not be made; `cause` is what their iterator threw. */
  | { why: 'broken_off'; cause: unknown };

export interface DeliveryResult {
  end: DeliveryEnd;
  /** Batches that were taken and have no final answer. */
  unsettled: Batch[];
}

/** Statuses that will be the same for every batch: unauthenticated, forbidden, not found, method not allowed. */
const HOPELESS_STATUSES: ReadonlySet<number> = new Set([401, 403, 404, 405]);

/**
 * Delivers `batches` in their order, save where a retry lets later ones pass. Takes at most `inFlightMax` from
 * the iterator before the first of them is settled. Never throws for what a network or a server does.
 */
export async function deliver(batches: AsyncIterable<Batch>, options: DeliveryOptions): Promise<DeliveryResult> {
  return new Delivery(options).run(batches[Symbol.asyncIterator]());
}

class Delivery {
  readonly #options: DeliveryOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #giveUpAfterMs: number;
  readonly #inFlightMax: number;
  readonly #window: Window;
  /** Aborted when nothing new may be sent. */
  readonly #halt = new AbortController();
  /** Aborted when even what is in flight is left. */
  readonly #cut = new AbortController();
  readonly #unsettled: Batch[] = [];
  #end: DeliveryEnd = { why: 'complete' };
  #lastSettledMs = Number.NEGATIVE_INFINITY;
  #anySucceeded = false;
  #answered = Promise.withResolvers<void>();

  constructor(options: DeliveryOptions) {
    this.#options = options;
    this.#clock = options.clock ?? realClock;
    this.#random = options.random ?? Math.random;
    this.#giveUpAfterMs = options.giveUpAfterMs ?? GIVE_UP_AFTER_DEFAULT_MS;
    this.#inFlightMax = options.inFlightMax ?? IN_FLIGHT_DEFAULT;
    this.#window = new Window(this.#inFlightMax);
  }

  async run(batches: AsyncIterator<Batch>): Promise<DeliveryResult> {
    const { stop } = this.#options;
    const interrupt = (): void => this.#stop({ why: 'interrupted' });
    if (stop?.aborted === true) interrupt();
    stop?.addEventListener('abort', interrupt, { once: true });
    await Promise.all(Array.from({ length: this.#inFlightMax }, () => this.#lane(batches)));
    stop?.removeEventListener('abort', interrupt);
    this.#cut.abort(); // ends the timer of a stop
    return { end: this.#end, unsettled: this.#unsettled };
  }

  /** One of the `inFlightMax` that each bring one batch at a time to its end. */
  async #lane(batches: AsyncIterator<Batch>): Promise<void> {
    while (!this.#halted) {
      let next: IteratorResult<Batch>;
      try {
        next = await batches.next();
      } catch (cause) {
        // What other lanes hold is sound, and is brought to its end.
        if (this.#end.why === 'complete') this.#end = { why: 'broken_off', cause };
        return;
      }
      if (next.done === true) return;
      if (!(await this.#settle(next.value))) this.#unsettled.push(next.value);
    }
  }

  /** True when the batch has its final answer, false when the delivery ended first. */
  async #settle(batch: Batch): Promise<boolean> {
    const dueInMs = this.#options.dueInMs?.(batch) ?? 0;
    if (dueInMs > 0) await this.#clock.sleep(dueInMs, this.#halt.signal);
    const startMs = this.#clock.nowMs();
    let tries = 0;
    for (let resend = false; await this.#admit(batch.ticks); resend = true) {
      const attempt = await this.#attempt(batch, resend);
      const { outcome } = attempt;
      const waitMs = retryDelayMs(outcome, tries, this.#random());
      if (waitMs === undefined) {
        this.#settled(outcome);
        return true;
      }
      const nowMs = this.#clock.nowMs();
      if (outcome.kind === 'refused' && outcome.retryAfterMs !== undefined) {
        // 429 is about the provider, so about every batch; 503 may be one pod's alone.
        if (outcome.status === 429) this.#window.hold(nowMs + waitMs);
      } else {
        tries += 1;
      }
      const giveUpInMs = Math.max(startMs, this.#lastSettledMs) + this.#giveUpAfterMs - nowMs;
      await this.#clock.sleep(Math.max(0, Math.min(waitMs, giveUpInMs)), this.#halt.signal);
      if (this.#clock.nowMs() - Math.max(startMs, this.#lastSettledMs) >= this.#giveUpAfterMs) {
        this.#stop({ why: 'gave_up', afterMs: this.#giveUpAfterMs });
      }
    }
    return false;
  }

  /** Waits until the window lets `ticks` through and enters them; false when the delivery ended first. */
  async #admit(ticks: number): Promise<boolean> {
    while (!this.#halted) {
      const verdict = this.#window.ask(ticks, this.#clock.nowMs());
      if (verdict.kind === 'go') {
        this.#window.enter(ticks);
        return true;
      }
      if (verdict.kind === 'later') await this.#clock.sleep(verdict.waitMs, this.#halt.signal);
      else await this.#answered.promise;
    }
    return false;
  }

  async #attempt(batch: Batch, resend: boolean): Promise<Attempt> {
    const attempt = await this.#options.push(batch, this.#cut.signal);
    this.#window.leave(batch.ticks, attempt, this.#clock.nowMs());
    this.#options.onAttempt?.(batch, attempt, resend);
    this.#wake();
    return attempt;
  }

  #settled(outcome: Attempt['outcome']): void {
    this.#lastSettledMs = this.#clock.nowMs();
    if (outcome.kind !== 'failed') this.#anySucceeded = true;
    else if (!this.#anySucceeded && HOPELESS_STATUSES.has(outcome.status)) {
      this.#stop({ why: 'refused_outright', problem: outcome.problem, detail: outcome.detail });
    }
  }

  get #halted(): boolean {
    return this.#halt.signal.aborted;
  }

  /** The first reason to stop is the one that is told. */
  #stop(end: DeliveryEnd): void {
    if (this.#halted) return;
    this.#end = end;
    this.#halt.abort();
    this.#wake();
    const waitMs = this.#options.stopWaitMs ?? STOP_WAIT_MS;
    void this.#clock.sleep(waitMs, this.#cut.signal).then(() => this.#cut.abort());
  }

  #wake(): void {
    this.#answered.resolve();
    this.#answered = Promise.withResolvers<void>();
  }
}
