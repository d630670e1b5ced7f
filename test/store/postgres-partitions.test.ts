/** Which day's ticks lie where, and how long. */

import { describe, expect, it } from 'vitest';
import {
  dayOf,
  dayOfPartition,
  daysOf,
  DAYS_AHEAD,
  partitionName,
  PARTITIONS_PER_GROUP_MAX,
} from '../../pipeline/store/postgres-partitions.ts';
import type { PostgresStore } from '../../pipeline/store/postgres.ts';
import { type LooseTick, NOW_MS, quote, storeBatch, trade } from '../support/pod-batch.ts';
import { POSTGRES_BIN, type PostgresServer } from '../../deploy/local/postgres.ts';
import { onOwnDatabases } from './own-databases.ts';
import type { PostgresStores } from '../support/postgres-stores.ts';

const DAY_MS = 86_400_000;
const TODAY = dayOf(NOW_MS);

/** One trade of a day counted from 1970, a second after midnight. */
function tradeOf(day: number, id = `d${day}`): LooseTick {
  return trade({ tsMs: day * DAY_MS + 1_000, id });
}

async function store(ticks: LooseTick[], into: PostgresStore, batchId = 'b1'): Promise<void> {
  expect(await into.write([storeBatch(batchId, ticks)])).toMatchObject({
    ok: true,
    results: [{ outcome: 'stored' }],
  });
}

describe('days', () => {
  it('begin at midnight UTC to the nanosecond, before 1970 too', () => {
    const times = ['1795391999999999999', '1795392000000000000', '-1', '0', '-9223372036000000000'];
    const batch = storeBatch('b1', [...times.map((tsNs) => trade({ tsMs: undefined, tsNs })), quote()]);
    expect([...daysOf([batch], 'trades')]).toEqual([20_779, 20_780, -1, 0, -106_752]);
    expect([...daysOf([batch], 'quotes')]).toEqual([TODAY]);
  });

  it('are told from the names of their partitions, and other tables have none', () => {
    for (const day of [TODAY, 0, -1, -106_752, 106_751]) expect(dayOfPartition(partitionName('trades', day))).toBe(day);
    expect(partitionName('quotes', TODAY)).toBe('quotes_p20261123');
    expect(dayOfPartition('trades_default')).toBeUndefined();
  });
});

