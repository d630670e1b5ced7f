/**
 * The HPA's arithmetic against worked examples of the Kubernetes documentation and of its API reference.
 * Source: kubernetes.io, "Horizontal Pod Autoscaling": algorithm details, and configurable scaling behavior.
 */

import { describe, expect, it } from 'vitest';
import {
  BEHAVIOR_DEFAULT,
  type Behavior,
  Hpa,
  type MetricReading,
  type PodCounts,
  replicasForMetric,
  replicasForMetrics,
} from '../../deploy/simulate/hpa.ts';

function pods(count: number): PodCounts {
  return { spec: count, status: count, ready: count };
}

function value(value: number, target: number): MetricReading & { value: number } {
  return { type: 'Value', value, target };
}

function averageValue(value: number, target: number): MetricReading & { value: number } {
  return { type: 'AverageValue', value, target };
}

/** A metric that asks for so many replicas whatever there is. */
function asks(replicas: number): MetricReading[] {
  return [averageValue(replicas * 100, 100)];
}

/** Counts after syncs every 15 s, each asking for so many. */
function play(hpa: Hpa, start: number, wanted: readonly number[]): number[] {
  let count = start;
  return wanted.map((replicas, at) => (count = hpa.sync(asks(replicas), pods(count), at * 15)));
}

describe('replicas for one metric', () => {
  it('double when the metric is 200m and the target 100m', () => {
    expect(replicasForMetric(value(0.2, 0.1), pods(3))).toBe(6);
  });

  it('halve when the metric is 50m and the target 100m', () => {
    expect(replicasForMetric(value(0.05, 0.1), pods(4))).toBe(2);
  });

  it('stay within a tolerance of a tenth, both ends included', () => {
    expect(replicasForMetric(value(109, 100), pods(10))).toBe(10);
    expect(replicasForMetric(value(91, 100), pods(10))).toBe(10);
    expect(replicasForMetric(value(112, 100), pods(10))).toBe(12);
    expect(replicasForMetric(value(88, 100), pods(10))).toBe(9);
  });

  it('are the total divided by the target for AverageValue, whatever the present count', () => {
    // KEDA's example: a queue of 10,000 at a threshold of 5,000 is 2 pods from any number of pods.
    expect([1, 4, 10].map((count) => replicasForMetric(averageValue(10_000, 5_000), pods(count)))).toEqual([2, 2, 2]);
  });

  it('are rounded up', () => {
    expect(replicasForMetric(averageValue(5_001, 5_000), pods(10))).toBe(2);
  });

  it('stay for AverageValue when the average is within the tolerance', () => {
    expect(replicasForMetric(averageValue(10_900, 1_000), pods(10))).toBe(10);
    expect(replicasForMetric(averageValue(11_100, 1_000), pods(10))).toBe(12);
  });

  it('go by the tolerance of the direction', () => {
    const { scaleUp, scaleDown } = BEHAVIOR_DEFAULT;
    const patient: Behavior = { scaleUp, scaleDown: { ...scaleDown, tolerance: 0.5 } };
    expect(replicasForMetric(averageValue(5_100, 1_000), pods(10), patient)).toBe(10);
    expect(replicasForMetric(averageValue(4_900, 1_000), pods(10), patient)).toBe(5);
    expect(replicasForMetric(averageValue(11_100, 1_000), pods(10), patient)).toBe(12);
  });

  it('compound for Value: the same metric doubles again once the first doubling is ready', () => {
    expect(replicasForMetric(value(10_000, 5_000), pods(2))).toBe(4);
    expect(replicasForMetric(value(10_000, 5_000), pods(4))).toBe(8);
  });
});

describe('replicas for several metrics', () => {
  it('are the largest that any of them asks for', () => {
    expect(replicasForMetrics([averageValue(300, 100), averageValue(700, 100)], pods(1))).toBe(7);
  });

  it('do not fall when one of them cannot be read, and may rise', () => {
    const lost: MetricReading = { type: 'AverageValue', target: 100, value: undefined };
    expect(replicasForMetrics([lost, averageValue(300, 100)], pods(5))).toBeUndefined();
    expect(replicasForMetrics([lost, averageValue(700, 100)], pods(5))).toBe(7);
    expect(replicasForMetrics([lost], pods(5))).toBeUndefined();
  });
});

describe('a behavior', () => {
  const LIMITS = { min: 1, max: 100 };
  const up = BEHAVIOR_DEFAULT.scaleUp;

  function behavior(scaleDown: Partial<Behavior['scaleDown']>, scaleUp: Partial<Behavior['scaleUp']> = {}): Behavior {
    return { scaleUp: { ...up, ...scaleUp }, scaleDown: { ...BEHAVIOR_DEFAULT.scaleDown, ...scaleDown } };
  }

  it('of 4 pods or 10 % a minute goes down by the larger: 80 to 72, and 40 to 36', () => {
    const policies = [
      { type: 'Pods', value: 4, periodSeconds: 60 },
      { type: 'Percent', value: 10, periodSeconds: 60 },
    ] as const;
    const down = { stabilizationWindowSeconds: 0, policies };
    expect(play(new Hpa(LIMITS, behavior(down)), 80, [10])).toEqual([72]);
    expect(play(new Hpa(LIMITS, behavior(down)), 40, [10])).toEqual([36]);
    // Within the same minute nothing more goes; a minute later the next tenth does, rounded towards more going.
    expect(play(new Hpa(LIMITS, behavior(down)), 80, [10, 10, 10, 10, 10])).toEqual([72, 72, 72, 72, 64]);
    expect(play(new Hpa(LIMITS, behavior({ ...down, selectPolicy: 'Min' })), 80, [10])).toEqual([76]);
  });

  it('that is disabled downwards never goes down', () => {
    const hpa = new Hpa(LIMITS, behavior({ selectPolicy: 'Disabled', stabilizationWindowSeconds: 0 }));
    expect(play(hpa, 9, [1, 1, 1])).toEqual([9, 9, 9]);
  });

  it('by default doubles, but by 4 pods in any case, every 15 s', () => {
    expect(play(new Hpa(LIMITS, BEHAVIOR_DEFAULT), 1, [100, 100, 100, 100])).toEqual([5, 10, 20, 40]);
  });

  it('that is not given goes up to twice the count, but to 4 in any case', () => {
    expect(play(new Hpa(LIMITS, undefined), 1, [100, 100, 100])).toEqual([4, 8, 16]);
  });

  it('waits out the highest wish of its window before it goes down', () => {
    const hpa = new Hpa(LIMITS, behavior({ stabilizationWindowSeconds: 60 }));
    expect(play(hpa, 8, [8, 1, 1, 1, 1, 1])).toEqual([8, 8, 8, 8, 1, 1]);
  });

  it('goes up at once by the shipped policies: from 1 to 21', () => {
    const policies = [
      { type: 'Pods', value: 20, periodSeconds: 15 },
      { type: 'Percent', value: 100, periodSeconds: 15 },
    ] as const;
    expect(play(new Hpa(LIMITS, behavior({}, { policies })), 1, [30, 30])).toEqual([21, 30]);
  });

  it('keeps to the limits and leaves the count alone when nothing can be read', () => {
    const hpa = new Hpa({ min: 2, max: 10 }, BEHAVIOR_DEFAULT);
    expect(hpa.sync(asks(50), pods(8), 0)).toBe(10);
    expect(hpa.sync(asks(1), pods(1), 15)).toBe(2);
    expect(hpa.sync(asks(1), pods(12), 30)).toBe(10);
    expect(hpa.sync([{ type: 'AverageValue', target: 1, value: undefined }], pods(7), 45)).toBe(7);
  });
});
