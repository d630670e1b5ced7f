/** An oracle: remembers what a sender was told, and holds it against the store. */

import { isDeepStrictEqual } from 'node:util';
import type { StoredAnswer } from '../../pipeline/contract/answer.ts';
import type { Batch } from '../../deploy/replay/batches.ts';
import type { Attempt } from '../../deploy/replay/pusher.ts';
import type { StoredTicks } from './stored-ticks.ts';

/** Invariant: a batch is in it from its first `stored` on, with that answer. */
export class Acknowledged {
  readonly #provider: string;
  readonly #stored = new Map<string, { batch: Batch; answer: StoredAnswer }>();
  #unchecked: Batch[] = [];
  #waiting: { answers: number; resolve: () => void }[] = [];
  /** Attempts that ended otherwise, by kind, and by problem where there was one. */
  readonly others = new Map<string, number>();
  /** Batches that were answered `stored` twice, with different answers. */
  readonly contradicted: string[] = [];
  /** How often a batch that was answered `stored` was answered so again. */
  repeated = 0;
  /** Every `Retry-After` that came, in milliseconds; NaN where a refusal had none. */
  readonly retryAfterMs = new Set<number>();

  constructor(provider: string) {
    this.#provider = provider;
  }

  /** For {@link replay}'s `onAnswer`. */
  note(batch: Batch, { outcome }: Attempt): void {
    if (outcome.kind !== 'stored') {
      const what = outcome.kind === 'unclear' ? outcome.why : 'problem' in outcome ? outcome.problem : outcome.kind;
      this.others.set(what, (this.others.get(what) ?? 0) + 1);
      if (outcome.kind === 'refused') this.retryAfterMs.add(outcome.retryAfterMs ?? Number.NaN);
      return;
    }
    const before = this.#stored.get(batch.id);
    if (before !== undefined) {
      this.repeated += 1;
      if (!isDeepStrictEqual(outcome.answer, before.answer)) this.contradicted.push(batch.id);
      return;
    }
    this.#stored.set(batch.id, { batch, answer: outcome.answer });
    this.#unchecked.push(batch);
    const reached = this.#waiting.filter(({ answers }) => this.#stored.size >= answers);
    this.#waiting = this.#waiting.filter(({ answers }) => this.#stored.size < answers);
    for (const { resolve } of reached) resolve();
  }

  get batches(): number {
    return this.#stored.size;
  }

  get ticks(): number {
    let ticks = 0;
    for (const { batch } of this.#stored.values()) ticks += batch.ticks;
    return ticks;
  }

  /** What the answers say altogether. */
  told(): { stored: number; duplicates: number; rejected: number } {
    const told = { stored: 0, duplicates: 0, rejected: 0 };
    for (const { answer } of this.#stored.values()) {
      told.stored += answer.stored;
      told.duplicates += answer.duplicates;
      told.rejected += answer.rejected.length;
    }
    return told;
  }

  has(batchId: string): boolean {
    return this.#stored.has(batchId);
  }

  /** Resolves when so many batches have been answered `stored`. */
  reached(answers: number): Promise<void> {
    if (this.#stored.size >= answers) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ answers, resolve }));
  }

  /** Identities of acknowledged ticks that are not stored, among those acknowledged since the last call. */
  newlyLost(store: StoredTicks): string[] {
    return this.#unchecked.splice(0).flatMap((batch) => store.missing(this.#provider, batch));
  }

  /** The same among all. */
  lost(store: StoredTicks): string[] {
    return [...this.#stored.values()].flatMap(({ batch }) => store.missing(this.#provider, batch));
  }
}
