/**
 * The arithmetic of the HorizontalPodAutoscaler, autoscaling/v2: from metrics to a replica count, with tolerance,
 * stabilization windows and rate policies. Pure: it keeps only what the controller keeps. Knows no KEDA, no clock.
 * Source: pkg/controller/podautoscaler (horizontal.go, replica_calculator.go) of Kubernetes 1.36.
 */

/** `--horizontal-pod-autoscaler-tolerance`, default. */
export const TOLERANCE = 0.1;
/** `--horizontal-pod-autoscaler-sync-period`, default; a flag of the cluster. */
export const SYNC_SECONDS = 15;
/** `--horizontal-pod-autoscaler-downscale-stabilization`, default. */
export const SCALE_DOWN_WINDOW_DEFAULT_SECONDS = 300;

/** How far one sync goes up at most when there is no `behavior`: to twice the count, but to 4 in any case. */
const OLD_STEP_UP_FACTOR = 2;
const OLD_STEP_UP_MIN = 4;

export interface Policy {
  type: 'Pods' | 'Percent';
  value: number;
  periodSeconds: number;
}

export interface Rules {
  stabilizationWindowSeconds: number;
  selectPolicy: 'Max' | 'Min' | 'Disabled';
  policies: readonly Policy[];
  /** How far the metric may be off its target without a change; {@link TOLERANCE} where the cluster decides. */
  tolerance: number;
}

export interface Behavior {
  scaleUp: Rules;
  scaleDown: Rules;
}

/** What applies to a direction that `behavior` does not mention. Source: autoscaling/v2 API defaults. */
export const BEHAVIOR_DEFAULT: Behavior = {
  scaleUp: {
    stabilizationWindowSeconds: 0,
    selectPolicy: 'Max',
    policies: [
      { type: 'Pods', value: 4, periodSeconds: 15 },
      { type: 'Percent', value: 100, periodSeconds: 15 },
    ],
    tolerance: TOLERANCE,
  },
  scaleDown: {
    stabilizationWindowSeconds: SCALE_DOWN_WINDOW_DEFAULT_SECONDS,
    selectPolicy: 'Max',
    policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }],
    tolerance: TOLERANCE,
  },
};

/** An external metric as the controller sees it. `value` undefined: it could not be read. */
export interface MetricReading {
  type: 'AverageValue' | 'Value';
  target: number;
  value: number | undefined;
}

export interface PodCounts {
  /** `scale.spec.replicas`. */
  spec: number;
  /** `scale.status.replicas`: created and not terminating, ready or not. */
  status: number;
  ready: number;
}

/**
 * Replicas that one metric asks for.
 * AverageValue: ceil(metric / target), whatever the present count; Value: ceil(metric / target x ready pods).
 * Within the tolerance it is the present count.
 */
export function replicasForMetric(
  metric: MetricReading & { value: number },
  pods: PodCounts,
  behavior: Behavior = BEHAVIOR_DEFAULT,
): number {
  const isWithin = (ratio: number): boolean =>
    ratio >= 1 - behavior.scaleDown.tolerance && ratio <= 1 + behavior.scaleUp.tolerance;
  // The controller computes with whole thousandths.
  const usage = Math.trunc(metric.value * 1000);
  const target = Math.trunc(metric.target * 1000);
  if (metric.type === 'AverageValue') {
    const ratio = usage / (target * pods.status);
    return isWithin(ratio) ? pods.status : Math.ceil(usage / target);
  }
  const ratio = usage / target;
  if (pods.spec === 0) return Math.ceil(ratio);
  return isWithin(ratio) ? pods.spec : Math.ceil(ratio * pods.ready);
}

/** The largest proposal wins. Unreadable metrics never scale in; undefined when nothing can be said at all. */
export function replicasForMetrics(
  metrics: readonly MetricReading[],
  pods: PodCounts,
  behavior: Behavior = BEHAVIOR_DEFAULT,
): number | undefined {
  let most: number | undefined;
  let unreadable = false;
  for (const { type, target, value } of metrics) {
    if (value === undefined) unreadable = true;
    else most = Math.max(most ?? 0, replicasForMetric({ type, target, value }, pods, behavior));
  }
  if (most === undefined || (unreadable && most < pods.spec)) return undefined;
  return most;
}

interface Recommendation {
  atSeconds: number;
  replicas: number;
}

interface Change {
  atSeconds: number;
  /** Positive: pods added. */
  by: number;
}

