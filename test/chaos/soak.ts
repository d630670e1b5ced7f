/**
 * The whole system at a share of what it can do, for long: do memory, open descriptors and the time of an answer grow?
 *
 * No disk has room for an hour of ticks. So they are dated: each minute's are of another day, and a day that is over
 * is held against what was acknowledged, and dropped.
 *
 * A machine that others use as well is slower at times, and then answers take longer, and more connections are open for
 * those that wait. So answers are judged as a multiple of what a bare Worker needs at the same time, and descriptors by
 * those that are left when nothing is offered.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { freePorts } from '../../deploy/local/free-ports.ts';
import { EdgeHeap } from '../support/edge-heap.ts';
import { until } from '../support/postgres-stores.ts';
import { openDescriptors, residentBytes } from '../support/process-memory.ts';
import { BareWorker } from './bare-worker.ts';
import { Cluster } from './cluster.ts';
import { Load } from './load.ts';
import { askReceipts, findingsOf } from './scenario.ts';
import { type Sample, type Trend, trend } from './slope.ts';
import { PostgresDatabase } from './stores.ts';

/** Nothing is offered for a moment after each. */
const QUARTERS = 4;
/** Of the time, until caches are full and code is compiled. */
const WARM_UP_SHARE = 1 / QUARTERS;
/** Longer than from one that closes what nobody uses to the next: client, edge, and the pods' pools of their store. */
const REST_STEADY_MS = 6_000;
const REST_MAX_MS = 30_000;
const REST_LOOK_MS = 250;
const BATCH_TICKS = 500;
/** Of the time in which the capacity is measured; before it, everything warms up. */
const MEASURED_SHARE = 0.5;
const SETTLED_MAX_MS = 60_000;
const DAY_MS = 86_400_000;
const MIB = 2 ** 20;
const BARE_MEMORY = 'bare Worker memory, MiB';
const BARE_ANSWER = 'bare Worker answer p99, ms';
const ANSWER = 'answer p99, ms';
/** Told beside the others and not judged: they are the runtime's and the machine's as well. */
const TOLD: ReadonlySet<string> = new Set([BARE_MEMORY, BARE_ANSWER, ANSWER]);
/** So long ticks are of one day: at 100,000 a second, what is in the store has some GB. */
const DATED_ALIKE_MS = 60_000;
/** Below this a slope is mostly chance, and is told but not judged. */
const JUDGED_FROM_MS = 600_000;
/** Of the mean in an hour. A leak of one percent of a pod's memory in three minutes is twice that. */
const GROWTH_MAX_SHARE_PER_HOUR = 0.1;
/** A slope is what it is for certain: less so many of its standard errors. */
const DOUBT_ERRORS = 2;

export interface SoakOptions {
  forMs: number;
  /** In which the capacity is measured. */
  capacityMs: number;
  /** Of the capacity. */
  share: number;
  /** A day's ticks are offered for so long. */
  datedAlikeMs?: number;
}

export interface Soaked {
  capacityTicksPerSecond: number;
  ticksPerSecond: number;
  ticksAcknowledged: number;
  /** By what was looked at: memory and heap in MiB, descriptors, the 99th of a hundred answers in ms and as a multiple. */
  trends: Record<string, Trend>;
  /** Each a sentence; empty when nothing was lost, stored twice or grew. */
  broken: string[];
}

