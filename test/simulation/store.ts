/**
 * A pod's way to the database: a Store that commits, and that can fail in each way that the writer has to know. What a
 * call does when its machine dies, the database decides.
 */

import type { StoreBatch } from '../../pipeline/queue/delivery.ts';
import type {
  DeadLetterQuery,
  DeadLetterRecord,
  LedgerRecord,
  Store,
  WriteFailure,
  WriteOutcome,
} from '../../pipeline/sink/store.ts';
import type { Random } from '../support/random.ts';
import type { SimulatedDatabase } from './database.ts';
import { type Life, never } from './life.ts';
import type { Scheduler } from './scheduler.ts';

/**
 * - `away`: each call fails at once. `full`: so do those that write.
 * - `closed`: and the store says so of itself.
 * - `deaf`: the commit is made, and its answer lost.
 * - `contended`: most calls find something in the way.
 * - `mad`: it throws, or gives too few results.
 * - `hanging`: a call does not end; what was begun may be committed when it is over.
 * - `slow`: each call takes up to `slowMaxMs`.
 */
export type StoreMood = 'well' | 'away' | 'full' | 'closed' | 'deaf' | 'contended' | 'mad' | 'hanging' | 'slow';

/** What all connections meet. */
export interface StoreWorld {
  scheduler: Scheduler;
  random: Random;
  database: SimulatedDatabase;
  mood: StoreMood;
  slowMaxMs: number;
  /** Calls that hang: what they do when the store is well again. */
  hanging: (() => void)[];
}

const LATENCY_MAX_MS = 10;

export class SimulatedStore implements Store {
  readonly #world: StoreWorld;
  readonly #life: Life;
  readonly #pod: string;
  readonly #callTimeoutMs: number;
  /** One call after the other, as a file has it; or all at once, as a server with connections. */
  readonly #isSerial: boolean;
  #busyUntilMs = 0;

  constructor(world: StoreWorld, life: Life, pod: string, callTimeoutMs: number, isSerial: boolean) {
    this.#world = world;
    this.#life = life;
    this.#pod = pod;
    this.#callTimeoutMs = callTimeoutMs;
    this.#isSerial = isSerial;
  }

  get isOpen(): boolean {
    return this.#world.mood !== 'closed';
  }

  open(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  write(batches: readonly StoreBatch[]): Promise<WriteOutcome> {
    return this.#call(() => this.#world.database.commit(batches, this.#pod, this.#life.nowMs()));
  }

  rehearse(batch: StoreBatch): Promise<WriteOutcome> {
    return this.#call(() => this.#world.database.rehearse(batch, this.#pod, this.#life.nowMs()));
  }

  replay(batch: StoreBatch): Promise<WriteOutcome> {
    return this.#call(() => this.#world.database.replay(batch));
  }

  async check(): Promise<WriteFailure | null> {
    const outcome = await this.#call(() => ({ ok: true, results: [] }));
    return outcome.ok ? null : outcome;
  }

  readSymbols(): Promise<[]> {
    return Promise.resolve([]);
  }

  readTrades(): Promise<[]> {
    return Promise.resolve([]);
  }

  readQuotes(): Promise<[]> {
    return Promise.resolve([]);
  }

  async readLedger(provider: string, batchId: string): Promise<LedgerRecord | undefined> {
    this.#refuseReading();
    const entry = this.#world.database.ledger.get(`${provider}/${batchId}`);
    return entry === undefined ? undefined : { ...entry.receipt, storedAtMs: entry.storedAtMs, pod: this.#pod };
  }

  async readDeadLetters(query: DeadLetterQuery): Promise<DeadLetterRecord[]> {
    this.#refuseReading();
    const { provider, batchId, limit } = query;
    return [...this.#world.database.deadLetters.values()]
      .filter((one) => one.provider === provider && (batchId === undefined || one.batchId === batchId))
      .slice(0, limit);
  }

  #refuseReading(): void {
    if (['away', 'closed', 'hanging'].includes(this.#world.mood)) throw new Error('the database cannot be read');
  }

  /** `work` commits, or says why not. */
  #call(work: () => WriteOutcome): Promise<WriteOutcome> {
    if (!this.#life.effect()) return never();
    const { scheduler, random, hanging } = this.#world;
    const { promise, resolve, reject } = Promise.withResolvers<WriteOutcome>();
    // Every call has a deadline of its own, whatever becomes of the work.
    const ring = this.#life.after(this.#callTimeoutMs, () => resolve(away('the database did not answer in time')));
    const answer = (outcome: WriteOutcome): void => {
      scheduler.trace(`store ${this.#pod} ${outcome.ok ? 'ok' : outcome.kind}`);
      ring();
      this.#life.run(() => resolve(outcome));
    };
    const run = (): void => {
      switch (this.#world.mood) {
        case 'away':
        case 'closed':
        case 'full':
          return answer(away('the database is away'));
        case 'mad':
          if (random.chance(0.5)) return this.#life.run(() => reject(new Error('the store has gone mad')));
          if (random.chance(0.5)) return answer({ ok: true, results: [] });
          break;
        case 'contended':
          if (random.chance(0.7)) return answer({ ok: false, kind: 'contention', detail: 'a lock is held' });
          break;
        case 'hanging':
          return void hanging.push(() => void (random.chance(0.5) && work().ok));
        case 'deaf':
        case 'slow':
        case 'well':
      }
      const outcome = work();
      const isDeaf = this.#world.mood === 'deaf' && random.chance(0.7);
      this.#world.database.whenSynced((survived) => answer(survived && !isDeaf ? outcome : notHeard(outcome)));
    };
    scheduler.after(this.#waitMs(), run);
    return promise;
  }

  /** Until the database turns to it. */
  #waitMs(): number {
    const { scheduler, random, mood, slowMaxMs } = this.#world;
    const takesMs = random.next() * (mood === 'slow' ? slowMaxMs : LATENCY_MAX_MS);
    if (!this.#isSerial) return takesMs;
    this.#busyUntilMs = Math.max(this.#busyUntilMs, scheduler.nowMs) + takesMs;
    return this.#busyUntilMs - scheduler.nowMs;
  }
}

function away(detail: string): WriteFailure {
  return { ok: false, kind: 'unavailable', detail };
}

/** That a tick cannot be written is known without a commit. */
function notHeard(outcome: WriteOutcome): WriteOutcome {
  return outcome.ok ? away('the answer of the database was lost') : outcome;
}
