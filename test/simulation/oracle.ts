/**
 * Keeps what the system owes: an answer of 200 or 202 is a debt. Knows what was sent and what was answered, and at the
 * end looks into the store. Outside of the system: it uses nothing of what it judges.
 */

import type { Rejection } from '../../pipeline/contract/answer.ts';
import { keyOf, type SentBatch, type SentTick } from './batches.ts';
import type { SimulatedDatabase } from './database.ts';

/** A promise that was broken. */
export class Violation extends Error {
  override readonly name = 'Violation';
  readonly kind: string;

  constructor(kind: string, detail: string) {
    super(`${kind}: ${detail}`);
    this.kind = kind;
  }
}

/** What is known of one batch under the id that its answers name. */
interface Debt {
  batch: SentBatch;
  batchId: string;
  /** Of the first 200. */
  rejected: readonly Rejection[] | undefined;
  isBuffered: boolean;
  /** 409: nothing of it may be stored. */
  isConflict: boolean;
}

export interface Answered {
  status: number;
  json: Record<string, unknown>;
}

/** What may end a batch that was taken: another body under its id, its own ticks, or its age. */
export interface DeadLetterSeen {
  reason: string;
  body: string;
}

export class Oracle {
  readonly #debts = new Map<SentBatch, Map<string, Debt>>();
  /** Values that were sent under each identity. */
  readonly #sent = new Map<string, Set<string>>();
  readonly #usurped: Set<string>;
  /** Answered 202, whichever body it was, as `PROVIDER/BATCH`. */
  readonly #held = new Set<string>();
  /** A store that failed at random has been taken for one that refuses ticks: any of them may be set aside. */
  mayRefuseAny = false;

  /** `usurped`: ids that were used for two bodies, as `PROVIDER/BATCH`. */
  constructor(usurped: Set<string>) {
    this.#usurped = usurped;
  }

  /** Each tick is a row, or a dead letter with its own bytes when it is invalid: what was set aside was replayed. */
  checkStored({ batch, batchId }: { batch: SentBatch; batchId: string }, database: SimulatedDatabase): void {
    batch.ticks.forEach((tick, index) => {
      if (!tick.isBad && database.rows.has(keyOf(tick, batchId, index))) return;
      const letter = database.deadLetters.get(`${batch.provider}/${batchId}/${index}`);
      if (!tick.isBad || letter === undefined) {
        throw new Violation('missing', `${batchId}/${index}: ${tick.line}`);
      }
      const kept = Buffer.from(letter.bytes).toString();
      if (kept !== tick.line) throw new Violation('altered', `dead letter ${batchId}/${index} is ${kept}`);
    });
  }

