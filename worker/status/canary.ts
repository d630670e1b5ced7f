/**
 * A tick of our own that goes the whole way, from the edge's signature to the store's commit, over the same relay as
 * every provider's. Sends one and says how it ended; keeps nothing. Its batch id and body follow from the time
 * alone, so sending one again is harmless.
 */

import { problemName, type ProblemName } from '../../pipeline/contract/answer.ts';
import { relay, type RelayOutcome, type RelayParts } from '../relay.ts';
import type { Settings } from '../settings.ts';
import type { CanaryOutcome, CanaryResult } from './facts.ts';

/** Nobody's credentials should be for this name: its ticks are ours. */
export const CANARY_PROVIDER = 'mdp-canary';
export const CANARY_SYMBOL = 'CANARY';

/** A pod that has no room for now, or leaves. */
const HELD_BACK: ReadonlySet<ProblemName> = new Set(['backpressure', 'over-budget', 'no-room', 'draining']);

/** The batch of the stretch of `everyMs` that `nowMs` lies in. */
export function canaryBatch(nowMs: number, everyMs: number): { batch: string; body: string } {
  const tsMs = Math.floor(nowMs / everyMs) * everyMs;
  const batch = `canary-${new Date(tsMs).toISOString().replaceAll('.', '_')}`;
  const tick = { symbol: CANARY_SYMBOL, tsMs, id: String(tsMs), price: '1', size: '1', venue: 'EDGE' };
  return { batch, body: `${JSON.stringify(tick)}\n` };
}

/** Resolves within `parts.relayTimeoutMs` and the time to sign. */
export async function sendCanary(parts: RelayParts, settings: Settings, everyMs: number): Promise<CanaryResult> {
  const sentMs = parts.nowMs();
  const { batch, body } = canaryBatch(sentMs, everyMs);
  const relayed = await relay(parts, settings, {
    provider: CANARY_PROVIDER,
    batch,
    batchIdMade: false,
    contentType: 'application/x-ndjson',
    contentEncoding: null,
    body: new Uint8Array(new TextEncoder().encode(body)),
  });
  const atMs = parts.nowMs();
  return { atMs, outcome: canaryOutcome(relayed), tookMs: atMs - sentMs };
}

export function canaryOutcome(relayed: RelayOutcome): CanaryOutcome {
  if (!relayed.ok) {
    switch (relayed.why) {
      case 'timeout':
        return 'late';
      case 'refused_edge':
        return 'refused_edge';
      case 'unreachable':
      case 'not_a_pod':
        return 'no_cluster';
    }
  }
  const { status, body } = relayed.answer;
  if (status === 200) return 'stored';
  const name = problemName(problemType(body));
  if (name === 'store-unavailable') return 'no_store';
  return name !== undefined && HELD_BACK.has(name) ? 'held_back' : 'rejected';
}

function problemType(body: Uint8Array): unknown {
  try {
    return (JSON.parse(new TextDecoder().decode(body)) as { type?: unknown } | null)?.type;
  } catch {
    return undefined;
  }
}
