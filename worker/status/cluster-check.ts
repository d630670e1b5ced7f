/**
 * What of a pod's `/status` the public state is judged from. Pure; a member that is missing or of another type is
 * not known, never assumed.
 */

import type { ClusterCheck } from './facts.ts';
import type { SnapshotOutcome } from './snapshot.ts';

export function clusterCheck(outcome: SnapshotOutcome, atMs: number): ClusterCheck {
  if (!outcome.ok) {
    const nothing = { level: null, draining: false, storeOpen: null, depthTicks: null };
    return { atMs, reachable: false, why: outcome.why, ...nothing };
  }
  const { json, level } = outcome;
  const open = member(json['store'], 'open');
  const depth = member(json['queue'], 'depthTicks');
  return {
    atMs,
    reachable: true,
    why: null,
    level: level ?? null,
    draining: json['phase'] === 'draining',
    storeOpen: typeof open === 'boolean' ? open : null,
    depthTicks: typeof depth === 'number' && Number.isFinite(depth) ? depth : null,
  };
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
