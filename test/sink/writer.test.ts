import { describe, expect, it } from 'vitest';
import { BoundedQueue } from '../../pipeline/queue/bounded-queue.ts';
import type { Delivery, Settlement } from '../../pipeline/queue/delivery.ts';
import { CIRCUIT_DELAY_MAX_MS } from '../../pipeline/sink/circuit.ts';
import type { WriteFailure } from '../../pipeline/sink/store.ts';
import { CONTENTION_ATTEMPTS_MAX, Writer } from '../../pipeline/sink/writer.ts';
import { WRITER_BOUNDS, type WriterBounds } from '../../pipeline/sink/writer-bounds.ts';
import { unpackTicks } from '../../pipeline/contract/tick-bytes.ts';
import { delivery, NOW_MS } from '../support/pod-batch.ts';
import { ControllableStore } from '../support/pod-store.ts';
import { newSeed, randomFrom } from '../support/random.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const BOUNDS: WriterBounds = {
  groupMaxTicks: 8,
  groupMaxBytes: 1_000_000,
  inFlightMaxGroups: 2,
  pipelineMinTicks: 5,
  pipelineMaxWaitMs: Number.POSITIVE_INFINITY,
  pipelineMaxWriteMs: 500,
  callTimeoutMs: 1_000,
};
const ANSWER_TIMEOUT_MS = 8_000;

const AWAY: WriteFailure = { ok: false, kind: 'unavailable', detail: 'disk full' };
const BUSY: WriteFailure = { ok: false, kind: 'contention', detail: 'deadlock' };
const BAD: WriteFailure = { ok: false, kind: 'data', detail: 'a rule of the table' };

interface Bench {
  clock: VirtualClock;
  queue: BoundedQueue<Delivery>;
  store: ControllableStore;
  writer: Writer;
  deliveries: Delivery[];
  /** How each delivery ended; undefined: its sender still waits. */
  ends: (Settlement | undefined)[];
  events: string[];
  /** Offers deliveries of so many ticks each, waking the writer after each. False where there was no room. */
  offer: (...ticks: number[]) => boolean[];
}

function bench(capacityTicks = 20, bounds: Partial<WriterBounds> = {}): Bench {
  const clock = new VirtualClock(NOW_MS);
  const queue = new BoundedQueue<Delivery>(capacityTicks, 1_000_000);
  const store = new ControllableStore();
  store.holding = true;
  const events: string[] = [];
  const writer = new Writer({
    queue,
    store,
    bounds: { ...BOUNDS, ...bounds },
    nowMs: () => clock.nowMs,
    random: () => 0.5,
    after: clock.after,
    onEvent: (_level, event) => void events.push(event),
    onWrite: () => undefined,
  });
  const deliveries: Delivery[] = [];
  const ends: (Settlement | undefined)[] = [];
  const offer = (...ticks: number[]): boolean[] =>
    ticks.map((count) => {
      const place = deliveries.length;
      const one = delivery(`b${place}`, count, { offeredMs: clock.nowMs, deadlineMs: clock.nowMs + ANSWER_TIMEOUT_MS });
      const held = queue.offer(one);
      if (held) {
        deliveries.push(one);
        ends.push(undefined);
        void one.settlement.then((end) => (ends[place] = end));
      }
      writer.wake();
      return held;
    });
  return { clock, queue, store, writer, deliveries, ends, events, offer };
}

/** The store is away, and the one who was offered meanwhile has been told so: there is nothing to write. */
async function awayAndIdle(): Promise<Bench> {
  const b = bench();
  b.store.releaseAll();
  b.store.outcome = () => AWAY;
  b.store.checkFailure = AWAY;
  b.offer(1);
  await b.clock.advance(ANSWER_TIMEOUT_MS);
  return b;
}

function throwing(): never {
  throw new Error('at everything');
}

function outcomes({ ends }: Bench): (string | undefined)[] {
  return ends.map((end) => end?.outcome);
}

/** A store that refuses the ticks at these places of the batch. */
function refusing(b: Bench, batchId: string, places: readonly number[]): void {
  b.store.outcome = (batches) => {
    const bad = batches.some(
      (batch) => batch.batchId === batchId && batch.columns.trades?.index.some((place) => places.includes(place)),
    );
    return bad ? BAD : b.store.committed(batches);
  };
}

