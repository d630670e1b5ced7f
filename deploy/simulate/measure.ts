/**
 * From a timeline to figures: how fast, how steady, how late. Pure; knows no limits that a figure should hold.
 */

import { STEP_SECONDS } from './plant.ts';
import type { Event } from './profiles.ts';
import type { Timeline } from './run.ts';

/** Up to this share of a pod-second is no backlog. */
const DRAINED_POD_SECONDS = 0.1;

function indexOf(seconds: number): number {
  return Math.ceil(seconds / STEP_SECONDS);
}

/** Seconds from `sinceSeconds` until so many pods are ready; Infinity when they never are. */
export function secondsUntilReady({ ready }: Timeline, pods: number, sinceSeconds: number): number {
  const at = ready.findIndex((count, step) => step >= indexOf(sinceSeconds) && count >= pods);
  return at < 0 ? Number.POSITIVE_INFINITY : at * STEP_SECONDS - sinceSeconds;
}

/** Seconds from `sinceSeconds` until no more replicas than these are asked for. */
export function secondsUntilReplicas({ replicas }: Timeline, most: number, sinceSeconds: number): number {
  const at = replicas.findIndex((count, step) => step >= indexOf(sinceSeconds) && count <= most);
  return at < 0 ? Number.POSITIVE_INFINITY : at * STEP_SECONDS - sinceSeconds;
}

/** How often the replica count turned round, beyond the load's own turns. */
export function reversals({ replicas, profile }: Timeline): number {
  let turns = 0;
  let direction = 0;
  for (let step = indexOf(profile.measuredFromSeconds) + 1; step < replicas.length; step += 1) {
    const change = Math.sign(replicas[step]! - replicas[step - 1]!);
    if (change === 0) continue;
    if (direction !== 0 && change !== direction) turns += 1;
    direction = change;
  }
  return Math.max(0, turns - profile.turns);
}

/** Largest age of a tick that was not stored yet, in seconds. */
export function maxDelaySeconds({ delaySeconds, profile }: Timeline, span?: Event): number {
  const from = indexOf(span?.atSeconds ?? profile.measuredFromSeconds);
  const to = span === undefined ? delaySeconds.length : indexOf(span.untilSeconds);
  return delaySeconds.subarray(from, to).reduce((most, delay) => Math.max(most, delay), 0);
}

/** The delay that 99 of 100 stored ticks do not exceed. */
export function p99DelaySeconds({ delaySeconds, storedTicks, profile }: Timeline): number {
  const from = indexOf(profile.measuredFromSeconds);
  const ofSteps: [delay: number, ticks: number][] = [];
  let total = 0;
  for (let step = Math.max(1, from); step < delaySeconds.length; step += 1) {
    const ticks = storedTicks[step]! - storedTicks[step - 1]!;
    ofSteps.push([delaySeconds[step]!, ticks]);
    total += ticks;
  }
  ofSteps.sort(([one], [other]) => other - one);
  let later = 0;
  for (const [delay, ticks] of ofSteps) {
    later += ticks;
    if (later > total / 100) return delay;
  }
  return 0;
}

/** Seconds from `atSeconds` until the backlog is gone for good before `untilSeconds`; Infinity when it is not. */
export function drainedAfterSeconds(timeline: Timeline, { atSeconds, untilSeconds }: Event): number {
  const limit = DRAINED_POD_SECONDS * timeline.capacityTicksPerSecond;
  const span = timeline.backlogTicks.subarray(indexOf(atSeconds), indexOf(untilSeconds));
  const last = span.findLastIndex((ticks) => ticks > limit);
  return last === span.length - 1 ? Number.POSITIVE_INFINITY : (last + 1) * STEP_SECONDS;
}

/** Seconds in which the load was above what the ready pods can store. */
export function underProvisionedSeconds({ load, ready, profile }: Timeline): number {
  let steps = 0;
  for (let step = indexOf(profile.measuredFromSeconds); step < load.length; step += 1) {
    if (load[step]! > ready[step]!) steps += 1;
  }
  return steps * STEP_SECONDS;
}

export function fewestReplicas({ replicas }: Timeline, { atSeconds, untilSeconds }: Event): number {
  return replicas.subarray(indexOf(atSeconds), indexOf(untilSeconds)).reduce((few, count) => Math.min(few, count));
}

export function mostReplicas({ replicas }: Timeline, { atSeconds, untilSeconds }: Event): number {
  return replicas.subarray(indexOf(atSeconds), indexOf(untilSeconds)).reduce((most, count) => Math.max(most, count));
}

/** Pods above the count at its beginning, times how long they were there. */
export function uselessPodSeconds({ replicas }: Timeline, { atSeconds, untilSeconds }: Event): number {
  const before = replicas[indexOf(atSeconds) - 1]!;
  const span = replicas.subarray(indexOf(atSeconds), indexOf(untilSeconds));
  return span.reduce((sum, count) => sum + Math.max(0, count - before) * STEP_SECONDS, 0);
}

/** What the replicas cost. */
export function podSeconds({ replicas, profile }: Timeline): number {
  return replicas.subarray(indexOf(profile.measuredFromSeconds)).reduce((sum, count) => sum + count * STEP_SECONDS, 0);
}
