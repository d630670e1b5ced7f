/**
 * What one world is like: how many machines it has, how much room, what goes wrong in it and how often.
 */

import type { Random } from '../support/random.ts';
import { type FaultKind, FAULT_KINDS } from './faults.ts';

/** A packed batch of eight ticks has at most 256 bytes (of 20,000 made). */
const OUTBOX_MIN_BYTES = 300;

export const FEEDBACK_TOKEN = 'feedback-token-of-this-world';
export const OPS_TOKEN = 'operators-token-of-this-world';

export interface Shape {
  faults: readonly FaultKind[];
  faultyMs: number;
  faultEveryMs: number;
  /** Chance that a machine ends at one of its effects. */
  endsAtEffect: number;
  batches: number;
  ticksMax: number;
  capacityTicks: number;
  providers: readonly string[];
  pods: number;
  edges: number;
  outboxMaxBytes: number | undefined;
  outboxMaxAgeSeconds: number | undefined;
  hasOverflow: boolean;
  settings: Record<string, string>;
}

/** Small worlds with little room: what is rare in a large one is common here. */
export function shapeOf(random: Random): Shape {
  const faults = FAULT_KINDS.filter(() => random.chance(0.35));
  const providers = random.chance(0.3) ? ['ibkr', 'acme'] : ['ibkr'];
  const ticksMax = random.pick([2, 5, 8]);
  const capacity = random.pick([ticksMax, 12, 20, 60, 10_000].filter((ticks) => ticks >= ticksMax));
  const hasTightOutbox = random.chance(0.25);
  const answerMs = random.pick([2_000, 5_000, 8_000]);
  const budget = random.chance(0.2)
    ? { ticksPerSecond: random.pick([1, 5, 20]), burst: random.pick([5, 20]) }
    : { ticksPerSecond: 1_000_000, burst: 2_000_000 };
  return {
    faults,
    faultyMs: random.pick([3_000, 10_000, 40_000]),
    faultEveryMs: random.pick([500, 2_000, 6_000]),
    endsAtEffect: random.chance(0.3) ? 0.01 : 0,
    batches: random.between(2, 9),
    ticksMax,
    capacityTicks: capacity,
    providers,
    pods: random.between(1, 3),
    edges: random.between(1, 2),
    // Room for the largest batch of these worlds, and not for many.
    outboxMaxBytes: hasTightOutbox ? random.pick([OUTBOX_MIN_BYTES, 2 * OUTBOX_MIN_BYTES]) : undefined,
    outboxMaxAgeSeconds: random.chance(0.15) ? random.pick([10, 40]) : undefined,
    hasOverflow: hasTightOutbox && random.chance(0.7),
    settings: {
      MDP_FEEDBACK_TOKEN: FEEDBACK_TOKEN,
      MDP_OPS_TOKEN: OPS_TOKEN,
      MDP_QUEUE_CAPACITY_TICKS: String(capacity),
      MDP_ANSWER_TIMEOUT_MS: String(answerMs),
      MDP_STORE_TIMEOUT_MS: String(answerMs * random.pick([0.1, 0.6])),
      MDP_DRAIN_TIMEOUT_MS: String(random.pick([2_000, 12_000])),
      MDP_STORE: random.pick(['sqlite:/nowhere/ticks.db', 'postgres://nobody@nowhere/ticks']),
      MDP_PROVIDERS: JSON.stringify(Object.fromEntries(providers.map((name) => [name, budget]))),
    },
  };
}
