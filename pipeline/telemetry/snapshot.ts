/**
 * What `GET /status` shows: one picture of the pod, every figure of the same moment.
 */

import type { Level } from '../contract/level.ts';
import { type Books, residue, sum } from './books.ts';
import { type Phase, SERVICE_NAME } from './ops.ts';

/** The running parts, as far as the picture shows them. */
export interface SnapshotParts {
  config: { podName: string; store: { kind: string } };
  startedAtMs: number;
  nowMs: number;
  phase: Phase;
  throttle: { level: Level; rateScale: number; reasons: unknown; levelOf(provider: string): Level };
  queue: { depthTicks: number; capacityTicks: number; depthBytes: number; capacityBytes: number };
  writer: { circuit: string; ticksInFlight(): number };
  books: Books;
}

export function snapshot(parts: SnapshotParts): Record<string, unknown> {
  const { config, throttle, queue, writer, books } = parts;
  const providers: Record<string, unknown> = {};
  for (const [provider, one] of books.entries()) {
    providers[provider] = {
      level: throttle.levelOf(provider),
      offered: one.offered,
      stored: one.stored,
      duplicate: one.duplicate,
      rejected: sum(one.rejected),
      refused: sum(one.refused),
      deadLetters: sum(one.deadLetters),
      inFlight: one.inFlight,
      residue: residue(one),
    };
  }
  return {
    service: SERVICE_NAME,
    pod: config.podName,
    phase: parts.phase,
    uptimeSeconds: Math.round((parts.nowMs - parts.startedAtMs) / 1000),
    level: throttle.level,
    rateScale: throttle.rateScale,
    reasons: throttle.reasons,
    queue: {
      depthTicks: queue.depthTicks,
      capacityTicks: queue.capacityTicks,
      depthBytes: queue.depthBytes,
      capacityBytes: queue.capacityBytes,
      beingWrittenTicks: writer.ticksInFlight(),
    },
    store: { kind: config.store.kind, open: writer.circuit !== 'open', circuit: writer.circuit },
    providers,
  };
}
