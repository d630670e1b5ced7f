/**
 * The rehearsal of a rollout: under a steady load through the edge, every pod is replaced, and then the count goes from 5
 * to 1 and back. Ends with the account; prints nothing.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { Load } from './load.ts';
import type { ServiceFigures } from './service.ts';
import { PROVIDER, setStage } from './stage.ts';
import type { StoreKind } from './store.ts';
import { settle, type Verdict } from './verdict.ts';

export const REPLICAS = 5;
/** Multiples of C: more than the one pod takes that is left for a while. */
export const ROLLING_LOAD = 2;
const SETTLE_MAX_MS = 300_000;

export interface RollingOptions {
  capacityTicksPerSecond: number;
  store: StoreKind;
  seed: string;
  podStartSeconds: readonly [number, number];
  probeIntervalMs: number;
  /** Between one thing and the next. */
  pauseSeconds: number;
  onStep?: (atSeconds: number, step: string) => void;
}

export interface RollingResult {
  verdict: Verdict;
  service: ServiceFigures;
  /** Pods that have stored something. */
  podsThatStored: number;
  /** Pods that did not end with exit 0. */
  podFailures: readonly string[];
  complaints: readonly string[];
}

export async function rehearseRolling(options: RollingOptions): Promise<RollingResult> {
  const { capacityTicksPerSecond, pauseSeconds, onStep } = options;
  await using stage = await setStage({ ...options, scrapeIntervalSeconds: undefined });
  const { deployment, service, store, edgeUrl, credential, complaints } = stage;
  const startMs = Date.now();
  const step = async (name: string, act: () => unknown): Promise<void> => {
    onStep?.((Date.now() - startMs) / 1000, name);
    await act();
    await sleep(pauseSeconds * 1000);
  };
  const scaleTo = async (replicas: number): Promise<void> => {
    deployment.scaleTo(replicas);
    await deployment.whenReady(replicas);
    await deployment.whenGone();
  };
  deployment.scaleTo(REPLICAS);
  await deployment.whenReady(REPLICAS);
  const load = await Load.start({
    to: edgeUrl,
    provider: PROVIDER,
    credential,
    ticksPerSecond: () => ROLLING_LOAD * capacityTicksPerSecond,
    nowMs: Date.now,
  });
  await step(`${REPLICAS} pods under load`, () => {});
  await step('every pod is replaced', () => deployment.replaceAll());
  await step(`${REPLICAS} to 1`, () => scaleTo(1));
  await step(`1 to ${REPLICAS}`, () => scaleTo(REPLICAS));
  onStep?.((Date.now() - startMs) / 1000, 'no more load; what the edge holds is delivered');
  const verdict = await settle(load, store, PROVIDER, SETTLE_MAX_MS);
  return {
    verdict,
    service: service.figures,
    podsThatStored: new Set(verdict.batches.map(({ pod }) => pod)).size,
    podFailures: deployment.failures,
    complaints,
  };
}
