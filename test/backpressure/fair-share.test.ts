/** Whose queue it is that is full, and what room that leaves to whom. */

import { describe, expect, it } from 'vitest';
import { creditTicks, providerShare, queueFill, queueShare } from '../../pipeline/backpressure/fair-share.ts';
import type { Budget } from '../../pipeline/backpressure/token-bucket.ts';
import { Throttle } from '../../pipeline/backpressure/throttle.ts';
import { WATERMARKS } from '../../pipeline/backpressure/watermark.ts';
import { RATE_SCALE } from '../../pipeline/contract/level.ts';
import { queueOf } from '../support/queue-view.ts';
import { newSeed, randomFrom } from '../support/random.ts';

const seed = newSeed();

describe('a provider’s share of the queue', () => {
  it('is the whole for who has most, and in proportion for the others', () => {
    const fill = queueFill(queueOf({ flood: 8_000, other: 1_000 }));
    expect([8_000, 1_000, 0].map((ticks) => providerShare(fill, ticks))).toEqual([0.9, 0.1125, 0]);
    expect(providerShare(queueFill(queueOf({})), 0)).toBe(0);
  });

  it('counts bytes where they are nearer to their limit', () => {
    const inBytes = queueFill(queueOf({ a: 100 }, 10_000, { depthBytes: 75, capacityBytes: 100 }));
    expect([inBytes.capacityTicks, queueShare(inBytes)].map((value) => value.toFixed(4))).toEqual([
      '133.3333',
      '0.7500',
    ]);
    expect(queueShare(queueFill(queueOf({ a: 100 }, 10_000, { depthBytes: 1, capacityBytes: 1_000 })))).toBe(0.01);
  });

  it(`bites somebody at every mark, and nobody within an equal part of it (MDP_TEST_SEED=${seed})`, () => {
    // Seen failing: with `ownTicks / depthTicks` for the proportion, nobody saw the queue as full as it was.
    const random = randomFrom(seed);
    for (let run = 0; run < 2_000; run += 1) {
      const names = Array.from({ length: random.between(1, 20) }, (_, at) => `p${at}`);
      const held = Object.fromEntries(names.map((name) => [name, random.between(1, random.pick([5, 100, 2_000]))]));
      const queue = queueOf(held, random.between(1, 20_000));
      const fill = queueFill(queue);
      const whole = queueShare(fill);
      const shares = names.map((name) => ({ ticks: held[name]!, share: providerShare(fill, held[name]!) }));
      expect(Math.max(...shares.map(({ share }) => share))).toBe(whole);
      for (const mark of [WATERMARKS.softFrom, WATERMARKS.hardFrom]) {
        const within = shares.filter(({ ticks }) => ticks < (queue.capacityTicks * mark) / names.length);
        expect(within.filter(({ share }) => share >= mark)).toEqual([]);
      }
    }
  });
});

describe('the credit', () => {
  it.each([
    ['an empty queue', { depthTicks: 0, capacityTicks: 10_000, deepestTicks: 0 }, 0, 4_999],
    ['a queue of its own', { depthTicks: 3_000, capacityTicks: 10_000, deepestTicks: 3_000 }, 3_000, 1_999],
    ['one tick below the mark', { depthTicks: 4_999, capacityTicks: 10_000, deepestTicks: 4_999 }, 4_999, 0],
    ['the mark', { depthTicks: 5_000, capacityTicks: 10_000, deepestTicks: 5_000 }, 5_000, 0],
    ['more than the mark', { depthTicks: 9_999, capacityTicks: 10_000, deepestTicks: 9_999 }, 9_999, 0],
    ['more than there can be', { depthTicks: 12_000, capacityTicks: 10_000, deepestTicks: 12_000 }, 12_000, 0],
    ['another’s queue below the mark', { depthTicks: 3_000, capacityTicks: 10_000, deepestTicks: 3_000 }, 0, 1_999],
    ['another’s flood', { depthTicks: 8_000, capacityTicks: 10_000, deepestTicks: 8_000 }, 0, 2_000],
    [
      'another’s flood, beside a part of its own',
      { depthTicks: 8_000, capacityTicks: 10_000, deepestTicks: 6_000 },
      2_000,
      999,
    ],
    ['a queue without room', { depthTicks: 10_000, capacityTicks: 10_000, deepestTicks: 9_000 }, 1_000, 0],
    ['a queue of three', { depthTicks: 0, capacityTicks: 3, deepestTicks: 0 }, 0, 1],
    ['a capacity in bytes', { depthTicks: 10, capacityTicks: 33.4, deepestTicks: 10 }, 10, 6],
  ])('with %s is what can be added without leaving ok', (_what, fill, ownTicks, credit) => {
    expect(creditTicks(fill, ownTicks)).toBe(credit);
  });

  it(`never makes a level leave ok when it is used, and is whole and not negative (MDP_TEST_SEED=${seed})`, () => {
    // Seen failing: with the mark itself given away (no "- 1"), at the first queue of one provider.
    const random = randomFrom(seed);
    let given = 0;
    for (let run = 0; run < 5_000; run += 1) {
      const held = { own: random.below(3_000), flood: random.below(8_000), third: random.below(1_000) };
      const capacityTicks = random.between(1, 20_000);
      const one = new Throttle(new Map(), { ticksPerSecond: 1, burst: 1 }, RATE_SCALE);
      const observe = (ticks: number): void =>
        one.observe({
          queue: queueOf({ ...held, own: held.own + ticks }, capacityTicks),
          circuit: 'closed',
          feedback: 'ok',
          memoryShare: 0,
        });
      observe(0);
      const credit = one.creditOf('own');
      expect(Number.isInteger(credit) && credit >= 0).toBe(true);
      if (credit === 0) continue;
      given += 1;
      observe(credit);
      expect(one.levelOf('own'), JSON.stringify({ held, capacityTicks, credit })).toBe('ok');
      expect(held.own + held.flood + held.third + credit).toBeLessThanOrEqual(capacityTicks);
    }
    expect(given).toBeGreaterThan(500);
  });
});

