/** A recorded load is played as it was, and what is no trace is an error. */

import { describe, expect, it } from 'vitest';
import { STEP_SECONDS } from '../../deploy/simulate/plant.ts';
import { parseTrace } from '../../deploy/simulate/trace.ts';

describe('a trace', () => {
  it('of points holds each value until the next, the last as long as the one before', () => {
    const points = [
      { atSeconds: 110, ticksPerSecond: 4_000 },
      { atSeconds: 100, ticksPerSecond: 1_000 },
    ];
    const profile = parseTrace(JSON.stringify(points), 'points.json', 2_000);
    const load = profile.load(() => 0);
    expect(profile.durationSeconds).toBe(20);
    expect(load).toHaveLength(20 / STEP_SECONDS);
    expect([load[0], load[10 / STEP_SECONDS - 1], load[10 / STEP_SECONDS], load.at(-1)]).toEqual([0.5, 0.5, 2, 2]);
  });

  it('of Prometheus adds up its series at each instant', () => {
    const answer = {
      status: 'success',
      data: {
        resultType: 'matrix',
        result: [
          {
            metric: { provider: 'a' },
            values: [
              [1_764_000_000, '1000'],
              [1_764_000_005, '2000'],
            ],
          },
          { metric: { provider: 'b' }, values: [[1_764_000_005, '500']] },
        ],
      },
    };
    const profile = parseTrace(JSON.stringify(answer), 'range.json', 1_000);
    expect([...profile.load(() => 0)].filter((_, step) => step % 10 === 0)).toEqual([1, 2.5]);
    expect(profile.startsAt).toBe('2025-11-24T16:00:00.000Z');
  });

  it.each([
    ['[]', 'two points or more'],
    ['[{"atSeconds":0},{"atSeconds":1}]', 'atSeconds and ticksPerSecond'],
    ['{"data":{"resultType":"vector","result":[]}}', 'of type matrix'],
    ['[{"atSeconds":0,"ticksPerSecond":1},{"atSeconds":9000000,"ticksPerSecond":1}]', 'may last 7 days'],
  ])('that cannot be played says why: %s', (content, why) => {
    expect(() => parseTrace(content, 'x.json', 1)).toThrow(why);
  });
});
