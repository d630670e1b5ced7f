import { describe, expect, it } from 'vitest';
import { BoundedQueue, type Sized } from '../../pipeline/queue/bounded-queue.ts';
import { newSeed, randomFrom } from '../support/random.ts';

interface Item extends Sized {
  name: number;
}

function item(ticks: number, bytes = 1, name = 0, provider = 'ibkr'): Item {
  return { name, provider, ticks, bytes };
}

describe('a bounded queue', () => {
  it('holds exactly its capacity in ticks, and not one more', () => {
    const queue = new BoundedQueue<Item>(10, 1_000);
    expect([queue.offer(item(7)), queue.offer(item(3)), queue.offer(item(1))]).toEqual([true, true, false]);
    expect(queue.depthTicks).toBe(10);
  });

  it('holds exactly its capacity in bytes, and not one more', () => {
    const queue = new BoundedQueue<Item>(1_000, 10);
    expect([queue.offer(item(1, 7)), queue.offer(item(1, 3)), queue.offer(item(1, 1))]).toEqual([true, true, false]);
    expect(queue.depthBytes).toBe(10);
  });

  it('refuses a delivery that would overfill it whole, and is unchanged', () => {
    const queue = new BoundedQueue<Item>(10, 100);
    queue.offer(item(6, 60, 1));
    expect([queue.offer(item(5, 1, 2)), queue.offer(item(1, 41, 3))]).toEqual([false, false]);
    expect([queue.depthTicks, queue.depthBytes]).toEqual([6, 60]);
    expect(queue.take(100).map(({ name }) => name)).toEqual([1]);
    expect([queue.depthTicks, queue.depthBytes, queue.isEmpty]).toEqual([0, 0, true]);
  });

  it('takes a smaller delivery after refusing a larger one', () => {
    const queue = new BoundedQueue<Item>(10, 100);
    queue.offer(item(8));
    expect([queue.offer(item(3)), queue.offer(item(2))]).toEqual([false, true]);
  });

  it('gives whole deliveries of at most as many ticks as asked for', () => {
    const queue = new BoundedQueue<Item>(100, 100);
    for (const [at, ticks] of [4, 4, 3, 1].entries()) queue.offer(item(ticks, 1, at));
    expect(queue.take(10).map(({ name }) => name)).toEqual([0, 1]);
    expect(queue.take(3).map(({ name }) => name)).toEqual([2]);
    expect([queue.depthTicks, queue.depthBytes]).toEqual([1, 1]);
  });

  it('gives one delivery even when it alone is more than asked for', () => {
    const queue = new BoundedQueue<Item>(100, 100);
    queue.offer(item(50, 1, 1));
    queue.offer(item(1, 1, 2));
    expect(queue.take(10).map(({ name }) => name)).toEqual([1]);
  });

  it('gives nothing when it is empty', () => {
    expect(new BoundedQueue<Item>(1, 1).take(10)).toEqual([]);
  });

  it('gives whole deliveries of at most as many bytes as asked for', () => {
    const queue = new BoundedQueue<Item>(100, 100);
    for (const [at, bytes] of [40, 40, 30].entries()) queue.offer(item(1, bytes, at));
    expect(queue.take(100, 80).map(({ name }) => name)).toEqual([0, 1]);
  });

  it('puts back what was taken at its old place, though there is no room for it any more', () => {
    const queue = new BoundedQueue<Item>(10, 100);
    for (const at of [0, 1, 2]) queue.offer(item(3, 1, at));
    const [first, second] = [queue.take(3), queue.take(3)];
    for (const at of [3, 4]) expect(queue.offer(item(3, 1, at))).toBe(true);
    queue.putBack(first);
    queue.putBack(second);
    expect([queue.depthTicks, queue.offer(item(1))]).toEqual([15, false]);
    expect(queue.oldest?.name).toBe(0);
    expect(queue.take(100).map(({ name }) => name)).toEqual([0, 1, 2, 3, 4]);
  });

  it('gives up from the oldest on what is over, and stops at the first that is not', () => {
    const queue = new BoundedQueue<Item>(100, 100);
    for (const [at, ticks] of [1, 1, 5, 1].entries()) queue.offer(item(ticks, 1, at));
    expect(queue.takeOver(({ ticks }) => ticks === 1).map(({ name }) => name)).toEqual([0, 1]);
    expect(queue.depthTicks).toBe(6);
  });

  it('knows whose ticks wait, and how many of him of whom most do', () => {
    const queue = new BoundedQueue<Item>(100, 100);
    expect([queue.deepestTicks, queue.depthTicksOf('a')]).toEqual([0, 0]);
    queue.offer(item(5, 1, 0, 'a'));
    queue.offer(item(4, 1, 1, 'b'));
    queue.offer(item(3, 1, 2, 'b'));
    expect([queue.deepestTicks, queue.depthTicksOf('a'), queue.depthTicksOf('b')]).toEqual([7, 5, 7]);
    queue.take(9);
    expect([queue.deepestTicks, queue.depthTicksOf('a'), queue.depthTicksOf('b')]).toEqual([3, 0, 3]);
  });

  const seed = newSeed();
  it(`does what a plain list does, on a random walk of 20,000 steps (MDP_TEST_SEED=${seed})`, () => {
    // Seen failing: with `capacityTicks + 1` in offer; and with `ticks > maxTicks`, without the next delivery's, in
    // take, which gave two deliveries where the list gave one. It does not catch memory kept by what was taken.
    const random = randomFrom(seed);
    for (let round = 0; round < 20; round += 1) {
      const capacityTicks = random.between(1, 60);
      const capacityBytes = random.between(1, 60);
      const queue = new BoundedQueue<Item>(capacityTicks, capacityBytes);
      const model: Item[] = [];
      const total = (of: 'ticks' | 'bytes'): number => model.reduce((sum, one) => sum + one[of], 0);
      for (let step = 0; step < 1_000; step += 1) {
        let answer: boolean | Item[];
        let expected: boolean | Item[];
        if (random.chance(0.6)) {
          const offered = item(random.between(0, 20), random.between(0, 20), step);
          const fits =
            total('ticks') + offered.ticks <= capacityTicks && total('bytes') + offered.bytes <= capacityBytes;
          answer = queue.offer(offered);
          expected = fits;
          if (fits) model.push(offered);
        } else {
          const maxTicks = random.between(0, 30);
          const taken: Item[] = [];
          let ticks = 0;
          while (model.length > 0 && (taken.length === 0 || ticks + model[0]!.ticks <= maxTicks)) {
            ticks += model[0]!.ticks;
            taken.push(model.shift()!);
          }
          answer = queue.take(maxTicks);
          expected = taken;
        }
        expect(answer, `step ${step}`).toEqual(expected);
        const seen = [queue.depthTicks, queue.depthBytes, queue.isEmpty];
        expect(seen, `step ${step}`).toEqual([total('ticks'), total('bytes'), model.length === 0]);
      }
    }
  });
});
