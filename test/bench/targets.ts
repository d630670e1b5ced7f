/**
 * Where a benchmark's batches go, signed before the clock starts: to a pod as the edge signs, to the edge as a
 * provider does.
 */

import { scopedBatchId } from '../../pipeline/contract/identity.ts';
import { type SigningKey, signatureHeaders } from '../../pipeline/contract/signature.ts';
import type { PushTarget } from './push.ts';

export const BENCH_PROVIDER = 'ibkr';
export const BENCH_SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

/** One to two seconds of what the store takes: for a fast pod, and so that the level stays out of the figures. */
const QUEUE_CAPACITY_TICKS = 400_000;

export function benchPodSettings(storePath: string): Record<string, string> {
  return {
    MDP_PORT: '0',
    MDP_STORE: `sqlite:${storePath}`,
    MDP_QUEUE_CAPACITY_TICKS: String(QUEUE_CAPACITY_TICKS),
    MDP_EDGE_SECRETS: BENCH_SECRET,
  };
}

export function podTargets(
  url: string,
  key: SigningKey,
  bodies: readonly Buffer[],
  prefix: string,
): Promise<PushTarget[]> {
  return targets(url, key, bodies, (at) => scopedBatchId(BENCH_PROVIDER, `${prefix}-${at}`));
}

export function edgeTargets(
  url: string,
  key: SigningKey,
  bodies: readonly Buffer[],
  prefix: string,
): Promise<PushTarget[]> {
  return targets(url, key, bodies, (at) => `${prefix}-${at}`);
}

function targets(
  url: string,
  key: SigningKey,
  bodies: readonly Buffer[],
  idOf: (at: number) => string,
): Promise<PushTarget[]> {
  return Promise.all(
    bodies.map(async (body, at) => ({
      url: `${url}/v1/ticks/${BENCH_PROVIDER}`,
      headers: { 'content-type': 'application/x-ndjson', ...(await signatureHeaders(key, idOf(at), Date.now(), body)) },
      body,
    })),
  );
}
