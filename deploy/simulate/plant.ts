/**
 * The system that is scaled, as a fluid: an edge that holds what the pods refuse, pods with the project's own levels,
 * limiter and circuit, a store that may be slow or away. It exposes metrics under their real names, knows no scaler.
 */

import { Throttle } from '../../pipeline/backpressure/throttle.ts';
import type { Budget } from '../../pipeline/backpressure/token-bucket.ts';
import { LEVEL_NUMBER, RATE_SCALE } from '../../pipeline/contract/level.ts';
import { Circuit, type CircuitState } from '../../pipeline/sink/circuit.ts';
import type { EdgeFigure } from './metrics-api.ts';
import type { Exposed } from './prometheus.ts';

export const STEP_SECONDS = 0.5;
/** A pod's default `MDP_QUEUE_CAPACITY_TICKS`. */
export const QUEUE_CAPACITY_TICKS = 10_000;
/** How far demand is looked back at, by the edge and the pods. */
const DEMAND_WINDOW_SECONDS = 20;
/** The edge leaves isolates three seconds to report, and counts whole ones. */
const EDGE_SETTLE_SECONDS = 3.5;
/** It asks its outboxes no more often. */
const EDGE_ASK_SECONDS = 5;
/** Group commits a second and pod. */
const WRITES_PER_SECOND = 10;
const WRITE_BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const PROVIDER = 'ibkr';
/** Far above what a pod stores, as the pod's own default: only levels slow anybody. */
const BUDGET: Budget = { ticksPerSecond: 1_000_000, burst: 2_000_000 };

/** What {@link edgeMetrics} and {@link podMetrics} expose: the names a scaling query may read. */
export const METRICS: ReadonlySet<string> = new Set([
  'edge_demand_ticks_per_second',
  'edge_outstanding_ticks',
  'edge_oldest_outstanding_seconds',
  'pipeline_demand_ticks_per_second',
  'pipeline_in_flight_ticks',
  'pipeline_store_circuit_state',
  'pipeline_store_write_seconds_bucket',
  'pipeline_pod_capacity_ticks_per_second',
  'pipeline_feedback_queue_depth',
  'pipeline_backpressure_state',
  'pipeline_rate_scale_factor',
]);

const CIRCUIT_NUMBER: Readonly<Record<CircuitState, number>> = { closed: 0, half_open: 1, open: 2 };
const OF_POD = {};
const OF_PROVIDER = { provider: PROVIDER };
const OF_EDGE = { provider: PROVIDER, path: 'edge' };
const OF_DIRECT = { provider: PROVIDER, path: 'direct' };
const OF_SOURCE = { source: 'store_coordinator' };
const OF_BUCKETS = [...WRITE_BUCKETS_SECONDS.map(String), '+Inf'].map((le) => ({ le }));

export interface Store {
  isAway: boolean;
  /** How long one group commit takes. */
  writeSeconds: number;
  /** What it takes from all pods together. */
  ticksPerSecond: number;
}

/** Ticks of 20 seconds, which ended `settleSeconds` ago, step by step. */
class Window {
  readonly #steps: number[];
  readonly #settleSteps: number;
  #at = 0;
  #sum = 0;

  constructor(settleSeconds = 0) {
    this.#settleSteps = settleSeconds / STEP_SECONDS;
    const steps = DEMAND_WINDOW_SECONDS / STEP_SECONDS + this.#settleSteps;
    this.#steps = Array.from({ length: steps }, () => 0);
  }

  add(ticks: number): void {
    const { length } = this.#steps;
    const oldest = this.#steps[this.#at]!;
    this.#steps[this.#at] = ticks;
    const settled = this.#steps[(this.#at - this.#settleSteps + length) % length]!;
    this.#sum += settled - oldest;
    this.#at = (this.#at + 1) % length;
  }

  get ticksPerSecond(): number {
    return Math.max(0, this.#sum) / DEMAND_WINDOW_SECONDS;
  }
}

/** Invariant: arrived = stored + held by the edge + queued in pods. */
export class Plant {
  readonly capacityTicksPerSecond: number;
  readonly pods: Pod[] = [];
  arrivedTicks = 0;
  storedTicks = 0;
  heldTicks = 0;
  #made = 0;
  readonly #arrivals = new Window(EDGE_SETTLE_SECONDS);
  #asked = { atSeconds: Number.NEGATIVE_INFINITY, heldTicks: 0 };
  readonly #random: () => number;
  readonly #podStartSeconds: readonly [number, number];

