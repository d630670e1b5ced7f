/**
 * What happened, in the form that the simulator has for what would happen: so that the same measures and the same picture
 * serve both. Delay and backlog come from the store's ledger, batch by batch, not from any metric. Pure.
 */

import { STEP_SECONDS } from '../simulate/plant.ts';
import type { Profile } from '../simulate/profiles.ts';
import type { Timeline } from '../simulate/run.ts';
import { BATCH_TICKS } from './load.ts';
import type { StoredBatch } from './store.ts';

/** The pods as they were from then on. */
export interface PodsAt {
  atMs: number;
  replicas: number;
  ready: number;
}

export interface Happened {
  profile: Profile;
  capacityTicksPerSecond: number;
  minReplicas: number;
  startMs: number;
  endMs: number;
  /** By time, the first at `startMs` or before. */
  pods: readonly PodsAt[];
  /** When each batch was made, by its id. */
  made: ReadonlyMap<string, number>;
  stored: readonly StoredBatch[];
}

export function timelineOf(happened: Happened): Timeline {
  const { profile, capacityTicksPerSecond, minReplicas, startMs, endMs } = happened;
  const steps = Math.floor((endMs - startMs) / 1000 / STEP_SECONDS);
  const perStep = (valueAt: (atMs: number) => number): Float64Array =>
    Float64Array.from({ length: steps }, (_, step) => valueAt(startMs + step * STEP_SECONDS * 1000));
  const podsAt = (atMs: number): PodsAt => happened.pods.findLast((pods) => pods.atMs <= atMs) ?? happened.pods[0]!;
  const load = profile.load(() => 0);
  const storedAtMs = new Map(happened.stored.map((batch) => [batch.id, batch.storedAtMs]));
  const spans = [...happened.made].map(([id, madeMs]) => ({ madeMs, storedMs: storedAtMs.get(id) ?? Infinity }));
  const waiting = (atMs: number) => spans.filter(({ madeMs, storedMs }) => madeMs <= atMs && storedMs > atMs);
  const oldestMs = (atMs: number): number =>
    waiting(atMs).reduce((oldest, { madeMs }) => Math.min(oldest, madeMs), atMs);
  return {
    profile,
    capacityTicksPerSecond,
    minReplicas,
    load: load.slice(0, steps),
    replicas: perStep((atMs) => podsAt(atMs).replicas),
    ready: perStep((atMs) => podsAt(atMs).ready),
    backlogTicks: perStep((atMs) => waiting(atMs).length * BATCH_TICKS),
    delaySeconds: perStep((atMs) => (atMs - oldestMs(atMs)) / 1000),
    storedTicks: perStep((atMs) => spans.filter(({ storedMs }) => storedMs <= atMs).length * BATCH_TICKS),
  };
}
