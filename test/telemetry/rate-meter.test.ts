import { describe, expect, it } from 'vitest';
import { RateMeter } from '../../pipeline/telemetry/rate-meter.ts';

describe('a rate meter', () => {
  it('does not know a rate before it has looked over half a second', () => {
    const meter = new RateMeter(0);
    expect([meter.perSecond(0, 0), meter.perSecond(1_000, 499), meter.perSecond(1_000, 500)]).toEqual([0, 0, 2_000]);
  });

  it('takes half of each new rate', () => {
    const meter = new RateMeter(0);
    const seen = [meter.perSecond(1_000, 1_000), meter.perSecond(4_000, 2_000), meter.perSecond(4_000, 3_000)];
    expect(seen).toEqual([1_000, 2_000, 1_000]);
  });

  it('does not take a time without demand for a slow store', () => {
    // Seen failing, before there was a longest interval: an idle hour halved the rate (500.1 for 1,000); after an
    // idle start it was near 0, and the first refusal of a burst said to wait 60 s.
    const meter = new RateMeter(0);
    meter.perSecond(1_000, 1_000);
    expect(meter.perSecond(2_000, 3_600_000)).toBe(1_000);
    expect(meter.perSecond(4_000, 3_601_000)).toBe(1_500);
  });

  it('keeps its rate when the clock steps back', () => {
    const meter = new RateMeter(10_000);
    meter.perSecond(1_000, 11_000);
    expect(meter.perSecond(2_000, 5_000)).toBe(1_000);
  });
});
