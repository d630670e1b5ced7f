import { describe, expect, it } from 'vitest';
import { BoundedQueue } from '../../pipeline/queue/bounded-queue.ts';
import type { Delivery } from '../../pipeline/queue/delivery.ts';
import { Writer, WRITER_BOUNDS } from '../../pipeline/sink/writer.ts';
import { delivery, type RecordedDelivery } from '../support/pod-batch.ts';
import { ControllableStore } from '../support/pod-store.ts';
import { newSeed, randomFrom } from '../support/random.ts';

const BOUNDS = { groupMaxTicks: 8, inFlightMaxGroups: 2, pipelineMinTicks: 5 };

interface Bench {
  queue: BoundedQueue<Delivery>;
  store: ControllableStore;
  writer: Writer;
  deliveries: RecordedDelivery[];
  /** Offers deliveries of so many ticks each, waking the writer after each. False where there was no room. */
  offer: (...ticks: number[]) => boolean[];
}

function bench(capacityTicks = 20): Bench {
  const queue = new BoundedQueue<Delivery>(capacityTicks, 1_000_000);
  const store = new ControllableStore();
  store.holding = true;
  const writer = new Writer(queue, store, BOUNDS);
  const deliveries: RecordedDelivery[] = [];
  const offer = (...ticks: number[]): boolean[] =>
    ticks.map((count) => {
      const one = delivery(`b${deliveries.length}`, count);
      const held = queue.offer(one);
      if (held) deliveries.push(one);
      writer.wake();
      return held;
    });
  return { queue, store, writer, deliveries, offer };
}

