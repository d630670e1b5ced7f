/**
 * Whether many providers cost more than one: the same number of 100-tick batches in flight at level ok, from one
 * provider and from 64 at once, turn by turn in one run, with a scraper beside the many.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type RunningPod, startPod } from '../../deploy/local/pod.ts';
import { scopedBatchId } from '../../pipeline/contract/identity.ts';
import { importSecret, signatureHeaders } from '../../pipeline/contract/signature.ts';
import { scrapeMeanwhile } from './pod-intake.ts';
import { median, type PushFigures, pushAll, type PushTarget, quantile } from './push.ts';
import { BENCH_SECRET, benchPodSettings } from './targets.ts';
import { benchBodies, benchTrades } from './ticks.ts';

const PROVIDERS = 64;
const BATCH_TICKS = 100;
/** One each: what 64 providers have in flight together, one has alone. With the bench's capacity that is level ok. */
const IN_FLIGHT = PROVIDERS;
const IDLE_MS = 3_000;

export async function benchProviders(
  batches: number,
  warmUpBatches: number,
  rounds: number,
): Promise<Record<string, string>> {
  const dir = await mkdtemp(join(tmpdir(), 'mdp-bench-'));
  const pod = await startPod({ settings: benchPodSettings(join(dir, 'pod.db')) });
  const one: PushFigures[] = [];
  const many: PushFigures[] = [];
  const scrapeMs: number[] = [];
  const idleScrapeMs: number[] = [];
  let series = 0;
  try {
    await push(pod, PROVIDERS, warmUpBatches, 0);
    for (let round = 1; round <= rounds; round += 1) {
      one.push(await push(pod, 1, batches, round * 2));
      many.push(await push(pod, PROVIDERS, batches, round * 2 + 1));
    }
    const scrapes = await scrapeMeanwhile(pod.url);
    await push(pod, PROVIDERS, batches, rounds * 2 + 2);
    scrapeMs.push(...(await scrapes.end()));
    const idle = await scrapeMeanwhile(pod.url);
    await sleep(IDLE_MS);
    idleScrapeMs.push(...(await idle.end()));
    const exposition = await (await fetch(`${pod.url}/metrics`)).text();
    series = exposition.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
  } finally {
    await pod.stop();
    await rm(dir, { recursive: true });
  }
  return {
    'p50 ms, 1 provider': median(one.map(({ p50Ms }) => p50Ms)).toFixed(1),
    [`p50 ms, ${PROVIDERS}`]: median(many.map(({ p50Ms }) => p50Ms)).toFixed(1),
    'p99 ms, 1 provider': median(one.map(({ p99Ms }) => p99Ms)).toFixed(1),
    [`p99 ms, ${PROVIDERS}`]: median(many.map(({ p99Ms }) => p99Ms)).toFixed(1),
    'p99 ratio': median(many.map(({ p99Ms }, at) => p99Ms / one[at]!.p99Ms)).toFixed(2),
    'ticks/s ratio': median(
      many.map(({ stored, seconds }, at) => stored / seconds / (one[at]!.stored / one[at]!.seconds)),
    ).toFixed(2),
    '/metrics p50 ms, under load': quantile(scrapeMs, 0.5).toFixed(1),
    '/metrics p50 ms, idle': quantile(idleScrapeMs, 0.5).toFixed(1),
    '/metrics p95 ms, idle': quantile(idleScrapeMs, 0.95).toFixed(1),
    series: String(series),
  };
}

/** The batches go to the providers in turn. */
async function push(pod: RunningPod, providers: number, batches: number, seed: number): Promise<PushFigures> {
  const key = (await importSecret(BENCH_SECRET))!;
  const bodies = benchBodies(benchTrades(batches * BATCH_TICKS, seed), BATCH_TICKS);
  const targets = await Promise.all(
    bodies.map(async (body, at): Promise<PushTarget> => {
      const provider = `provider-${at % providers}`;
      const signed = await signatureHeaders(key, scopedBatchId(provider, `many-${seed}-${at}`), Date.now(), body);
      const headers = { 'content-type': 'application/x-ndjson', ...signed };
      return { url: `${pod.url}/v1/ticks/${provider}`, headers, body };
    }),
  );
  const figures = await pushAll(targets, IN_FLIGHT);
  if (figures.stored !== batches * BATCH_TICKS) throw new Error(`${figures.stored} ticks were stored`);
  return figures;
}