  #mayBeSetAside({ isBad, isPoison }: SentTick): boolean {
    return isBad || isPoison || this.mayRefuseAny;
  }

  #checkRejected({ ticks }: SentBatch, batchId: string, rejected: readonly Rejection[]): void {
    const reasons = new Map(rejected.map(({ index, reason }) => [index, reason]));
    ticks.forEach((tick, index) => {
      const reason = reasons.get(index);
      if (tick.isBad && reason === undefined) throw new Violation('wrongly taken', `${batchId}/${index} is invalid`);
      if (!this.#mayBeSetAside(tick) && reason !== undefined) {
        throw new Violation('wrongly rejected', `${batchId}/${index} for ${reason}`);
      }
    });
  }

  /** To be called before each attempt. */
  sending(batch: SentBatch): void {
    if (batch.id !== undefined) this.#expect(batch, batch.id);
    else for (const tick of batch.ticks) if (!tick.isBad) this.#expectTick(tick.key(''), tick.values);
  }

  /** A sender has its answer. */
  answered(batch: SentBatch, { status, json }: Answered): void {
    const { ticks } = batch;
    switch (status) {
      case 200: {
        const batchId = this.#batchId(batch, json);
        const rejected = json['rejected'] as Rejection[];
        const sum = Number(json['stored']) + Number(json['duplicates']) + rejected.length;
        if (sum !== ticks.length) throw new Violation('miscounted', `${batchId}: ${sum} of ${ticks.length} ticks`);
        this.#checkRejected(batch, batchId, rejected);
        this.#debt(batch, batchId).rejected ??= rejected;
        return;
      }
      case 202:
        this.#held.add(`${batch.provider}/${this.#batchId(batch, json)}`);
        this.#debt(batch, this.#batchId(batch, json)).isBuffered = true;
        return;
      case 409:
        this.#debt(batch, this.#batchId(batch, json)).isConflict = true;
        if (!this.#isUsurped(batch)) throw new Violation('wrong conflict', `${batch.id} has one body only`);
        return;
      case 422: {
        if (ticks.every((tick) => this.#mayBeSetAside(tick))) return;
        throw new Violation('wrongly rejected', `${batch.id} has valid ticks`);
      }
      case 429:
      case 503:
        return;
      default:
        throw new Violation('unforeseen answer', `${status} to ${batch.id}: ${JSON.stringify(json)}`);
    }
  }

  /** Batches that the edge has answered 202, and not a pod 200. */
  *buffered(): Iterable<{ batch: SentBatch; batchId: string }> {
    for (const debts of this.#debts.values()) for (const debt of debts.values()) if (debt.isBuffered) yield debt;
  }

  /** What is owed must be there now. `dead`: the dead letters that their provider can read, by `PROVIDER/BATCH`. */
  settle(database: SimulatedDatabase, dead: ReadonlyMap<string, readonly DeadLetterSeen[]>): void {
    for (const debts of this.#debts.values()) {
      for (const debt of debts.values()) this.#settleDebt(debt, database, dead);
    }
    for (const [key, values] of database.rows) {
      const sent = this.#sent.get(key);
      if (sent === undefined) throw new Violation('spurious', `${key} was never sent`);
      if (!sent.has(values)) throw new Violation('altered', `${key}: ${values} instead of ${[...sent].join(' or ')}`);
    }
  }

  #settleDebt(debt: Debt, database: SimulatedDatabase, dead: ReadonlyMap<string, readonly DeadLetterSeen[]>): void {
    const { batch, batchId, rejected, isBuffered, isConflict } = debt;
    // Where the edge holds the other body, it says 409 of what the cluster has, perhaps, stored.
    const key = `${batch.provider}/${batchId}`;
    const isOtherHeld = this.#held.has(key) || dead.has(key);
    if (isConflict && !isOtherHeld && rejected === undefined) this.#checkNothingStored(debt, database);
    if (rejected !== undefined) return this.checkStored(debt, database);
    if (!isBuffered) return;
    const letters = dead.get(key) ?? [];
    // Of two bodies that died under one id the newer can be read, and both are listed.
    const letter = letters.find(({ body }) => body === batch.text || this.#isUsurped(batch));
    const fits = letter !== undefined && this.#mayEnd(batch, letter.reason);
    if (letter !== undefined && !fits) throw new Violation('wrongly dead', `${batchId} for ${letter.reason}`);
    if (!fits) this.checkStored(debt, database);
  }

  #mayEnd(batch: SentBatch, reason: string): boolean {
    if (reason === 'expired') return true;
    if (reason === 'batch-conflict') return this.#isUsurped(batch);
    return reason === 'all-rejected' && batch.ticks.every((tick) => this.#mayBeSetAside(tick));
  }

  #checkNothingStored({ batch, batchId }: Debt, database: SimulatedDatabase): void {
    batch.ticks.forEach((tick, index) => {
      if (!tick.isBad && database.rows.has(keyOf(tick, batchId, index))) {
        throw new Violation('spurious', `${batchId}/${index} was answered 409`);
      }
    });
  }

  #isUsurped({ provider, id }: SentBatch): boolean {
    return this.#usurped.has(`${provider}/${id}`);
  }

  #batchId({ id }: SentBatch, json: Record<string, unknown>): string {
    const said = String(json['batch']);
    if (id !== undefined && said !== id) throw new Violation('wrong answer', `${said} instead of ${id}`);
    return said;
  }

  #debt(batch: SentBatch, batchId: string): Debt {
    return this.#debts.get(batch)?.get(batchId) ?? this.#expect(batch, batchId);
  }

  #expect(batch: SentBatch, batchId: string): Debt {
    let debts = this.#debts.get(batch);
    if (debts === undefined) this.#debts.set(batch, (debts = new Map()));
    let debt = debts.get(batchId);
    if (debt !== undefined) return debt;
    debts.set(batchId, (debt = { batch, batchId, rejected: undefined, isBuffered: false, isConflict: false }));
    batch.ticks.forEach((tick, index) => {
      if (!tick.isBad) this.#expectTick(keyOf(tick, batchId, index), tick.values);
    });
    return debt;
  }

  #expectTick(key: string, values: string): void {
    const sent = this.#sent.get(key);
    if (sent === undefined) this.#sent.set(key, new Set([values]));
    else sent.add(values);
  }
}
