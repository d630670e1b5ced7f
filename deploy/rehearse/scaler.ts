/**
 * KEDA and the HPA on real processes: at each sync the queries of the ScaledObject go, as they stand there, to a real
 * Prometheus, and its metrics-api triggers to the real edge; what comes back goes through the arithmetic that the
 * simulator has. Decides; changes nothing itself.
 */

import type { PrometheusServer } from '../local/prometheus.ts';
import { Hpa, type PodCounts, type Rules } from '../simulate/hpa.ts';
import { Keda, type Sources } from '../simulate/keda.ts';
import type { Scaler } from '../simulate/manifest.ts';
import { type EdgeFigure, figureIn } from '../simulate/metrics-api.ts';
import type { PromNode } from '../simulate/promql-parse.ts';

export interface Decision {
  replicas: number;
  /** What each trigger was told by Prometheus or the edge; undefined: no answer, or not one value. */
  values: ReadonlyMap<string, number | undefined>;
}

/** The JSON of the edge's `/v1/scaling`; rejects where KEDA would have none. */
export type ReadScaling = () => Promise<unknown>;

export class LiveScaler {
  readonly #scaler: Scaler;
  readonly #prometheus: Pick<PrometheusServer, 'query'>;
  readonly #readScaling: ReadScaling;
  readonly #keda: Keda;
  readonly #hpa: Hpa;

  constructor(scaler: Scaler, prometheus: Pick<PrometheusServer, 'query'>, readScaling: ReadScaling) {
    this.#scaler = scaler;
    this.#prometheus = prometheus;
    this.#readScaling = readScaling;
    this.#keda = new Keda(scaler);
    this.#hpa = new Hpa(scaler, scaler.behavior);
  }

  /** One sync. `nowSeconds` only needs to rise. */
  async sync(pods: PodCounts, nowSeconds: number, nowEpochSeconds: number): Promise<Decision> {
    const answers = new Map<PromNode, readonly number[] | undefined>();
    const figures = new Map<EdgeFigure, number | undefined>();
    const values = new Map<string, number | undefined>();
    for (const { name, source } of this.#scaler.triggers) {
      if (source.kind === 'prometheus') {
        const answer = await this.#ask(source.queryText, nowEpochSeconds);
        answers.set(source.query, answer);
        values.set(name, answer?.length === 1 ? answer[0] : undefined);
      } else if (source.kind === 'metrics-api') {
        const figure = await this.#askEdge(source.figure);
        figures.set(source.figure, figure);
        values.set(name, figure);
      }
    }
    const sources: Sources = {
      prometheus: (query) => answers.get(query),
      edge: (figure) => figures.get(figure),
    };
    const metrics = this.#keda.read(sources, pods.spec, nowEpochSeconds);
    return { replicas: this.#hpa.sync(metrics, pods, nowSeconds), values };
  }

  async #ask(query: string, atEpochSeconds: number): Promise<readonly number[] | undefined> {
    try {
      return (await this.#prometheus.query(query, Math.floor(atEpochSeconds))).map(({ value }) => value);
    } catch {
      return undefined;
    }
  }

  async #askEdge(figure: EdgeFigure): Promise<number | undefined> {
    try {
      return figureIn(await this.#readScaling(), figure);
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
