/**
 * The books of each provider: every tick that was offered is stored, a duplicate, rejected, refused or in flight.
 * Counted where things happen; shown by metrics.ts and `/status`.
 */

import type { ProblemName, Rejection } from '../contract/answer.ts';

/** Providers with books of their own; the rest share {@link OTHER_PROVIDERS}, so that names cost no series. */
export const PROVIDER_LABELS_MAX = 20;
export const OTHER_PROVIDERS = 'other';

export interface ProviderBooks {
  offered: number;
  stored: number;
  duplicate: number;
  /** By reason. */
  rejected: Map<string, number>;
  /** By problem name. */
  refused: Map<string, number>;
  /** By reason; those of `rejected` that are kept in the store. No part of the balance. */
  deadLetters: Map<string, number>;
  inFlight: number;
}

/** Offered minus everything that became of it; anything but 0 is a bug or a lost tick. */
export function residue(books: ProviderBooks): number {
  return books.offered - books.stored - books.duplicate - sum(books.rejected) - sum(books.refused) - books.inFlight;
}

export function sum(counts: ReadonlyMap<string, number>): number {
  let total = 0;
  for (const count of counts.values()) total += count;
  return total;
}

/** The ticks of one request, from the offer to its end. Exactly one of the ends is to be called, once. */
export class OfferedBatch {
  readonly #books: ProviderBooks;
  readonly #ticks: number;

  constructor(books: ProviderBooks, ticks: number) {
    this.#books = books;
    this.#ticks = ticks;
    books.offered += ticks;
    books.inFlight += ticks;
  }

  /** `again`: the ledger knew the batch, whose ticks are duplicates now and whose dead letters were written before. */
  committed(receipt: { stored: number; duplicates: number; rejected: readonly Rejection[] }, again: boolean): void {
    const { stored, duplicates, rejected } = receipt;
    this.#books.stored += again ? 0 : stored;
    this.#books.duplicate += again ? stored + duplicates : duplicates;
    for (const { reason } of rejected) {
      add(this.#books.rejected, reason, 1);
      if (!again) add(this.#books.deadLetters, reason, 1);
    }
    this.#end();
  }

  rejected(reason: string): void {
    add(this.#books.rejected, reason, this.#ticks);
    this.#end();
  }

  refused(why: ProblemName): void {
    add(this.#books.refused, why, this.#ticks);
    this.#end();
  }

  #end(): void {
    this.#books.inFlight -= this.#ticks;
  }
}

function add(counts: Map<string, number>, key: string, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}

export class Books {
  readonly #byLabel = new Map<string, ProviderBooks>();
  readonly #onOverflow: (provider: string) => void;
  #overflowed = false;

  /** The listed providers have books, and so series, before their first tick. */
  constructor(listed: Iterable<string>, onOverflow: (provider: string) => void) {
    this.#onOverflow = onOverflow;
    for (const provider of listed) this.#of(provider);
  }

  /** The label that a provider's series have. */
  labelOf(provider: string): string {
    return this.#byLabel.has(provider) ? provider : OTHER_PROVIDERS;
  }

  offer(provider: string, ticks: number): OfferedBatch {
    return new OfferedBatch(this.#of(provider), ticks);
  }

  /** Ticks that the store has taken or known, of all providers. */
  get writtenTicks(): number {
    let ticks = 0;
    for (const one of this.#byLabel.values()) ticks += one.stored + one.duplicate;
    return ticks;
  }

  entries(): Iterable<[string, ProviderBooks]> {
    return this.#byLabel.entries();
  }

  #of(provider: string): ProviderBooks {
    const known = this.#byLabel.get(provider);
    if (known !== undefined) return known;
    if (this.#byLabel.size < PROVIDER_LABELS_MAX) return this.#open(provider);
    if (!this.#overflowed) {
      this.#overflowed = true;
      this.#onOverflow(provider);
    }
    return this.#byLabel.get(OTHER_PROVIDERS) ?? this.#open(OTHER_PROVIDERS);
  }

  #open(label: string): ProviderBooks {
    const books: ProviderBooks = {
      offered: 0,
      stored: 0,
      duplicate: 0,
      rejected: new Map(),
      refused: new Map(),
      deadLetters: new Map(),
      inFlight: 0,
    };
    this.#byLabel.set(label, books);
    return books;
  }
}