  constructor(capacityTicksPerSecond: number, podStartSeconds: readonly [number, number], random: () => number) {
    this.capacityTicksPerSecond = capacityTicksPerSecond;
    this.#podStartSeconds = podStartSeconds;
    this.#random = random;
  }

  /** As the Deployment controller: new pods start, those not yet ready go first. */
  scaleTo(replicas: number, nowSeconds: number, isStarted = false): void {
    const kept = this.pods.filter(({ isDraining }) => !isDraining);
    for (let missing = replicas - kept.length; missing > 0; missing -= 1) {
      const [from, to] = this.#podStartSeconds;
      const startSeconds = isStarted ? 0 : from + this.#random() * (to - from);
      this.pods.push(new Pod(`mdp-pipeline-${++this.#made}`, nowSeconds + startSeconds));
    }
    const surplus = kept.toSorted((one, other) => other.readyAtSeconds - one.readyAtSeconds);
    for (const pod of surplus.slice(0, Math.max(0, kept.length - replicas))) pod.isDraining = true;
  }

  readyPods(nowSeconds: number): Pod[] {
    return this.pods.filter((pod) => !pod.isDraining && pod.readyAtSeconds <= nowSeconds);
  }

  get replicas(): number {
    return this.pods.reduce((count, { isDraining }) => count + (isDraining ? 0 : 1), 0);
  }

  get backlogTicks(): number {
    return this.arrivedTicks - this.storedTicks;
  }

  /** One step: ticks arrive at the edge, are offered to the ready pods in equal shares, and are written. */
  step(ticksPerSecond: number, store: Store, ready: readonly Pod[], nowSeconds: number): void {
    const arriving = ticksPerSecond * STEP_SECONDS;
    this.arrivedTicks += arriving;
    this.heldTicks += arriving;
    this.#arrivals.add(arriving);
    const share = this.heldTicks / ready.length;
    for (const pod of ready) this.heldTicks -= pod.offer(share, nowSeconds);
    this.#write(store, nowSeconds);
    for (let at = this.pods.length - 1; at >= 0; at -= 1) {
      const pod = this.pods[at]!;
      if (pod.isDraining && (pod.depthTicks < 1 || pod.readyAtSeconds > nowSeconds)) this.pods.splice(at, 1);
    }
  }

  #write(store: Store, nowSeconds: number): void {
    let storeRoom = store.ticksPerSecond * STEP_SECONDS;
    for (const pod of this.pods) {
      if (pod.readyAtSeconds > nowSeconds) continue;
      const most = Math.min(this.capacityTicksPerSecond * STEP_SECONDS, storeRoom);
      const written = pod.write(most, store, nowSeconds, this.#random);
      storeRoom -= written;
      this.storedTicks += written;
    }
  }

  /** What the edge says of itself, to whoever asks it now. */
  edgeFigures(nowSeconds: number): Readonly<Record<EdgeFigure, number>> {
    if (nowSeconds - this.#asked.atSeconds >= EDGE_ASK_SECONDS) {
      this.#asked = { atSeconds: nowSeconds, heldTicks: this.heldTicks };
    }
    const { heldTicks } = this.#asked;
    const demand = this.#arrivals.ticksPerSecond;
    return {
      'total.demandTicksPerSecond': demand,
      'total.outstandingTicks': heldTicks,
      'total.oldestOutstandingSeconds': demand > 0 ? heldTicks / demand : 0,
    };
  }

  edgeMetrics(nowSeconds: number): Exposed[] {
    const labels = OF_PROVIDER;
    const figures = this.edgeFigures(nowSeconds);
    return [
      { metric: 'edge_demand_ticks_per_second', labels, read: () => figures['total.demandTicksPerSecond'] },
      { metric: 'edge_outstanding_ticks', labels, read: () => figures['total.outstandingTicks'] },
      { metric: 'edge_oldest_outstanding_seconds', labels, read: () => figures['total.oldestOutstandingSeconds'] },
    ];
  }

