/**
 * What goes wrong in a world, and for how long. Each world has some kinds of it only: what is always there hides what
 * needs its absence.
 */

import type { Random } from '../support/random.ts';
import type { StoreMood } from './store.ts';
import type { World } from './world.ts';

type Fault = (world: World, random: Random) => void;

const MOODS: readonly StoreMood[] = ['away', 'full', 'closed', 'deaf', 'contended', 'mad', 'hanging', 'slow', 'slow'];
/** Beyond what a signature may differ by; seldom, for it ends by an operator alone. */
const FAR_OFF_MS = 600_000;

export const FAULTS = {
  killPod: (world, random) => {
    const pod = random.pick(world.pods);
    const kill = (): void => {
      pod.kill(random.chance(0.7));
      world.later(random.next() * 5_000, () => pod.start());
    };
    if (random.chance(0.5)) kill();
    else pod.whenBusy(kill);
  },
  drainPod: (world, random) => {
    const pod = random.pick(world.pods);
    const drain = (): void => {
      pod.drain();
      world.later(random.next() * 25_000, () => pod.start());
    };
    if (random.chance(0.5)) drain();
    else pod.whenBusy(drain);
  },
  freezePod: (world, random) => random.pick(world.pods).freeze(random.next() * 12_000),
  fillMemory: (world, random) => {
    const pod = random.pick(world.pods);
    pod.memoryShare = 0.7 + random.next() * 0.3;
    world.later(random.next() * 20_000, () => void (pod.memoryShare = 0.1));
  },
  killEdge: (world, random) => {
    const edge = random.pick(world.edges);
    edge.kill();
    world.later(random.next() * 3_000, () => edge.start());
  },
  killOutbox: (world, random) => random.pick(world.outboxes).kill(),
  evictOutbox: (world, random) => random.pick(world.outboxes).evict(),
  stallOutbox: (world, random) => random.pick(world.outboxes).stall(random.next() * 8_000),
  storeMood: (world, random) => {
    world.setMood(random.pick(MOODS), random.next() * random.pick([300, 3_000, 10_000]));
    world.later(random.next() * random.pick([500, 5_000, 30_000]), () => world.setMood('well', 0));
  },
  storePower: (world, random) => {
    world.database.losePower();
    world.setMood('away', 0);
    world.later(random.next() * 3_000, () => world.setMood('well', 0));
  },
  poison: (world, random) => {
    world.database.refusesPoison = true;
    world.later(random.next() * 40_000, () => void (world.database.refusesPoison = false));
  },
  weather: (world, random) => {
    const share = (): number => (random.chance(0.5) ? random.next() * 0.3 : 0);
    world.network.weather = {
      lost: share(),
      repeated: share(),
      slow: share(),
      slowMaxMs: random.pick([200, 2_000, 30_000]),
    };
    world.later(random.next() * 30_000, () => world.calm());
  },
  cutCluster: (world, random) => {
    world.network.cluster = random.pick(['refused', 'silent'] as const);
    world.later(random.next() * 20_000, () => void (world.network.cluster = 'open'));
  },
  setClock: (world, random) => {
    const clock = random.pick(world.clocks);
    const far = random.chance(0.1) ? FAR_OFF_MS : 120_000;
    clock.aheadMs = (random.next() * 2 - 1) * far;
    for (const outbox of world.outboxes) outbox.clockSet();
  },
  feedback: (world, random) => {
    const level = random.pick(['ok', 'soft', 'hard']);
    for (const pod of world.pods) world.tellFeedback(pod, level);
  },
} satisfies Record<string, Fault>;

export type FaultKind = keyof typeof FAULTS;
export const FAULT_KINDS = Object.keys(FAULTS) as FaultKind[];
