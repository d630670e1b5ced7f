/**
 * What the platform is to a Durable Object: its SQLite (a real one, in memory), its alarm, its output gate, and its
 * end. Nothing that the object says leaves it before what it wrote is synced; what was not is gone when it dies.
 *
 * Source: Durable Objects, "SQLite storage API", "Alarms", and "Durable Objects: Easy, Fast, Correct" on gates.
 */

import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import type { OutboxCalls } from '../../worker/outbox/calls.ts';
import { type Row, type SqlValue, Statements } from '../../worker/outbox/database.ts';
import type { Random } from '../support/random.ts';
import { DeadError, Life, type MachineClock } from './life.ts';
import type { Happening, Scheduler } from './scheduler.ts';

/** What an object may do with its storage, as far as the outbox does. */
export interface ObjectContext {
  storage: {
    sql: { exec: (query: string, ...bindings: SqlValue[]) => Row[]; readonly databaseSize: number };
    transactionSync: <Result>(work: () => Result) => Result;
    getAlarm: () => Promise<number | null>;
    setAlarm: (atMs: number) => Promise<void>;
    deleteAlarm: () => Promise<void>;
  };
  blockConcurrencyWhile: (work: () => Promise<void>) => Promise<void>;
}

export interface HostedObject extends OutboxCalls {
  alarm(): Promise<void>;
}

export interface HostParts {
  name: string;
  scheduler: Scheduler;
  random: Random;
  clock: MachineClock;
  endsHere: () => boolean;
  make: (context: ObjectContext, life: Life, afterSync: () => Promise<void>) => HostedObject;
}

const SYNC_MAX_MS = 15;
/** Source: "Alarms": after an exception, two seconds and then longer, six times. */
const ALARM_RETRY_MS = 2_000;
const ALARM_RETRIES_MAX = 6;

/** Invariants: at most one object lives; what is on disk is as of the last sync. */
export class ObjectHost {
  readonly #parts: HostParts;
  readonly #disk = Disk.take();
  #life: Life | undefined;
  #object: HostedObject | undefined;
  #ready: Promise<void> = Promise.resolve();
  #alarmMs: number | null = null;
  #alarmOnDiskMs: number | null = null;
  #isRinging = false;
  #retries = 0;
  #bell: Happening | undefined;
  #isSyncing = false;
  #stalledUntilMs = 0;
  #onSync: (() => void)[] = [];
  #open = new Set<() => void>();

  constructor(parts: HostParts) {
    this.#parts = parts;
  }