export async function soak({ forMs, capacityMs, share, datedAlikeMs = DATED_ALIKE_MS }: SoakOptions): Promise<Soaked> {
  await using stack = new AsyncDisposableStack();
  const store = stack.use(await PostgresDatabase.start());
  const [inspectorPort] = (await freePorts(1)) as [number];
  const cluster = stack.use(await Cluster.start({ store, edge: { inspectorPort } }));
  const edgeHeap = stack.use(await EdgeHeap.of(inspectorPort));
  const { credentials, edgeUrl } = cluster;
  const dayCount = 1 + Math.ceil(forMs / datedAlikeMs);
  let tsMs = Date.now() - dayCount * DAY_MS;
  await store.makeDays(tsMs, dayCount);
  const load = new Load({
    to: edgeUrl,
    credentials,
    ticksPerSecond: Number.POSITIVE_INFINITY,
    batchTicks: BATCH_TICKS,
    tsMs: () => tsMs,
  });
  const { ledger } = load;
  await sleep(capacityMs * (1 - MEASURED_SHARE));
  const before = ledger.ticksStored;
  await sleep(capacityMs * MEASURED_SHARE);
  const capacityTicksPerSecond = ((ledger.ticksStored - before) * 1000) / (capacityMs * MEASURED_SHARE);
  load.ticksPerSecond = capacityTicksPerSecond * share;
  const bareLoad = { batchesPerSecond: load.ticksPerSecond / BATCH_TICKS, batchTicks: BATCH_TICKS };
  await using bare = await BareWorker.start(bareLoad);

  const broken: string[] = [];
  const samples: Record<string, Sample[]> = {};
  let overMs = performance.now() + forMs;
  const days = (async () => {
    for (let day = 1; day < dayCount && performance.now() + datedAlikeMs < overMs && broken.length === 0; day += 1) {
      await sleep(datedAlikeMs);
      const endedMs = tsMs;
      tsMs += DAY_MS;
      broken.push(...(await settleDay(cluster, store, load, endedMs)));
    }
  })().catch((cause: unknown) => void broken.push(String(cause)));
  const intervalMs = Math.max(500, forMs / 600);
  const rested: Record<string, Sample[]> = {};
  for (let quarter = 1; quarter <= QUARTERS && broken.length === 0; quarter += 1) {
    for (const { answerTimes } of [ledger, bare]) answerTimes.take();
    const restMs = overMs - forMs * (1 - quarter / QUARTERS);
    while (performance.now() < restMs && broken.length === 0) {
      await sleep(intervalMs);
      const podHeaps = await Promise.all(cluster.pods.map((pod) => pod.heapBytes()));
      const [answerMs, bareMs] = [ledger.answerTimes.take().p99, bare.answerTimes.take().p99];
      note(samples, {
        ...memoryOf('edge', [cluster.edgePid], [await edgeHeap.usedBytes()]),
        ...memoryOf('pods', podPids(cluster), podHeaps),
        [BARE_MEMORY]: residentBytes(bare.pid) / MIB,
        [ANSWER]: answerMs,
        [BARE_ANSWER]: bareMs,
        // A pause of the machine may leave it without an answer.
        ...(bareMs > 0 ? { "answer p99, of the bare Worker's": answerMs / bareMs } : {}),
      });
    }
    note(rested, await load.resting(() => descriptorsAtRest(cluster)));
    overMs += performance.now() - restMs;
  }
  await days;
  const { unsettled } = await load.end(SETTLED_MAX_MS);
  broken.push(...(await findingsOf(cluster, ledger, unsettled)).broken);
  const trends = { ...trendsOf(samples, WARM_UP_SHARE), ...trendsOf(rested, 0) };
  if (forMs >= JUDGED_FROM_MS) broken.push(...grown(trends));
  const { ticksAcknowledged } = ledger;
  return { capacityTicksPerSecond, ticksPerSecond: load.ticksPerSecond, ticksAcknowledged, trends, broken };
}

function grown(trends: Readonly<Record<string, Trend>>): string[] {
  return Object.entries(trends).flatMap(([name, { mean, perHour, perHourError }]) => {
    const growth = (perHour - DOUBT_ERRORS * perHourError) / mean;
    if (TOLD.has(name) || growth <= GROWTH_MAX_SHARE_PER_HOUR) return [];
    return [`${name} grows by ${(growth * 100).toFixed(0)} % in an hour at least`];
  });
}

/** Holds all that was offered so far, of this day, against the store, and takes it out of there. */
async function settleDay(cluster: Cluster, store: PostgresDatabase, load: Load, dayMs: number): Promise<string[]> {
  const { ledger, made } = load;
  const arrived = async (): Promise<boolean> => (await askReceipts(cluster, ledger), load.isStoredUpTo(made));
  await until('the batches of a day are stored', arrived, SETTLED_MAX_MS);
  const held = ledger.settle(await store.rowsByBatch(), made);
  await store.dropDay(dayMs);
  return Object.entries(held)
    .filter(([, ticks]) => ticks !== 0)
    .map(([what, ticks]) => `${ticks} ticks of a day that was over: ${what}`);
}

/**
 * Of all processes of one kind together. Memory is what the processes have, with what their allocators keep for later;
 * heap is what is in use of it, and garbage.
 */
function memoryOf(name: string, pids: readonly number[], heaps: readonly number[]): Record<string, number> {
  return { [`${name} memory, MiB`]: sum(pids.map(residentBytes)) / MIB, [`${name} heap, MiB`]: sum(heaps) / MIB };
}

/** As many as are open still when none was closed for {@link REST_STEADY_MS}. */
async function descriptorsAtRest(cluster: Cluster): Promise<Record<string, number>> {
  const look = (): Record<string, number> => ({
    'edge descriptors at rest': openDescriptors(cluster.edgePid),
    'pods descriptors at rest': sum(podPids(cluster).map(openDescriptors)),
  });
  const endMs = performance.now() + REST_MAX_MS;
  let least = look();
  for (let sinceMs = performance.now(); performance.now() < Math.min(endMs, sinceMs + REST_STEADY_MS);) {
    await sleep(REST_LOOK_MS);
    const now = look();
    if (sum(Object.values(now)) >= sum(Object.values(least))) continue;
    least = now;
    sinceMs = performance.now();
  }
  return least;
}

function podPids(cluster: Cluster): number[] {
  return cluster.pods.map(({ pid }) => pid);
}

function note(samples: Record<string, Sample[]>, looks: Record<string, number>): void {
  const atMs = performance.now();
  for (const [name, value] of Object.entries(looks)) (samples[name] ??= []).push({ atMs, value });
}

function trendsOf(samples: Record<string, Sample[]>, warmUpShare: number): Record<string, Trend> {
  return Object.fromEntries(Object.entries(samples).map(([name, all]) => [name, trend(all, warmUpShare)]));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
