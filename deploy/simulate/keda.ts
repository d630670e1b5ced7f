/**
 * What KEDA hands to the HPA at each sync: every trigger asked, the formula applied, failures counted, the fallback
 * put in their place. Knows no pods; Prometheus and the edge are asked through functions that may fail.
 * Source: pkg/scaling/scale_handler.go, pkg/fallback, pkg/scaling/modifiers of KEDA 2.20.
 */

import type { MetricReading } from './hpa.ts';
import type { Fallback, Scaler, Trigger } from './manifest.ts';
import type { EdgeFigure } from './metrics-api.ts';
import type { PromNode } from './promql-parse.ts';

/** Who is asked at each sync. Undefined: there is no answer at all. */
export interface Sources {
  /** Answers an instant query with the values of its result vector. */
  prometheus: (query: PromNode, atSeconds: number) => readonly number[] | undefined;
  /** What the edge says of itself at this instant: KEDA keeps no answer from before. */
  edge: (figure: EdgeFigure) => number | undefined;
}

/** What the cron trigger says outside of its window. */
const CRON_CLOSED = 1;

/** Invariant: a trigger's count is of its failures in a row. */
export class Keda {
  readonly #scaler: Scaler;
  readonly #failures = new Map<Trigger, number>();

  constructor(scaler: Scaler) {
    this.#scaler = scaler;
  }

  /** One metric per trigger, or the composite alone. */
  read(sources: Sources, specReplicas: number, nowEpochSeconds: number): MetricReading[] {
    const { triggers, composite } = this.#scaler;
    const values = triggers.map((trigger) => this.#value(trigger, sources, nowEpochSeconds));
    if (composite === undefined) {
      return triggers.map((trigger, at) => {
        const { metricType: type, threshold: target } = trigger;
        const canFallBack = type === 'AverageValue' && values[at] === undefined && this.#isLost(trigger);
        return { type, target, value: canFallBack ? this.#held(target, specReplicas) : values[at] };
      });
    }
    const { metricType: type, target, formula } = composite;
    if (triggers.some((trigger) => this.#isLost(trigger))) {
      return [{ type, target, value: this.#held(target, specReplicas) }];
    }
    if (values.includes(undefined)) return [{ type, target, value: undefined }];
    const value = formula.evaluate(new Map(triggers.map(({ name }, at) => [name, values[at]!])));
    return [{ type, target, value: Number.isFinite(value) ? value : undefined }];
  }

  #value(trigger: Trigger, sources: Sources, nowEpochSeconds: number): number | undefined {
    const value = valueOf(trigger, sources, nowEpochSeconds);
    this.#failures.set(trigger, value === undefined ? (this.#failures.get(trigger) ?? 0) + 1 : 0);
    return value;
  }

  #isLost(trigger: Trigger): boolean {
    const { fallback } = this.#scaler;
    return fallback !== undefined && (this.#failures.get(trigger) ?? 0) > fallback.failureThreshold;
  }

  /** The value that makes an AverageValue metric ask for the fallback's replicas. */
  #held(target: number, specReplicas: number): number {
    return Math.trunc(target) * fallbackReplicas(this.#scaler.fallback!, specReplicas);
  }
}

function valueOf({ source }: Trigger, { prometheus, edge }: Sources, nowEpochSeconds: number): number | undefined {
  if (source.kind === 'cron') return source.window.isActive(nowEpochSeconds) ? source.desiredReplicas : CRON_CLOSED;
  if (source.kind === 'metrics-api') return edge(source.figure);
  // KEDA asks for the state at a whole second.
  const answer = prometheus(source.query, Math.floor(nowEpochSeconds));
  if (answer === undefined || answer.length > 1) return undefined;
  const [value] = answer;
  if (value !== undefined && Number.isFinite(value)) return value;
  return source.isEmptyZero ? 0 : undefined;
}

export function fallbackReplicas({ behavior, replicas }: Fallback, current: number): number {
  switch (behavior) {
    case 'static':
      return replicas;
    case 'currentReplicas':
      return current;
    case 'currentReplicasIfHigher':
      return Math.max(current, replicas);
    case 'currentReplicasIfLower':
      return Math.min(current, replicas);
  }
}
