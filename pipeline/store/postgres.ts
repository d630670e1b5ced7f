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

import { Socket } from 'node:net';
import { Client, Pool, type PoolConfig } from 'pg';
import type { BatchResult, StoreBatch } from '../queue/delivery.ts';
import { type QuoteRecord, type Store, StoreOpenError, type TickQuery, type TradeRecord } from '../sink/store.ts';
import { failureDetail, failureKind, isWrongAddress, type WriteFailure } from './postgres-failure.ts';
import { Partitions } from './postgres-partitions.ts';
import { selectQuotes, selectTrades } from './postgres-read.ts';
import { checkWritable, isSchemaCurrent, migrate, unsafeSettings } from './postgres-schema.ts';
import {
  type Borrowed,
  inSession,
  inTransaction,
  type Lender,
  limitsWithin,
  type Session,
} from './postgres-session.ts';
import { writeGroup } from './postgres-write.ts';

export const CONNECTIONS_DEFAULT = 4;
export const CALL_TIMEOUT_DEFAULT_MS = 5_000;

/** Beside those that write: reading back and housekeeping, so that neither waits for the other's connections. */
const OTHER_CONNECTIONS = 2;
/** An opening that finds an older schema may wait for another pod's migration, and migrate. */
const MIGRATION_TIMEOUT_MS = 60_000;
const PROBE_DELAY_MIN_MS = 250;
const PROBE_DELAY_MAX_MS = 5_000;
/** Of one round of housekeeping, in which each transaction has the time of a call. */
const MAINTENANCE_TIMEOUT_MS = 50_000;
/** How often old ledger entries are looked for. */
const FORGET_INTERVAL_MS = 60_000;
/** Every so many of these intervals partitions are looked after too. */
const PARTITIONS_EVERY = 60;
/** Ledger entries deleted in one transaction: short enough not to be felt by a waiting group. */
const FORGET_MAX_ROWS = 2_000;
/** The server cuts longer ones. */
const APPLICATION_NAME_MAX_CHARS = 63;

export interface PostgresStoreOptions {
  /** `postgres://user:password@host:port/database?sslmode=…&sslrootcert=…`, as `pg` reads it. */
  url: string;
  pod: string;
  /** Groups written at once. */
  connections?: number;
  /** How long a write or a read may take, waiting for a connection included. */
  callTimeoutMs?: number;
  /** How long a batch id is recognised. */
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
 * waiting or under way, until `close`.
 */
export class PostgresStore implements Store {
  readonly #options: PostgresStoreOptions;
  readonly #callTimeoutMs: number;
  readonly #writers: Pool;
  readonly #others: Pool;
  readonly #prober: Lender;
  readonly #partitions: Partitions;
  readonly #sockets = new Set<Socket>();
  readonly #underWay = new Set<Promise<unknown>>();
  #isOpen = false;
  #closed = false;
  /** Failed contacts since the last write that succeeded, or since the start. */
  #failures = 0;
  #probing = false;
  #probeTimer: NodeJS.Timeout | undefined;
  #maintenanceTimer: NodeJS.Timeout | undefined;
  #maintenances = 0;

