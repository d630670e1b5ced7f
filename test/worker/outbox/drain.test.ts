/** The drain against a cluster of the test's: nothing lost, nothing twice at once, oldest first, neighbours unharmed. */

import { describe, expect, it } from 'vitest';
import type { DeadCause } from '../../../worker/outbox/calls.ts';
import { type Delivered, Drain, RUN_MAX_REQUESTS, SETTLED_TOGETHER } from '../../../worker/outbox/drain.ts';
import type { Fate } from '../../../worker/outbox/fate.ts';
import { BACKOFF_MAX_MS, BACKOFF_MIN_MS, IN_FLIGHT_MAX } from '../../../worker/outbox/pace.ts';
import type { HeldBatch } from '../../../worker/outbox/shelf.ts';
import { memoryOutbox, offered } from '../../support/edge-outbox.ts';
import { newSeed, randomFrom } from '../../support/random.ts';

const STORED: Fate = { kind: 'stored', facts: { stored: 1, duplicates: 0, rejected: [] } };
const SILENT: Fate = { kind: 'no_answer', why: 'timeout', detail: '', operator: false };
const REFUSED: Fate = { kind: 'refused', why: 'no-room', retryAfterSeconds: 5 };
const INVALID: Fate = {
  kind: 'rejected',
  problem: { type: '/problems/all-rejected', title: '', status: 422, detail: 'none of 1 ticks is valid' },
};

type Cluster = (held: HeldBatch, body: string) => Promise<Fate | Delivered> | Fate | Delivered;

/** An outbox and its drain before `cluster`; waiting moves the clock. */
function draining(cluster: Cluster) {
  const outbox = memoryOutbox();
  const clock = { nowMs: 0 };
  const sent: string[] = [];
  const dead: [string, DeadCause][] = [];
  let most = 0;
  let inFlight = 0;
  const drain = new Drain({
    shelf: outbox.shelf,
    deliver: async (held, body) => {
      sent.push(held.batch);
      inFlight += 1;
      most = Math.max(most, inFlight);
      const said = await cluster(held, new TextDecoder().decode(body));
      inFlight -= 1;
      return 'fate' in said ? said : { fate: said, creditTicks: undefined };
    },
    nowMs: () => clock.nowMs,
    random: () => 0,
    onDead: (held, cause) => dead.push([held.batch, cause]),
  });
  return {
    ...outbox,
    drain,
    clock,
    sent,
    dead,
    most: () => most,
    fill: (count: number, ticks = 1) => {
      for (let at = 0; at < count; at += 1) outbox.shelf.offer(offered(`b${at}`, `body of b${at}`, { ticks }));
    },
    /** Runs as often as the alarm would, until nothing is held or `endMs`. */
    async untilEmpty(endMs = 24 * 3_600_000): Promise<void> {
      for (let nextMs = drain.nextRunMs(); nextMs !== undefined && nextMs <= endMs; nextMs = drain.nextRunMs()) {
        clock.nowMs = Math.max(clock.nowMs, nextMs);
        await drain.run();
      }
    },
  };
}

