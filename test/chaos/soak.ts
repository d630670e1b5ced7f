/**
 * The whole system at a share of what it can do, for long: do memory, open descriptors and the time of an answer grow?
 */

import { readdirSync, readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster } from './cluster.ts';
import { Load } from './load.ts';
import { findingsOf } from './scenario.ts';
import { scratch } from './scratch.ts';
import { type Sample, type Trend, trend } from './slope.ts';
import { SqliteFile } from './stores.ts';

/** Of the time, until caches are full and code is compiled. */
const WARM_UP_SHARE = 0.25;
const BATCH_TICKS = 500;
/** Of the time in which the capacity is measured; before it, everything warms up. */
const MEASURED_SHARE = 0.5;
const SETTLED_MAX_MS = 60_000;
/** A row, its key and its share of the log; measured over ten million rows. */
const BYTES_PER_TICK = 250;
/** Below this a slope is mostly chance, and is told but not judged. */
const JUDGED_FROM_MS = 600_000;
/** Of the mean in an hour. A leak of one percent of a pod's memory in three minutes is twice that. */
const GROWTH_MAX_SHARE_PER_HOUR = 0.1;

export interface SoakOptions {
  forMs: number;
  /** In which the capacity is measured. */
  capacityMs: number;
  /** Of the capacity. */
  share: number;
}

export interface Soaked {
  capacityTicksPerSecond: number;
  ticksPerSecond: number;
  ticksAcknowledged: number;
  /** By what was looked at: memory in MiB, descriptors, and the 99th of a hundred answers in ms. */
  trends: Record<string, Trend>;
  /** Each a sentence; empty when nothing was lost, stored twice or grew. */
  broken: string[];
}

export async function soak({ forMs, capacityMs, share }: SoakOptions): Promise<Soaked> {
  await using stack = new AsyncDisposableStack();
  const cluster = stack.use(await Cluster.start({ store: new SqliteFile(await scratch(stack)) }));
  const { credentials, edgeUrl } = cluster;
  const load = new Load({
    to: edgeUrl,
    credentials,
    ticksPerSecond: Number.POSITIVE_INFINITY,
    batchTicks: BATCH_TICKS,
  });
  const { ledger } = load;
  await sleep(capacityMs * (1 - MEASURED_SHARE));
  const before = ledger.ticksStored;
  await sleep(capacityMs * MEASURED_SHARE);
  const capacityTicksPerSecond = ((ledger.ticksStored - before) * 1000) / (capacityMs * MEASURED_SHARE);
  load.ticksPerSecond = capacityTicksPerSecond * share;
  const broken: string[] = [];
  const { bavail, bsize } = await statfs(tmpdir());
  const bytes = (load.ticksPerSecond * forMs * BYTES_PER_TICK) / 1000;
  if (bytes > bavail * bsize) broken.push(`the disk has no room for ${(bytes / 1e9).toFixed(0)} GB`);

  const samples: Record<string, Sample[]> = {};
  ledger.takeAnswers();
  const intervalMs = Math.max(500, forMs / 600);
  for (const overMs = performance.now() + forMs; broken.length === 0 && performance.now() < overMs;) {
    await sleep(intervalMs);
    const atMs = performance.now();
    const looks = {
      ...look('edge', [cluster.edgePid]),
      ...look(
        'pods',
        cluster.pods.map(({ pid }) => pid),
      ),
    };
    for (const [name, value] of Object.entries({ ...looks, 'answer p99, ms': ledger.takeAnswers().p99 })) {
      (samples[name] ??= []).push({ atMs, value });
    }
  }
  const { unsettled } = await load.end(SETTLED_MAX_MS);
  broken.push(...(await findingsOf(cluster, ledger, unsettled)).broken);
  const trends = Object.fromEntries(Object.entries(samples).map(([name, all]) => [name, trend(all, WARM_UP_SHARE)]));
  if (forMs >= JUDGED_FROM_MS) {
    for (const [name, { mean, perHour }] of Object.entries(trends)) {
      const growth = perHour / mean;
      if (growth > GROWTH_MAX_SHARE_PER_HOUR) broken.push(`${name} grows by ${(growth * 100).toFixed(0)} % in an hour`);
    }
  }
  const { ticksAcknowledged } = ledger;
  return { capacityTicksPerSecond, ticksPerSecond: load.ticksPerSecond, ticksAcknowledged, trends, broken };
}

/** Of all processes of one kind together. */
function look(name: string, pids: readonly number[]): Record<string, number> {
  const sum = (of: (pid: number) => number): number => pids.reduce((total, pid) => total + of(pid), 0);
  return { [`${name} memory, MiB`]: sum(residentMiB), [`${name} descriptors`]: sum(descriptors) };
}

/** Source: proc(5), status and fd. */
function residentMiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024;
}

function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
