import { describe, expect, it } from 'vitest';
import { DEMAND_WINDOW_SECONDS, DemandMeter, REMEMBERED_MAX } from '../../pipeline/telemetry/demand.ts';

const START_MS = 1_763_908_200_000;

function figures(meter: DemandMeter, nowMs: number): Record<string, number> {
  return Object.fromEntries(
    [...meter.perSecond(nowMs)].map(({ provider, path, ticksPerSecond }) => [`${provider}/${path}`, ticksPerSecond]),
  );
}

describe('demand', () => {
  it('is there, and 0, before the first tick', () => {
    expect(figures(new DemandMeter(['ibkr']), START_MS)).toEqual({ 'ibkr/edge': 0, 'ibkr/direct': 0 });
  });

  it('is the ticks of the last 20 whole seconds, a second, by provider and path', () => {
    const meter = new DemandMeter([]);
    for (let second = 0; second < 60; second += 1) {
      meter.arrived('ibkr', 'edge', `ibkr/e${second}`, 500, START_MS + second * 1_000);
      meter.arrived('ibkr', 'direct', `ibkr/d${second}`, 20, START_MS + second * 1_000 + 999);
      meter.arrived('acme', 'direct', `acme/${second}`, 7, START_MS + second * 1_000);
    }
    expect(figures(meter, START_MS + 60_000)).toEqual({
      'ibkr/edge': 500,
      'ibkr/direct': 20,
      'acme/edge': 0,
      'acme/direct': 7,
    });
  });

  it('follows a step within its window, and forgets what was before it', () => {
    const meter = new DemandMeter([]);
    meter.arrived('ibkr', 'edge', 'ibkr/1', 2_000, START_MS);
    const seen = [1, 10, 20, 21, 1_000].map((second) => figures(meter, START_MS + second * 1_000)['ibkr/edge']);
    expect(seen).toEqual([100, 100, 100, 0, 0]);
    expect(2_000 / DEMAND_WINDOW_SECONDS).toBe(100);
  });

  it('does not count a batch again that is sent again, however often', () => {
    // Seen failing: without the memory an outage of a minute looked like ten times the demand.
    const meter = new DemandMeter([]);
    for (let ms = 0; ms < 100_000; ms += 100) meter.arrived('ibkr', 'edge', 'ibkr/same', 1_000, START_MS + ms);
    expect(figures(meter, START_MS + 20_000)['ibkr/edge']).toBe(50);
    expect(figures(meter, START_MS + 100_000)['ibkr/edge']).toBe(0);
  });

  it('remembers at least a minute of ids, and never more than its bound', () => {
    const meter = new DemandMeter([]);
    for (let at = 0; at < REMEMBERED_MAX / 2; at += 1) meter.arrived('ibkr', 'edge', `ibkr/${at}`, 1, START_MS);
    meter.arrived('ibkr', 'edge', 'ibkr/0', 1_000_000, START_MS + 60_000);
    expect(figures(meter, START_MS + 61_000)['ibkr/edge']).toBe(0);
  });

  it('is not made wrong by a clock that steps back', () => {
    const meter = new DemandMeter([]);
    meter.arrived('ibkr', 'edge', 'ibkr/1', 200, START_MS);
    meter.arrived('ibkr', 'edge', 'ibkr/2', 200, START_MS - 5_000);
    const seen = figures(meter, START_MS + 1_000)['ibkr/edge']!;
    expect(seen).toBeGreaterThanOrEqual(10);
    expect(seen).toBeLessThanOrEqual(20);
  });
});
