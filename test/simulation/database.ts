/**
 * The store's database as the pods share it: ticks by their identity, the ledger of batches and the dead letters, each
 * group in one transaction. A commit is answered when it is synced; several share one sync. Power loss takes the
 * commits that are not, and leaves the others.
 *
 * Simulated in whole: the real stores keep these promises by threads and by another process.
 */

import type { Rejection } from '../../pipeline/contract/answer.ts';
import { unpackTicks } from '../../pipeline/contract/tick-bytes.ts';
import { generatedId, SIDE_NAMES } from '../../pipeline/contract/columns.ts';
import type { BatchResult, Receipt, StoreBatch } from '../../pipeline/queue/delivery.ts';
import type { DeadLetterRecord, WriteOutcome } from '../../pipeline/sink/store.ts';
import type { Random } from '../support/random.ts';
import type { Scheduler } from './scheduler.ts';

/** A symbol that the store does not take for as long as {@link SimulatedDatabase.refusesPoison}. */
export const POISON_SYMBOL = 'POISON';

export interface LedgerEntry {
  bodyHash: Uint8Array;
  receipt: Receipt;
  storedAtMs: number;
}

/** How a transaction is taken back. */
type Undo = () => void;

const SYNC_MAX_MS = 15;

/** Invariant: what was answered as committed is in the first `syncedCommits` commits, which nothing takes back. */
export class SimulatedDatabase {
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  /** Identity to values. */
  readonly rows = new Map<string, string>();
  readonly ledger = new Map<string, LedgerEntry>();
  readonly deadLetters = new Map<string, DeadLetterRecord & { provider: string }>();
  refusesPoison = false;
  /** Of commits that are not synced. */
  #undos: Undo[] = [];
  #waiting: { commits: number; done: (survived: boolean) => void }[] = [];
  #isSyncing = false;
  #epoch = 0;

  constructor(scheduler: Scheduler, random: Random) {
    this.#scheduler = scheduler;
    this.#random = random;
  }

