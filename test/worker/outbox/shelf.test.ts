/** What an outbox keeps on disk, on real SQLite: ids, bounds, receipts, dead letters; time is the test's. */

import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import type { Rejection } from '../../../pipeline/contract/answer.ts';
import { Statements } from '../../../worker/outbox/database.ts';
import { REJECTIONS_MAX_CHARS } from '../../../worker/outbox/receipt.ts';
import { EXPIRE_MAX_BATCHES } from '../../../worker/outbox/shelf.ts';
import { memoryOutbox, nextOf, offered, sqliteDatabase } from '../../support/edge-outbox.ts';

const NONE: ReadonlySet<number> = new Set();
const STORED = { stored: 1, duplicates: 0, rejected: [] };
const DEAD = { reason: 'all-rejected', detail: 'none of 1 ticks is valid' };
const HOUR_MS = 3_600_000;

function rejections(count: number): Rejection[] {
  return Array.from({ length: count }, (_, index) => ({ index, reason: 'bad_time', detail: 'x'.repeat(190) }));
}

describe('a batch id', () => {
  it('with the same body is held once, and with another one is a conflict', () => {
    const { shelf } = memoryOutbox();
    expect(shelf.offer(offered('a'))).toEqual({ kind: 'buffered' });
    expect(shelf.offer(offered('a'))).toEqual({ kind: 'buffered' });
    expect(shelf.offer(offered('a', 'other'))).toEqual({ kind: 'conflict' });
    expect(shelf.totals()).toEqual({ batches: 1, ticks: 1, bytes: 1, oldestMs: 0 });
  });

  it('that was stored is answered from its receipt, and with another body is a conflict', () => {
    const outbox = memoryOutbox();
    outbox.shelf.offer(offered('a'));
    outbox.shelf.settle(nextOf(outbox), STORED, 5);
    expect(outbox.shelf.offer(offered('a'))).toEqual({
      kind: 'stored',
      receipt: { batch: 'a', status: 'stored', ...STORED },
    });
    expect(outbox.shelf.offer(offered('a', 'other'))).toEqual({ kind: 'conflict' });
    expect(outbox.shelf.isEmpty).toBe(true);
  });

  it('that is dead is free again, whatever the body, and its dead letter stays', () => {
    const outbox = memoryOutbox();
    for (const text of ['one', 'two', 'two']) {
      expect(outbox.shelf.offer(offered('a', text))).toEqual({ kind: 'buffered' });
      outbox.shelf.bury(nextOf(outbox), DEAD, 7);
    }
    expect(outbox.archive.deadLetters(10).map(({ batch, bytes }) => [batch, bytes])).toEqual([
      ['a', 3],
      ['a', 3],
      ['a', 3],
    ]);
    outbox.shelf.offer(offered('a', 'three'));
    expect(outbox.archive.receipt('a', 0)).toMatchObject({ status: 'buffered' });
    outbox.shelf.settle(nextOf(outbox), STORED, 9);
    expect(outbox.archive.receipt('a', 0)).toMatchObject({ status: 'stored' });
  });

  it('of a promised batch that cannot be held becomes a dead letter, not nothing', () => {
    const outbox = memoryOutbox();
    outbox.shelf.offer(offered('a', 'first'));
    expect(outbox.shelf.offer(offered('a', 'second', { promised: true }))).toEqual({ kind: 'conflict' });
    expect(outbox.archive.deadLetters(10)).toMatchObject([{ batch: 'a', reason: 'batch-conflict' }]);
    expect(new TextDecoder().decode(outbox.archive.deadBody('a')!.body)).toBe('second');
    expect(new TextDecoder().decode(outbox.shelf.body(nextOf(outbox).seq))).toBe('first');
    expect(outbox.shelf.totals().batches).toBe(1);
  });
});

