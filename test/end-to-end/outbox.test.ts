/**
 * Promise 2 on real processes: what was answered 202 reaches the store once, or a dead letter, whatever dies
 * meanwhile. Real workerd, its SQLite on disk, a real pod and its store.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bundleWorker } from '../../deploy/local/workerd.ts';
import { EdgeRig } from '../support/edge-rig.ts';
import { newSeed, randomFrom } from '../support/random.ts';

const TICKS_PER_BATCH = 20;
/** The longest wait of a drain that looks for the cluster, and then some. */
const DRAINED = { timeout: 45_000, interval: 100 };

let directory: string;
let bundlePath: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mdp-outbox-'));
  bundlePath = await bundleWorker(directory);
});

afterAll(() => rm(directory, { recursive: true, force: true }));

/** Ticks with ids that no other batch has. */
function ticks(batch: number, count = TICKS_PER_BATCH): string {
  const line = (at: number): string =>
    `{"symbol":"AAPL","tsMs":1763908200123,"id":"${batch}-${at}","price":"187.23","size":"100"}\n`;
  return Array.from({ length: count }, (_, at) => line(at)).join('');
}

async function settled(rig: EdgeRig, batch: string): Promise<Record<string, unknown>> {
  await expect.poll(async () => (await rig.receipt(batch))['status'], DRAINED).not.toBe('buffered');
  return rig.receipt(batch);
}

const seed = newSeed();
test(
  `every 202 arrives once, with the edge killed five times before and during the drain (seed ${seed})`,
  { timeout: 120_000 },
  async () => {
    const random = randomFrom(seed);
    await using rig = await EdgeRig.start({ bundlePath });
    const batches = 300;
    const accepted = new Set<number>();
    let kills = 0;
    const kill = async (): Promise<void> => {
      kills += 1;
      await rig.killEdge();
      await rig.startEdge();
    };

    // The cluster is away: half of the pushes are cut by a kill, and are sent again as a provider would.
    let next = 0;
    while (accepted.size < batches) {
      const upTo = Math.min(batches, next + random.between(80, 140));
      const pushes = Array.from({ length: upTo - next }, (_, at) => next + at).map(async (batch) => {
        const answer = await rig.push(`b${batch}`, ticks(batch)).catch(() => undefined);
        if (answer === undefined) return;
        expect(answer.status, answer.text).toBe(202);
        accepted.add(batch);
      });
      if (kills < 3) {
        await Promise.race(pushes.slice(random.below(pushes.length)));
        await kill();
      }
      await Promise.all(pushes);
      for (const batch of accepted) expect(await rig.receipt(`b${batch}`)).toMatchObject({ status: 'buffered' });
      while (accepted.has(next)) next += 1;
    }

    await rig.startPod();
    using store = rig.openStore();
    for (const storedBefore of [40, 80]) {
      await expect.poll(() => store.batches('ibkr'), DRAINED).toBeGreaterThan(storedBefore);
      await kill();
    }
    await expect.poll(() => store.batches('ibkr'), DRAINED).toBe(batches);
    expect(store.counts('ibkr')).toEqual({ trades: batches * TICKS_PER_BATCH, quotes: 0 });
    for (let batch = 0; batch < batches; batch += 1) {
      const receipt = await settled(rig, `b${batch}`);
      const { stored, duplicates } = receipt as { stored: number; duplicates: number };
      expect(receipt).toMatchObject({ batch: `b${batch}`, status: 'stored', rejected: [] });
      expect(stored + duplicates).toBe(TICKS_PER_BATCH);
    }
    expect(JSON.parse((await rig.get('/v1/dead-letters/ibkr')).text)).toMatchObject({ deadLetters: [] });
    expect(kills).toBe(5);
  },
);

test('a batch that a pod rejects is a dead letter, and its neighbours are stored', { timeout: 60_000 }, async () => {
  await using rig = await EdgeRig.start({ bundlePath });
  const poison = '{"symbol":"AAPL","price":"1"}\nno tick\n';
  const bodies: Record<string, string> = {
    b1: ticks(1),
    poison,
    b2: `${ticks(2, 3)}{"symbol":"AAPL","tsMs":1,"price":"-1","size":"1"}\n`,
    unreadable: '[1,2',
    b3: ticks(3),
  };
  for (const [batch, body] of Object.entries(bodies)) {
    const type = batch === 'unreadable' ? { 'content-type': 'application/json' } : {};
    expect((await rig.push(batch, body, type)).status).toBe(202);
  }
  expect(await rig.receipt('b3')).toMatchObject({ status: 'buffered', position: 4 });
  await rig.startPod();

  expect(await settled(rig, 'b1')).toMatchObject({ status: 'stored', stored: TICKS_PER_BATCH, duplicates: 0 });
  expect(await settled(rig, 'b3')).toMatchObject({ status: 'stored', stored: TICKS_PER_BATCH, duplicates: 0 });
  expect(await settled(rig, 'b2')).toMatchObject({
    status: 'partly_rejected',
    stored: 3,
    rejected: [{ index: 3, reason: 'price_not_positive' }],
  });
  expect(await settled(rig, 'poison')).toMatchObject({
    status: 'dead',
    reason: 'all-rejected',
    rejected: [{ index: 0 }, { index: 1 }],
  });
  expect(await settled(rig, 'unreadable')).toMatchObject({ status: 'dead', reason: 'unreadable' });
  const { deadLetters } = JSON.parse((await rig.get('/v1/dead-letters/ibkr')).text) as { deadLetters: object[] };
  expect(deadLetters).toMatchObject([{ batch: 'unreadable' }, { batch: 'poison', reason: 'all-rejected', ticks: 2 }]);
  expect((await rig.get('/v1/dead-letters/ibkr/poison')).text).toBe(poison);
  expect(rig.log.filter((line) => line.includes('"event":"batch-dead"'))).toHaveLength(2);

  // An id that the ledger never saw is free again; that of a body which it has rejected is not.
  await expect.poll(async () => (await rig.push('unreadable', ticks(9))).status, DRAINED).toBe(200);
  expect((await rig.push('poison', ticks(10))).status).toBe(409);
});