/** Lets everything run that waits for nothing. */
async function settleAll(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

describe('a writer', () => {
  it('has bounds that fit each other', () => {
    const { groupMaxTicks, inFlightMaxGroups, pipelineMinTicks } = WRITER_BOUNDS;
    expect(pipelineMinTicks).toBeLessThanOrEqual(groupMaxTicks);
    expect(inFlightMaxGroups).toBeGreaterThanOrEqual(1);
  });

  it('hands over the first delivery at once, and the next ones together when it is done', async () => {
    const { store, offer, deliveries } = bench();
    offer(1, 1, 1, 1);
    expect(store.groups).toEqual([1]);
    store.held[0]!.release();
    await settleAll();
    expect(store.groups).toEqual([1, 3]);
    expect(deliveries.map(({ settlements }) => settlements.length)).toEqual([1, 0, 0, 0]);
  });

  it('puts at most groupMaxTicks into one transaction, and whole deliveries', async () => {
    const { store, offer } = bench(100);
    offer(1, 3, 3, 3, 3, 8, 9, 1);
    store.releaseAll();
    await settleAll();
    expect(store.groups).toEqual([1, 6, 6, 8, 9, 1]);
  });

  it('starts a second group only when enough waits, and never a third', () => {
    const { store, offer, writer, queue } = bench(100);
    offer(1, 4);
    expect(store.groups).toEqual([1]);
    offer(1);
    expect(store.groups).toEqual([1, 5]);
    offer(8, 8, 8);
    expect(store.groups).toEqual([1, 5]);
    expect([writer.ticksInFlight, queue.depthTicks]).toEqual([6, 24]);
  });

  it('holds with its queue exactly the sum of their bounds, and refuses the next tick', () => {
    // 8 + 8 being written, 20 waiting. Seen failing: with `<=` for `<` on inFlightMaxGroups a third group left the
    // queue and 44 ticks were held.
    const { store, offer, writer, queue } = bench(20);
    let accepted = 0;
    for (let at = 0; at < 60; at += 1) accepted += Number(offer(8)[0]) * 8;
    for (let at = 0; at < 60; at += 1) accepted += Number(offer(1)[0]);
    expect(accepted).toBe(8 + 8 + 20);
    expect(writer.ticksInFlight + queue.depthTicks).toBe(accepted);
    expect(store.held.length).toBe(2);
  });

  it.each([
    ['says no', (store: ControllableStore) => store.held[0]!.release({ ok: false, detail: 'disk full' }), 'disk full'],
    ['throws', (store: ControllableStore) => store.held[0]!.fail(new Error('a bug')), 'a bug'],
    ['throws what is no error', (store: ControllableStore) => store.held[0]!.fail('odd'), 'odd'],
    [
      'returns no results',
      (store: ControllableStore) => store.held[0]!.release({ ok: true, results: [] }),
      'no result',
    ],
  ])('tells each sender once when the store %s, and goes on', async (_, end, detail) => {
    const { store, offer, writer, deliveries } = bench();
    offer(1, 1, 1);
    store.held[0]!.release();
    await settleAll();
    end(store);
    await settleAll();
    const unavailable = { outcome: 'store_unavailable', detail };
    expect(deliveries.slice(1).map(({ settlements }) => settlements)).toEqual([[unavailable], [unavailable]]);
    expect(writer.ticksInFlight).toBe(0);
    offer(2);
    store.releaseAll();
    await writer.idle();
    expect(deliveries[3]!.settlements).toEqual([expect.objectContaining({ outcome: 'stored' })]);
  });

  it('tells only those without a result that there is none', async () => {
    const { store, offer, deliveries } = bench();
    offer(1, 1, 1);
    store.releaseAll();
    store.outcome = (batches) => ({ ok: true, results: [{ outcome: 'conflict' as const }].slice(0, batches.length) });
    await settleAll();
    expect(deliveries.map(({ settlements }) => settlements.map(({ outcome }) => outcome))).toEqual([
      ['stored'],
      ['conflict'],
      ['store_unavailable'],
    ]);
  });

  it('settles nothing before the store has answered', async () => {
    const { store, offer, deliveries } = bench();
    offer(5, 5);
    await settleAll();
    expect(deliveries.flatMap(({ settlements }) => settlements)).toEqual([]);
    store.releaseAll();
    await settleAll();
    expect(deliveries.map(({ settlements }) => settlements.length)).toEqual([1, 1]);
  });

  it('is idle at once when nothing is held, and otherwise when the last delivery is settled', async () => {
    const { store, offer, writer, deliveries } = bench();
    await writer.idle();
    offer(1, 1);
    const settledWhenIdle = writer.idle().then(() => deliveries.map(({ settlements }) => settlements.length));
    store.held[0]!.release();
    await settleAll();
    offer(1);
    store.releaseAll();
    expect(await settledWhenIdle).toEqual([1, 1, 1]);
  });

  const seed = newSeed();
  it(`settles every delivery exactly once, whatever the store does at random (MDP_TEST_SEED=${seed})`, async () => {
    // Seen failing: with the settling left out of the catch in #write, 67 deliveries of one run never ended.
    const random = randomFrom(seed);
    const { store, offer, writer, queue, deliveries } = bench();
    for (let step = 0; step < 400; step += 1) {
      offer(random.between(1, 10));
      if (random.chance(0.5) && store.held.length > 0) {
        const held = random.pick(store.held);
        const fate = random.below(4);
        if (fate === 0) held.release({ ok: false, detail: 'no' });
        else if (fate === 1) held.fail(new Error('no'));
        else if (fate === 2) held.release({ ok: true, results: [] });
        else held.release();
        await settleAll();
      }
      expect(store.held.length).toBeLessThanOrEqual(2);
      expect(writer.ticksInFlight).toBe(store.held.reduce((sum, { ticks }) => sum + ticks, 0));
    }
    store.releaseAll();
    await writer.idle();
    expect(deliveries.filter(({ settlements }) => settlements.length !== 1)).toEqual([]);
    expect([writer.ticksInFlight, queue.depthTicks]).toEqual([0, 0]);
    expect(store.groups.reduce((sum, ticks) => sum + ticks, 0)).toBe(
      deliveries.reduce((sum, { ticks }) => sum + ticks, 0),
    );
  });
});
