/** The threads of the SQLite store: one that dies is started again, one that takes too long keeps nobody waiting. */

import { once } from 'node:events';
import type { DatabaseSync } from 'node:sqlite';
import type { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sqliteFailureKind } from '../../pipeline/store/sqlite-failure.ts';
import type { SqliteStore } from '../../pipeline/store/sqlite.ts';
import { storeBatch, trades } from '../support/pod-batch.ts';
import { query, sqliteBench, type SqliteBench } from '../support/pod-sqlite.ts';
import { until } from '../support/postgres-stores.ts';

let bench: SqliteBench;
/** The threads of this process, in the order of their start: writer, reader, and those that came after a death. */
let threads: Worker[];
const remember = (thread: Worker): void => void threads.push(thread);

beforeEach(async () => {
  threads = [];
  process.on('worker', remember);
  bench = await sqliteBench();
});
afterEach(async () => {
  process.off('worker', remember);
  await bench.remove();
});

/** Ends when the store has its file open again. */
async function healed(store: SqliteStore): Promise<void> {
  await until('the store is open', () => store.isOpen);
}

/** Keeps SQLite itself busy for a second or more with the batch `slow`: it counts. */
const SLOW = `
  CREATE TRIGGER slow BEFORE INSERT ON batches WHEN new.batch = 'slow' BEGIN
    SELECT count(*) FROM
      (WITH RECURSIVE n (at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM n WHERE at < 10000000) SELECT at FROM n);
  END;`;

/** Whether another connection is writing. */
function isLocked(db: DatabaseSync): boolean {
  try {
    db.exec('BEGIN IMMEDIATE; ROLLBACK');
    return false;
  } catch {
    return true;
  }
}

