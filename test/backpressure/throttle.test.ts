import { describe, expect, it } from 'vitest';
import type { Observed } from '../../pipeline/backpressure/throttle.ts';
import { Throttle, UNLISTED_PROVIDERS_MAX } from '../../pipeline/backpressure/throttle.ts';
import { type Level, RATE_SCALE } from '../../pipeline/contract/level.ts';
import { queueOf } from '../support/queue-view.ts';
import { newSeed, randomFrom } from '../support/random.ts';

const LISTED = new Map([['ibkr', { ticksPerSecond: 1_000, burst: 2_000 }]]);
const OTHER = { ticksPerSecond: 10, burst: 20 };
const ALL_WELL: Observed = { queue: queueOf({}), circuit: 'closed', feedback: 'ok', memoryShare: 0 };

function throttle(rateScale: Readonly<Record<Level, number>> = RATE_SCALE): Throttle {
  const one = new Throttle(LISTED, OTHER, rateScale);
  one.observe(ALL_WELL);
  return one;
}

/** Brings the pod to a level by what a foreign store says: it concerns everybody, whatever waits. */
function say(one: Throttle, feedback: Level): void {
  one.observe({ ...ALL_WELL, feedback });
}

const NEVER = Number.POSITIVE_INFINITY;

describe('a throttle', () => {
  it('keeps the reason of the queue while the store is away, and falls back to it', () => {
    const one = throttle();
    const seen: Level[] = [];
    for (const [ticks, circuit] of [
      [6_000, 'open'],
      [3_000, 'open'],
      [3_000, 'half_open'],
      [3_000, 'closed'],
      [1_000, 'half_open'],
      [1_000, 'closed'],
    ] as const) {
      one.observe({ ...ALL_WELL, queue: queueOf({ ibkr: ticks }), circuit });
      seen.push(one.level);
    }
    expect(seen.join(' ')).toBe('hard hard soft soft soft ok');
  });

  it('looks at bytes as at ticks, whichever are nearer to their limit', () => {
    const one = throttle();
    const queue = queueOf({ ibkr: 100 }, 10_000, { depthBytes: 60, capacityBytes: 100 });
    one.observe({ ...ALL_WELL, queue });
    expect([one.level, one.levelOf('ibkr'), one.creditOf('ibkr')]).toEqual(['soft', 'soft', 0]);
  });

  it('takes its scales from the settings', () => {
    const one = throttle({ ok: 0.8, soft: 0.4, hard: 0.1 });
    const seen = (['ok', 'soft', 'hard'] as const).map((level) => (say(one, level), one.rateScale));
    expect(seen).toEqual([0.8, 0.4, 0.1]);
  });

  it('shows quota and remainder as the level scales them', () => {
    const one = throttle();
    one.admit('ibkr', 500, 0);
    const shown = (['ok', 'soft', 'hard'] as const).map((level) => (say(one, level), one.admission('ibkr', 0)));
    expect(shown).toEqual([
      { level: 'ok', rateScale: 1, quotaTicksPerSecond: 1_000, remainingTicks: 1_500 },
      { level: 'soft', rateScale: 0.5, quotaTicksPerSecond: 500, remainingTicks: 1_000 },
      { level: 'hard', rateScale: 0, quotaTicksPerSecond: 0, remainingTicks: 0 },
    ]);
  });

  it('gives back what was refused after all, to both accounts, and never more than the burst', () => {
    const one = throttle();
    one.admit('ibkr', 2_000, 0);
    one.giveBack('ibkr', 500, 0);
    expect(one.admission('ibkr', 0).remainingTicks).toBe(500);
    say(one, 'hard');
    expect(one.admit('ibkr', 500, 0)).toMatchObject({ why: 'backpressure' });
    say(one, 'ok');
    one.giveBack('ibkr', 9_000, 0);
    expect(one.admission('ibkr', 0).remainingTicks).toBe(2_000);
  });

  it('keeps a bounded number of budgets for names nobody listed; the rest share one', () => {
    const one = throttle();
    for (let at = 0; at < UNLISTED_PROVIDERS_MAX; at += 1) {
      expect(one.admit(`name-${at}`, 20, 0).ok).toBe(true);
    }
    one.admit('ibkr', 1, 0);
    // One place more is there for each listed provider: the first strangers after it find none.
    expect(one.admit('late-1', 20, 0).ok).toBe(true);
    expect(one.admit('late-2', 1, 0).ok).toBe(false);
    expect(one.admit('late-3', 1, 0).ok).toBe(false);
    expect(one.admit('ibkr', 1_000, 0).ok).toBe(true);
    expect(one.admit('name-0', 1, 100).ok).toBe(true);
  });

  it('finds room for a listed provider even when strangers came first', () => {
    const one = throttle();
    for (let at = 0; at < UNLISTED_PROVIDERS_MAX * 2; at += 1) one.admit(`name-${at}`, 1, 0);
    expect(one.admit('ibkr', 2_000, 0)).toEqual({ ok: true });
  });

  it('keeps no account for whoever is only told what he may push, so that nobody uses up those of others', () => {
    // Seen failing: the names of requests that were refused for their signature had one each.
    const one = throttle();
    for (let at = 0; at < UNLISTED_PROVIDERS_MAX * 2; at += 1) {
      expect(one.admission(`nobody-${at}`, 0)).toMatchObject({ remainingTicks: OTHER.burst });
    }
    for (const provider of ['first', 'second']) expect(one.admit(provider, OTHER.burst, 0)).toEqual({ ok: true });
  });
});