describe('what is held', () => {
  it('comes out oldest first, with everything it came with', () => {
    const outbox = memoryOutbox();
    outbox.shelf.offer(
      offered('a', '1', { encoding: 'gzip', contentType: 'application/json', batchIdMade: true, ticks: 7 }),
    );
    outbox.shelf.offer(offered('b'));
    const first = nextOf(outbox);
    expect(first).toEqual({
      seq: first.seq,
      batch: 'a',
      batchIdMade: true,
      contentType: 'application/json',
      encoding: 'gzip',
      ticks: 7,
      bytes: 1,
      attempts: 0,
    });
    expect(outbox.shelf.nextDue(0, new Set([first.seq]))).toMatchObject({ batch: 'b', encoding: null });
    expect(outbox.shelf.nextDue(0, new Set([first.seq, first.seq + 1]))).toBeUndefined();
  });

  it('waits behind the others when it is put off, and says when it is due', () => {
    const outbox = memoryOutbox();
    for (const id of ['a', 'b']) outbox.shelf.offer(offered(id));
    outbox.shelf.postpone(nextOf(outbox).seq, 500);
    expect(nextOf(outbox, 100).batch).toBe('b');
    expect(outbox.shelf.nextDueMs(100)).toBe(100);
    outbox.shelf.postpone(nextOf(outbox, 100).seq, 900);
    expect(outbox.shelf.nextDueMs(100)).toBe(500);
    expect(nextOf(outbox, 500)).toMatchObject({ batch: 'a', attempts: 1 });
  });

  it('is bounded by bytes and by batches, and there is room again for what has left', () => {
    const outbox = memoryOutbox({ maxBytes: 10, maxBatches: 2 });
    expect(outbox.shelf.offer(offered('a', '12345678'))).toEqual({ kind: 'buffered' });
    expect(outbox.shelf.offer(offered('b', '123'))).toEqual({ kind: 'full', detail: 'the outbox holds 8 of 10 bytes' });
    expect(outbox.shelf.offer(offered('b', '12'))).toEqual({ kind: 'buffered' });
    expect(outbox.shelf.offer(offered('c', ''))).toEqual({ kind: 'full', detail: 'the outbox holds 2 batches' });
    // What is held already is no news.
    expect(outbox.shelf.offer(offered('a', '12345678'))).toEqual({ kind: 'buffered' });
    outbox.shelf.settle(nextOf(outbox), STORED, 1);
    expect(outbox.shelf.offer(offered('c', '12345678'))).toEqual({ kind: 'buffered' });
  });

  it('is bounded by the size of the database', () => {
    const outbox = memoryOutbox({}, { ...sqliteDatabase(), sizeBytes: () => 9_000_000_000 });
    expect(outbox.shelf.offer(offered('a'))).toMatchObject({ kind: 'full' });
  });

  it('expires, oldest first, into dead letters; what is on its way does not', () => {
    const outbox = memoryOutbox({ maxAgeMs: HOUR_MS });
    for (const [at, id] of ['a', 'b', 'c'].entries()) outbox.shelf.offer(offered(id, id, { arrivedMs: at * 1000 }));
    expect(outbox.shelf.expire(HOUR_MS - 1, NONE)).toBe(0);
    expect(outbox.shelf.expire(HOUR_MS + 1000, new Set([nextOf(outbox).seq]))).toBe(1);
    expect(outbox.archive.receipt('b', 0)).toEqual({
      batch: 'b',
      status: 'dead',
      reason: 'expired',
      detail: 'the store did not take it within 3600 s',
      at: new Date(HOUR_MS + 1000).toISOString(),
    });
    expect(outbox.shelf.totals()).toMatchObject({ batches: 2 });
    expect(new TextDecoder().decode(outbox.archive.deadBody('b')!.body)).toBe('b');
  });

  it('expires a bounded number at once', () => {
    const outbox = memoryOutbox({ maxAgeMs: 1 });
    for (let at = 0; at <= EXPIRE_MAX_BATCHES; at += 1) outbox.shelf.offer(offered(`b${at}`));
    expect(outbox.shelf.expire(10, NONE)).toBe(EXPIRE_MAX_BATCHES);
    expect(outbox.shelf.expire(10, NONE)).toBe(1);
    expect(outbox.shelf.isEmpty).toBe(true);
  });
});

describe('a receipt', () => {
  it('of what is held tells its place in the queue, its age and its attempts', () => {
    const outbox = memoryOutbox();
    for (const id of ['a', 'b', 'c']) outbox.shelf.offer(offered(id, id, { arrivedMs: 1_000 }));
    outbox.shelf.postpone(nextOf(outbox).seq, 0);
    expect(outbox.archive.receipt('a', 9_999)).toEqual({
      batch: 'a',
      status: 'buffered',
      position: 0,
      ageSeconds: 8,
      attempts: 1,
    });
    expect(outbox.archive.receipt('c', 0)).toMatchObject({ position: 2, ageSeconds: 0 });
    expect(outbox.archive.receipt('d', 0)).toBeUndefined();
  });

  it('of a partly rejected batch names each rejected tick, as many as fit, and counts the rest', () => {
    const outbox = memoryOutbox();
    outbox.shelf.offer(offered('few'));
    outbox.shelf.settle(nextOf(outbox), { stored: 5, duplicates: 2, rejected: rejections(2) }, 1);
    expect(outbox.archive.receipt('few', 0)).toEqual({
      batch: 'few',
      status: 'partly_rejected',
      stored: 5,
      duplicates: 2,
      rejected: rejections(2),
    });
    outbox.shelf.offer(offered('many'));
    outbox.shelf.settle(nextOf(outbox), { stored: 0, duplicates: 0, rejected: rejections(10_000) }, 1);
    const many = outbox.archive.receipt('many', 0) as { rejected: Rejection[]; rejectedOmitted: number };
    expect(many.rejected.length + many.rejectedOmitted).toBe(10_000);
    expect(JSON.stringify(many).length).toBeLessThan(REJECTIONS_MAX_CHARS + 1_000);
  });
});