describe('a writer', () => {
  it('has bounds that fit each other', () => {
    const { groupMaxTicks, inFlightMaxGroups, pipelineMinTicks } = WRITER_BOUNDS;
    expect(pipelineMinTicks).toBeLessThanOrEqual(groupMaxTicks);
    expect(inFlightMaxGroups).toBeGreaterThanOrEqual(1);
  });

  it('hands over the first delivery at once, and the next ones together when it is done', async () => {
    const b = bench();
    b.offer(1, 1, 1, 1);
    expect(b.store.groups).toEqual([1]);
    b.store.held[0]!.release();
    await b.clock.settle();
    expect(b.store.groups).toEqual([1, 3]);
    expect(outcomes(b)).toEqual(['stored', undefined, undefined, undefined]);
  });

  it('puts at most groupMaxTicks into one transaction, and whole deliveries', async () => {
    const { store, offer, clock } = bench(100);
    offer(1, 3, 3, 3, 3, 8, 9, 1);
    store.releaseAll();
    await clock.settle();
    expect(store.groups).toEqual([1, 6, 6, 8, 9, 1]);
  });

  it('puts at most groupMaxBytes into one transaction', async () => {
    const { store, offer, clock } = bench(100, { groupMaxBytes: 3 * 80 });
    offer(1, 2, 1, 1, 4, 1);
    store.releaseAll();
    await clock.settle();
    expect(store.groups).toEqual([1, 3, 1, 4, 1]);
  });

  it('starts a second group only when enough waits, and never a third', () => {
    const { store, offer, writer, queue } = bench(100);
    offer(1, 4);
    expect(store.groups).toEqual([1]);
    offer(1);
    expect(store.groups).toEqual([1, 5]);
    offer(8, 8, 8);
    expect(store.groups).toEqual([1, 5]);
    expect([writer.ticksInFlight(), queue.depthTicks]).toEqual([6, 24]);
  });

  it('starts a second group with little in it once the oldest has waited long enough', async () => {
    const { store, offer, clock } = bench(100, { pipelineMaxWaitMs: 20 });
    offer(1, 1);
    await clock.advance(19);
    expect(store.groups).toEqual([1]);
    await clock.advance(1);
    expect(store.groups).toEqual([1, 1]);
  });

  it('gives a slow store one group at a time, and two again when it is quick', async () => {
    const b = bench(100);
    b.offer(1);
    await b.clock.advance(501);
    b.store.held[0]!.release();
    await b.clock.settle();
    b.offer(8, 8);
    expect(b.store.groups).toEqual([1, 8]);
    b.store.held[0]!.release();
    await b.clock.settle();
    b.offer(8);
    expect(b.store.groups).toEqual([1, 8, 8, 8]);
  });

  it('holds with its queue exactly the sum of their bounds, and refuses the next tick', () => {
    // 8 + 8 being written, 20 waiting. Seen failing: with `<=` for `<` on inFlightMaxGroups a third group left the
    // queue and 44 ticks were held.
    const { store, offer, writer, queue } = bench(20);
    let accepted = 0;
    for (let at = 0; at < 60; at += 1) accepted += Number(offer(8)[0]) * 8;
    for (let at = 0; at < 60; at += 1) accepted += Number(offer(1)[0]);
    expect(accepted).toBe(8 + 8 + 20);
    expect(writer.ticksInFlight() + queue.depthTicks).toBe(accepted);
    expect(store.held.length).toBe(2);
  });

  it('settles nothing before the store has answered', async () => {
    const b = bench();
    b.offer(5, 5);
    await b.clock.settle();
    expect(outcomes(b)).toEqual([undefined, undefined]);
    b.store.releaseAll();
    await b.clock.settle();
    expect(outcomes(b)).toEqual(['stored', 'stored']);
  });

  it('begins the next group before it tells the senders of this one, so that their credit counts what is in hand', async () => {
    // Seen failing: with the next group begun afterwards the 3 that were done were in hand, and 2 waited.
    const b = bench();
    b.offer(3, 1, 1);
    const inHand = b.deliveries[0]!.settlement.then(() => [b.writer.ticksInFlight(), b.queue.depthTicks]);
    b.store.held[0]!.release();
    expect(await inHand).toEqual([2, 0]);
  });

  it('is idle at once when nothing is held, and otherwise when the last delivery is settled', async () => {
    const b = bench();
    await b.writer.idle();
    b.offer(1, 1);
    const whenIdle = b.writer.idle().then(() => outcomes(b));
    b.store.held[0]!.release();
    await b.clock.settle();
    b.offer(1);
    b.store.releaseAll();
    expect(await whenIdle).toEqual(['stored', 'stored', 'stored']);
  });
});

