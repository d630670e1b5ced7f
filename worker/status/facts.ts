/**
 * What has been measured, and when: the one record from which every state is judged. Data that survives JSON; knows
 * no threshold and no word for the public.
 */

import type { Level } from '../../pipeline/contract/level.ts';

/** One question to a pod's `/status`. */
export interface ClusterCheck {
  atMs: number;
  reachable: boolean;
  /** Why not, in words for anybody. */
  why: string | null;
  level: Level | null;
  draining: boolean;
  storeOpen: boolean | null;
  depthTicks: number | null;
}

/**
 * How a canary tick ended: `stored`; `late` at its deadline; `no_store` and `held_back` are the pod's own refusals;
 * `rejected` its verdict on the tick; `no_cluster` and `refused_edge` came from no pod at all.
 */
export type CanaryOutcome = 'stored' | 'late' | 'no_store' | 'held_back' | 'rejected' | 'no_cluster' | 'refused_edge';

export interface CanaryResult {
  atMs: number;
  outcome: CanaryOutcome;
  /** From the signature to the pod's answer. */
  tookMs: number;
}

/** The last measurement of one kind, and how many in a row, it included, were not good. */
export interface Series<Measured> {
  last: Measured;
  failures: number;
}

/** Batches of a stretch of time, by how they ended, and the ticks that were taken. */
export interface BatchCounts {
  stored: number;
  buffered: number;
  /** Sent back because of the system: backpressure, no room, cluster away. */
  refused: number;
  /** Sent back because of the sender. */
  rejected: number;
  /** Got no answer from the cluster, whatever the sender was told. */
  failed: number;
  ticks: number;
}

/** Counts of the newest stretches of {@link BUCKET_MS}, oldest first. */
export interface Bucket extends BatchCounts {
  /** Epoch milliseconds of its beginning. */
  startMs: number;
}

/** What is on its way, as the part of the edge that keeps count of it says. */
export interface Load {
  /** First arrivals, every path. */
  ticksPerSecond: number;
  outstandingTicks: number;
  oldestAgeSeconds: number;
}

export interface ProviderFact {
  lastSeenMs: number;
  /** A moving average of the time between two of its reports. */
  usualGapMs: number;
  level: Level | null;
}

export interface Facts {
  /** When measuring began, ever. */
  bornMs: number;
  /** When each component was judged for the first time: its history begins there. */
  judgedSinceMs: Readonly<Record<string, number>>;
  /** When the last look at the cluster ended, however it ended. */
  beatMs: number | null;
  /** The edge's settings are complete. */
  setUp: boolean;
  cluster: Series<ClusterCheck> | null;
  canary: Series<CanaryResult> | null;
  window: readonly Bucket[];
  load: ({ atMs: number } & Load) | null;
  providers: Readonly<Record<string, ProviderFact>>;
}

export function noFacts(nowMs: number): Facts {
  return {
    bornMs: nowMs,
    judgedSinceMs: {},
    beatMs: null,
    setUp: true,
    cluster: null,
    canary: null,
    window: [],
    load: null,
    providers: {},
  };
}

/** The series with one more measurement. */
export function measured<Measured>(series: Series<Measured> | null, last: Measured, good: boolean): Series<Measured> {
  return { last, failures: good ? 0 : (series?.failures ?? 0) + 1 };
}

export function isGoodCheck(check: ClusterCheck): boolean {
  return check.reachable && check.level !== 'hard';
}

export function isGoodCanary(canary: CanaryResult): boolean {
  return canary.outcome === 'stored';
}
