import { describe, expect, it } from 'vitest';
import { CAPACITY_SPAN_MS, CapacityMeter } from '../../pipeline/telemetry/capacity.ts';

/** A pod that could store `capacity` ticks a second, and is kept busy for `share` of `spans` spans. */
function run(meter: CapacityMeter, capacity: number, share: number, spans: number, limit: 'store' | 'loop' = 'store') {
  const busyMs = CAPACITY_SPAN_MS * share;
  let told: number | undefined;
  const work = { ticks: 0, writingMs: 0, loopMs: 0 };
  meter.ticksPerSecond({ ...work }, 0);
  for (let span = 1; span <= spans; span += 1) {
    work.ticks += (capacity * busyMs) / 1000;
    work.writingMs += limit === 'store' ? busyMs : busyMs / 3;
    work.loopMs += limit === 'loop' ? busyMs : busyMs / 3;
    told = meter.ticksPerSecond({ ...work }, span * CAPACITY_SPAN_MS);
  }
  return told;
}

describe('the capacity of a pod', () => {
  it('is not known before it was busy', () => {
    expect(run(new CapacityMeter(), 2_000, 0, 5)).toBeUndefined();
    expect(run(new CapacityMeter(), 2_000, 0.29, 5)).toBeUndefined();
  });

  it.each([0.3, 0.5, 0.9, 1])('is told from a load of %d of it', (share) => {
    expect(run(new CapacityMeter(), 2_000, share, 3)).toBeCloseTo(2_000, 6);
  });

  it('is limited by whichever is busier, the store or the event loop', () => {
    expect(run(new CapacityMeter(), 2_000, 0.6, 3, 'loop')).toBeCloseTo(2_000, 6);
  });

  it('follows a store that becomes slower, and keeps what it knew while there is little to do', () => {
    const meter = new CapacityMeter();
    let ticks = 0;
    let busyMs = 0;
    let nowMs = 0;
    const span = (capacity: number, share: number): number | undefined => {
      nowMs += CAPACITY_SPAN_MS;
      ticks += (capacity * share * CAPACITY_SPAN_MS) / 1000;
      busyMs += share * CAPACITY_SPAN_MS;
      return meter.ticksPerSecond({ ticks, writingMs: busyMs, loopMs: 0 }, nowMs);
    };
    for (let at = 0; at < 5; at += 1) span(4_000, 0.8);
    const told = Array.from({ length: 12 }, () => span(1_000, 0.8)!);
    expect(told[0]).toBeLessThan(4_000);
    expect(told.at(-1)).toBeLessThan(1_050);
    expect(span(1_000, 0.01)).toBe(told.at(-1));
  });
});
