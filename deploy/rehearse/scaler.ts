/**
 * KEDA and the HPA on real processes: at each sync the queries of the ScaledObject go, as they stand there, to a real
 * Prometheus, and what comes back goes through the arithmetic that the simulator has. Decides; changes nothing itself.
 */

import type { PrometheusServer } from '../local/prometheus.ts';
import { Hpa, type PodCounts, type Rules } from '../simulate/hpa.ts';
import { Keda } from '../simulate/keda.ts';
import type { Scaler } from '../simulate/manifest.ts';
import type { PromNode } from '../simulate/promql-parse.ts';

export interface Decision {
  replicas: number;
  /** What Prometheus said to each trigger; undefined: no answer, or not one value. */
  values: ReadonlyMap<string, number | undefined>;
}

export class LiveScaler {
  readonly #scaler: Scaler;
  readonly #prometheus: Pick<PrometheusServer, 'query'>;
  readonly #keda: Keda;
  readonly #hpa: Hpa;

  constructor(scaler: Scaler, prometheus: Pick<PrometheusServer, 'query'>) {
    this.#scaler = scaler;
    this.#prometheus = prometheus;
    this.#keda = new Keda(scaler);
    this.#hpa = new Hpa(scaler, scaler.behavior);
  }

  /** One sync. `nowSeconds` only needs to rise. */
  async sync(pods: PodCounts, nowSeconds: number, nowEpochSeconds: number): Promise<Decision> {
    const answers = new Map<PromNode, readonly number[] | undefined>();
    const values = new Map<string, number | undefined>();
    for (const { name, source } of this.#scaler.triggers) {
      if (source.kind !== 'prometheus') continue;
      const answer = await this.#ask(source.queryText, nowEpochSeconds);
      answers.set(source.query, answer);
      values.set(name, answer?.length === 1 ? answer[0] : undefined);
    }
    const metrics = this.#keda.read((query) => answers.get(query), pods.spec, nowEpochSeconds);
    return { replicas: this.#hpa.sync(metrics, pods, nowSeconds), values };
  }

  async #ask(query: string, atEpochSeconds: number): Promise<readonly number[] | undefined> {
    try {
      return (await this.#prometheus.query(query, Math.floor(atEpochSeconds))).map(({ value }) => value);
    } catch {
      return undefined;
    }
  }
}

/** The same with another C: its target is that of a pod that stores `share` of what the manifest's does. */
export function ofSmallerPods(scaler: Scaler, share: number): Scaler {
  const { composite } = scaler;
  if (composite === undefined)
    throw new Error(`${scaler.name} has no scalingModifiers.target to scale by what a pod stores`);
  return { ...scaler, composite: { ...composite, target: Math.round(composite.target * share) } };
}

/** The same behavior in less time: each window and period divided by `factor`. */
export function quickened(scaler: Scaler, factor: number): Scaler {
  const { behavior } = scaler;
  if (behavior === undefined) return scaler;
  const rules = (given: Rules): Rules => ({
    ...given,
    stabilizationWindowSeconds: given.stabilizationWindowSeconds / factor,
    policies: given.policies.map((policy) => ({ ...policy, periodSeconds: policy.periodSeconds / factor })),
  });
  return { ...scaler, behavior: { scaleUp: rules(behavior.scaleUp), scaleDown: rules(behavior.scaleDown) } };
}
