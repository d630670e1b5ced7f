/**
 * Pod intake end to end (HTTP to synced commit to answer) beside the bare SQLite writer, turn by turn in one run,
 * so that the ratio holds while the machine's speed drifts.
 */

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type RunningPod, startPod } from '../../deploy/local/pod.ts';
import { importSecret, type SigningKey, signatureHeaders } from '../../pipeline/contract/signature.ts';
import { median, type PushTarget, pushAll, quantile } from './push.ts';
import { benchBodies, benchTrades } from './ticks.ts';

const BARE_WRITER = fileURLToPath(new URL('./bare-writer.ts', import.meta.url));
const IN_FLIGHT = 16;
const SCRAPE_INTERVAL_MS = 100;
/** One to two seconds of what the store takes, as the runbook's formula says for a fast pod. */
const QUEUE_CAPACITY_TICKS = 400_000;
const EDGE_SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

interface Round {
  bareRowsPerSecond: number;
  ticksPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  cpuMsPer1000: number;
  peakMiB: number;
  scrapeMs: number[];
}

/** `rounds` turns of bare writer and pod, each with `ticks` new rows in a new file. */
export async function benchPodIntake(
  batchTicks: number,
  ticks: number,
  rounds: number,
): Promise<Record<string, string>> {
  const results: Round[] = [];
  for (let round = 0; round < rounds; round += 1) results.push(await oneRound(batchTicks, ticks, round + 1));
  const of = (read: (one: Round) => number): number => median(results.map(read));
  return {
    'ticks a batch': String(batchTicks),
    'bare rows/s': of((one) => one.bareRowsPerSecond).toFixed(0),
    'pod ticks/s': of((one) => one.ticksPerSecond).toFixed(0),
    'pod / bare': of((one) => one.ticksPerSecond / one.bareRowsPerSecond).toFixed(2),
    'p50 ms': of((one) => one.p50Ms).toFixed(1),
    'p99 ms': of((one) => one.p99Ms).toFixed(1),
    'pod CPU ms per 1,000': of((one) => one.cpuMsPer1000).toFixed(2),
    'pod peak MiB': Math.max(...results.map((one) => one.peakMiB)).toFixed(0),
    '/metrics p50 ms': of((one) => quantile(one.scrapeMs, 0.5)).toFixed(1),
    '/metrics p99 ms': of((one) => quantile(one.scrapeMs, 0.99)).toFixed(1),
  };
}

async function oneRound(batchTicks: number, ticks: number, seed: number): Promise<Round> {
  const dir = await mkdtemp(join(tmpdir(), 'mdp-bench-'));
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [
      BARE_WRITER,
      join(dir, 'bare.db'),
      String(ticks),
      String(seed),
    ]);
    const bare = JSON.parse(stdout) as { rowsPerSecond: number };
    const pod = await startPod({
      settings: {
        MDP_PORT: '0',
        MDP_STORE: `sqlite:${join(dir, 'pod.db')}`,
        MDP_QUEUE_CAPACITY_TICKS: String(QUEUE_CAPACITY_TICKS),
        MDP_EDGE_SECRETS: EDGE_SECRET,
        MDP_LOG_LEVEL: 'info',
      },
    });
    try {
      return { bareRowsPerSecond: bare.rowsPerSecond, ...(await pushRound(pod, batchTicks, ticks, seed)) };
    } finally {
      await pod.stop();
    }
  } finally {
    await rm(dir, { recursive: true });
  }
}

async function pushRound(
  pod: RunningPod,
  batchTicks: number,
  ticks: number,
  seed: number,
): Promise<Omit<Round, 'bareRowsPerSecond'>> {
  const key = (await importSecret(EDGE_SECRET))!;
  // A first tenth warms the pod up: code that has not been compiled yet is not what runs all day.
  const warmUp = await signedTargets(
    pod.url,
    key,
    benchBodies(benchTrades(Math.ceil(ticks / 10), 1_000 + seed), batchTicks),
    'warm',
  );
  const targets = await signedTargets(pod.url, key, benchBodies(benchTrades(ticks, seed), batchTicks), 'run');
  await pushAll(warmUp, IN_FLIGHT);
  const cpuBefore = await cpuSeconds(pod.url);
  const scrapes = scrapeMeanwhile(pod.url);
  const figures = await pushAll(targets, IN_FLIGHT);
  const scrapeMs = await scrapes.end();
  if (figures.stored !== ticks) throw new Error(`${figures.stored} of ${ticks} ticks were stored`);
  return {
    ticksPerSecond: figures.stored / figures.seconds,
    p50Ms: figures.p50Ms,
    p99Ms: figures.p99Ms,
    cpuMsPer1000: (((await cpuSeconds(pod.url)) - cpuBefore) * 1_000_000) / ticks,
    peakMiB: await peakMiB(pod.pid),
    scrapeMs,
  };
}

/** Signed as the edge signs; the body is what the provider sent. */
export function signedTargets(
  podUrl: string,
  key: SigningKey,
  bodies: readonly Buffer[],
  prefix: string,
): Promise<PushTarget[]> {
  return Promise.all(
    bodies.map(async (body, at) => ({
      url: `${podUrl}/v1/ticks/ibkr`,
      headers: {
        'content-type': 'application/x-ndjson',
        ...(await signatureHeaders(key, `ibkr/${prefix}-${at}`, Date.now(), body)),
      },
      body,
    })),
  );
}

function scrapeMeanwhile(podUrl: string): { end(): Promise<number[]> } {
  const took: number[] = [];
  let over = false;
  const loop = (async () => {
    while (!over) {
      const startMs = performance.now();
      await (await fetch(`${podUrl}/metrics`)).text();
      took.push(performance.now() - startMs);
      await new Promise((resolve) => setTimeout(resolve, SCRAPE_INTERVAL_MS));
    }
  })();
  return {
    async end() {
      over = true;
      await loop;
      return took;
    },
  };
}

async function cpuSeconds(podUrl: string): Promise<number> {
  const text = await (await fetch(`${podUrl}/metrics`)).text();
  return Number(/^process_cpu_seconds_total (\S+)/m.exec(text)?.[1]);
}

/** The kernel's high-water mark; where there is no /proc the figure is NaN and shows as such. */
async function peakMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
}
