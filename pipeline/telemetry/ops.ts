/**
 * What operators and orchestrators ask a pod: is it alive, may it get traffic, how is it, what are its figures.
 */

import { type Answer, json } from '../source/http.ts';
import type { Metrics } from './metrics.ts';

export const SERVICE_NAME = 'market-data-pipeline';

export type Phase = 'starting' | 'serving' | 'draining';

export interface OpsParts {
  phase: () => Phase;
  isStoreOpen: () => boolean;
  snapshot: () => Record<string, unknown>;
  metrics: Metrics;
}

/** Alive as long as the event loop answers; whether it may get traffic is `/ready`'s to say. */
export function health(): Promise<Answer> {
  return Promise.resolve(json(200, { status: 'healthy', service: SERVICE_NAME }));
}

/** 200 `{"status":"ready"}`, or 503 with the reason: starting, draining, store. */
export function ready(parts: OpsParts): Promise<Answer> {
  const phase = parts.phase();
  const reason = phase !== 'serving' ? phase : parts.isStoreOpen() ? undefined : 'store';
  return Promise.resolve(
    reason === undefined ? json(200, { status: 'ready' }) : json(503, { status: 'not ready', reason }),
  );
}

export function status(parts: OpsParts): Promise<Answer> {
  return Promise.resolve(json(200, parts.snapshot()));
}

export async function metrics(parts: OpsParts): Promise<Answer> {
  const body = await parts.metrics.scrape();
  return { status: 200, headers: { 'content-type': parts.metrics.contentType }, body };
}
