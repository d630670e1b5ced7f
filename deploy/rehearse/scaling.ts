/**
 * The rehearsal of scaling: load of 1, 3, 8 and again 1 pods' worth against real pods, which the shipped ScaledObject
 * scales by what a real Prometheus answers. Ends with figures and the account; draws and prints nothing.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { PrometheusServer } from '../local/prometheus.ts';
import { type Figure, runAligned, type Spread, spreadOf } from '../simulate/figures.ts';
import { SYNC_SECONDS } from '../simulate/hpa.ts';
import { readScaler, type Scaler } from '../simulate/manifest.ts';
import * as measure from '../simulate/measure.ts';
import { readManifests } from '../simulate/overlay.ts';
import { METRICS, STEP_SECONDS } from '../simulate/plant.ts';
import type { Profile } from '../simulate/profiles.ts';
import { POD_START_SECONDS, type Timeline } from '../simulate/run.ts';
import { Load } from './load.ts';
import { type Decision, LiveScaler, ofSmallerPods, quickened } from './scaler.ts';
import { PROVIDER, setStage, type Stage } from './stage.ts';
import type { StoreKind } from './store.ts';
import { type PodsAt, timelineOf } from './timeline.ts';
import { settle, type Verdict } from './verdict.ts';

/** C of the shipped manifests. */
export const MANIFEST_CAPACITY_TICKS_PER_SECOND = 2_000;
const ALIGNMENTS = 20;
const SAMPLE_INTERVAL_MS = 100;
const SETTLE_MAX_MS = 120_000;
const SCRAPED_MAX_MS = 30_000;

export interface Phase {
  /** What the load needs at 0.8 of C each. */
  pods: number;
  /** Multiples of C. */
  load: number;
  seconds: number;
}

export interface Pace {
  phases: readonly Phase[];
  /** How much faster than in a cluster the HPA syncs and its windows pass. */
  factor: number;
  /** Undefined: as the manifests say. */
  scrapeIntervalSeconds: number | undefined;
  podStartSeconds: readonly [number, number];
  probeIntervalMs: number;
  /** How long it goes on once the last phase has its pods. */
  lingerSeconds: number;
}

/**
 * As in a cluster. The loads are such that what has waited meanwhile asks for no further pod that would be let go before
 * the next step: 1.8 C needs three pods, and does with a minute of its backlog, with some to spare.
 */
export const AS_IN_A_CLUSTER: Pace = {
  phases: [
    { pods: 1, load: 0.7, seconds: 45 },
    { pods: 3, load: 1.8, seconds: 120 },
    { pods: 8, load: 6, seconds: 150 },
    { pods: 1, load: 0.3, seconds: 150 },
  ],
  factor: 1,
  scrapeIntervalSeconds: undefined,
  podStartSeconds: POD_START_SECONDS,
  probeIntervalMs: 1_000,
  lingerSeconds: 20,
};

/** The same in a minute. What cannot be quickened is the edge's own: demand is what has come in 20 s, and is 3 s old. */
export const QUICK: Pace = {
  phases: [
    { pods: 1, load: 0.5, seconds: 2 },
    { pods: 3, load: 2.2, seconds: 18 },
    { pods: 1, load: 0.1, seconds: 60 },
  ],
  factor: 15,
  scrapeIntervalSeconds: 1,
  podStartSeconds: [0.2, 0.5],
  probeIntervalMs: 1_000,
  lingerSeconds: 1,
};

export interface ScalingOptions {
  manifest: string;
  capacityTicksPerSecond: number;
  store: StoreKind;
  seed: string;
  pace: Pace;
  onStart?: (scaler: Scaler) => void;
  onSync?: (sync: SyncReport) => void;
}

export interface SyncReport extends Decision {
  atSeconds: number;
  load: number;
  ready: number;
}

export interface ScalingResult {
  timeline: Timeline;
  verdict: Verdict;
  /** What happened, beside what the simulator says of the same load and manifest. */
  figures: readonly { figure: Figure; rehearsed: number; simulated: Spread }[];
  complaints: readonly string[];
}

export async function rehearseScaling(options: ScalingOptions): Promise<ScalingResult> {
  const { manifest, capacityTicksPerSecond, pace, seed } = options;
  const manifests = readManifests(manifest);
  const share = capacityTicksPerSecond / MANIFEST_CAPACITY_TICKS_PER_SECOND;
  const scaler = ofSmallerPods(readScaler(manifests.scaledObject, METRICS), share);
  const scrapeIntervalSeconds = pace.scrapeIntervalSeconds ?? manifests.scrapeIntervalSeconds;
  const profile = profileOf(pace.phases);
  await using stage = await setStage({ ...options, ...pace, scrapeIntervalSeconds });
  options.onStart?.(scaler);
  const { timeline, verdict } = await play(stage, quickened(scaler, pace.factor), profile, options);
  const setup = { scaler, capacityTicksPerSecond, scrapeIntervalSeconds, podStartSeconds: pace.podStartSeconds };
  const simulated = runAligned(profile, setup, seed, ALIGNMENTS);
  const figures = figuresOf(pace.phases).map((figure) => ({
    figure,
    rehearsed: figure.of(timeline),
    simulated: spreadOf(simulated.map(figure.of)),
  }));
  return { timeline, verdict, figures, complaints: stage.complaints };
}

