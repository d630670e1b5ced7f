/**
 * Pod intake end to end (HTTP to synced commit to answer) beside the bare SQLite writer, turn by turn in one run,
 * so that the ratio holds while the machine's speed drifts.
 */

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type RunningPod, startPod } from '../../deploy/local/pod.ts';
import { importSecret } from '../../pipeline/contract/signature.ts';
import { cpuSeconds, peakMiB } from './process-figures.ts';
import { median, pushAll, quantile } from './push.ts';
import { BENCH_SECRET, benchPodSettings, podTargets } from './targets.ts';
import { benchBodies, benchTrades } from './ticks.ts';

const BARE_WRITER = fileURLToPath(new URL('./bare-writer.ts', import.meta.url));
const SCRAPER = fileURLToPath(new URL('./scraper.ts', import.meta.url));
const IN_FLIGHT = 16;
const SCRAPE_INTERVAL_MS = 100;

interface Round {
  bareRowsPerSecond: number;
  ticksPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  cpuMsPer1000: number;
  scrapeMs: number[];
}

/**
 * `rounds` turns of bare writer and pod, each with `ticks` new rows. The pod is one process throughout, as it is all
 * day, and has taken `warmUpTicks` before the first turn: until then the compiler takes its share of the two cores.
 */
export async function benchPodIntake(
  batchTicks: number,
  ticks: number,
  warmUpTicks: number,
  rounds: number,
): Promise<Record<string, string>> {
  const dir = await mkdtemp(join(tmpdir(), 'mdp-bench-'));
  const results: Round[] = [];
  const pod = await startPod({ settings: benchPodSettings(join(dir, 'pod.db')) });
  try {
    await push(pod, batchTicks, warmUpTicks, 0);
    for (let round = 1; round <= rounds; round += 1) {
      const bareRowsPerSecond = await bareWriter(join(dir, `bare-${round}.db`), ticks, round);
      results.push({ bareRowsPerSecond, ...(await push(pod, batchTicks, ticks, round)) });
    }
    return table(batchTicks, results, await peakMiB(pod.pid));
  } finally {
    await pod.stop();
    await rm(dir, { recursive: true });
  }
}

function table(batchTicks: number, results: readonly Round[], peak: number): Record<string, string> {
  const of = (read: (one: Round) => number): number => median(results.map(read));
  // Of all rounds together: one has about ten scrapes, and its 95th percentile would be its slowest.
  const scrapeMs = results.flatMap((one) => one.scrapeMs);
  return {
    'ticks a batch': String(batchTicks),
    'bare rows/s': of((one) => one.bareRowsPerSecond).toFixed(0),
    'pod ticks/s': of((one) => one.ticksPerSecond).toFixed(0),
    'pod / bare': of((one) => one.ticksPerSecond / one.bareRowsPerSecond).toFixed(2),
    'p50 ms': of((one) => one.p50Ms).toFixed(1),
    'p99 ms': of((one) => one.p99Ms).toFixed(1),
    'pod CPU ms per 1,000': of((one) => one.cpuMsPer1000).toFixed(2),
    'pod peak MiB': peak.toFixed(0),
    '/metrics p50 ms': quantile(scrapeMs, 0.5).toFixed(1),
    '/metrics p95 ms': quantile(scrapeMs, 0.95).toFixed(1),
  };
}

async function bareWriter(path: string, ticks: number, seed: number): Promise<number> {
  const args = [BARE_WRITER, path, String(ticks), String(seed)];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return (JSON.parse(stdout) as { rowsPerSecond: number }).rowsPerSecond;
}

async function push(
  pod: RunningPod,
  batchTicks: number,
  ticks: number,
  seed: number,
): Promise<Omit<Round, 'bareRowsPerSecond'>> {
  const key = (await importSecret(BENCH_SECRET))!;
  const targets = await podTargets(pod.url, key, benchBodies(benchTrades(ticks, seed), batchTicks), `round-${seed}`);
  const cpuBefore = await cpuSeconds(pod.pid);
  const scrapes = await scrapeMeanwhile(pod.url);
  const figures = await pushAll(targets, IN_FLIGHT);
  const scrapeMs = await scrapes.end();
  if (figures.stored !== ticks) throw new Error(`${figures.stored} of ${ticks} ticks were stored`);
  return {
    ticksPerSecond: figures.stored / figures.seconds,
    p50Ms: figures.p50Ms,
    p99Ms: figures.p99Ms,
    cpuMsPer1000: (((await cpuSeconds(pod.pid)) - cpuBefore) * 1_000_000) / ticks,
    scrapeMs,
  };
}

/** Scrapes a pod until told to end, in a process of its own; the milliseconds of each scrape. */
export async function scrapeMeanwhile(podUrl: string): Promise<{ end(): Promise<number[]> }> {
  const args = [SCRAPER, `${podUrl}/metrics`, String(SCRAPE_INTERVAL_MS)];
  const scraper = execFile(process.execPath, args);
  let printed = '';
  scraper.stdout!.on('data', (text: string) => (printed += text));
  await once(scraper.stdout!, 'data');
  return {
    async end() {
      scraper.stdin!.end();
      await once(scraper, 'close');
      return JSON.parse(printed) as number[];
    },
  };
}
