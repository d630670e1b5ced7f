/**
 * One closed loop: load, plant, scrapes, KEDA, HPA, pods, second by second. Pure but for the `random` it is given;
 * equal arguments give an equal timeline. Says what happened, not whether that was good.
 */

import { Hpa, SYNC_SECONDS } from './hpa.ts';
import { Keda, type Sources } from './keda.ts';
import { metricsRead, type Scaler } from './manifest.ts';
import { Plant, type Pod, STEP_SECONDS, type Store } from './plant.ts';
import type { Event, Profile } from './profiles.ts';
import { type Exposed, Prometheus } from './prometheus.ts';

export interface Setup {
  scaler: Scaler;
  /** C: what one pod stores. */
  capacityTicksPerSecond: number;
  scrapeIntervalSeconds: number;
  /** From created to ready, drawn evenly between the two. */
  podStartSeconds: readonly [number, number];
}

export const POD_START_SECONDS = [10, 20] as const;

/** One value per step of {@link STEP_SECONDS}. */
export interface Timeline {
  profile: Profile;
  capacityTicksPerSecond: number;
  minReplicas: number;
  /** Multiples of C. */
  load: Float64Array;
  /** Asked for by the HPA. */
  replicas: Float64Array;
  ready: Float64Array;
  backlogTicks: Float64Array;
  /** Age of the oldest tick that is not stored. */
  delaySeconds: Float64Array;
  storedTicks: Float64Array;
}

const STORE_WRITE_SECONDS = 0.03;
const SLOW_STORE_WRITE_SECONDS = 4;
const EDGE = 'edge';

/** `load` comes from the profile; `random` is the alignment: of scrapes, HPA syncs and pod starts. */
export function run(profile: Profile, load: Float64Array, setup: Setup, random: () => number): Timeline {
  const { scaler, capacityTicksPerSecond, scrapeIntervalSeconds, podStartSeconds } = setup;
  const timeline = emptyTimeline(profile, setup, load);
  const plant = new Plant(capacityTicksPerSecond, podStartSeconds, random);
  const prometheus = new Prometheus(metricsRead(scaler));
  const scrapes = new Scrapes(prometheus, scrapeIntervalSeconds, random);
  const keda = new Keda(scaler);
  const hpa = new Hpa(scaler, scaler.behavior);
  const zeroEpochSeconds = Date.parse(profile.startsAt) / 1000;
  let replicas = Math.min(Math.max(profile.replicas, scaler.min), scaler.max);
  let nextSyncSeconds = random() * SYNC_SECONDS;
  const oldest = new OldestTick();
  plant.scaleTo(replicas, 0, true);

  for (let step = 0; step < load.length; step += 1) {
    const now = step * STEP_SECONDS;
    const ready = plant.readyPods(now);
    plant.step(load[step]! * capacityTicksPerSecond, storeAt(profile, setup, now), ready, now);
    const lost = within(profile.metricsLost, now) ? profile.metricsLost!.what : undefined;
    scrapes.run(plant, ready, lost === 'targets', now);
    if (now >= nextSyncSeconds) {
      nextSyncSeconds += SYNC_SECONDS;
      const sources: Sources = {
        prometheus: (query, atEpochSeconds) =>
          lost === 'prometheus'
            ? undefined
            : prometheus.query(query, atEpochSeconds - zeroEpochSeconds).map(({ value }) => value),
        edge: (figure) => (lost === 'targets' ? undefined : plant.edgeFigures(now)[figure]),
      };
      const metrics = keda.read(sources, replicas, zeroEpochSeconds + now);
      const pods = { spec: replicas, status: plant.replicas, ready: ready.length };
      replicas = hpa.sync(metrics, pods, now);
      plant.scaleTo(replicas, now);
    }
    timeline.replicas[step] = replicas;
    timeline.ready[step] = ready.length;
    timeline.backlogTicks[step] = plant.backlogTicks;
    timeline.storedTicks[step] = plant.storedTicks;
    timeline.delaySeconds[step] = oldest.ageSeconds(plant.arrivedTicks, plant.storedTicks, now);
  }
  return timeline;
}