async function play(
  stage: Stage,
  scaler: Scaler,
  profile: Profile,
  { capacityTicksPerSecond, pace, onSync }: ScalingOptions,
): Promise<Pick<ScalingResult, 'timeline' | 'verdict'>> {
  const { deployment, prometheus, store, edgeUrl, credential, readScaling } = stage;
  const live = new LiveScaler(scaler, prometheus!, readScaling);
  deployment.scaleTo(scaler.min);
  await deployment.whenReady(scaler.min);
  await scraped(prometheus!);

  const startMs = Date.now();
  const seconds = (): number => (Date.now() - startMs) / 1000;
  const load = profile.load(() => 0);
  const loadNow = (): number => load[Math.min(load.length - 1, Math.floor(seconds() / STEP_SECONDS))]!;
  const pods: PodsAt[] = [];
  const sample = (): void => {
    pods.push({ atMs: Date.now(), replicas: deployment.replicas, ready: deployment.ready });
  };
  sample();
  const sampling = setInterval(sample, SAMPLE_INTERVAL_MS);
  const sending = await Load.start({
    to: edgeUrl,
    provider: PROVIDER,
    credential,
    ticksPerSecond: () => capacityTicksPerSecond * loadNow(),
    nowMs: Date.now,
  });
  const last = pace.phases.at(-1)!;
  let endSeconds = profile.durationSeconds;
  for (let next = SYNC_SECONDS / pace.factor; seconds() < endSeconds; next += SYNC_SECONDS / pace.factor) {
    await sleep(Math.max(0, Math.min(next, endSeconds) - seconds()) * 1000);
    if (seconds() >= endSeconds) break;
    const { replicas: spec, ready } = deployment;
    const decision = await live.sync({ spec, status: spec, ready }, seconds(), Date.now() / 1000);
    onSync?.({ ...decision, atSeconds: seconds(), load: loadNow(), ready });
    deployment.scaleTo(decision.replicas);
    const isBack = seconds() > profile.durationSeconds - last.seconds && decision.replicas <= last.pods;
    if (isBack) endSeconds = Math.min(endSeconds, seconds() + pace.lingerSeconds);
  }
  const endMs = Date.now();
  clearInterval(sampling);
  const verdict = await settle(sending, store, PROVIDER, SETTLE_MAX_MS);
  await deployment.whenGone();
  const timeline = timelineOf({
    profile,
    capacityTicksPerSecond,
    minReplicas: scaler.min,
    startMs,
    endMs,
    pods,
    made: sending.made,
    stored: verdict.batches,
  });
  return { timeline, verdict };
}

/** Prometheus looks at its targets only some seconds after it has started. */
async function scraped(prometheus: PrometheusServer): Promise<void> {
  const deadlineMs = performance.now() + SCRAPED_MAX_MS;
  while ((await prometheus.query('up == 1')).length < 2) {
    if (performance.now() > deadlineMs) throw new Error('Prometheus does not reach both a pod and the edge');
    await sleep(SAMPLE_INTERVAL_MS);
  }
}

function profileOf(phases: readonly Phase[]): Profile {
  const durationSeconds = phases.reduce((sum, { seconds }) => sum + seconds, 0);
  const steps = phases.flatMap(({ load, seconds }) => Array.from({ length: seconds / STEP_SECONDS }, () => load));
  return {
    name: 'rehearsal',
    title: `${phases.map(({ pods }) => pods).join(' to ')} pods of load`,
    durationSeconds,
    replicas: 1,
    load: () => Float64Array.from(steps),
    measuredFromSeconds: 0,
    turns: 1,
    startsAt: new Date(0).toISOString(),
  };
}

/** When each phase's pods are ready, or for the last one asked for alone; and the loop's own figures. */
export function figuresOf(phases: readonly Phase[]): Figure[] {
  const figures: Figure[] = [];
  let atSeconds = 0;
  for (const [at, { pods, seconds }] of phases.entries()) {
    const since = atSeconds;
    if (at === phases.length - 1) {
      figures.push({ name: `back to ${pods}`, unit: 's', of: (run) => measure.secondsUntilReplicas(run, pods, since) });
    } else if (at > 0) {
      figures.push({ name: `${pods} ready`, unit: 's', of: (run) => measure.secondsUntilReady(run, pods, since) });
    }
    atSeconds += seconds;
  }
  return [
    ...figures,
    { name: 'reversals', unit: '', of: measure.reversals },
    {
      name: 'most replicas',
      unit: '',
      of: ({ replicas }) => replicas.reduce((most, count) => Math.max(most, count), 0),
    },
    { name: 'max delay', unit: 's', of: (run) => measure.maxDelaySeconds(run) },
  ];
}
