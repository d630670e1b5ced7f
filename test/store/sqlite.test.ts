/** How the SQLite store keeps what every store keeps: see store.test.ts. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SqliteWrites } from '../../pipeline/store/sqlite-write.ts';
import { lines, NOW_MS, storeBatch, trade, trades } from '../support/pod-batch.ts';
import { sqliteBench, type SqliteBench } from '../support/pod-sqlite.ts';

let bench: SqliteBench;

beforeEach(async () => {
  bench = await sqliteBench();
});
afterEach(() => bench.remove());

describe('the SQLite store', () => {
  it('keeps the time of a tick as one 64-bit integer of nanoseconds', async () => {
    const times = ['1763908200123456789', '-9223372036000000000'];
    const batch = storeBatch(
      'b1',
      times.map((tsNs) => trade({ tsMs: undefined, tsNs })),
    );
    expect(await (await bench.open()).write([batch])).toMatchObject({ ok: true });
    expect(bench.row('SELECT max(ts) AS max, min(ts) AS min, min(typeof(ts)) AS type FROM trades')).toEqual({
      max: 1763908200123456789n,
      min: -9223372036000000000n,
      type: 'integer',
    });
  });

  it('forgets in small steps: dead letters first, then entries of the ledger', async () => {
    const bad = Array.from({ length: 900 }, () => trade({ price: 'x' }));
    const store = await bench.open();
    await store.write([
      storeBatch('b1', bad.slice(300)),
      storeBatch('b2', bad.slice(600)),
      storeBatch('b3', trades(1)),
    ]);
    const writes = new SqliteWrites(bench.connect(), 'pod-2');
    const left = (): number[] => [bench.count('dead_letters'), bench.count('batches')];
    expect([writes.forget(NOW_MS), ...left()]).toEqual([false, 900, 3]);
    expect([writes.forget(NOW_MS + 1), ...left()]).toEqual([true, 400, 3]);
    expect([writes.forget(NOW_MS + 1), ...left()]).toEqual([false, 0, 0]);
  });
});

it('the support makes bodies as a sender does', () => {
  expect(lines([trade()])).toBe('{"symbol":"AAPL","tsMs":1795444200000,"price":"187.23","size":"100"}\n');
});