  constructor(options: PostgresStoreOptions) {
    this.#options = options;
    this.#callTimeoutMs = options.callTimeoutMs ?? CALL_TIMEOUT_DEFAULT_MS;
    const config: PoolConfig = {
      connectionString: options.url,
      application_name: `mdp-pod-${options.pod}`.slice(0, APPLICATION_NAME_MAX_CHARS),
      connectionTimeoutMillis: this.#callTimeoutMs,
      keepAlive: true,
      stream: () => this.#socket(),
    };
    this.#writers = this.#pool(config, options.connections ?? CONNECTIONS_DEFAULT);
    this.#others = this.#pool(config, OTHER_CONNECTIONS);
    this.#prober = { connect: () => connectAlone(config) };
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

  write(batches: readonly StoreBatch[]): Promise<{ ok: true; results: BatchResult[] } | WriteFailure> {
    return this.#track(this.#write(batches));
  }

  readTrades(query: TickQuery): Promise<TradeRecord[]> {
    return this.#track(this.#read((session) => selectTrades(session, query)));
  }

  readQuotes(query: TickQuery): Promise<QuoteRecord[]> {
    return this.#track(this.#read((session) => selectQuotes(session, query)));
  }

  /** Ends after the calls under way, each of which has its deadline. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#isOpen = false;
    clearTimeout(this.#probeTimer);
    clearInterval(this.#maintenanceTimer);
    await Promise.allSettled(this.#underWay);
    // A server that has stopped does not take its leave.
    const patience = aborted(AbortSignal.timeout(this.#callTimeoutMs));
    await Promise.race([Promise.all([end(this.#writers), end(this.#others)]), patience]);
    for (const socket of this.#sockets) socket.destroy();
  }

  /** What the timer does: forgets old ledger entries and, less often, looks after partitions. Never throws. */
  async maintain(): Promise<void> {
    if (!this.#isOpen) return;
    const withPartitions = this.#maintenances % PARTITIONS_EVERY === 0;
    this.#maintenances += 1;
    await this.#track(
      inSession(this.#others, AbortSignal.timeout(MAINTENANCE_TIMEOUT_MS), async (session) => {
        const limits = limitsWithin(this.#callTimeoutMs);
        const nowMs = this.#options.nowMs();
        while (!this.#closed && (await inTransaction(session, limits, () => this.#forget(session, nowMs))));
        if (!withPartitions || this.#closed) return;
        await this.#partitions.prepare(session, nowMs);
        await this.#partitions.expire(session, limits, nowMs);
      }),
    ).catch((cause: unknown) => this.#options.onEvent('warn', 'store_not_maintained', failureDetail(cause)));
  }

  async #write(batches: readonly StoreBatch[]): Promise<{ ok: true; results: BatchResult[] } | WriteFailure> {
    const deadline = AbortSignal.timeout(this.#callTimeoutMs);
    const origin = { storedAtMs: this.#options.nowMs(), pod: this.#options.pod };
    try {
      const results = await inSession(this.#writers, deadline, async (session) => {
        const missing = this.#partitions.missing(batches, origin.storedAtMs);
        if (missing.length > 0) await this.#partitions.create(session, missing, origin.storedAtMs);
        return inTransaction(session, limitsWithin(this.#callTimeoutMs), () => writeGroup(session, batches, origin));
      });
      this.#failures = 0;
      this.#found();
      return { ok: true, results };
    } catch (cause) {
      const kind = failureKind(cause);
      if (kind === 'unavailable') this.#lost(cause);
      return { ok: false, kind, detail: failureDetail(cause) };
    }
  }

  async #read<T>(body: (session: Session) => Promise<T>): Promise<T> {
    try {
      return await inSession(this.#others, AbortSignal.timeout(this.#callTimeoutMs), (session) =>
        inTransaction(session, limitsWithin(this.#callTimeoutMs), () => body(session)),
      );
    } catch (cause) {
      // It may be this query's own trouble; whether the store is open is for a probe to say.
      if (failureKind(cause) === 'unavailable') this.#scheduleProbe();
      throw cause;
    }
  }

  async #forget(session: Session, nowMs: number): Promise<boolean> {
    // Other pods forget too: what one of them has in hand is passed over, not waited for.
    const { rowCount } = await session.query(
      `DELETE FROM batches WHERE (provider, batch) IN
         (SELECT provider, batch FROM batches WHERE stored_at < $1 LIMIT ${FORGET_MAX_ROWS} FOR UPDATE SKIP LOCKED)`,
      [new Date(nowMs - this.#options.ledgerRetentionMs)],
    );
    return rowCount === FORGET_MAX_ROWS;
  }

  /** Connects anew, and leaves the schema, the rights and the partitions as writes need them. */
  async #contact(): Promise<void> {
    const contact = async (): Promise<void> => {
      const isReady = await inSession(this.#prober, AbortSignal.timeout(this.#callTimeoutMs), async (session) => {
        const isCurrent = await isSchemaCurrent(session);
        if (isCurrent) await this.#prepare(session);
        return isCurrent;
      });
      if (isReady) return;
      await inSession(this.#prober, AbortSignal.timeout(MIGRATION_TIMEOUT_MS), async (session) => {
        const limits = { statementMs: MIGRATION_TIMEOUT_MS, lockMs: MIGRATION_TIMEOUT_MS };
        await migrate(session, limits, this.#options.nowMs());
        await this.#prepare(session);
      });
    };
    await this.#track(contact());
    this.#found();
  }

  async #prepare(session: Session): Promise<void> {
    await checkWritable(session);
    await this.#partitions.prepare(session, this.#options.nowMs());
    for (const setting of await unsafeSettings(session)) {
      this.#options.onEvent('error', 'store_unsafe', `${setting} is off: a power cut can lose what was stored`);
    }
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
    if (this.#probing || this.#closed) return;
    this.#probing = true;
    const delayMs = probeDelayMs(this.#failures, this.#options.random());
    this.#probeTimer = setTimeout(() => void this.#probe(), delayMs);
  }

  async #probe(): Promise<void> {
    try {
      await this.#contact();
      this.#probing = false;
    } catch (cause) {
      this.#probing = false;
      if (!this.#closed) this.#lost(cause);
    }
  }

  #pool(config: PoolConfig, max: number): Pool {
    const pool = new Pool({ ...config, max });
    // A connection that ends while nobody uses it: perhaps the server has gone, perhaps this one was terminated.
    pool.on('error', () => this.#scheduleProbe());
    // One that ends in use is told to its user by the failed statement; unheard, the event would end the process.
    pool.on('connect', (client) => void client.on('error', () => {}));
    return pool;
  }

  #socket(): Socket {
    const socket = new Socket();
    this.#sockets.add(socket);
    return socket.once('close', () => void this.#sockets.delete(socket));
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

/** A connection outside of the pools, whose state says nothing of whether a new one can be had. */
async function connectAlone(config: PoolConfig): Promise<Borrowed> {
  const client = new Client(config);
  client.on('error', () => {});
  await client.connect();
  return Object.assign(client, { release: () => void client.end().catch(() => {}) });
}

/** Unlike the pool's own, may be called again. */
async function end(pool: Pool): Promise<void> {
  if (!pool.ending) await pool.end();
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
