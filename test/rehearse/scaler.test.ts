/** The shipped ScaledObject asked of a Prometheus: which queries go out, and what becomes of the answers. */

import { describe, expect, it } from 'vitest';
import { LiveScaler, ofSmallerPods, quickened } from '../../deploy/rehearse/scaler.ts';
import { readScaler } from '../../deploy/simulate/manifest.ts';
import { readManifests } from '../../deploy/simulate/overlay.ts';
import { METRICS } from '../../deploy/simulate/plant.ts';

const { scaledObject } = readManifests('deploy/keda');
const SHIPPED = readScaler(scaledObject, METRICS);
/** The shipped ScaledObject leaves the edge to Prometheus. */
const NOT_ASKED = (): Promise<unknown> => Promise.reject(new Error('the edge was asked'));
const ONE_POD = { spec: 1, status: 1, ready: 1 };

interface Asked {
  query: string;
  atSeconds: number | undefined;
}

/** A Prometheus that says these values, trigger by trigger. */
function answering(values: readonly (number | 'away')[], asked: Asked[] = []) {
  return {
    query: (query: string, atSeconds?: number) => {
      asked.push({ query, atSeconds });
      const value = values[(asked.length - 1) % values.length]!;
      return value === 'away' ? Promise.reject(new Error('away')) : Promise.resolve([{ labels: {}, value }]);
    },
  };
}

describe('the scaler of the rehearsal', () => {
  it('asks each query as the YAML has it, at a whole second, and follows its formula', async () => {
    const asked: Asked[] = [];
    // (4,000 + 60,000 / 60) / 1,600 = 3.1
    const live = new LiveScaler(SHIPPED, answering([4_000, 60_000, 1], asked), NOT_ASKED);
    const { replicas, values } = await live.sync(ONE_POD, 0, 1_700_000_000.9);
    expect(replicas).toBe(4);
    expect([...values]).toEqual([
      ['demand', 4_000],
      ['backlog', 60_000],
      ['store_ok', 1],
    ]);
    const { triggers } = scaledObject['spec'] as unknown as { triggers: { metadata: { query: string } }[] };
    expect(asked).toEqual(triggers.map(({ metadata: { query } }) => ({ query, atSeconds: 1_700_000_000 })));
  });

  it('holds the present count while Prometheus is away', async () => {
    const live = new LiveScaler(SHIPPED, answering(['away']), NOT_ASKED);
    const pods = { spec: 4, status: 4, ready: 4 };
    for (let sync = 0; sync < 6; sync += 1) expect((await live.sync(pods, 15 * sync, 0)).replicas).toBe(4);
  });

  it('asks the edge itself where the manifest does, and holds the present count while it does not answer', async () => {
    const steady = readScaler(readManifests('deploy/overlays/steady').scaledObject, METRICS);
    let isAway = false;
    const told = { total: { demandTicksPerSecond: 4_000, outstandingTicks: 60_000 } };
    const readScaling = (): Promise<unknown> => (isAway ? Promise.reject(new Error('away')) : Promise.resolve(told));
    const live = new LiveScaler(steady, answering([800, 0, 1]), readScaling);
    // (800 + 4,000 + 60,000 / 60) / 1,600 = 3.6
    const { replicas, values } = await live.sync(ONE_POD, 0, 0);
    expect(replicas).toBe(4);
    expect([...values.keys()]).toEqual(['demand', 'backlog', 'store_ok', 'edge_demand', 'edge_backlog']);
    isAway = true;
    const pods = { spec: 4, status: 4, ready: 4 };
    for (let sync = 1; sync < 7; sync += 1) expect((await live.sync(pods, 15 * sync, 0)).replicas).toBe(4);
  });

  it('has the target of smaller pods, and windows that pass sooner, and nothing else of its own', () => {
    const half = ofSmallerPods(SHIPPED, 0.5);
    expect(half).toEqual({ ...SHIPPED, composite: { ...SHIPPED.composite, target: 800 } });
    const quick = quickened(SHIPPED, 15);
    expect(quick.behavior!.scaleDown.stabilizationWindowSeconds).toBe(4);
    expect(quick.behavior!.scaleUp.policies.map(({ value, periodSeconds }) => [value, periodSeconds])).toEqual([
      [20, 1],
      [100, 1],
    ]);
    expect(quickened(SHIPPED, 1)).toEqual(SHIPPED);
  });
});
