import { describe, expect, it } from 'vitest';
import { Throttle, UNLISTED_PROVIDERS_MAX } from '../../pipeline/backpressure/throttle.ts';
import { type Level, RATE_SCALE } from '../../pipeline/contract/level.ts';

const LISTED = new Map([['ibkr', { ticksPerSecond: 1_000, burst: 2_000 }]]);
const OTHER = { ticksPerSecond: 10, burst: 20 };

function throttle(rateScale: Readonly<Record<Level, number>> = RATE_SCALE): Throttle {
  return new Throttle(LISTED, OTHER, rateScale);
}

/** What the queue says on its own, reached from ok. */
const SHARE_OF: Readonly<Record<Level, number>> = { ok: 0, soft: 0.6, hard: 0.95 };

/** Queue level and store to the pod's level: the worst wins. A missing pair does not compile. */
const WORST: Readonly<Record<Level, Readonly<Record<'open' | 'closed', Level>>>> = {
  ok: { open: 'ok', closed: 'hard' },
  soft: { open: 'soft', closed: 'hard' },
  hard: { open: 'hard', closed: 'hard' },
};

const rows = Object.entries(WORST).flatMap(([queue, stores]) =>
  Object.entries(stores).map(([store, level]) => ({ queue: queue as Level, store, level })),
);

describe('a throttle', () => {
  it.each(rows)('is at $level when the queue says $queue and the store is $store', ({ queue, store, level }) => {
    // Seen failing: with `this.#storeLevel = 'ok'` the rows ok and soft with a closed store, and the next test.
    const one = throttle();
    one.observe(SHARE_OF[queue], store === 'open');
    expect([one.level, one.rateScale]).toEqual([level, RATE_SCALE[level]]);
  });

  it('keeps the reason of the queue while the store is away, and falls back to it', () => {
    const one = throttle();
    one.observe(0.6, false);
    one.observe(0.3, false);
    expect(one.level).toBe('hard');
    one.observe(0.3, true);
    expect(one.level).toBe('soft');
    one.observe(0.1, true);
    expect(one.level).toBe('ok');
  });

  it('takes its scales from the settings', () => {
    const one = throttle({ ok: 0.8, soft: 0.4, hard: 0.1 });
    const seen = [one.rateScale];
    for (const share of [0.6, 0.95]) seen.push((one.observe(share, true), one.rateScale));
    expect(seen).toEqual([0.8, 0.4, 0.1]);
  });

  it('blames the provider at full scale and the system at any other level', () => {
    const one = throttle();
    expect(one.admit('ibkr', 2_000, 0)).toEqual({ ok: true });
    expect(one.admit('ibkr', 100, 0)).toEqual({ ok: false, why: 'over-budget', retryAfterSeconds: 0.1 });
    one.observe(0.6, true);
    expect(one.admit('ibkr', 100, 0)).toEqual({ ok: false, why: 'backpressure', retryAfterSeconds: 0.2 });
    one.observe(0.95, true);
    const hard = { ok: false, why: 'backpressure', retryAfterSeconds: Number.POSITIVE_INFINITY };
    expect(one.admit('ibkr', 1, 60_000)).toEqual(hard);
  });

  it('does not slow a provider by the flood of another', () => {
    const one = throttle();
    for (let at = 0; at < 50; at += 1) one.admit('flood', 20, 0);
    expect(one.admit('ibkr', 2_000, 0)).toEqual({ ok: true });
    expect(one.admit('third', 20, 0)).toEqual({ ok: true });
  });

  it('gives back what was refused after all, and never more than the burst', () => {
    const one = throttle();
    one.admit('ibkr', 2_000, 0);
    one.giveBack('ibkr', 500, 0);
    expect(one.admission('ibkr', 0).remainingTicks).toBe(500);
    one.giveBack('ibkr', 9_000, 0);
    expect(one.admission('ibkr', 0).remainingTicks).toBe(2_000);
  });

  it('shows quota and remainder as the level scales them', () => {
    const one = throttle();
    one.admit('ibkr', 500, 0);
    const ok = { level: 'ok', rateScale: 1, quotaTicksPerSecond: 1_000, remainingTicks: 1_500 };
    expect(one.admission('ibkr', 0)).toEqual(ok);
    one.observe(0.6, true);
    const soft = { level: 'soft', rateScale: 0.5, quotaTicksPerSecond: 500, remainingTicks: 1_000 };
    expect(one.admission('ibkr', 0)).toEqual(soft);
    one.observe(0.9, true);
    const hard = { level: 'hard', rateScale: 0, quotaTicksPerSecond: 0, remainingTicks: 0 };
    expect(one.admission('ibkr', 0)).toEqual(hard);
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
});
