import { describe, expect, it } from 'vitest';
import { TokenBucket } from '../../pipeline/backpressure/token-bucket.ts';
import { newSeed, randomFrom } from '../support/random.ts';

const BUDGET = { ticksPerSecond: 100, burst: 200 };

function spent(nowMs = 0): TokenBucket {
  const bucket = new TokenBucket(BUDGET, nowMs);
  bucket.take(200, 1, nowMs);
  return bucket;
}

describe('a token bucket', () => {
  it('admits exactly its burst at once', () => {
    const bucket = new TokenBucket(BUDGET, 0);
    expect(bucket.take(150, 1, 0)).toEqual({ ok: true });
    expect(bucket.remaining(1, 0)).toBe(50);
    expect(bucket.take(50, 1, 0)).toEqual({ ok: true });
    expect(bucket.take(1, 1, 0)).toEqual({ ok: false, retryAfterSeconds: 0.01 });
  });

  it('earns its rate, up to the burst and no further', () => {
    const bucket = spent();
    expect(bucket.remaining(1, 500)).toBe(50);
    expect(bucket.remaining(1, 60_000)).toBe(200);
  });

  it('says after how long exactly the batch will pass', () => {
    const bucket = spent();
    const outcome = bucket.take(30, 1, 0);
    expect(outcome).toEqual({ ok: false, retryAfterSeconds: 0.3 });
    expect(bucket.take(30, 1, 299).ok).toBe(false);
    expect(bucket.take(30, 1, 300).ok).toBe(true);
  });

  it('is unchanged by what it does not admit', () => {
    const bucket = new TokenBucket(BUDGET, 0);
    bucket.take(180, 1, 0);
    for (let at = 0; at < 5; at += 1) expect(bucket.take(30, 1, 0).ok).toBe(false);
    expect(bucket.remaining(1, 0)).toBe(20);
  });

  it('has half the burst and half the rate at scale 0.5', () => {
    const bucket = new TokenBucket(BUDGET, 0);
    expect(bucket.remaining(0.5, 0)).toBe(100);
    expect(bucket.take(100, 0.5, 0).ok).toBe(true);
    expect(bucket.take(10, 0.5, 0)).toEqual({ ok: false, retryAfterSeconds: 0.2 });
    expect(bucket.remaining(0.5, 1_000)).toBe(50);
  });

  it('admits nothing at scale 0, and begins from nothing when the scale comes back', () => {
    const bucket = new TokenBucket(BUDGET, 0);
    expect(bucket.take(1, 0, 0)).toEqual({ ok: false, retryAfterSeconds: Number.POSITIVE_INFINITY });
    expect(bucket.remaining(0, 60_000)).toBe(0);
    expect(bucket.remaining(1, 60_000)).toBe(0);
    expect(bucket.remaining(1, 61_000)).toBe(100);
  });

  it('lets a batch larger than its burst through when full, and has it paid for afterwards', () => {
    const bucket = new TokenBucket(BUDGET, 0);
    expect(bucket.take(500, 1, 0).ok).toBe(true);
    expect(bucket.remaining(1, 0)).toBe(0);
    expect(bucket.take(1, 1, 3_000).ok).toBe(false);
    expect(bucket.take(1, 1, 3_010).ok).toBe(true);
  });

  it('lets a batch larger than the scaled burst wait until it is full, not for ever', () => {
    const bucket = spent();
    expect(bucket.take(150, 0.5, 0)).toEqual({ ok: false, retryAfterSeconds: 2 });
    expect(bucket.take(150, 0.5, 2_000).ok).toBe(true);
  });

  it('keeps its debt over a time at scale 0', () => {
    const bucket = new TokenBucket(BUDGET, 0);
    bucket.take(300, 1, 0);
    bucket.remaining(0, 60_000);
    expect(bucket.take(1, 1, 60_500).ok).toBe(false);
    expect(bucket.take(1, 1, 61_010).ok).toBe(true);
  });

  it('gives nothing and takes nothing when the clock steps back', () => {
    const bucket = spent(100_000);
    expect(bucket.remaining(1, 101_000)).toBe(100);
    expect(bucket.remaining(1, 50_000)).toBe(100);
    expect(bucket.remaining(1, 50_500)).toBe(150);
  });

  const seed = newSeed();
  it(`admits never more than burst + rate * time in any window of a random walk (MDP_TEST_SEED=${seed})`, () => {
    // Seen failing: with the cap on the balance removed, here and in three tests above. Batches are within the
    // scaled burst here; debt has its own tests.
    const random = randomFrom(seed);
    const over: string[] = [];
    for (let round = 0; round < 10; round += 1) {
      const budget = { ticksPerSecond: random.between(1, 2_000), burst: random.between(10, 5_000) };
      const bucket = new TokenBucket(budget, 0);
      const admitted: { atMs: number; ticks: number }[] = [];
      let nowMs = 0;
      for (let step = 0; step < 400; step += 1) {
        nowMs += random.chance(0.05) ? random.between(0, 20_000) : random.between(0, 200);
        const scale = random.pick([1, 1, 0.5, 0]);
        const ticks = random.between(1, Math.max(1, Math.floor(budget.burst * (scale || 1))));
        const outcome = bucket.take(ticks, scale, nowMs);
        expect(outcome.ok && scale === 0, 'admitted at scale 0').toBe(false);
        if (outcome.ok) admitted.push({ atMs: nowMs, ticks });
      }
      for (let from = 0; from < admitted.length; from += 1) {
        let sum = 0;
        for (let to = from; to < admitted.length; to += 1) {
          sum += admitted[to]!.ticks;
          const seconds = (admitted[to]!.atMs - admitted[from]!.atMs) / 1000;
          const bound = budget.burst + budget.ticksPerSecond * seconds;
          if (sum > bound + 1e-6) over.push(`${sum} ticks in ${seconds} s, ${JSON.stringify(budget)}`);
        }
      }
      expect(admitted.length).toBeGreaterThan(0);
    }
    expect(over).toEqual([]);
  });
});
