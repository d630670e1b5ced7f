/**
 * Empties an outbox into the cluster: oldest first, as many at once as the pace allows, each batch by itself. A
 * batch leaves with its receipt or stays; whatever goes wrong, it stays. Knows neither network nor alarms: it is
 * given `deliver`, runs for a bounded time, and says when to come again.
 */

import { problemName } from '../../pipeline/contract/answer.ts';
import type { DeadCause } from './calls.ts';
import type { Fate } from './fate.ts';
import { dueAfter, FIRST_PACE, mayGo, type Pace, paceAfter } from './pace.ts';
import type { HeldBatch, Shelf } from './shelf.ts';

/** An alarm may run for 15 minutes and make 10,000 requests. */
export const RUN_MAX_MS = 60_000;
export const RUN_MAX_REQUESTS = 2_000;
/**
 * Answers that are written down together while others are on their way. Whatever a Durable Object sends waits until all
 * that it has written is on disk: one write for each answer made a drain half as fast as its pod. A crash before it costs
 * as many repeats, which the pods answer as before.
 */
export const SETTLED_TOGETHER = 6;

export interface Delivered {
  fate: Fate;
  creditTicks: number | undefined;
}

export interface DrainParts {
  shelf: Shelf;
  /** One attempt. Its failures are values. */
  deliver: (held: HeldBatch, body: Uint8Array<ArrayBuffer>) => Promise<Delivered>;
  nowMs: () => number;
  random: () => number;
  /** Told of each batch that died. */
  onDead: (held: HeldBatch, cause: DeadCause) => void;
}

/** Invariant: each batch is on its way at most once, and at most one {@link run} is under way. */
export class Drain {
  readonly #parts: DrainParts;
  #pace: Pace = FIRST_PACE;
  /** Sent, and not yet written down. */
  readonly #onTheirWay = new Set<number>();
  #inFlight = { batches: 0, ticks: 0 };
  #answered: { held: HeldBatch; fate: Fate }[] = [];

  constructor(parts: DrainParts) {
    this.#parts = parts;
  }

  /** Batches that must not be touched by anybody else. */
  get onTheirWay(): ReadonlySet<number> {
    return this.#onTheirWay;
  }

  /** Nothing goes before this. */
  get pausedUntilMs(): number {
    return this.#pace.pausedUntilMs;
  }

  /** The cluster has just asked for patience. */
  pauseUntil(untilMs: number): void {
    if (untilMs > this.#pace.pausedUntilMs) this.#pace = { ...this.#pace, window: 1, pausedUntilMs: untilMs };
  }

  /**
   * Sends until nothing is due, a pause begins, or {@link RUN_MAX_MS} or {@link RUN_MAX_REQUESTS} are used up, and
   * waits for all answers. Rejects when the disk does, with everything unanswered still held.
   */
  async run(): Promise<void> {
    const { shelf, nowMs } = this.#parts;
    const endMs = nowMs() + RUN_MAX_MS;
    const running = new Set<Promise<void>>();
    const failures: unknown[] = [];
    for (let requests = 0; ;) {
      let hasNext = false;
      while (failures.length === 0 && requests < RUN_MAX_REQUESTS && nowMs() < endMs) {
        const next = shelf.nextDue(nowMs(), this.#onTheirWay);
        hasNext = next !== undefined && nowMs() >= this.#pace.pausedUntilMs;
        if (next === undefined || !mayGo(this.#pace, this.#inFlight, next.ticks, nowMs())) break;
        requests += 1;
        const sending: Promise<void> = this.#send(next)
          .catch((cause: unknown) => void failures.push(cause))
          .finally(() => running.delete(sending));
        running.add(sending);
      }
      const mayWait = hasNext && running.size > 0 && this.#answered.length < SETTLED_TOGETHER;
      if (!mayWait) this.#settleAnswered(failures);
      if (running.size === 0) break;
      await Promise.race(running);
    }
    if (failures.length > 0) throw failures[0];
  }

  /** When {@link run} has something to do; `undefined` when nothing is held. */
  nextRunMs(): number | undefined {
    const dueMs = this.#parts.shelf.nextDueMs(this.#parts.nowMs());
    return dueMs === undefined ? undefined : Math.max(dueMs, this.#pace.pausedUntilMs);
  }

  async #send(held: HeldBatch): Promise<void> {
    const { shelf, deliver, nowMs, random } = this.#parts;
    this.#onTheirWay.add(held.seq);
    const { batches, ticks } = this.#inFlight;
    this.#inFlight = { batches: batches + 1, ticks: ticks + held.ticks };
    try {
      const body = shelf.body(held.seq);
      if (body === undefined) throw new Error('a held batch has no body');
      const { fate, creditTicks } = await deliver(held, body);
      this.#pace = paceAfter(this.#pace, fate, creditTicks, nowMs(), random());
      this.#answered.push({ held, fate });
    } catch (cause) {
      this.#onTheirWay.delete(held.seq);
      throw cause;
    } finally {
      this.#inFlight = { batches: this.#inFlight.batches - 1, ticks: this.#inFlight.ticks - held.ticks };
    }
  }

  /** Without an `await`: durable together. What the disk does not take is still held. */
  #settleAnswered(failures: unknown[]): void {
    const answered = this.#answered;
    this.#answered = [];
    for (const { held, fate } of answered) {
      try {
        this.#settle(held, fate);
      } catch (cause) {
        failures.push(cause);
      }
      this.#onTheirWay.delete(held.seq);
    }
  }

  #settle(held: HeldBatch, fate: Fate): void {
    const { shelf, nowMs, random, onDead } = this.#parts;
    switch (fate.kind) {
      case 'stored':
        return shelf.settle(held, fate.facts, nowMs());
      case 'rejected': {
        const { type, detail, rejected } = fate.problem;
        const cause: DeadCause = { reason: problemName(type) ?? 'rejected', detail, rejected };
        shelf.bury(held, cause, nowMs());
        return onDead(held, cause);
      }
      case 'over_budget':
      case 'refused':
      case 'failed':
      case 'no_answer':
        return shelf.postpone(held.seq, dueAfter(fate, held.attempts, this.#pace, nowMs(), random()));
    }
  }
}
