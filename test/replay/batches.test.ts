/** Ticks to batches, and the order that a seed stands for. */

import { describe, expect, test } from 'vitest';
import {
  type Batch,
  batchPrefixFault,
  cutBatches,
  defaultBatchPrefix,
  type TimedTick,
} from '../../deploy/replay/batches.ts';
import { shuffled } from '../../deploy/replay/shuffle.ts';
import { BODY_MAX_BYTES } from '../../pipeline/contract/batch.ts';
import { isBatchId } from '../../pipeline/contract/identity.ts';

async function cut(ticks: TimedTick[], batchTicks: number, bodyMaxBytes?: number): Promise<Batch[]> {
  const chunks = async function* (): AsyncGenerator<TimedTick[]> {
    yield ticks;
  };
  return Array.fromAsync(cutBatches(chunks(), 'p', batchTicks, bodyMaxBytes));
}

function tick(n: number, more = ''): TimedTick {
  return { atMs: n, tick: { symbol: `S${more}`, tsMs: n, id: String(n), price: '1', size: '1' } };
}

const many = (count: number, more?: string): TimedTick[] => Array.from({ length: count }, (_, n) => tick(n, more));

describe('batches', () => {
  test('are cut at the count, the last one shorter, with running ids and every tick once and in order', async () => {
    const batches = await cut(many(25), 10);
    expect(batches.map(({ id, ticks }) => [id, ticks])).toEqual([
      ['p-0', 10],
      ['p-1', 10],
      ['p-2', 5],
    ]);
    const ids = batches.flatMap(({ body }) =>
      Buffer.from(body)
        .toString()
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { tsMs: number }).tsMs),
    );
    expect(ids).toEqual(Array.from({ length: 25 }, (_, n) => n));
  });

  test('are cut before a body would pass the limit of the contract', async () => {
    const batches = await cut(many(10_000, 'x'.repeat(200)), 10_000);
    expect(batches.length).toBeGreaterThan(1);
    expect(batches.reduce((sum, { ticks }) => sum + ticks, 0)).toBe(10_000);
    const longest = Math.max(...batches.slice(0, -1).map(({ body }) => body.length));
    expect(longest).toBeLessThanOrEqual(BODY_MAX_BYTES);
    expect(longest).toBeGreaterThan(BODY_MAX_BYTES - 300);
  });

  test('hold a body of exactly the limit, and the next tick starts another', async () => {
    const lineBytes = (await cut(many(1), 10))[0]!.body.length;
    expect((await cut(many(4), 10, 2 * lineBytes)).map(({ ticks }) => ticks)).toEqual([2, 2]);
    expect((await cut(many(4), 10, 2 * lineBytes - 1)).map(({ ticks }) => ticks)).toEqual([1, 1, 1, 1]);
  });

  test('are due with their latest tick and never before the batch in front of them', async () => {
    const batches = await cut([tick(5), tick(9), tick(3), tick(4)], 2);
    expect(batches.map(({ dueMs }) => dueMs)).toEqual([9, 9]);
  });

  test('have ids that the contract accepts, by default and with any prefix that is accepted', () => {
    expect(isBatchId(`${defaultBatchPrefix('0123456789abcdef', 10_000)}-${Number.MAX_SAFE_INTEGER}`)).toBe(true);
    expect(batchPrefixFault('run_1')).toBeUndefined();
    for (const prefix of ['a.b', 'a/b', 'a b', 'x'.repeat(120)]) expect(batchPrefixFault(prefix)).toBeDefined();
  });
});

describe('shuffling', () => {
  const items = Array.from({ length: 100 }, (_, n) => n);

  test('is a permutation, the same for the same seed and another for another', () => {
    const once = shuffled(items, 'seed 1');
    expect(once.toSorted((a, b) => a - b)).toEqual(items);
    expect(once).not.toEqual(items);
    expect(shuffled(items, 'seed 1')).toEqual(once);
    expect(shuffled(items, 'seed 2')).not.toEqual(once);
  });

  test('brings each of three items to each place about equally often', () => {
    const seen: Record<string, number> = {};
    for (let seed = 0; seed < 6000; seed += 1) {
      const order = shuffled(['a', 'b', 'c'], `s${seed}`).join('');
      seen[order] = (seen[order] ?? 0) + 1;
    }
    expect(Object.keys(seen)).toHaveLength(6);
    for (const times of Object.values(seen)) expect(Math.abs(times - 1000)).toBeLessThan(150);
  });
});