export interface Limits {
  min: number;
  max: number;
}

/** Invariant: holds the recommendations and changes of the longest window, and nothing older. */
export class Hpa {
  readonly #limits: Limits;
  readonly #behavior: Behavior;
  readonly #isWithoutBehavior: boolean;
  #recommendations: Recommendation[] = [];
  #changes: Change[] = [];

  /** An HPA whose spec has no `behavior` at all goes by older rules than one that leaves a direction out. */
  constructor(limits: Limits, behavior: Behavior | undefined) {
    this.#limits = limits;
    this.#behavior = behavior ?? BEHAVIOR_DEFAULT;
    this.#isWithoutBehavior = behavior === undefined;
  }

  /** One sync: the replica count to set, which is the present one when nothing could be read. */
  sync(metrics: readonly MetricReading[], pods: PodCounts, nowSeconds: number): number {
    const { min, max } = this.#limits;
    const current = pods.spec;
    let next: number;
    if (current > max) next = max;
    else if (current < min) next = min;
    else {
      const wanted = replicasForMetrics(metrics, pods, this.#behavior);
      if (wanted === undefined) return current;
      next = this.#rateLimited(this.#stabilized(wanted, current, nowSeconds), current, nowSeconds);
    }
    if (next !== current) this.#remember({ atSeconds: nowSeconds, by: next - current });
    return next;
  }

  /** The lowest wish of the window holds a rise back, the highest holds a fall back. */
  #stabilized(wanted: number, current: number, nowSeconds: number): number {
    const upSeconds = this.#behavior.scaleUp.stabilizationWindowSeconds;
    const downSeconds = this.#behavior.scaleDown.stabilizationWindowSeconds;
    const keptSince = nowSeconds - Math.max(upSeconds, downSeconds);
    this.#recommendations = this.#recommendations.filter(({ atSeconds }) => atSeconds > keptSince);
    let lowest = wanted;
    let highest = wanted;
    for (const { atSeconds, replicas } of this.#recommendations) {
      if (atSeconds > nowSeconds - upSeconds) lowest = Math.min(lowest, replicas);
      if (atSeconds > nowSeconds - downSeconds) highest = Math.max(highest, replicas);
    }
    this.#recommendations.push({ atSeconds: nowSeconds, replicas: wanted });
    if (this.#isWithoutBehavior) return highest;
    return Math.min(Math.max(current, lowest), highest);
  }

  #rateLimited(wanted: number, current: number, nowSeconds: number): number {
    const { min, max } = this.#limits;
    if (this.#isWithoutBehavior) {
      return Math.max(min, Math.min(wanted, max, Math.max(OLD_STEP_UP_FACTOR * current, OLD_STEP_UP_MIN)));
    }
    if (wanted > current) {
      const limit = this.#limit(this.#behavior.scaleUp, current, nowSeconds, 1);
      return Math.min(wanted, max, Math.max(limit, current));
    }
    if (wanted < current) {
      const limit = this.#limit(this.#behavior.scaleDown, current, nowSeconds, -1);
      return Math.max(wanted, min, Math.min(limit, current));
    }
    return current;
  }

  /** How far the policies let the count go in one direction. */
  #limit(rules: Rules, current: number, nowSeconds: number, direction: 1 | -1): number {
    if (rules.selectPolicy === 'Disabled') return current;
    const proposals = rules.policies.map(({ type, value, periodSeconds }) => {
      const start = current - this.#changedSince(nowSeconds - periodSeconds);
      if (type === 'Pods') return start + direction * value;
      return direction === 1 ? Math.ceil(start * (1 + value / 100)) : Math.trunc(start * (1 - value / 100));
    });
    // "Max" is the largest change, in whichever direction.
    const furthest = (rules.selectPolicy === 'Max') === (direction === 1);
    return furthest ? Math.max(...proposals) : Math.min(...proposals);
  }

  /** Pods added less pods taken away since then. */
  #changedSince(sinceSeconds: number): number {
    return this.#changes.reduce((sum, { atSeconds, by }) => sum + (atSeconds > sinceSeconds ? by : 0), 0);
  }

  #remember(change: Change): void {
    const { scaleUp, scaleDown } = this.#behavior;
    const longest = Math.max(...[...scaleUp.policies, ...scaleDown.policies].map(({ periodSeconds }) => periodSeconds));
    this.#changes = this.#changes.filter(({ atSeconds }) => atSeconds > change.atSeconds - longest);
    this.#changes.push(change);
  }
}