describe('a writer whose store is away', () => {
  it.each([
    ['says so', (store: ControllableStore) => store.held[0]!.release(AWAY)],
    ['throws', (store: ControllableStore) => store.held[0]!.fail(new Error('a bug'))],
    ['throws what is no error', (store: ControllableStore) => store.held[0]!.fail('odd')],
    ['returns no results', (store: ControllableStore) => store.held[0]!.release({ ok: true, results: [] })],
  ])('puts the group back when the store %s, and writes it in its order when the store is back', async (_, end) => {
    const b = bench();
    b.offer(1, 1, 1);
    b.store.held[0]!.release();
    await b.clock.settle();
    end(b.store);
    await b.clock.settle();
    expect([b.writer.ticksInFlight(), b.queue.depthTicks]).toEqual([0, 2]);
    expect(outcomes(b)).toEqual(['stored', undefined, undefined]);
    b.store.releaseAll();
    await b.clock.advance(1_000);
    expect(outcomes(b)).toEqual(['stored', 'stored', 'stored']);
    expect(b.store.written.slice(-2)).toEqual(['b1', 'b2']);
  });

  it('tries again ever later, and opens the circuit after some failures in a row', async () => {
    const b = bench();
    b.store.releaseAll();
    b.store.outcome = () => AWAY;
    b.offer(1);
    const triedMs: number[] = [];
    const seen = new Set<number>();
    for (let ms = 0; ms < 3_000; ms += 10) {
      if (!seen.has(b.store.groups.length)) triedMs.push(ms);
      seen.add(b.store.groups.length);
      await b.clock.advance(10);
    }
    const waitsMs = triedMs.slice(1).map((ms, at) => ms - triedMs[at]!);
    expect(waitsMs.length).toBeGreaterThanOrEqual(3);
    expect(waitsMs.every((ms, at) => at === 0 || ms > waitsMs[at - 1]!)).toBe(true);
    expect(b.writer.circuit).toBe('open');
    expect(b.events.filter((event) => event !== 'circuit_half_open')).toEqual(['circuit_open']);
  });

  it('probes with the oldest delivery alone, and with one at a time', async () => {
    const b = bench(40, { callTimeoutMs: 60_000 });
    b.store.releaseAll();
    b.store.outcome = () => AWAY;
    b.offer(2, 3, 4);
    await b.clock.advance(1_000);
    expect(b.writer.circuit).toBe('open');
    b.store.holding = true;
    const before = b.store.groups.length;
    await b.clock.advance(CIRCUIT_DELAY_MAX_MS / 2);
    b.offer(8);
    expect(b.store.groups.slice(before)).toEqual([2]);
    expect(b.writer.circuit).toBe('half_open');
    b.store.held[0]!.release();
    await b.clock.settle();
    expect(b.writer.circuit).toBe('closed');
    b.store.outcome = (batches) => b.store.committed(batches);
    b.store.releaseAll();
    await b.clock.settle();
    expect(outcomes(b)).toEqual(['stored', 'stored', 'stored', 'stored']);
  });

  it('answers each sender by its deadline, and not before', async () => {
    const b = bench();
    b.store.releaseAll();
    b.store.outcome = () => AWAY;
    b.offer(1);
    await b.clock.advance(3_000);
    b.offer(1);
    await b.clock.advance(ANSWER_TIMEOUT_MS - 3_001);
    expect(outcomes(b)).toEqual([undefined, undefined]);
    await b.clock.advance(1);
    expect(outcomes(b)).toEqual(['store_unavailable', undefined]);
    await b.clock.advance(3_000);
    expect(outcomes(b)).toEqual(['store_unavailable', 'store_unavailable']);
    expect(b.queue.depthTicks).toBe(0);
  });

  it('answers by the deadline also while the store has the batch in hand, and hears the store out', async () => {
    // Seen failing: with the groups in flight left out of #expire the sender waited for ever.
    const b = bench(20, { callTimeoutMs: 60_000 });
    b.offer(1, 1);
    await b.clock.advance(ANSWER_TIMEOUT_MS);
    expect(outcomes(b)).toEqual(['store_unavailable', 'store_unavailable']);
    expect(b.writer.ticksInFlight()).toBe(1);
    b.offer(2);
    b.store.releaseAll();
    await b.clock.settle();
    expect(outcomes(b)).toEqual(['store_unavailable', 'store_unavailable', 'stored']);
  });

  it('answers each of a group that the store has in hand by its own deadline', async () => {
    // Seen failing: with a timer for the first of the group alone, the second waited for the end of the call.
    const b = bench(20, { callTimeoutMs: 60_000 });
    b.offer(1, 1);
    await b.clock.advance(1_000);
    b.offer(1);
    b.store.held[0]!.release();
    await b.clock.settle();
    expect(b.store.groups).toEqual([1, 2]);
    await b.clock.advance(ANSWER_TIMEOUT_MS - 1_000);
    expect(outcomes(b)).toEqual(['stored', 'store_unavailable', undefined]);
    await b.clock.advance(1_000);
    expect(outcomes(b)).toEqual(['stored', 'store_unavailable', 'store_unavailable']);
  });

  it('gives up a call that the store does not end, and its place with it', async () => {
    const b = bench();
    b.offer(1);
    await b.clock.advance(BOUNDS.callTimeoutMs);
    expect([b.writer.ticksInFlight(), b.queue.depthTicks]).toEqual([0, 1]);
    b.store.holding = false;
    await b.clock.advance(1_000);
    expect(outcomes(b)).toEqual(['stored']);
  });

  it('counts as its own what an attempt stored whose end nobody heard', async () => {
    const b = bench();
    b.offer(3);
    b.store.held[0]!.loseAnswer();
    await b.clock.settle();
    b.store.releaseAll();
    await b.clock.advance(1_000);
    expect(b.ends[0]).toMatchObject({ outcome: 'stored', again: false, receipt: { stored: 3 } });
  });

  it('with nothing to write asks the store whether it is back, and then admits a probe', async () => {
    const b = await awayAndIdle();
    expect([b.queue.isEmpty, b.writer.circuit]).toEqual([true, 'open']);
    await b.clock.advance(2 * CIRCUIT_DELAY_MAX_MS);
    expect(b.store.checks).toBeGreaterThanOrEqual(2);
    b.store.checkFailure = null;
    await b.clock.advance(CIRCUIT_DELAY_MAX_MS);
    expect(b.writer.circuit).toBe('half_open');
    b.store.outcome = (batches) => b.store.committed(batches);
    b.offer(1);
    await b.clock.settle();
    expect([b.writer.circuit, outcomes(b)[1]]).toEqual(['closed', 'stored']);
  });

  // Seen failing: half open for ever, at level soft, and in the way of scaling in.
  it('with nothing to write goes on when two checks in a row went well, and back when the second did not', async () => {
    const b = await awayAndIdle();
    const checked = async (failure: typeof AWAY | null): Promise<string> => {
      b.store.checkFailure = failure;
      const { checks } = b.store;
      while (b.store.checks === checks) await b.clock.advance(100);
      return b.writer.circuit;
    };
    expect(await checked(AWAY)).toBe('open');
    expect(await checked(null)).toBe('half_open');
    expect(await checked(AWAY)).toBe('open');
    expect(await checked(null)).toBe('half_open');
    expect(await checked(null)).toBe('closed');
    const { checks } = b.store;
    await b.clock.advance(60_000);
    expect(b.store.checks).toBe(checks);
  });

  it('meets a store that hangs with checks alone, and stays open until one has ended well', async () => {
    // Seen failing: with a batch for each probe the circuit was half open as long as one hung, and let others in.
    const b = bench();
    b.store.releaseAll();
    b.store.outcome = () => AWAY;
    b.store.checkFailure = AWAY;
    b.offer(1, 1);
    await b.clock.advance(2_000);
    const tried = b.store.groups.length;
    b.store.check = () => new Promise(() => undefined);
    for (let ms = 0; ms < 5_900; ms += 100) {
      await b.clock.advance(100);
      expect(b.writer.circuit).toBe('open');
    }
    expect(b.store.groups).toHaveLength(tried);
    b.store.check = () => Promise.resolve(null);
    b.store.outcome = (batches) => b.store.committed(batches);
    b.offer(1);
    await b.clock.advance(BOUNDS.callTimeoutMs + CIRCUIT_DELAY_MAX_MS);
    expect([b.writer.circuit, outcomes(b).at(-1)]).toEqual(['closed', 'stored']);
  });

  it('opens the circuit for a store that throws at everything, and blames no tick for it', async () => {
    // Seen failing: with the second throw taken for the batch's fault the circuit closed again, and a store that came
    // back in the middle of the search had good ticks set aside.
    const b = bench();
    b.store.releaseAll();
    b.store.outcome = throwing;
    b.store.check = throwing;
    b.offer(1, 2, 2);
    await b.clock.advance(1_000);
    for (let ms = 0; ms < 2_000; ms += 100) {
      expect(b.writer.circuit).toBe('open');
      await b.clock.advance(100);
    }
    b.store.check = () => Promise.resolve(null);
    b.store.outcome = (batches) => b.store.committed(batches);
    await b.clock.advance(4_900);
    expect(b.ends).toMatchObject([1, 2, 2].map((stored) => ({ outcome: 'stored', receipt: { stored, rejected: [] } })));
    expect(b.events).not.toContain('ticks_unstorable');
  });

  it('does not try a store that says of itself that it is not open, and goes on when it is', async () => {
    const b = bench();
    b.store.releaseAll();
    b.store.isOpen = false;
    b.offer(1);
    expect(b.writer.circuit).toBe('open');
    await b.clock.advance(3_000);
    expect(b.store.groups).toEqual([]);
    b.store.isOpen = true;
    await b.clock.advance(200);
    expect(outcomes(b)).toEqual(['stored']);
  });

  it('told to give up answers everybody, waiting or in the hands of the store', async () => {
    const b = bench();
    b.offer(1, 1, 1);
    b.writer.abandon('the pod has to end');
    await b.clock.settle();
    const told = { outcome: 'store_unavailable', detail: 'the pod has to end' };
    expect(b.ends).toEqual([told, told, told]);
  });
});