/** A pod's queue before a store that writes at most `storeTicksPerSecond`, in groups, first in first out. */
class SlowPod {
  readonly throttle: Throttle;
  readonly everHard = new Set<string>();
  readonly #held: { provider: string; ticks: number }[] = [];
  readonly #ticks: Record<string, number> = {};
  readonly #storeTicksPerSecond: number;
  #writerFreeMs = 0;
  idleMs = 0;

  constructor(budgets: ReadonlyMap<string, Budget>, storeTicksPerSecond: number) {
    this.throttle = new Throttle(budgets, { ticksPerSecond: 1, burst: 1 }, RATE_SCALE);
    this.#storeTicksPerSecond = storeTicksPerSecond;
  }

  offer(provider: string, ticks: number, nowMs: number): 'admitted' | 'over-budget' | 'backpressure' | 'no-room' {
    this.#observe();
    const outcome = this.throttle.admit(provider, ticks, nowMs);
    if (this.throttle.levelOf(provider) === 'hard') this.everHard.add(provider);
    if (!outcome.ok) return outcome.why;
    const queue = queueOf(this.#ticks);
    if (queue.depthTicks + ticks > queue.capacityTicks) {
      this.throttle.giveBack(provider, ticks, nowMs);
      return 'no-room';
    }
    this.#held.push({ provider, ticks });
    this.#ticks[provider] = (this.#ticks[provider] ?? 0) + ticks;
    return 'admitted';
  }

  write(nowMs: number): void {
    if (nowMs < this.#writerFreeMs) return;
    if (this.#held.length === 0) this.idleMs += 1;
    let written = 0;
    while (this.#held.length > 0 && (written === 0 || written + this.#held[0]!.ticks <= 2_000)) {
      const { provider, ticks } = this.#held.shift()!;
      this.#ticks[provider]! -= ticks;
      written += ticks;
    }
    this.#writerFreeMs = nowMs + (written * 1_000) / this.#storeTicksPerSecond;
  }

  #observe(): void {
    this.throttle.observe({ queue: queueOf(this.#ticks), circuit: 'closed', feedback: 'ok', memoryShare: 0 });
  }
}

describe('a flood', () => {
  it.each([
    ['20 times a budget that the store can take', 2_000, 40_000, 100],
    ['20 times a budget above what the store can take', 20_000, 400_000, 100],
    ['as large, in batches of 700', 20_000, 400_000, 700],
    ['as large, in batches of 4,000', 20_000, 400_000, 4_000],
    ['without a budget to speak of', 1_000_000, 500_000, 1_000],
  ])('of %s leaves the others all of theirs (MDP_TEST_SEED=' + seed + ')', (_what, budget, offered, batchTicks) => {
    // Seen failing: with one level for all, in the four rows whose flood fills the queue; with the flood let beyond the
    // hard mark, in the last one. Not caught: a flood in batches of over 0.4 of the capacity, which one of them fills.
    const random = randomFrom(seed);
    const others = ['a', 'b', 'c'];
    const own = { ticksPerSecond: 400, burst: 800 };
    const budgets = new Map<string, Budget>(others.map((name) => [name, own]));
    budgets.set('flood', { ticksPerSecond: budget, burst: budget });
    const pod = new SlowPod(budgets, 5_000);
    const fates: Record<string, number> = {};
    const refused: string[] = [];
    let owed = 0;
    for (let nowMs = 0; nowMs < 30_000; nowMs += 1) {
      for (owed += offered / 1_000; owed >= batchTicks; owed -= batchTicks) {
        const fate = pod.offer('flood', batchTicks, nowMs);
        fates[fate] = (fates[fate] ?? 0) + batchTicks;
      }
      for (const name of others) {
        // 200 ticks a second each, a twelfth of the store's speed together.
        if (!random.chance(0.01)) continue;
        const fate = pod.offer(name, 20, nowMs);
        if (fate !== 'admitted') refused.push(`${name} at ${nowMs} ms: ${fate}, ${pod.throttle.levelOf(name)}`);
      }
      pod.write(nowMs);
    }
    expect(refused).toEqual([]);
    const floods = budget > 5_000;
    expect([...pod.everHard], 'the flood reaches the hard mark, and nobody else does').toEqual(floods ? ['flood'] : []);
    expect(fates['admitted']).toBeGreaterThan(Math.min(budget, 4_000) * 30 * 0.95);
    // Of 30,000 ms; a flood that the store can take leaves it idle most of the time.
    expect(pod.idleMs, 'the store is kept busy').toBeLessThan(floods ? 300 : 30_000);
    // What the edge would hold for it is what its budget lacked by our fault, and no more.
    expect((fates['backpressure'] ?? 0) + fates['admitted']!).toBeLessThanOrEqual(budget * 32 + batchTicks);
    expect(fates['over-budget'] ?? 0).toBeGreaterThanOrEqual((offered - budget) * 29);
  });
});
