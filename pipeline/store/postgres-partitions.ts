/**
 * A partition for each UTC day of ticks: made ahead of need, and on demand for days gone by. A day that got none
 * (too many at once, no right to create tables) has its ticks in the default partition and stays there: attaching a
 * partition beside them is refused by the server. Old days go by retention, when that is set.
 *
 * No failure in here stops a write: without a partition of its own a tick goes to the default one.
 */

import type { BatchColumns } from '../contract/columns.ts';
import type { StoreBatch } from '../queue/delivery.ts';
import { eachInstant } from './postgres-arrays.ts';
import { failureDetail, failureKind, isAnswer, isCheckViolation } from './postgres-failure.ts';
import { TICK_TABLES, type TickTable } from './postgres-rows.ts';
import { ADVISORY_LOCK, FIND_TIMESCALE, type Layout, layoutOf } from './postgres-schema.ts';
import { inTransaction, type Session, type TransactionLimits } from './postgres-session.ts';

const DAY_MS = 86_400_000;
const DAY_MICROS = DAY_MS * 1000;

/** Today's and the following days' are there before their first tick. */
export const DAYS_AHEAD = 3;
/** Made for one group: each takes about 10 ms, which its senders wait for. */
export const PARTITIONS_PER_GROUP_MAX = 16;
/**
 * Of one table, made on demand; days ahead do not count. A group that touched every partition would hold two locks
 * for each, and a server has 6,400 for all its connections together (64 times 100, the defaults).
 */
export const PARTITIONS_MAX = 1_000;
/** Attaching waits for whoever uses the default partition, and later ones wait behind it. */
const ATTACH_LIMITS: TransactionLimits = { statementMs: 3_000, lockMs: 500 };
/** After such a wait was in vain: a backup, say, keeps every table for hours, and no group is to wait each time. */
const ATTACH_PAUSE_MS = 60_000;
/** Rows of the default partition deleted in one transaction. */
const EXPIRE_MAX_ROWS = 5_000;

/** Days since 1970 of the ticks of one table, `undefined` when it gets none. */
export function daysOf(batches: readonly StoreBatch[], table: TickTable): Set<number> {
  const days = new Set<number>();
  let last = Number.NaN;
  for (const { columns } of batches) {
    const ticks = columnsOf(columns, table);
    if (ticks === null) continue;
    eachInstant(ticks.tsNs, (high, low) => {
      const day = Math.floor((high * 2 ** 32 + low) / DAY_MICROS);
      // A feed's ticks are nearly all of one day.
      if (day === last) return;
      last = day;
      days.add(day);
    });
  }
  return days;
}

function columnsOf(columns: BatchColumns, table: TickTable): { tsNs: BigInt64Array } | null {
  return table === 'trades' ? columns.trades : columns.quotes;
}

export function dayOf(nowMs: number): number {
  return Math.floor(nowMs / DAY_MS);
}

export function partitionName(table: TickTable, day: number): string {
  return `${table}_p${isoDay(day).replaceAll('-', '')}`;
}

/** The day of a partition that {@link partitionName} named. */
export function dayOfPartition(name: string): number | undefined {
  const date = /_p(\d{4})(\d{2})(\d{2})$/.exec(name);
  return date === null ? undefined : Date.UTC(Number(date[1]), Number(date[2]) - 1, Number(date[3])) / DAY_MS;
}

function isoDay(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}

export interface PartitionOptions {
  /** Days of ticks that are kept; undefined keeps all. */
  retentionDays: number | undefined;
  onEvent: (level: 'warn' | 'error', event: string, detail: string) => void;
}

/** A day of a table that has no partition. */
export interface Missing {
  table: TickTable;
  day: number;
}