describe.skipIf(POSTGRES_BIN === undefined)('partitions (need an installed PostgreSQL)', () => {
  let server: PostgresServer;
  let stores: PostgresStores;
  onOwnDatabases((started, made) => {
    [server, stores] = [started, made];
  });

  async function partitions(table: string): Promise<unknown[]> {
    const rows = await stores.rows(
      `SELECT relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = '${table}'::regclass ORDER BY 1`,
    );
    return rows.map(({ relname }) => relname);
  }

  async function places(): Promise<Record<string, unknown>> {
    const rows = await stores.rows('SELECT id, tableoid::regclass::text AS place FROM trades');
    return Object.fromEntries(rows.map(({ id, place }) => [id, place]));
  }

  it('of today and the days ahead are there before the first tick', async () => {
    await stores.open();
    const ahead = Array.from({ length: DAYS_AHEAD + 1 }, (_, at) => TODAY + at);
    for (const table of ['trades', 'quotes'] as const) {
      expect(await partitions(table)).toEqual([`${table}_default`, ...ahead.map((day) => partitionName(table, day))]);
    }
  });

  it('of the days that come are made while the pod runs', async () => {
    const pod = await stores.open();
    stores.clock.nowMs += DAY_MS;
    await pod.maintain();
    expect(await partitions('trades')).toContain(partitionName('trades', TODAY + 1 + DAYS_AHEAD));
  });

  it('of days gone by are made when their first tick comes, whichever pod brings it', async () => {
    const [one, two] = [await stores.open(), await stores.open({ pod: 'pod-2' })];
    const days = [TODAY - 400, 0, -1, -100_000];
    await Promise.all([
      store(
        days.map((day) => tradeOf(day)),
        one,
        'b1',
      ),
      store(
        days.map((day) => tradeOf(day, `e${day}`)),
        two,
        'b2',
      ),
    ]);
    const found = await places();
    for (const day of days) {
      expect([found[`d${day}`], found[`e${day}`]]).toEqual([
        partitionName('trades', day),
        partitionName('trades', day),
      ]);
    }
    expect(stores.events).toEqual([]);
  });

  it('are made for no more days of one group than its bound; older days lie in the default partition for good', async () => {
    const pod = await stores.open();
    const days = Array.from({ length: PARTITIONS_PER_GROUP_MAX + 5 }, (_, at) => TODAY - 1 - at);
    await store(
      days.map((day) => tradeOf(day)),
      pod,
    );
    const found = await places();
    for (const [at, day] of days.entries()) {
      const place = at < PARTITIONS_PER_GROUP_MAX ? partitionName('trades', day) : 'trades_default';
      expect([day, found[`d${day}`]]).toEqual([day, place]);
    }
    // Seen failing: with any failed attachment taken for a failed write, this one was answered 23514.
    const second = await pod.write([
      storeBatch(
        'b2',
        days.flatMap((day) => [tradeOf(day), tradeOf(day, `e${day}`)]),
      ),
    ]);
    expect(second).toMatchObject({
      ok: true,
      results: [{ receipt: { stored: days.length, duplicates: days.length } }],
    });
    expect(await stores.count('trades_default')).toBe(10);
    const query = { provider: 'ibkr', symbol: 'AAPL', fromNs: 0n, toNs: 2n ** 63n - 1n, limit: 1_000 };
    const read = await pod.readTrades(query);
    expect(read.map(({ id }) => id)).toEqual(days.flatMap((day) => [`e${day}`, `d${day}`]));
    expect(stores.events).toEqual([]);
  });

  it('that cannot be attached in time, as during a backup, hold up one group and no other', async () => {
    const pod = await stores.open();
    const backup = await server.connect(stores.database);
    await backup.query('BEGIN; LOCK TABLE trades_default IN ACCESS SHARE MODE');
    const days = Array.from({ length: 12 }, (_, at) => TODAY - 1 - at);
    // Seen failing: without the pause each of the twelve days waited its half second, and was told of.
    await store(
      days.slice(0, 6).map((day) => tradeOf(day)),
      pod,
      'b1',
    );
    await store(
      days.slice(6).map((day) => tradeOf(day)),
      pod,
      'b2',
    );
    expect(stores.events).toEqual([expect.stringMatching(/^partition_not_created: trades_p20261122: 55P03/)]);
    expect(await stores.count('trades_default')).toBe(12);
    await backup.query('COMMIT');
    stores.clock.nowMs += 60_000;
    await store([tradeOf(TODAY - 100)], pod, 'b3');
    expect(await places()).toMatchObject({ [`d${TODAY - 100}`]: partitionName('trades', TODAY - 100) });
  });

  it('are kept for ever unless told otherwise', async () => {
    const pod = await stores.open();
    await store([tradeOf(0)], pod);
    await pod.maintain();
    expect(await stores.count('trades')).toBe(1);
  });

  it('go when retention has passed them, and so do old ticks of the default partition', async () => {
    const pod = await stores.open();
    const days = Array.from({ length: PARTITIONS_PER_GROUP_MAX + 3 }, (_, at) => TODAY - at);
    await store([...days.map((day) => tradeOf(day)), tradeOf(TODAY - 5_000)], pod);
    const strict = await stores.open({ tickRetentionDays: 4 });
    await strict.maintain();
    expect(Object.keys(await places()).sort()).toEqual([0, 1, 2, 3, 4].map((age) => `d${TODAY - age}`).sort());
    expect((await partitions('trades')).filter((name) => name !== 'trades_default')).toHaveLength(5 + DAYS_AHEAD);
    // A tick older than that is taken all the same, and goes with the next round.
    await store([tradeOf(TODAY - 30)], strict, 'b2');
    expect(await stores.count('trades_default')).toBe(1);
    expect(stores.events).toEqual([]);
  });

  it('that cannot be dropped because somebody reads them stay until the next time', async () => {
    const pod = await stores.open({ tickRetentionDays: 4 });
    await stores.rows(
      `CREATE TABLE trades_p20200101 PARTITION OF trades FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')`,
    );
    const reader = await server.connect(stores.database);
    await reader.query('BEGIN; SELECT count(*) FROM trades');
    await pod.maintain();
    expect(stores.events).toEqual([expect.stringMatching(/^partition_not_dropped: trades_p20200101: 55P03/)]);
    await reader.query('COMMIT');
    const next = await stores.open({ tickRetentionDays: 4 });
    await next.maintain();
    expect(await partitions('trades')).not.toContain('trades_p20200101');
  });
});