const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a drain', () => {
  it('sends everything once, oldest first, more and more at once', async () => {
    const bodies: string[] = [];
    const it = draining(async (_, body) => {
      bodies.push(body);
      await soon();
      return STORED;
    });
    it.fill(40);
    await it.drain.run();
    expect(it.sent).toEqual(Array.from({ length: 40 }, (_, at) => `b${at}`));
    expect(bodies[39]).toBe('body of b39');
    expect(it.most()).toBe(IN_FLIGHT_MAX);
    expect(it.drain.nextRunMs()).toBeUndefined();
    expect(it.archive.receipt('b0', 0)).toMatchObject({ status: 'stored' });
  });

  it('sends no more ticks at once than the pod has room for', async () => {
    let ticks = 0;
    let most = 0;
    const it = draining(async (held) => {
      ticks += held.ticks;
      most = Math.max(most, ticks);
      await soon();
      ticks -= held.ticks;
      return { fate: STORED, creditTicks: 250 };
    });
    it.fill(20, 100);
    await it.drain.run();
    expect(it.sent).toHaveLength(20);
    expect(most).toBe(200);
  });

  it('is stopped by a refusal until Retry-After, and goes on with one', async () => {
    let refusing = true;
    const it = draining(() => (refusing ? REFUSED : STORED));
    it.fill(10);
    await it.drain.run();
    expect(it.sent).toEqual(['b0']);
    expect(it.drain.nextRunMs()).toBe(5_000);
    it.clock.nowMs = 4_999;
    await it.drain.run();
    expect(it.sent).toEqual(['b0']);
    refusing = false;
    it.clock.nowMs = 5_000;
    await it.drain.run();
    expect(it.sent).toEqual(['b0', ...Array.from({ length: 10 }, (_, at) => `b${at}`)]);
  });

  it('looks with one batch at a time for a cluster that is away, and is done soon after its return', async () => {
    let away = true;
    const it = draining(() => (away ? SILENT : STORED));
    it.fill(50);
    await it.untilEmpty(10 * 60_000);
    expect(it.most()).toBe(1);
    const probes = it.sent.length;
    expect(probes).toBeGreaterThan(50);
    expect(probes).toBeLessThan(70);
    away = false;
    const backMs = it.clock.nowMs;
    await it.untilEmpty();
    expect(it.clock.nowMs - backMs).toBeLessThanOrEqual(BACKOFF_MAX_MS + BACKOFF_MIN_MS);
    expect(it.shelf.isEmpty).toBe(true);
  });

  it('sets aside what a pod rejects, and delivers its neighbours', async () => {
    const it = draining(({ batch }) => (batch === 'b3' ? INVALID : STORED));
    it.fill(8);
    await it.untilEmpty();
    const cause = { reason: 'all-rejected', detail: 'none of 1 ticks is valid', rejected: undefined };
    expect(it.dead).toEqual([['b3', cause]]);
    expect(it.archive.deadLetters(10)).toMatchObject([{ batch: 'b3', reason: 'all-rejected' }]);
    expect(new Set(it.sent).size).toBe(8);
  });

  it('gets to one batch alone soon after the return of the cluster, however long that was away', async () => {
    let away = true;
    const it = draining(() => (away ? SILENT : STORED));
    it.fill(1);
    await it.untilEmpty(24 * 3_600_000);
    away = false;
    const backMs = it.clock.nowMs;
    await it.untilEmpty();
    expect(it.clock.nowMs - backMs).toBeLessThanOrEqual(BACKOFF_MAX_MS + BACKOFF_MIN_MS);
  });

  it.each<[string, Fate]>([
    ['that is never answered', SILENT],
    ['that breaks the pod', { kind: 'failed', why: 'internal', retryAfterSeconds: 1 }],
  ])('is not held up by a batch %s', async (_, fate) => {
    const it = draining(({ batch }) => (batch === 'b0' ? fate : STORED));
    it.fill(100);
    await it.untilEmpty(30_000);
    expect(it.shelf.totals().batches).toBe(1);
    expect(it.archive.receipt('b0', 0)).toMatchObject({ status: 'buffered' });
    expect(it.sent.filter((batch) => batch === 'b0').length).toBeLessThan(15);
  });

  it('ends its run after a bounded number of requests, and is due again at once', async () => {
    const it = draining(() => STORED);
    it.fill(RUN_MAX_REQUESTS + 1);
    await it.drain.run();
    expect(it.sent).toHaveLength(RUN_MAX_REQUESTS);
    expect(it.drain.nextRunMs()).toBe(it.clock.nowMs);
  });

  it('hands on what the disk says, with everything still held', async () => {
    const it = draining(() => STORED);
    it.fill(3);
    it.shelf.settle = () => {
      throw new Error('disk full');
    };
    await expect(it.drain.run()).rejects.toThrow('disk full');
    expect(it.shelf.totals().batches).toBe(3);
    expect(it.drain.onTheirWay.size).toBe(0);
  });

  it('writes answers down together while others are on their way, and the last ones at once', async () => {
    const writes: number[] = [];
    const it = draining(async () => {
      await soon();
      return { fate: STORED, creditTicks: 1_000 };
    });
    it.fill(31);
    const settle = it.shelf.settle.bind(it.shelf);
    it.shelf.settle = (...given) => {
      writes.push(it.sent.length);
      settle(...given);
    };
    await it.drain.run();
    expect(writes).toHaveLength(31);
    const groups = new Set(writes).size;
    expect(groups).toBeGreaterThan(31 / (SETTLED_TOGETHER + IN_FLIGHT_MAX));
    expect(groups).toBeLessThanOrEqual(Math.ceil(31 / SETTLED_TOGETHER) + 1);
    expect(it.drain.onTheirWay.size).toBe(0);
  });

  const seed = newSeed();
  it(`of any weather delivers every batch, and settles it once (seed ${seed})`, async () => {
    const random = randomFrom(seed);
    const onTheirWay = new Set<string>();
    const settled = new Map<string, number>();
    const fates: Fate[] = [STORED, STORED, STORED, STORED, REFUSED, SILENT, INVALID];
    const it = draining(async ({ batch }) => {
      expect(onTheirWay.has(batch)).toBe(false);
      onTheirWay.add(batch);
      for (let turns = random.below(4); turns > 0; turns -= 1) await soon();
      onTheirWay.delete(batch);
      const fate = random.pick(fates);
      if (fate === STORED || fate === INVALID) settled.set(batch, (settled.get(batch) ?? 0) + 1);
      return { fate, creditTicks: random.chance(0.5) ? random.below(5) : undefined };
    });
    it.fill(300);
    await it.untilEmpty();
    expect(it.shelf.isEmpty).toBe(true);
    expect(settled.size).toBe(300);
    expect([...settled.values()].every((times) => times === 1)).toBe(true);
    expect(it.archive.deadLetters(1_000)).toHaveLength(it.dead.length);
  });
});
