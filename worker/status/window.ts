/**
 * What the edge's isolates report, summed over the last minute, and when each provider was last heard of. Pure:
 * takes the facts and a report, gives the facts after it. Never keeps more than a minute of counts.
 */

import type { Level } from '../../pipeline/contract/level.ts';
import type { BatchCounts, Bucket, Facts, ProviderFact } from './facts.ts';
import type { Pace } from './pace.ts';

export const BUCKET_MS = 5_000;
/** As many as the edge has credentials for. */
export const PROVIDERS_KEPT_MAX = 100;
/** A night without ticks must not make a provider look as if it sent once a night. */
const GAP_COUNTED_MAX_MS = 10 * 60_000;
/** How much one gap moves the usual one. */
const GAP_WEIGHT = 0.2;

/** What one isolate saw since its last report. */
export interface EdgeReport {
  counts: BatchCounts;
  /** Providers that sent something, and the level their last answer carried. */
  providers: Record<string, Level | null>;
}

export const NO_BATCHES: BatchCounts = { stored: 0, buffered: 0, refused: 0, rejected: 0, failed: 0, ticks: 0 };

const COUNTED = Object.keys(NO_BATCHES) as (keyof BatchCounts)[];

export function addCounts(left: BatchCounts, right: BatchCounts): BatchCounts {
  const sum = { ...NO_BATCHES };
  for (const name of COUNTED) sum[name] = left[name] + right[name];
  return sum;
}

/** The facts after a report that arrived at `nowMs`. */
export function withReport(facts: Facts, report: EdgeReport, nowMs: number, windowMs: number): Facts {
  const startMs = Math.floor(nowMs / BUCKET_MS) * BUCKET_MS;
  const kept = facts.window.filter((bucket) => isInside(bucket, nowMs, windowMs));
  const before = kept.find((bucket) => bucket.startMs === startMs);
  const bucket: Bucket = { startMs, ...addCounts(before ?? NO_BATCHES, report.counts) };
  const window = [...kept.filter((other) => other !== before), bucket];
  return { ...facts, window, providers: withProviders(facts.providers, report.providers, nowMs) };
}

/** The sum of the buckets that are not older than `windowMs`. */
export function windowCounts(window: readonly Bucket[], nowMs: number, windowMs: number): BatchCounts {
  return window.filter((bucket) => isInside(bucket, nowMs, windowMs)).reduce(addCounts, NO_BATCHES);
}

/** As whoever counts arrivals says, or what isolates reported in the last minute. */
export function ticksPerSecond({ load, window }: Facts, nowMs: number, { staleMs, windowMs }: Pace): number {
  if (load !== null && nowMs < load.atMs + staleMs) return load.ticksPerSecond;
  return windowCounts(window, nowMs, windowMs).ticks / (windowMs / 1000);
}

function isInside(bucket: Bucket, nowMs: number, windowMs: number): boolean {
  return bucket.startMs > nowMs - windowMs - BUCKET_MS && bucket.startMs <= nowMs;
}

function withProviders(
  known: Facts['providers'],
  reported: EdgeReport['providers'],
  nowMs: number,
): Record<string, ProviderFact> {
  const providers: Record<string, ProviderFact> = { ...known };
  for (const [name, level] of Object.entries(reported)) {
    const before = providers[name];
    if (before === undefined && Object.keys(providers).length >= PROVIDERS_KEPT_MAX) continue;
    providers[name] = {
      lastSeenMs: nowMs,
      usualGapMs: before === undefined ? 0 : nextGap(before, nowMs),
      level: level ?? before?.level ?? null,
    };
  }
  return providers;
}

function nextGap(before: ProviderFact, nowMs: number): number {
  const gapMs = Math.min(Math.max(0, nowMs - before.lastSeenMs), GAP_COUNTED_MAX_MS);
  return Math.round(before.usualGapMs + GAP_WEIGHT * (gapMs - before.usualGapMs));
}