describe('the blame for a refusal', () => {
  it('is the provider’s, at any level, when full scale would have refused too', () => {
    // Seen failing: with the level alone deciding, the second and third were blamed on the system.
    const one = throttle();
    expect(one.admit('ibkr', 2_000, 0)).toEqual({ ok: true });
    expect(one.admit('ibkr', 100, 0)).toEqual({ ok: false, why: 'over-budget', retryAfterSeconds: 0.1 });
    say(one, 'soft');
    expect(one.admit('ibkr', 100, 0)).toEqual({ ok: false, why: 'over-budget', retryAfterSeconds: 0.2 });
    say(one, 'hard');
    expect(one.admit('ibkr', 100, 0)).toEqual({ ok: false, why: 'over-budget', retryAfterSeconds: 0.1 });
  });

  it('is the system’s when full scale would have admitted it, and no longer than that', () => {
    const one = throttle();
    say(one, 'soft');
    expect(one.admit('ibkr', 1_000, 0)).toEqual({ ok: true });
    expect(one.admit('ibkr', 900, 0)).toEqual({ ok: false, why: 'backpressure', retryAfterSeconds: 1.8 });
    expect(one.admit('ibkr', 900, 0)).toEqual({ ok: false, why: 'over-budget', retryAfterSeconds: 1.8 });
    say(one, 'hard');
    expect(one.admit('ibkr', 100, 0)).toEqual({ ok: false, why: 'backpressure', retryAfterSeconds: NEVER });
    expect(one.admit('ibkr', 100, 0)).toEqual({ ok: false, why: 'over-budget', retryAfterSeconds: 0.1 });
  });

  it('is the system’s still, where a level that has gone left too little', () => {
    const one = throttle();
    say(one, 'hard');
    one.admit('ibkr', 1, 0);
    say(one, 'ok');
    expect(one.admit('ibkr', 1_500, 0)).toEqual({ ok: false, why: 'backpressure', retryAfterSeconds: 1.5 });
  });

  const seed = newSeed();
  it(`never falls on a provider within its budget, and never beyond its budget on the system (MDP_TEST_SEED=${seed})`, () => {
    // Seen failing: with the full account spending only what was admitted, 20 times the budget came back as the
    // system's fault; with it not spending what the scaled one let through, both together passed the budget.
    const random = randomFrom(seed);
    for (let round = 0; round < 20; round += 1) {
      const one = throttle();
      const flood = random.pick([0.9, 3, 20]);
      let nowMs = 0;
      let admitted = 0;
      let blamedOnUs = 0;
      let blamedOnThem = 0;
      for (let step = 0; step < 5_000; step += 1) {
        if (random.chance(0.05)) say(one, random.pick(['ok', 'soft', 'hard']));
        const ticks = random.between(1, 100);
        nowMs += ticks / flood;
        const outcome = one.admit('ibkr', ticks, nowMs);
        if (outcome.ok) admitted += ticks;
        else if (outcome.why === 'backpressure') blamedOnUs += ticks;
        else blamedOnThem += ticks;
        // A burst for each account, and the rate once.
        expect(admitted + blamedOnUs).toBeLessThanOrEqual(2 * 2_000 + nowMs + 1e-6);
      }
      expect(blamedOnThem > 0).toBe(flood > 1);
    }
  });
});
