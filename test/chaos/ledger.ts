/**
 * The sender's own books: which batch was acknowledged how, and how every attempt ended that was not. What it says is
 * held against the store; it believes nobody but the answers.
 */

import type { Batch } from '../../deploy/replay/batches.ts';
import type { Attempt } from '../../deploy/replay/pusher.ts';
import type { Row } from '../../deploy/local/postgres.ts';
import { compareRows, type Held } from '../support/serial-ticks.ts';
import { AnswerTimes } from './answer-times.ts';

export interface Offer {
  number: number;
  provider: string;
  batch: Batch;
}

type Acknowledged = Omit<Offer, 'batch'> & { id: string; ticks: number };

/** Invariant: a batch is in it from its first attempt on, as open or as acknowledged, and never leaves the latter. */
export class Ledger {
  readonly #open = new Set<number>();
  readonly #acknowledged = new Map<number, Acknowledged>();
  /** Acknowledged with 202 and, as far as its receipt said when last asked, not in the store yet. */
  readonly held = new Map<number, Acknowledged>();
  /** Of those answered 200. */
  readonly answerTimes = new AnswerTimes();
  ticksStored = 0;
  ticksBuffered = 0;
  /** Attempts answered 429 or 503 with `Retry-After`. */
  refusedExplicitly = 0;
  /** Attempts without an answer, or with one that leaves the sender in the dark, by what there was instead. */
  readonly inexplicit = new Map<string, number>();
  /** Answers that no valid batch should get, in their own words. */
  readonly failed: string[] = [];
  /** Batches answered `stored` with other words than that all of it was stored and none of it was there. */
  readonly contradictions: string[] = [];
  /** Of the attempts answered 200, when the latest began, by `performance.now()`. */
  storedBegunMs = 0;

  note(offer: Offer, { outcome, answerMs }: Attempt): void {
    const { number, provider, batch } = offer;
    this.#open.add(number);
    const known = { number, provider, id: batch.id, ticks: batch.ticks };
    switch (outcome.kind) {
      case 'stored': {
        const { stored, duplicates, rejected } = outcome.answer;
        if (stored !== batch.ticks || duplicates !== 0 || rejected.length > 0) {
          this.contradictions.push(
            `${batch.id}: ${stored} stored, ${duplicates} duplicates, ${rejected.length} rejected`,
          );
        }
        this.#acknowledge(known);
        this.ticksStored += batch.ticks;
        this.storedBegunMs = Math.max(this.storedBegunMs, performance.now() - answerMs);
        this.answerTimes.add(answerMs);
        break;
      }
      case 'buffered':
        this.#acknowledge(known);
        this.held.set(number, known);
        this.ticksBuffered += batch.ticks;
        break;
      case 'refused':
        if (outcome.retryAfterMs === undefined) this.#inexplicit(`${outcome.status} without Retry-After`);
        else this.refusedExplicitly += 1;
        break;
      case 'unclear':
        this.#inexplicit(outcome.why);
        break;
      case 'failed':
        this.failed.push(`${batch.id}: ${outcome.status} ${outcome.problem}: ${outcome.detail}`);
        break;
    }
  }

  /** The receipt of a held batch says that it is stored. */
  arrived(number: number): void {
    this.held.delete(number);
  }

  get ticksAcknowledged(): number {
    return this.ticksStored + this.ticksBuffered;
  }

  get inexplicitAttempts(): number {
    return [...this.inexplicit.values()].reduce((sum, count) => sum + count, 0);
  }

  /** The store's rows by batch against everything acknowledged so far, save what is `late`. */
  compare(rows: readonly Row[], late: ReadonlySet<number>): Held {
    const due = [...this.#acknowledged.values()].filter(({ number }) => !late.has(number));
    return compareRows(rows, due, (number) => this.#open.has(number) || late.has(number));
  }

  /**
   * The store's rows of the batches up to number `last` against these, which it forgets: a row of theirs that is found
   * later is one that nobody sent. All of them have been acknowledged.
   */
  settle(rows: readonly Row[], last: number): Held {
    const due = [...this.#acknowledged.values()].filter(({ number }) => number <= last);
    for (const { number } of due) this.#acknowledged.delete(number);
    return compareRows(
      rows.filter(({ number }) => Number(number) <= last),
      due,
      () => false,
    );
  }

  #acknowledge(batch: Acknowledged): void {
    this.#open.delete(batch.number);
    this.#acknowledged.set(batch.number, batch);
  }

  #inexplicit(what: string): void {
    this.inexplicit.set(what, (this.inexplicit.get(what) ?? 0) + 1);
  }
}
