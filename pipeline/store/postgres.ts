/**
 * The store that pods share: PostgreSQL 15 or newer. This side keeps the connections, a deadline for each call, and
 * an eye on whether the server can be written to; what is said on a connection is in the files beside this one.
 *
 * The driver is `pg` with binary arrays, chosen by measurement (two busy cores, PostgreSQL 15, 300,000 rows of 12
 * columns, 5,000 a statement, 4 connections): 62,000 to 68,000 rows/s and 3.0 us of CPU a row here; with text
 * arrays 51,000 and 6.8; `postgres` 46,000 to 59,000 and 8.1; COPY into a temporary table, then INSERT … ON CONFLICT,
 * 46,000 to 72,000 and 7.0. This class beside the same statement without ledger and all the rest (test/bench, medians
 * of 5, 240,000 rows, groups of 8,000): 92,000 rows/s beside 91,000, the median ratio 0.93, 1.5 us of CPU a row.
 */

import type { BatchResult, StoreBatch } from '../queue/delivery.ts';
import {
  type DeadLetterQuery,
  type DeadLetterRecord,
  type LedgerRecord,
  type QuoteRecord,
  type Store,
  StoreOpenError,
  type TickQuery,
  type TradeRecord,
  type WriteFailure,
  type WriteOutcome,
} from '../sink/store.ts';
import { Connections } from './postgres-connections.ts';
import { makeReady } from './postgres-contact.ts';
import { selectDeadLetters } from './postgres-dead-letters.ts';
import { CallTimeoutError, failureDetail, failureKind, isCheckViolation, isWrongAddress } from './postgres-failure.ts';
import { forgetOld } from './postgres-forget.ts';
import { Partitions } from './postgres-partitions.ts';
import { selectLedger, selectQuotes, selectSymbols, selectTrades } from './postgres-read.ts';
import {
  inRehearsal,
  inSession,
  inTransaction,
  limitsWithin,
  type Session,
  type TransactionLimits,
} from './postgres-session.ts';
import { type Origin, recordCheck, replayBatch, writeGroup } from './postgres-write.ts';

export const CONNECTIONS_DEFAULT = 4;
export const CALL_TIMEOUT_DEFAULT_MS = 5_000;

const PROBE_DELAY_MIN_MS = 250;
const PROBE_DELAY_MAX_MS = 5_000;
/** Of one round of housekeeping, in which each transaction has the time of a call. */
const MAINTENANCE_TIMEOUT_MS = 50_000;
/** How often old ledger entries and dead letters are looked for. */
const FORGET_INTERVAL_MS = 60_000;
/** Every so many of these intervals partitions are looked after too. */
const PARTITIONS_EVERY = 60;

export interface PostgresStoreOptions {
  /** `postgres://user:password@host:port/database?sslmode=…&sslrootcert=…`, as `pg` reads it. */
  url: string;
  pod: string;
  /** Groups written at once. */
  connections?: number;
  /** How long a write or a read may take, waiting for a connection included. */
  callTimeoutMs?: number;
  /** How long a batch id is recognised, and a dead letter kept. */
  ledgerRetentionMs: number;
  /** Days of ticks that are kept; undefined keeps all. */
  tickRetentionDays?: number | undefined;
  nowMs: () => number;
  /** 0 up to, but not, 1. */
  random: () => number;
  /** Told of everything an operator should see. */
  onEvent: (level: 'warn' | 'error', event: string, detail: string) => void;
}

/**
 * Invariant: `isOpen` is whether the last contact with the server succeeded; while it is not, exactly one probe is
 * waiting, as `#probeTimer`, or under way, as `#probe`, until `close`.
 */
export class PostgresStore implements Store {
  readonly #options: PostgresStoreOptions;
  readonly #callTimeoutMs: number;
  readonly #limits: TransactionLimits;
  readonly #connections: Connections;
  readonly #partitions: Partitions;
  readonly #underWay = new Set<Promise<unknown>>();
  #isOpen = false;
  #closed = false;
  /** Failed contacts since the last write that succeeded, or since the start. */
  #failures = 0;
  #probe: Promise<WriteFailure | null> | undefined;
  #probeTimer: NodeJS.Timeout | undefined;
  #maintenanceTimer: NodeJS.Timeout | undefined;
  #maintenances = 0;