  podMetrics(pod: Pod): Exposed[] {
    const labels = OF_PROVIDER;
    return [
      {
        metric: 'pipeline_demand_ticks_per_second',
        labels: OF_EDGE,
        read: () => pod.arrivals.ticksPerSecond,
      },
      { metric: 'pipeline_demand_ticks_per_second', labels: OF_DIRECT, read: () => 0 },
      { metric: 'pipeline_in_flight_ticks', labels, read: () => pod.depthTicks },
      { metric: 'pipeline_store_circuit_state', labels: OF_POD, read: () => CIRCUIT_NUMBER[pod.circuit.state] },
      { metric: 'pipeline_pod_capacity_ticks_per_second', labels: OF_POD, read: () => this.capacityTicksPerSecond },
      {
        metric: 'pipeline_feedback_queue_depth',
        labels: OF_SOURCE,
        read: () => pod.depthTicks,
      },
      { metric: 'pipeline_backpressure_state', labels, read: () => LEVEL_NUMBER[pod.throttle.levelOf(PROVIDER)] },
      { metric: 'pipeline_rate_scale_factor', labels, read: () => pod.throttle.rateScaleOf(PROVIDER) },
      ...OF_BUCKETS.map((bucket, at) => ({
        metric: 'pipeline_store_write_seconds_bucket',
        labels: bucket,
        read: () => pod.writesWithin(at),
      })),
    ];
  }
}

/** Invariant: what is queued is within the capacity. Shows its queue to the throttle as the real one does. */
export class Pod {
  readonly name: string;
  readonly readyAtSeconds: number;
  readonly throttle = new Throttle(new Map([[PROVIDER, BUDGET]]), BUDGET, RATE_SCALE);
  readonly circuit = new Circuit();
  readonly arrivals = new Window();
  /** Counts of each bucket alone; the last is of +Inf. */
  readonly #writes: number[] = OF_BUCKETS.map(() => 0);
  readonly capacityTicks = QUEUE_CAPACITY_TICKS;
  readonly capacityBytes = Number.POSITIVE_INFINITY;
  readonly depthBytes = 0;
  depthTicks = 0;
  isDraining = false;

  constructor(name: string, readyAtSeconds: number) {
    this.name = name;
    this.readyAtSeconds = readyAtSeconds;
  }

  get deepestTicks(): number {
    return this.depthTicks;
  }

  depthTicksOf(): number {
    return this.depthTicks;
  }

  /** Takes of the ticks what level, limiter and room allow, and says how many. */
  offer(ticks: number, nowSeconds: number): number {
    this.throttle.observe({ queue: this, circuit: this.circuit.state, feedback: 'ok', memoryShare: 0 });
    const room = Math.min(ticks, this.capacityTicks - this.depthTicks);
    const taken = room > 0 && this.throttle.admit(PROVIDER, room, nowSeconds * 1000).ok ? room : 0;
    this.depthTicks += taken;
    this.arrivals.add(taken);
    return taken;
  }

  /** Tries to write, as the circuit lets it; says how many ticks are stored. */
  write(mostTicks: number, store: Store, nowSeconds: number, random: () => number): number {
    if (this.depthTicks === 0 || this.circuit.begin(nowSeconds * 1000) === undefined) return 0;
    if (store.isAway) {
      this.circuit.failed(nowSeconds * 1000, random());
      return 0;
    }
    this.circuit.succeeded();
    const written = Math.min(this.depthTicks, mostTicks);
    this.depthTicks -= written;
    const bucket = WRITE_BUCKETS_SECONDS.findIndex((bound) => store.writeSeconds <= bound);
    this.#writes[bucket < 0 ? WRITE_BUCKETS_SECONDS.length : bucket]! += WRITES_PER_SECOND * STEP_SECONDS;
    return written;
  }

  /** Cumulative, as Prometheus has buckets. */
  writesWithin(bucket: number): number {
    let sum = 0;
    for (let at = 0; at <= bucket; at += 1) sum += this.#writes[at]!;
    return sum;
  }
}