describe('a writer thread that dies', () => {
  it('of an error is started again, and what it held is answered', async () => {
    const store = await bench.open();
    await store.write([storeBatch('b0', trades(3))]);
    // No request: the thread reads a property of null, and nobody catches that.
    threads[0]!.postMessage(null);
    const batch = storeBatch('b1', trades(5, 10));
    const held = await Promise.all([store.write([batch]), store.rehearse(batch), store.check(), store.replay(batch)]);
    for (const outcome of held) {
      expect(outcome).toMatchObject({
        ok: false,
        kind: 'unavailable',
        detail: expect.stringMatching(/^the writer thread ended \(Cannot destructure/) as string,
      });
    }
    expect(store.isOpen).toBe(false);
    expect(await store.write([batch])).toMatchObject({
      kind: 'unavailable',
      detail: 'the writer thread is not running',
    });
    expect(await store.readTrades(query()), 'reads go on meanwhile').toHaveLength(3);
    await healed(store);
    expect(await store.write([batch])).toMatchObject({ ok: true, results: [{ again: false, receipt: { stored: 5 } }] });
    expect(bench.events).toEqual(['store_thread_died', 'store_thread_restarted']);
  });

  it('in the middle of a transaction leaves nothing of it, and no lock', async () => {
    const store = await bench.open();
    const db = bench.connect();
    db.exec(SLOW);
    const batch = storeBatch('slow', trades(5_000));
    const writing = store.write([batch]);
    await until('its transaction has begun', () => isLocked(db));
    await threads[0]!.terminate();
    expect(await writing).toMatchObject({ ok: false, kind: 'unavailable' });
    expect([isLocked(db), bench.count('trades'), bench.count('batches')]).toEqual([false, 0, 0]);
    db.exec('DROP TRIGGER slow');
    await healed(store);
    expect(await store.write([batch])).toMatchObject({ ok: true, results: [{ again: false }] });
    expect([bench.count('trades'), bench.count('batches')]).toEqual([5_000, 1]);
  });

  it('again and again is started again each time', async () => {
    const store = await bench.open();
    for (let round = 0; round < 3; round += 1) {
      await threads.at(-1)!.terminate();
      await until('the death is known', () => !store.isOpen);
      await healed(store);
    }
    expect(await store.write([storeBatch('b1', trades(5))])).toMatchObject({ ok: true });
    expect(await store.readTrades(query())).toHaveLength(5);
    expect(threads).toHaveLength(5);
  });
});

it('a reader thread that dies is started again, and reads under way reject', async () => {
  const store = await bench.open();
  await store.write([storeBatch('b0', trades(3))]);
  threads[1]!.postMessage(null);
  await expect(store.readTrades(query())).rejects.toThrow('the reader thread ended');
  expect(await store.write([storeBatch('b1', trades(3, 10))]), 'writes go on meanwhile').toMatchObject({ ok: true });
  await healed(store);
  expect(await store.readTrades(query())).toHaveLength(6);
});

describe('a thread that takes too long', () => {
  it('answers in time; is given nothing more until it has ended; and its late commit is known again', async () => {
    const store = await bench.open({ callTimeoutMs: 300 });
    const db = bench.connect();
    db.exec(SLOW);
    const slow = storeBatch('slow', trades(5));
    const late = once(threads[0]!, 'message');
    const sinceMs = performance.now();
    const [first, second] = await Promise.all([store.write([slow]), store.write([storeBatch('b1', trades(5, 10))])]);
    const tookMs = performance.now() - sinceMs;
    const inTime = { ok: false, kind: 'unavailable', detail: 'the writer thread did not answer within 300 ms' };
    expect([first, second]).toEqual([inTime, inTime]);
    expect(tookMs).toBeLessThan(600);
    // Seen failing: without a look at what is overdue, each further call waited its time behind the slow one.
    const refusedMs = performance.now();
    expect(await store.check()).toMatchObject({
      kind: 'unavailable',
      detail: expect.stringContaining('earlier job') as string,
    });
    expect(performance.now() - refusedMs).toBeLessThan(100);
    expect(await store.readTrades(query()), 'reads go on meanwhile').toEqual([]);
    await late;
    await until('the thread is free', async () => (await store.check()) === null);
    expect(await store.write([slow])).toMatchObject({ ok: true, results: [{ again: true, receipt: { stored: 5 } }] });
    expect([bench.count('trades'), bench.count('batches')]).toEqual([10, 2]);
    expect(bench.events).toEqual([]);
  });

  it('does not keep the store from closing in its time', async () => {
    const store = await bench.open({ callTimeoutMs: 300 });
    const db = bench.connect();
    db.exec(SLOW);
    const ended = once(threads[0]!, 'exit');
    const sinceMs = performance.now();
    const writing = store.write([storeBatch('slow', trades(5))]);
    await store.close();
    expect(performance.now() - sinceMs).toBeLessThan(900);
    expect(await writing).toMatchObject({ ok: false, kind: 'unavailable' });
    await ended;
  });
});

describe('a failure', () => {
  it.each([
    [5, 'contention'],
    [261, 'contention'],
    [517, 'contention'],
    [6, 'contention'],
    [262, 'contention'],
    [18, 'data'],
    [19, 'data'],
    [1299, 'data'],
    [1811, 'data'],
    [3091, 'data'],
    [20, 'data'],
    [25, 'data'],
    [1, 'unavailable'],
    [7, 'unavailable'],
    [8, 'unavailable'],
    [10, 'unavailable'],
    [778, 'unavailable'],
    [11, 'unavailable'],
    [13, 'unavailable'],
    [14, 'unavailable'],
    [26, 'unavailable'],
  ])('with result code %i is one of %s', (errcode, kind) => {
    expect(sqliteFailureKind(Object.assign(new Error('whatever the text'), { errcode }))).toBe(kind);
  });

  it('without one is one of the store, unless it is a fault of ours', () => {
    const closed = Object.assign(new Error('database is locked'), { code: 'ERR_INVALID_STATE' });
    for (const cause of [closed, new Error('constraint failed'), 'text', undefined]) {
      expect(sqliteFailureKind(cause)).toBe('unavailable');
    }
    for (const cause of [new TypeError('x'), new RangeError('x')]) expect(sqliteFailureKind(cause)).toBe('data');
  });
});