test(
  'the same id is the same answer before, during and after the drain, and another body is 409',
  { timeout: 60_000 },
  async () => {
    await using rig = await EdgeRig.start({ bundlePath });
    expect((await rig.push('b1', ticks(1))).status).toBe(202);
    expect((await rig.push('b1', ticks(1))).status).toBe(202);
    expect((await rig.push('b1', ticks(2))).status).toBe(409);
    const pod = await rig.startPod();
    expect(await settled(rig, 'b1')).toMatchObject({ status: 'stored', stored: TICKS_PER_BATCH });
    const again = await rig.push('b1', ticks(1));
    expect(again).toMatchObject({ status: 200 });
    expect((await rig.push('b1', ticks(2))).status).toBe(409);
    await pod.stop();
    // From the receipt of the outbox now.
    const away = await rig.push('b1', ticks(1));
    expect(away.status).toBe(200);
    expect(JSON.parse(away.text)).toMatchObject({
      batch: 'b1',
      status: 'stored',
      stored: TICKS_PER_BATCH,
      duplicates: 0,
    });
    expect((await rig.push('b1', ticks(2))).status).toBe(409);
    using store = rig.openStore();
    expect(store.counts('ibkr')).toEqual({ trades: TICKS_PER_BATCH, quotes: 0 });
  },
);

test(
  'what a full outbox cannot hold is refused, and there is room again after the drain',
  { timeout: 60_000 },
  async () => {
    await using rig = await EdgeRig.start({ bundlePath, settings: { OUTBOX_MAX_BYTES: '1000' } });
    const answers: number[] = [];
    for (let batch = 0; batch < 12; batch += 1) answers.push((await rig.push(`b${batch}`, ticks(batch))).status);
    const held = answers.filter((status) => status === 202).length;
    expect(held).toBeGreaterThan(2);
    expect(answers).toEqual([...Array<number>(held).fill(202), ...Array<number>(12 - held).fill(503)]);
    const refused = await rig.push('late', ticks(99));
    expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '5' } });
    await rig.startPod();
    for (let batch = 0; batch < held; batch += 1) await settled(rig, `b${batch}`);
    using store = rig.openStore();
    expect(store.batches('ibkr')).toBe(held);
    await expect.poll(async () => (await rig.push('late', ticks(99))).status, DRAINED).toBe(200);
  },
);

test('what is too old becomes a dead letter that can be sent again', { timeout: 60_000 }, async () => {
  await using rig = await EdgeRig.start({ bundlePath, settings: { OUTBOX_MAX_AGE_SECONDS: '1' } });
  expect((await rig.push('b1', ticks(1))).status).toBe(202);
  const receipt = await settled(rig, 'b1');
  expect(receipt).toMatchObject({ status: 'dead', reason: 'expired', detail: 'the store did not take it within 1 s' });
  expect((await rig.get('/v1/dead-letters/ibkr/b1')).text).toBe(ticks(1));
  await rig.startPod();
  await expect.poll(async () => (await rig.push('b1', ticks(1))).status, DRAINED).toBe(200);
});

test('a pod whose store is stuck costs no batch: it is held, and stored once', { timeout: 90_000 }, async () => {
  await using rig = await EdgeRig.start({ bundlePath });
  await rig.startPod();
  expect((await rig.push('b0', ticks(0))).status).toBe(200);
  {
    using lock = rig.lockStore();
    const answers = await Promise.all([1, 2, 3].map((batch) => rig.push(`b${batch}`, ticks(batch))));
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202]);
    lock.letGo();
  }
  for (const batch of ['b1', 'b2', 'b3']) expect(await settled(rig, batch)).toMatchObject({ status: 'stored' });
  using store = rig.openStore();
  expect(store.counts('ibkr').trades).toBe(4 * TICKS_PER_BATCH);
});