describe('a writer whose store is in the way of itself', () => {
  it('tries the same group again after a moment, without opening the circuit', async () => {
    const b = bench();
    b.store.releaseAll();
    let busy = CONTENTION_ATTEMPTS_MAX - 1;
    b.store.outcome = (batches) => ((busy -= 1) >= 0 ? BUSY : b.store.committed(batches));
    b.offer(3);
    await b.clock.advance(500);
    expect(outcomes(b)).toEqual(['stored']);
    expect(b.store.groups).toEqual(Array(CONTENTION_ATTEMPTS_MAX).fill(3));
    expect(b.writer.circuit).toBe('closed');
  });

  it('that lasts writes the deliveries of the group one by one', async () => {
    const b = bench();
    b.offer(1, 2, 2);
    b.store.held[0]!.release();
    b.store.holding = false;
    b.store.outcome = (batches) => (batches.length > 1 ? BUSY : b.store.committed(batches));
    await b.clock.advance(1_000);
    expect(outcomes(b)).toEqual(['stored', 'stored', 'stored']);
  });
});

describe('a writer whose store will not have a tick', () => {
  it.each([[[4]], [[0]], [[9]], [[0, 9]], [[2, 3, 7]], [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]])(
    'sets aside the ticks at %j of ten, and stores all others, its neighbours in the group too',
    async (places) => {
      const b = bench(40, { groupMaxTicks: 30, pipelineMinTicks: 30 });
      b.offer(1, 5, 10, 5);
      b.store.held[0]!.release();
      b.store.holding = false;
      refusing(b, 'b2', places);
      await b.clock.advance(1_000);
      expect(outcomes(b)).toEqual(['stored', 'stored', 'stored', 'stored']);
      expect(b.ends[2]).toMatchObject({
        receipt: { stored: 10 - places.length, rejected: places.map((index) => ({ index, reason: 'unstorable' })) },
      });
      const bytes = unpackTicks(b.store.lastOf('b2')!.rejectedBytes).map((one) => new TextDecoder().decode(one.bytes));
      expect(bytes).toEqual(places.map((place) => `tick ${place}`));
      expect(b.writer.circuit).toBe('closed');
      expect(b.events).toEqual(['ticks_unstorable']);
    },
  );

  it('sets the whole batch aside when only the commit shows that something is wrong', async () => {
    const b = bench();
    b.store.releaseAll();
    b.store.outcome = (batches) =>
      b.store.rehearsing || batches[0]!.columns.trades === null ? b.store.committed(batches) : BAD;
    b.offer(3);
    await b.clock.advance(1_000);
    expect(b.ends[0]).toMatchObject({ receipt: { stored: 0, rejected: [{ index: 0 }, { index: 1 }, { index: 2 }] } });
  });

  it('refuses a batch of which the store takes not even the dead letters, and goes on', async () => {
    const b = bench();
    b.store.releaseAll();
    b.store.outcome = (batches) => (batches[0]!.batchId === 'b0' ? BAD : b.store.committed(batches));
    b.offer(3, 1);
    await b.clock.advance(1_000);
    expect(outcomes(b)).toEqual(['store_unavailable', 'stored']);
    expect(b.writer.circuit).toBe('closed');
  });

  it('waits with the batch when the store goes away in the middle of the search', async () => {
    const b = bench();
    b.store.releaseAll();
    let calls = 0;
    b.store.outcome = (batches) => {
      calls += 1;
      if (calls > 3 && calls < 8) return AWAY;
      return batches.some(({ columns }) => columns.trades?.index.includes(1)) ? BAD : b.store.committed(batches);
    };
    b.offer(4);
    await b.clock.advance(ANSWER_TIMEOUT_MS - 1);
    expect(b.ends[0]).toMatchObject({ outcome: 'stored', receipt: { stored: 3, rejected: [{ index: 1 }] } });
  });

  it('isolates also the tick with which the store throws', async () => {
    const b = bench();
    b.store.releaseAll();
    b.store.outcome = (batches) => {
      if (batches.some(({ columns }) => columns.trades?.index.includes(2))) throw new Error('a bug');
      return b.store.committed(batches);
    };
    b.offer(4);
    await b.clock.advance(ANSWER_TIMEOUT_MS - 1);
    expect(b.ends[0]).toMatchObject({ outcome: 'stored', receipt: { stored: 3, rejected: [{ index: 2 }] } });
  });
});