describe('what is no longer held', () => {
  it('is forgotten when it is too old, receipts and dead letters each at their age', () => {
    const outbox = memoryOutbox({ receiptMaxAgeMs: HOUR_MS, deadMaxAgeMs: 2 * HOUR_MS });
    for (const id of ['stored', 'dead', 'held']) outbox.shelf.offer(offered(id));
    outbox.shelf.settle(nextOf(outbox), STORED, 0);
    outbox.shelf.bury(nextOf(outbox), DEAD, 0);
    expect(outbox.archive.tidy(HOUR_MS - 1)).toEqual({ receipts: 0, deadLetters: 0, more: false });
    expect(outbox.archive.tidy(HOUR_MS)).toEqual({ receipts: 1, deadLetters: 0, more: false });
    expect(outbox.archive.receipt('stored', 0)).toBeUndefined();
    expect(outbox.archive.deadBody('dead')).toBeDefined();
    expect(outbox.archive.tidy(2 * HOUR_MS)).toEqual({ receipts: 0, deadLetters: 1, more: false });
    expect(outbox.archive.deadBody('dead')).toBeUndefined();
    expect(outbox.archive.isEmpty).toBe(true);
    expect(outbox.sql.one('SELECT count(*) AS bodies FROM bodies')).toEqual({ bodies: 1 });
  });

  it('is forgotten, oldest first, when there is too much of it', () => {
    const outbox = memoryOutbox({ receiptsMax: 2, deadMaxBytes: 5 });
    for (let at = 0; at < 6; at += 1) {
      outbox.shelf.offer(offered(`b${at}`));
      if (at % 2 === 0) outbox.shelf.settle(nextOf(outbox), STORED, at);
      else outbox.shelf.bury(nextOf(outbox), DEAD, at);
    }
    expect(outbox.archive.tidy(6)).toEqual({ receipts: 1, deadLetters: 1, more: false });
    expect(outbox.archive.receipt('b0', 0)).toBeUndefined();
    expect(outbox.archive.receipt('b2', 0)).toBeDefined();
    expect(outbox.archive.deadLetters(10).map(({ batch }) => batch)).toEqual(['b5', 'b3']);
  });

  it('is listed in pages, newest first', () => {
    const outbox = memoryOutbox();
    for (const id of ['a', 'b', 'c']) {
      outbox.shelf.offer(offered(id, id, { arrivedMs: 1_000 }));
      outbox.shelf.bury(nextOf(outbox), DEAD, 2_000);
    }
    const [first, second] = outbox.archive.deadLetters(2);
    expect(first).toMatchObject({
      batch: 'c',
      ...DEAD,
      at: '1970-01-01T00:00:02.000Z',
      arrivedAt: '1970-01-01T00:00:01.000Z',
      bytes: 1,
      ticks: 1,
    });
    expect(outbox.archive.deadLetters(2, second!.cursor).map(({ batch }) => batch)).toEqual(['a']);
  });
});

describe('an outbox that is opened again', () => {
  it('has everything it had, and counts it as before', () => {
    const database = new DatabaseSync(':memory:');
    const before = memoryOutbox({}, sqliteDatabase(database));
    for (const id of ['a', 'b', 'c', 'd']) before.shelf.offer(offered(id, `body of ${id}`));
    before.shelf.settle(nextOf(before), STORED, 1);
    before.shelf.bury(nextOf(before), DEAD, 1);
    const after = memoryOutbox({}, sqliteDatabase(database));
    expect(after.shelf.totals()).toEqual(before.shelf.totals());
    expect(nextOf(after).batch).toBe('c');
    expect(after.archive.receipt('a', 0)).toMatchObject({ status: 'stored' });
    expect(after.archive.deadBody('b')).toBeDefined();
  });

  it('is refused when its tables are of a newer version', () => {
    const database = sqliteDatabase();
    new Statements(database).setFact('schema_version', 2);
    expect(() => new Statements(database)).toThrow('schema 2');
  });
});