  constructor(options: PostgresStoreOptions) {
    const { url, pod } = options;
    this.#options = options;
    this.#callTimeoutMs = options.callTimeoutMs ?? CALL_TIMEOUT_DEFAULT_MS;
    this.#limits = limitsWithin(this.#callTimeoutMs);
    this.#connections = new Connections({
      url,
      pod,
      writers: options.connections ?? CONNECTIONS_DEFAULT,
      connectTimeoutMs: this.#callTimeoutMs,
      onLoss: () => this.#scheduleProbe(),
    });
    this.#partitions = new Partitions({ retentionDays: options.tickRetentionDays, onEvent: options.onEvent });
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Resolves also when the server is away or not ready: pods start while it restarts, and a probe opens the store
   * later. Throws {@link StoreOpenError} where waiting would not help: wrong credentials, no such database, a newer
   * schema.
   */
  async open(): Promise<void> {
    try {
      await this.#contact();
    } catch (cause) {
      if (cause instanceof StoreOpenError || isWrongAddress(cause)) {
        await this.close();
        throw new StoreOpenError(`postgres: ${failureDetail(cause)}`, { cause });
      }
      this.#failures += 1;
      this.#options.onEvent('warn', 'store_not_open', failureDetail(cause));
      this.#scheduleProbe();
    }
    this.#maintenanceTimer = setInterval(() => void this.maintain(), FORGET_INTERVAL_MS).unref();
  }

  write(batches: readonly StoreBatch[]): Promise<WriteOutcome> {
    return this.#write(batches, inTransaction, (session, origin) => writeGroup(session, batches, origin));
  }

  rehearse(batch: StoreBatch): Promise<WriteOutcome> {
    return this.#write([batch], inRehearsal, (session, origin) => writeGroup(session, [batch], origin));
  }

  replay(batch: StoreBatch): Promise<WriteOutcome> {
    return this.#write([batch], inTransaction, (session, origin) => replayBatch(session, batch, origin));
  }

  /** While the store is not open: brings the next probe forward, or waits for the one under way. */
  async check(): Promise<WriteFailure | null> {
    const failure = this.#isOpen ? null : await this.#probeInTime();
    if (failure !== null) return failure;
    const outcome = await this.#change((session, origin) =>
      inTransaction(session, this.#limits, () => recordCheck(session, origin)),
    );
    return outcome.ok ? null : outcome;
  }

  readSymbols(provider: string, limit: number): Promise<string[]> {
    return this.#read((session) => selectSymbols(session, provider, limit));
  }

  readTrades(query: TickQuery): Promise<TradeRecord[]> {
    return this.#read((session) => selectTrades(session, query));
  }

  readQuotes(query: TickQuery): Promise<QuoteRecord[]> {
    return this.#read((session) => selectQuotes(session, query));
  }

  readLedger(provider: string, batchId: string): Promise<LedgerRecord | undefined> {
    return this.#read((session) => selectLedger(session, provider, batchId));
  }

  readDeadLetters(query: DeadLetterQuery): Promise<DeadLetterRecord[]> {
    return this.#read((session) => selectDeadLetters(session, query));
  }

  /** Ends after the calls under way, each of which has its deadline. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#isOpen = false;
    clearTimeout(this.#probeTimer);
    clearInterval(this.#maintenanceTimer);
    await Promise.allSettled(this.#underWay);
    await this.#connections.end(AbortSignal.timeout(this.#callTimeoutMs));
  }

  /** What the timer does: forgets what is old and, less often, looks after partitions. Never throws. */
  async maintain(): Promise<void> {
    if (!this.#isOpen) return;
    const withPartitions = this.#maintenances % PARTITIONS_EVERY === 0;
    this.#maintenances += 1;
    const deadline = AbortSignal.timeout(MAINTENANCE_TIMEOUT_MS);
    await this.#track(
      inSession(this.#connections.others, deadline, async (session) => {
        const nowMs = this.#options.nowMs();
        await forgetOld(session, this.#limits, nowMs - this.#options.ledgerRetentionMs, () => this.#closed);
        if (!withPartitions || this.#closed) return;
        await this.#partitions.prepare(session, nowMs);
        await this.#partitions.expire(session, this.#limits, nowMs);
      }),
    ).catch((cause: unknown) => this.#options.onEvent('warn', 'store_not_maintained', failureDetail(cause)));
  }

  /** Runs `body`, which writes ticks of `batches`, `within` a transaction or a rehearsal of one. */
  async #write(
    batches: readonly StoreBatch[],
    within: typeof inTransaction,
    body: (session: Session, origin: Origin) => Promise<BatchResult[]>,
  ): Promise<WriteOutcome> {
    const outcome = await this.#change(async (session, origin) => {
      const missing = this.#partitions.missing(batches, origin.storedAtMs);
      if (missing.length > 0) await this.#partitions.create(session, missing, origin.storedAtMs);
      const once = (): Promise<BatchResult[]> => within(session, this.#limits, () => body(session, origin));
      try {
        return await once();
      } catch (cause) {
        if (!isCheckViolation(cause)) throw cause;
        // A partition's passes; a second one in a row is a rule of the operator's own.
        await this.#partitions.refresh(session);
        return await once();
      }
    });
    return outcome.ok ? { ok: true, results: outcome.value } : outcome;
  }

  /** Runs what changes something on a connection, and learns from its end whether the server can be written to. */
  async #change<T>(
    body: (session: Session, origin: Origin) => Promise<T>,
  ): Promise<{ ok: true; value: T } | WriteFailure> {
    const deadline = AbortSignal.timeout(this.#callTimeoutMs);
    const origin = { storedAtMs: this.#options.nowMs(), pod: this.#options.pod };
    try {
      const call = inSession(this.#connections.writers, deadline, (session) => body(session, origin));
      const value = await this.#track(call);
      this.#failures = 0;
      this.#found();
      return { ok: true, value };
    } catch (cause) {
      const failure = failureOf(cause);
      if (failure.kind === 'unavailable') this.#lost(cause);
      return failure;
    }
  }

  async #read<T>(body: (session: Session) => Promise<T>): Promise<T> {
    const deadline = AbortSignal.timeout(this.#callTimeoutMs);
    try {
      const call = inSession(this.#connections.others, deadline, (session) =>
        inTransaction(session, this.#limits, () => body(session)),
      );
      return await this.#track(call);
    } catch (cause) {
      // It may be this query's own trouble; whether the store is open is for a probe to say.
      if (failureKind(cause) === 'unavailable') this.#scheduleProbe();
      throw cause;
    }
  }

  async #contact(): Promise<void> {
    const { nowMs, onEvent } = this.#options;
    const unsafe = await this.#track(
      makeReady(this.#connections.fresh, this.#partitions, this.#callTimeoutMs, nowMs()),
    );
    for (const setting of unsafe) {
      onEvent('error', 'store_unsafe', `${setting} is off: a power cut can lose what was stored`);
    }
    this.#found();
  }

  #found(): void {
    if (this.#closed) return;
    if (!this.#isOpen && this.#failures > 0) this.#options.onEvent('warn', 'store_back', 'it can be written to again');
    this.#isOpen = true;
  }

  #lost(cause: unknown): void {
    this.#failures += 1;
    if (this.#isOpen) this.#options.onEvent('warn', 'store_lost', failureDetail(cause));
    this.#isOpen = false;
    this.#scheduleProbe();
  }

  #scheduleProbe(): void {
    if (this.#probeTimer !== undefined || this.#probe !== undefined || this.#closed) return;
    const delayMs = probeDelayMs(this.#failures, this.#options.random());
    this.#probeTimer = setTimeout(() => void this.#probeNow(), delayMs);
  }

  /** What the probe under way finds, or else one that begins now instead of the one that waits. Never rejects. */
  #probeNow(): Promise<WriteFailure | null> {
    clearTimeout(this.#probeTimer);
    this.#probeTimer = undefined;
    this.#probe ??= this.#runProbe();
    return this.#probe;
  }

  async #runProbe(): Promise<WriteFailure | null> {
    try {
      await this.#contact();
      this.#probe = undefined;
      return null;
    } catch (cause) {
      this.#probe = undefined;
      if (!this.#closed) this.#lost(cause);
      return failureOf(cause);
    }
  }

  /** As {@link #probeNow}, but within the time of a call: a probe that migrates takes longer. */
  async #probeInTime(): Promise<WriteFailure | null> {
    if (this.#closed) return { ok: false, kind: 'unavailable', detail: 'the store is closed' };
    const deadline = AbortSignal.timeout(this.#callTimeoutMs);
    const passed = new Promise<WriteFailure>((resolve) =>
      deadline.addEventListener('abort', () => resolve(failureOf(new CallTimeoutError())), { once: true }),
    );
    return Promise.race([this.#probeNow(), passed]);
  }

  async #track<T>(call: Promise<T>): Promise<T> {
    this.#underWay.add(call);
    try {
      return await call;
    } finally {
      this.#underWay.delete(call);
    }
  }
}

/**
 * At once after the first failure, which may be one connection's alone; then ever later, to half of the time at
 * random, so that the pods of a cluster do not all come back in one moment.
 */
export function probeDelayMs(failures: number, random: number): number {
  if (failures <= 1) return 0;
  const delayMs = Math.min(PROBE_DELAY_MIN_MS * 2 ** Math.min(failures - 2, 16), PROBE_DELAY_MAX_MS);
  return delayMs / 2 + (delayMs / 2) * random;
}

function failureOf(cause: unknown): WriteFailure {
  return { ok: false, kind: failureKind(cause), detail: failureDetail(cause) };
}