function emptyTimeline(profile: Profile, { capacityTicksPerSecond, scaler }: Setup, load: Float64Array): Timeline {
  const values = (): Float64Array => new Float64Array(load.length);
  return {
    profile,
    capacityTicksPerSecond,
    minReplicas: scaler.min,
    load,
    replicas: values(),
    ready: values(),
    backlogTicks: values(),
    delaySeconds: values(),
    storedTicks: values(),
  };
}

export function within(event: Event | undefined, nowSeconds: number): boolean {
  return event !== undefined && nowSeconds >= event.atSeconds && nowSeconds < event.untilSeconds;
}

function storeAt(profile: Profile, { capacityTicksPerSecond }: Setup, nowSeconds: number): Store {
  const isSlow = within(profile.storeSlow, nowSeconds);
  return {
    isAway: within(profile.storeAway, nowSeconds),
    writeSeconds: isSlow ? SLOW_STORE_WRITE_SECONDS : STORE_WRITE_SECONDS,
    ticksPerSecond: isSlow ? 2.5 * capacityTicksPerSecond : Number.POSITIVE_INFINITY,
  };
}

/** Every target is scraped at an offset of its own, from when it is ready until it is told to go. */
class Scrapes {
  readonly #prometheus: Prometheus;
  readonly #intervalSeconds: number;
  readonly #random: () => number;
  readonly #nextSeconds = new Map<string, number>();

  constructor(prometheus: Prometheus, intervalSeconds: number, random: () => number) {
    this.#prometheus = prometheus;
    this.#intervalSeconds = intervalSeconds;
    this.#random = random;
  }

  run(plant: Plant, ready: readonly Pod[], isFailing: boolean, nowSeconds: number): void {
    if (this.#nextSeconds.size > ready.length + 1 || plant.pods.length > ready.length) this.#forgetAllBut(ready);
    this.#scrape(EDGE, () => plant.edgeMetrics(nowSeconds), isFailing, nowSeconds);
    for (const pod of ready) this.#scrape(pod.name, () => plant.podMetrics(pod), isFailing, nowSeconds);
  }

  #scrape(target: string, expose: () => Exposed[], isFailing: boolean, nowSeconds: number): void {
    const next = this.#nextSeconds.get(target);
    if (next === undefined) this.#nextSeconds.set(target, nowSeconds + this.#random() * this.#intervalSeconds);
    if (next === undefined || nowSeconds < next) return;
    this.#nextSeconds.set(target, next + this.#intervalSeconds);
    if (isFailing) this.#prometheus.forget(target);
    else this.#prometheus.ingest(target, expose(), nowSeconds);
  }

  #forgetAllBut(pods: readonly Pod[]): void {
    const kept = new Set([EDGE, ...pods.map(({ name }) => name)]);
    for (const target of this.#nextSeconds.keys()) {
      if (kept.has(target)) continue;
      this.#nextSeconds.delete(target);
      this.#prometheus.forget(target);
    }
  }
}

/** First in, first out: finds when the oldest tick that is not stored has arrived, within its step by proportion. */
class OldestTick {
  readonly #arrived: number[] = [];
  #head = 0;

  ageSeconds(arrivedTicks: number, storedTicks: number, nowSeconds: number): number {
    this.#arrived.push(arrivedTicks);
    // Half a tick of rounding is nobody waiting.
    while (this.#head < this.#arrived.length && this.#arrived[this.#head]! <= storedTicks + 0.5) this.#head += 1;
    if (this.#head === this.#arrived.length) return 0;
    const before = this.#arrived[this.#head - 1] ?? 0;
    const share = Math.max(0, storedTicks - before) / (this.#arrived[this.#head]! - before);
    return nowSeconds + STEP_SECONDS - (this.#head + share) * STEP_SECONDS;
  }
}