describe('a writer under faults', () => {
  const seed = newSeed();
  it(`settles every delivery exactly once and goes on, whatever the store does at random (MDP_TEST_SEED=${seed})`, async () => {
    // Seen failing: with the catch in #run left without its putting back, deliveries of most runs never ended.
    const random = randomFrom(seed);
    const b = bench(30);
    for (let step = 0; step < 500; step += 1) {
      b.offer(random.between(1, 10));
      if (random.chance(0.5) && b.store.held.length > 0) {
        const held = random.pick(b.store.held);
        const fate = random.below(7);
        if (fate === 0) held.release(AWAY);
        else if (fate === 1) held.release(BUSY);
        else if (fate === 2) held.release(BAD);
        else if (fate === 3) held.fail(new Error('no'));
        else if (fate === 4) held.release({ ok: true, results: [] });
        else held.release();
      }
      await b.clock.advance(random.below(200));
      expect(b.writer.ticksInFlight()).toBeLessThanOrEqual(2 * 10);
    }
    b.store.releaseAll();
    b.store.outcome = (batches) => b.store.committed(batches);
    await b.clock.advance(ANSWER_TIMEOUT_MS + BOUNDS.callTimeoutMs);
    expect(b.ends.filter((end) => end === undefined)).toEqual([]);
    expect(b.ends.filter((end) => end?.outcome === 'stored').length).toBeGreaterThan(20);
    expect([b.writer.ticksInFlight(), b.queue.depthTicks]).toEqual([0, 0]);
    b.offer(1);
    await b.clock.advance(CIRCUIT_DELAY_MAX_MS);
    expect([b.writer.circuit, outcomes(b).at(-1)]).toEqual(['closed', 'stored']);
  });
});