  /** Writes the group in one transaction; nothing of it when one of its ticks cannot be written. */
  commit(batches: readonly StoreBatch[], pod: string, nowMs: number): WriteOutcome {
    const undos: Undo[] = [];
    const results: BatchResult[] = [];
    for (const batch of batches) {
      if (this.#isPoisoned(batch)) {
        undoAll(undos);
        return { ok: false, kind: 'data', detail: 'the database does not take this' };
      }
      results.push(this.#write(batch, pod, nowMs, undos));
    }
    if (undos.length > 0) this.#undos.push(() => undoAll(undos));
    return { ok: true, results };
  }

  rehearse(batch: StoreBatch, pod: string, nowMs: number): WriteOutcome {
    const undos: Undo[] = [];
    if (this.#isPoisoned(batch)) return { ok: false, kind: 'data', detail: 'the database does not take this' };
    const results = [this.#write(batch, pod, nowMs, undos)];
    undoAll(undos);
    return { ok: true, results };
  }

  /** The ticks of dead letters, whose letters go. */
  replay(batch: StoreBatch): WriteOutcome {
    if (this.#isPoisoned(batch)) return { ok: false, kind: 'data', detail: 'the database does not take this' };
    const undos: Undo[] = [];
    const stored = this.#insertTicks(batch, undos);
    for (const { place } of ticksOf(batch)) {
      const key = letterKey(batch.provider, batch.batchId, place);
      const letter = this.deadLetters.get(key);
      if (letter === undefined) continue;
      this.deadLetters.delete(key);
      undos.push(() => void this.deadLetters.set(key, letter));
    }
    this.#undos.push(() => undoAll(undos));
    const receipt = { stored, duplicates: batch.ticks - stored, rejected: [], ignoredFields: batch.ignoredFields };
    return { ok: true, results: [{ outcome: 'stored', again: false, receipt }] };
  }

  /** Calls `done` when all that is committed now is synced, or when the power was lost before (`false`). */
  whenSynced(done: (survived: boolean) => void): void {
    if (this.#undos.length === 0) return done(true);
    this.#waiting.push({ commits: this.#undos.length, done });
    this.#sync();
  }

  /** Of the commits that are not synced the first few were, and the others never were. */
  losePower(): void {
    const survivors = this.#random.below(this.#undos.length + 1);
    undoAll(this.#undos.slice(survivors));
    this.#endSync(survivors);
  }

  get unsyncedCommits(): number {
    return this.#undos.length;
  }

  #sync(): void {
    if (this.#isSyncing) return;
    this.#isSyncing = true;
    const commits = this.#undos.length;
    const epoch = this.#epoch;
    this.#scheduler.after(this.#random.next() * SYNC_MAX_MS, () => {
      if (epoch !== this.#epoch) return;
      const later = this.#undos.slice(commits);
      const synced = this.#waiting.filter((one) => one.commits <= commits);
      this.#undos = later;
      this.#waiting = this.#waiting
        .filter((one) => one.commits > commits)
        .map(({ commits: at, done }) => ({ commits: at - commits, done }));
      this.#isSyncing = false;
      for (const { done } of synced) done(true);
      if (this.#waiting.length > 0) this.#sync();
    });
  }

  #endSync(survivors: number): void {
    this.#epoch += 1;
    this.#isSyncing = false;
    this.#undos = [];
    for (const { commits, done } of this.#waiting.splice(0)) done(commits <= survivors && this.#random.chance(0.5));
  }

  /** What the ledger knows is not written again. */
  #isPoisoned({ provider, batchId, columns }: StoreBatch): boolean {
    if (!this.refusesPoison || this.ledger.has(`${provider}/${batchId}`)) return false;
    const { dictionary, trades, quotes } = columns;
    return [trades, quotes].some((one) => [...(one?.symbol ?? [])].some((at) => dictionary[at] === POISON_SYMBOL));
  }

  #write(batch: StoreBatch, pod: string, nowMs: number, undos: Undo[]): BatchResult {
    const { provider, batchId, bodyHash, rejected, rejectedBytes, ignoredFields } = batch;
    const key = `${provider}/${batchId}`;
    const known = this.ledger.get(key);
    if (known !== undefined) {
      if (Buffer.compare(known.bodyHash, bodyHash) !== 0) return { outcome: 'conflict' };
      return { outcome: 'stored', again: true, receipt: structuredClone(known.receipt) };
    }
    const stored = this.#insertTicks(batch, undos);
    const duplicates = batch.ticks - rejected.length - stored;
    const receipt = { stored, duplicates, rejected: [...rejected], ignoredFields };
    this.ledger.set(key, { bodyHash, receipt, storedAtMs: nowMs });
    undos.push(() => void this.ledger.delete(key));
    const kept = unpackTicks(rejectedBytes);
    rejected.forEach(({ index, reason, detail }: Rejection, at) => {
      const letter = letterKey(provider, batchId, index);
      const { bytes, sizeBytes } = kept[at]!;
      this.deadLetters.set(letter, {
        provider,
        batchId,
        index,
        reason,
        detail,
        bytes,
        sizeBytes,
        deadAtMs: nowMs,
        pod,
      });
      undos.push(() => void this.deadLetters.delete(letter));
    });
    return { outcome: 'stored', again: false, receipt };
  }

  #insertTicks(batch: StoreBatch, undos: Undo[]): number {
    let stored = 0;
    for (const { key, values } of ticksOf(batch)) {
      if (this.rows.has(key)) continue;
      this.rows.set(key, values);
      undos.push(() => void this.rows.delete(key));
      stored += 1;
    }
    return stored;
  }
}

function undoAll(undos: readonly Undo[]): void {
  for (const undo of undos.toReversed()) undo();
}

function letterKey(provider: string, batchId: string, index: number): string {
  return `${provider}/${batchId}/${index}`;
}

/** What a row is known by. Source: the contract, "The tick and the batch". */
export function tickKey(kind: 'trade' | 'quote', provider: string, symbol: string, tsNs: bigint, id: string): string {
  return `${kind} ${provider} ${symbol} ${tsNs} ${id}`;
}

export function tickValues(values: readonly (string | number | null | undefined)[]): string {
  return values.map((value) => (value === null || Number.isNaN(value) ? '-' : `${value}`)).join(' ');
}

function* ticksOf({
  provider,
  batchId,
  columns,
}: StoreBatch): Iterable<{ key: string; values: string; place: number }> {
  const { dictionary, trades, quotes } = columns;
  for (const [kind, rows] of [['trade', trades] as const, ['quote', quotes] as const]) {
    if (rows === null) continue;
    const ids = rows.ids.split('\n');
    for (let at = 0; at < rows.index.length; at += 1) {
      const place = rows.index[at]!;
      const id = ids[at] || generatedId(batchId, place);
      const key = tickKey(kind, provider, dictionary[rows.symbol[at]!]!, rows.tsNs[at]!, id);
      const values =
        'price' in rows
          ? [rows.price[at], rows.size[at], SIDE_NAMES[rows.side[at]!]]
          : [rows.bidPrice[at], rows.bidSize[at], rows.askPrice[at], rows.askSize[at]];
      yield { key, values: tickValues(values), place };
    }
  }
}
