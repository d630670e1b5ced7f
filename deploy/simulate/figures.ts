/**
 * What each profile is judged by, and the spread of it over many alignments of scrapes, HPA syncs and pod starts.
 * Knows no limits: which figures are to be held is the tests' to say.
 */

import { seededRandom } from '../replay/shuffle.ts';
import * as measure from './measure.ts';
import { type Profile, SETTLED_SECONDS, STEP_AT_SECONDS } from './profiles.ts';
import { run, type Setup, type Timeline } from './run.ts';

export interface Figure {
  name: string;
  unit: 's' | '' | 'pod-s';
  of: (timeline: Timeline) => number;
}

export interface Spread {
  median: number;
  worst: number;
}

/** In order; every figure is one of which less is better. */
export type Spreads = ReadonlyMap<string, Spread>;

const REVERSALS: Figure = { name: 'reversals', unit: '', of: measure.reversals };
const MAX_DELAY: Figure = { name: 'max delay', unit: 's', of: (timeline) => measure.maxDelaySeconds(timeline) };
const P99_DELAY: Figure = { name: 'p99 delay', unit: 's', of: measure.p99DelaySeconds };
const UNDER_PROVISIONED: Figure = { name: 'under-provisioned', unit: 's', of: measure.underProvisionedSeconds };
const MOST_PODS: Figure = { name: 'most replicas', unit: '', of: (timeline) => Math.max(...timeline.replicas) };
const POD_SECONDS: Figure = { name: 'pods', unit: 'pod-s', of: measure.podSeconds };

function ready(pods: number, sinceSeconds: number): Figure {
  return { name: `${pods} ready`, unit: 's', of: (run) => measure.secondsUntilReady(run, pods, sinceSeconds) };
}

function drained(atSeconds: number, untilSeconds: number): Figure {
  const span = { atSeconds, untilSeconds };
  return { name: 'drained', unit: 's', of: (timeline) => measure.drainedAfterSeconds(timeline, span) };
}

function lost(of: (timeline: Timeline) => number): Figure {
  return { name: 'replicas lost', unit: '', of };
}

const USELESS: Figure = {
  name: 'useless pods',
  unit: 'pod-s',
  of: (run) => measure.uselessPodSeconds(run, (run.profile.storeAway ?? run.profile.storeSlow)!),
};

/** Replicas given up while the store is away or metrics are lost. */
const LOST_MEANWHILE = lost((run) => {
  const span = (run.profile.storeAway ?? run.profile.metricsLost)!;
  const before = measure.mostReplicas(run, { atSeconds: span.atSeconds - 1, untilSeconds: span.atSeconds });
  return Math.max(0, before - measure.fewestReplicas(run, span));
});

export function figuresOf(profile: Profile): readonly Figure[] {
  const { durationSeconds, measuredFromSeconds, storeAway, name } = profile;
  const { twoAndAHalf, seven, low } = STEP_AT_SECONDS;
  switch (name) {
    case 'step':
      return [
        ready(3, twoAndAHalf),
        ready(7, seven),
        {
          name: 'back to the minimum',
          unit: 's',
          of: (run) => measure.secondsUntilReplicas(run, run.minReplicas, low),
        },
        REVERSALS,
        MAX_DELAY,
        drained(seven, low),
      ];
    case 'ramp':
      return [UNDER_PROVISIONED, REVERSALS, MAX_DELAY];
    case 'spike':
    case 'open':
      return [ready(10, SETTLED_SECONDS), REVERSALS, MAX_DELAY, drained(SETTLED_SECONDS, durationSeconds)];
    case 'noisy-day':
      return [REVERSALS, MAX_DELAY, P99_DELAY, POD_SECONDS];
    case 'constant':
      return [ready(5, measuredFromSeconds), REVERSALS, MAX_DELAY, drained(measuredFromSeconds, durationSeconds)];
    case 'store-away':
    case 'store-away-long':
      return [LOST_MEANWHILE, USELESS, REVERSALS, MAX_DELAY, drained(storeAway!.untilSeconds, durationSeconds)];
    case 'prometheus-lost':
    case 'metrics-lost':
      return [LOST_MEANWHILE, REVERSALS, MAX_DELAY];
    case 'store-slow':
      return [USELESS, REVERSALS];
    default:
      return [UNDER_PROVISIONED, REVERSALS, MAX_DELAY, P99_DELAY, MOST_PODS, POD_SECONDS];
  }
}

/** The load is one, drawn from the seed; the alignments are many. */
export function runAligned(profile: Profile, setup: Setup, seed: string, alignments: number): Timeline[] {
  const load = profile.load(seededRandom(`${seed}/${profile.name}/load`));
  return Array.from({ length: alignments }, (_, at) =>
    run(profile, load, setup, seededRandom(`${seed}/${profile.name}/${at}`)),
  );
}

export function spreadsOf(profile: Profile, timelines: readonly Timeline[]): Spreads {
  return new Map(figuresOf(profile).map((figure) => [figure.name, spreadOf(timelines.map(figure.of))]));
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((one, other) => one - other);
  return { median: sorted[Math.ceil(sorted.length / 2) - 1]!, worst: sorted.at(-1)! };
}