/** Invariant: a day in `#settled` of a table needs no further look, having its partition or the default one. */
export class Partitions {
  readonly #options: PartitionOptions;
  readonly #settled: Record<TickTable, Set<number>> = { trades: new Set(), quotes: new Set() };
  #layout: Layout | undefined;
  #pausedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: PartitionOptions) {
    this.#options = options;
  }

  /** Learns what is there, and makes what is needed next. To be called at each opening and every now and then. */
  async prepare(session: Session, nowMs: number): Promise<void> {
    await this.refresh(session);
    if (this.#layout === 'hypertables') return;
    const needed: Missing[] = [];
    const today = dayOf(nowMs);
    for (const table of TICK_TABLES) {
      for (let day = today; day <= today + DAYS_AHEAD; day += 1) {
        if (!this.#settled[table].has(day)) needed.push({ table, day });
      }
    }
    await this.create(session, needed, nowMs);
  }

  /** Learns what is there. */
  async refresh(session: Session): Promise<void> {
    this.#layout = await layoutOf(session);
    if (this.#layout === 'hypertables') return;
    for (const table of TICK_TABLES) {
      const { rows } = await session.query(
        'SELECT c.relname AS name FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid WHERE inhparent = $1::regclass',
        [table],
      );
      const days = rows.map(({ name }) => dayOfPartition(String(name))).filter((day) => day !== undefined);
      this.#settled[table] = new Set(days);
    }
  }

  /** Days of these batches that have no partition as far as we know, and should have one. */
  missing(batches: readonly StoreBatch[], nowMs: number): Missing[] {
    if (this.#layout !== 'partitions' || nowMs < this.#pausedUntilMs) return [];
    const oldest = this.#oldestDay(nowMs);
    const missing: Missing[] = [];
    for (const table of TICK_TABLES) {
      const settled = this.#settled[table];
      for (const day of daysOf(batches, table)) {
        if (!settled.has(day) && day >= oldest && settled.size < PARTITIONS_MAX) missing.push({ table, day });
      }
    }
    // The newest: what is beyond the bound is old, and the least looked at.
    return missing.sort((left, right) => right.day - left.day).slice(0, PARTITIONS_PER_GROUP_MAX);
  }

  async create(session: Session, missing: readonly Missing[], nowMs: number): Promise<void> {
    for (const { table, day } of missing) {
      const outcome = await this.#create(session, table, day);
      if (outcome === 'settled') {
        this.#settled[table].add(day);
      } else {
        this.#pausedUntilMs = nowMs + ATTACH_PAUSE_MS;
        return;
      }
    }
  }

  /** Drops the days that retention has passed, one pod at a time; a day that is in use is left for the next time. */
  async expire(session: Session, limits: TransactionLimits, nowMs: number): Promise<void> {
    const { retentionDays } = this.#options;
    if (retentionDays === undefined) return;
    const oldest = this.#oldestDay(nowMs);
    if (this.#layout === 'hypertables') {
      for (const table of TICK_TABLES) await this.#dropChunks(session, limits, table, oldest);
      return;
    }
    for (const table of TICK_TABLES) {
      for (const day of this.#settled[table]) {
        if (day < oldest) await this.#drop(session, table, day);
      }
      while (await this.#trimDefault(session, limits, table, oldest));
    }
  }

  #oldestDay(nowMs: number): number {
    const { retentionDays } = this.#options;
    return retentionDays === undefined ? Number.NEGATIVE_INFINITY : dayOf(nowMs) - retentionDays;
  }

  /**
   * Made beside the table and then attached: CREATE … PARTITION OF would lock out every reader and writer of the
   * whole table for as long as it waits for its turn.
   */
  async #create(session: Session, table: TickTable, day: number): Promise<'settled' | 'occupied'> {
    const name = partitionName(table, day);
    try {
      await inTransaction(session, ATTACH_LIMITS, async () => {
        await session.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCK.partitions]);
        const { rows } = await session.query('SELECT to_regclass($1) AS found', [name]);
        if (rows[0]!['found'] !== null) return;
        await session.query(`CREATE TABLE ${name} (LIKE ${table} INCLUDING DEFAULTS INCLUDING INDEXES)`);
        await session.query(
          `ALTER TABLE ${table} ATTACH PARTITION ${name}
           FOR VALUES FROM ('${isoDay(day)} 00:00+00') TO ('${isoDay(day + 1)} 00:00+00')`,
        );
      });
      return 'settled';
    } catch (cause) {
      if (!isAnswer(cause)) throw cause;
      // It has ticks in the default partition already.
      if (isCheckViolation(cause)) return 'settled';
      this.#options.onEvent('warn', 'partition_not_created', `${name}: ${failureDetail(cause)}`);
      // What does not pass by itself is tried again after the next look at what is there.
      return failureKind(cause) === 'contention' ? 'occupied' : 'settled';
    }
  }

  async #drop(session: Session, table: TickTable, day: number): Promise<void> {
    const name = partitionName(table, day);
    await this.#tryToDrop(name, async () => {
      await inTransaction(session, ATTACH_LIMITS, () => session.query(`DROP TABLE IF EXISTS ${name}`));
      this.#settled[table].delete(day);
    });
  }

  /** All of them or none; a chunk that is in use holds up the others too, until the next time. */
  async #dropChunks(session: Session, limits: TransactionLimits, table: TickTable, oldest: number): Promise<void> {
    // Readers and writers of a chunk wait behind whoever waits to drop it.
    const waiting = { ...limits, lockMs: ATTACH_LIMITS.lockMs };
    await this.#tryToDrop(table, () =>
      inTransaction(session, waiting, async () => {
        if (!(await takeRetention(session))) return;
        await session.query(FIND_TIMESCALE);
        await session.query('SELECT drop_chunks($1::regclass, $2::timestamptz)', [table, new Date(oldest * DAY_MS)]);
      }),
    );
  }

  /** What the database refuses to drop now stays until the next time. */
  async #tryToDrop(name: string, drop: () => Promise<void>): Promise<void> {
    try {
      await drop();
    } catch (cause) {
      if (!isAnswer(cause)) throw cause;
      this.#options.onEvent('warn', 'partition_not_dropped', `${name}: ${failureDetail(cause)}`);
    }
  }

  /** Deletes a part of what is too old; true when there may be more. */
  async #trimDefault(session: Session, limits: TransactionLimits, table: TickTable, oldest: number): Promise<boolean> {
    return inTransaction(session, limits, async () => {
      if (!(await takeRetention(session))) return false;
      const { rowCount } = await session.query(
        `DELETE FROM ${table}_default WHERE (provider, symbol, ts, ts_ns, id) IN
           (SELECT provider, symbol, ts, ts_ns, id FROM ${table}_default WHERE ts < $1 LIMIT ${EXPIRE_MAX_ROWS})`,
        [new Date(oldest * DAY_MS)],
      );
      return rowCount === EXPIRE_MAX_ROWS;
    });
  }
}

/** Whether retention is this pod's to the end of the transaction, and no other's. */
async function takeRetention(session: Session): Promise<boolean> {
  const { rows } = await session.query('SELECT pg_try_advisory_xact_lock($1) AS mine', [ADVISORY_LOCK.retention]);
  return rows[0]!['mine'] === true;
}
