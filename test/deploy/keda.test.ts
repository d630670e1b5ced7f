/** What KEDA tells the HPA: the composite, nothing, or the fallback. */

import { describe, expect, it } from 'vitest';
import { type Ask, Keda } from '../../deploy/simulate/keda.ts';
import { metricsRead, readScaler, type Scaler } from '../../deploy/simulate/manifest.ts';
import { readManifests } from '../../deploy/simulate/overlay.ts';
import { METRICS } from '../../deploy/simulate/plant.ts';

type Spec = Record<string, unknown>;

function trigger(name: string, query: string, metadata: Spec = {}): Spec {
  return { name, type: 'prometheus', metadata: { query, threshold: '100', ignoreNullValues: 'false', ...metadata } };
}

const HOLDING = { failureThreshold: 3, replicas: 2, behavior: 'currentReplicasIfHigher' };

function scaler(spec: Spec): Scaler {
  const object = { kind: 'ScaledObject', metadata: { name: 's' }, spec: { maxReplicaCount: 10, ...spec } };
  return readScaler(object, METRICS);
}

function composite(target: string, fallback: Spec = HOLDING): Scaler {
  return scaler({
    fallback,
    advanced: { scalingModifiers: { formula: 'a + b', target } },
    triggers: [trigger('a', 'sum(pipeline_in_flight_ticks)'), trigger('b', 'sum(edge_outstanding_ticks)')],
  });
}

/** Answers in the order of the triggers; the last answer goes on. */
function answers(...values: (readonly number[] | undefined)[]): Ask {
  let at = 0;
  return () => values[Math.min(at++, values.length - 1)];
}

function values(keda: Keda, ask: Ask, replicas: number, syncs: number): (number | undefined)[] {
  return Array.from({ length: syncs }, () => keda.read(ask, replicas, 0)[0]!.value);
}

describe('the composite', () => {
  it('is the formula over the triggers', () => {
    expect(values(new Keda(composite('100')), answers([300], [50]), 1, 1)).toEqual([350]);
  });

  it('has no value while a trigger fails, and after three failures is what holds the present count', () => {
    const lost = values(new Keda(composite('100')), answers([]), 7, 5);
    expect(lost).toEqual([undefined, undefined, undefined, 700, 700]);
  });

  it('holds no fewer than the replicas of the fallback', () => {
    expect(values(new Keda(composite('100')), answers(undefined), 1, 4).at(-1)).toBe(200);
  });

  it('comes back with the first answer', () => {
    const keda = new Keda(composite('100'));
    values(keda, answers([]), 7, 5);
    expect(values(keda, answers([300], [50]), 7, 1)).toEqual([350]);
    expect(values(keda, answers([]), 7, 1)).toEqual([undefined]);
  });

  it('never falls back when the target is not a whole number, as KEDA silently does not', () => {
    expect(values(new Keda(composite('100.5')), answers([]), 7, 9).at(-1)).toBeUndefined();
  });
});

describe('a trigger', () => {
  it('that ignores null values takes an empty answer for 0', () => {
    const ignoring = scaler({
      triggers: [trigger('a', 'sum(pipeline_in_flight_ticks)', { ignoreNullValues: 'true' })],
    });
    expect(values(new Keda(ignoring), answers([]), 5, 1)).toEqual([0]);
  });

  it('with an answer of two series or one that is no number fails', () => {
    const keda = new Keda(scaler({ triggers: [trigger('a', 'pipeline_in_flight_ticks')] }));
    expect(values(keda, answers([1, 2]), 5, 1)).toEqual([undefined]);
    expect(values(keda, answers([Number.NaN]), 5, 1)).toEqual([undefined]);
  });

  it('of type cron is its replicas within the window in its time zone, and 1 outside', () => {
    const cron = {
      name: 'open',
      type: 'cron',
      metadata: { timezone: 'America/New_York', start: '25 9 * * 1-5', end: '0 10 * * 1-5', desiredReplicas: '13' },
    };
    const keda = new Keda(scaler({ triggers: [cron] }));
    const at = (time: string): number | undefined =>
      keda.read(answers([]), 1, Date.parse(`2026-11-${time}:00-05:00`) / 1000)[0]!.value;
    expect(['23T09:24', '23T09:25', '23T09:59', '23T10:00', '22T09:30'].map(at)).toEqual([1, 13, 13, 1, 1]);
  });
});

describe('a manifest', () => {
  it.each([
    [{ triggers: [trigger('a', 'sum(queue_depth)')] }, 'the query "sum(queue_depth)" reads queue_depth'],
    [{ triggers: [{ type: 'kafka', metadata: {} }] }, 'a trigger of type kafka is not known here'],
    [{ triggers: [], idleReplicaCount: 0 }, 'spec.idleReplicaCount is not known here'],
    [
      {
        advanced: { scalingModifiers: { formula: 'a + c', target: '1' } },
        triggers: [trigger('a', 'sum(pipeline_in_flight_ticks)')],
      },
      'the formula names no trigger with c',
    ],
    [
      {
        advanced: { scalingModifiers: { formula: '1', target: '1' } },
        triggers: [trigger('', 'sum(pipeline_in_flight_ticks)')],
      },
      'every trigger needs a name',
    ],
  ])('that cannot be played is an error that says why', (spec, why) => {
    expect(() => scaler(spec as Spec)).toThrow(why);
  });

  it('that is shipped holds the present count, with a target that KEDA accepts for it', () => {
    const shipped = readScaler(readManifests('deploy/keda').scaledObject, METRICS);
    expect(shipped.fallback).toEqual({ failureThreshold: 3, replicas: 1, behavior: 'currentReplicasIfHigher' });
    expect(shipped.composite).toMatchObject({ target: 1600, metricType: 'AverageValue' });
    expect([shipped.min, shipped.max]).toEqual([1, 10]);
    expect(metricsRead(shipped)).toContain('edge_demand_ticks_per_second');
  });
});