  /** Makes the object do something; rejects when the object dies first, or when it does. */
  async call<Value>(work: (object: HostedObject) => Promise<Value>): Promise<Value> {
    const { scheduler } = this.#parts;
    const stallMs = this.#stalledUntilMs - scheduler.nowMs;
    if (stallMs > 0) await new Promise<void>((resolve) => void scheduler.after(stallMs, resolve));
    const { promise: death, reject } = Promise.withResolvers<never>();
    const die = (): void => reject(Object.assign(new Error('the object is gone'), { retryable: true }));
    this.#open.add(die);
    try {
      const object = this.#wake();
      await Promise.race([this.#ready, death]);
      const value = await Promise.race([work(object), death]);
      await Promise.race([this.#afterSync(), death]);
      return value;
    } finally {
      this.#open.delete(die);
    }
  }

  /** Its process ends. What was on its way to the disk got there, all or nothing. */
  kill(): void {
    if (this.#life === undefined) return;
    this.#life.isAlive = false;
    this.#life = undefined;
    this.#object = undefined;
    if (this.#disk.isDirty) {
      const gotThere = this.#parts.random.chance(0.5);
      if (gotThere) this.#keepAlarm();
      this.#disk.end(gotThere);
    }
    this.#alarmMs = this.#alarmOnDiskMs;
    this.#isRinging = false;
    this.#isSyncing = false;
    this.#onSync = [];
    for (const die of this.#open) die();
    this.#open.clear();
    this.#setBell();
  }

  /** The platform takes it out of memory, which it does only between two calls. */
  evict(): void {
    if (this.#open.size === 0 && !this.#isRinging && !this.#disk.isDirty) this.kill();
  }

  /** The clock has been set. */
  clockSet(): void {
    this.#setBell();
  }

  /** Calls that come now are heard so much later. */
  stall(ms: number): void {
    this.#stalledUntilMs = this.#parts.scheduler.nowMs + ms;
  }

  /** Batches that are held, as the disk says, whatever the object believes. */
  get held(): number {
    return Number(this.#disk.exec('SELECT count(*) AS held FROM batches WHERE settled_ms IS NULL')[0]!['held']);
  }

  /** The end of its world. */
  close(): void {
    if (this.#life !== undefined) this.#life.isAlive = false;
    this.#disk.giveBack();
  }

  #wake(): HostedObject {
    if (this.#object !== undefined) return this.#object;
    const { scheduler, clock, endsHere, make } = this.#parts;
    const life = new Life({ scheduler, clock, endsHere });
    this.#life = life;
    const guard = (): void => {
      if (!life.isAlive) throw new DeadError('this object is dead');
    };
    const written = (): void => {
      if (!this.#isSyncing) this.#startSync(life);
    };
    const context: ObjectContext = {
      storage: {
        sql: {
          exec: (query, ...bindings) => {
            guard();
            const rows = this.#disk.exec(query, bindings);
            if (this.#disk.isDirty) written();
            return rows;
          },
          get databaseSize() {
            return 0;
          },
        },
        transactionSync: (work) => {
          guard();
          return this.#disk.transaction(work);
        },
        getAlarm: () => Promise.resolve(this.#isRinging ? null : this.#alarmMs),
        setAlarm: async (atMs) => {
          guard();
          this.#alarmMs = atMs;
          this.#disk.dirty();
          written();
          this.#setBell();
        },
        deleteAlarm: async () => {
          guard();
          this.#alarmMs = null;
          this.#disk.dirty();
          written();
          this.#setBell();
        },
      },
      blockConcurrencyWhile: (work) => (this.#ready = work()),
    };
    this.#object = make(context, life, () => this.#afterSync());
    return this.#object;
  }

  #afterSync(): Promise<void> {
    if (!this.#disk.isDirty) return Promise.resolve();
    return new Promise((resolve) => this.#onSync.push(resolve));
  }

  #startSync(life: Life): void {
    this.#isSyncing = true;
    const { scheduler, random } = this.#parts;
    scheduler.after(random.next() * SYNC_MAX_MS, () => {
      if (!life.isAlive) return;
      this.#keepAlarm();
      this.#disk.end(true);
      this.#isSyncing = false;
      for (const resolve of this.#onSync.splice(0)) resolve();
      this.#setBell();
    });
  }

  /** One that is being answered stays on disk until it is, or another is set. */
  #keepAlarm(): void {
    if (!this.#isRinging || this.#alarmMs !== null) this.#alarmOnDiskMs = this.#alarmMs;
  }

  #setBell(): void {
    if (this.#bell !== undefined) this.#bell.run = undefined;
    this.#bell = undefined;
    if (this.#alarmMs === null || this.#isRinging) return;
    const { scheduler, clock } = this.#parts;
    const inMs = this.#alarmMs - (scheduler.nowMs + clock.aheadMs);
    this.#bell = scheduler.after(Math.max(0, inMs), () => void this.#ring());
  }

  async #ring(): Promise<void> {
    // One that nobody has on disk yet rings when it is there.
    if (this.#isRinging || this.#disk.isDirty) return;
    const { scheduler, name, random } = this.#parts;
    this.#alarmMs = null;
    this.#isRinging = true;
    scheduler.trace(`alarm ${name}`);
    let isBroken = false;
    const object = this.#wake();
    const life = this.#life;
    try {
      await this.#ready;
      await object.alarm();
      this.#retries = 0;
    } catch {
      isBroken = true;
    }
    if (life?.isAlive !== true) return;
    this.#isRinging = false;
    if (isBroken && this.#alarmMs === null && this.#retries < ALARM_RETRIES_MAX) {
      this.#retries += 1;
      this.#alarmMs = scheduler.nowMs + this.#parts.clock.aheadMs + ALARM_RETRY_MS * (1 + random.next());
    }
    this.#disk.dirty();
    if (!this.#isSyncing) this.#startSync(life);
    this.#setBell();
  }
}

/**
 * Invariant: while dirty, a transaction is open that holds all that is not synced. To make the tables costs more than a
 * world may: a disk is used by one world after the other, empty.
 */
class Disk {
  static readonly #free: Disk[] = [];

  readonly #db = new DatabaseSync(':memory:');
  readonly #statements = new Map<string, Prepared>();
  isDirty = false;

  static take(): Disk {
    return Disk.#free.pop() ?? new Disk();
  }

  constructor() {
    this.#db.exec('PRAGMA foreign_keys = OFF; PRAGMA secure_delete = OFF');
    const transaction = <Result>(work: () => Result): Result => this.transaction(work);
    new Statements({ exec: (query, ...bindings) => this.exec(query, bindings), transaction, sizeBytes: () => 0 });
    this.end(true);
  }

  giveBack(): void {
    if (this.isDirty) this.end(false);
    this.#db.exec("DELETE FROM batches; DELETE FROM bodies; DELETE FROM facts WHERE name <> 'schema_version'");
    Disk.#free.push(this);
  }

  exec(query: string, bindings: SqlValue[] = []): Row[] {
    const { statement, isReading } = this.#prepared(query);
    if (!isReading) this.dirty();
    const rows = statement.all(...(bindings as SQLInputValue[])) as Row[];
    for (const row of rows) {
      for (const name in row) {
        const value = row[name];
        if (value instanceof Uint8Array) row[name] = value.slice().buffer;
      }
    }
    return rows;
  }

  #prepared(query: string): Prepared {
    let known = this.#statements.get(query);
    if (known === undefined) {
      known = { statement: this.#db.prepare(query), isReading: query.startsWith('SELECT') };
      this.#statements.set(query, known);
    }
    return known;
  }

  transaction<Result>(work: () => Result): Result {
    this.dirty();
    this.#db.exec('SAVEPOINT work');
    try {
      const result = work();
      this.#db.exec('RELEASE work');
      return result;
    } catch (error) {
      this.#db.exec('ROLLBACK TO work; RELEASE work');
      throw error;
    }
  }

  dirty(): void {
    if (this.isDirty) return;
    this.isDirty = true;
    this.#db.exec('BEGIN');
  }

  end(isKept: boolean): void {
    this.isDirty = false;
    this.#db.exec(isKept ? 'COMMIT' : 'ROLLBACK');
  }
}

interface Prepared {
  statement: StatementSync;
  isReading: boolean;
}
