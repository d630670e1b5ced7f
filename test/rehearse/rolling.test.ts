/**
 * A rollout and a scale-in on real pods under load, harsher than in a cluster: no preStop, and a Service that learns only by
 * its probe, a second late at most, that a pod is going. It is what `npm run rehearse -- rolling --quick` runs.
 */

import { expect, test } from 'vitest';
import { REPLICAS, rehearseRolling } from '../../deploy/rehearse/rolling.ts';
import { QUICK } from '../../deploy/rehearse/scaling.ts';
import { STORE_KIND_DEFAULT } from '../../deploy/rehearse/store.ts';
import { isWhole } from '../../deploy/rehearse/verdict.ts';

test(
  'replacing every pod, and going from 5 to 1 to 5, costs no acknowledged tick and no sender an error',
  { timeout: 120_000 },
  async () => {
    const { verdict, service, podsThatStored, podFailures, complaints } = await rehearseRolling({
      ...QUICK,
      capacityTicksPerSecond: 2_000,
      store: STORE_KIND_DEFAULT,
      seed: '1',
      pauseSeconds: 0.5,
    });
    const told = JSON.stringify({ ...verdict, batches: verdict.batches.length, service });
    expect(verdict, told).toSatisfy(isWhole);
    // A connection that a pod refused or broke was tried again, or its batch held: no sender has seen any of it.
    expect(verdict.failedAttempts, told).toBe(0);
    expect(verdict.attempts, told).toBe(verdict.madeTicks / 100);
    expect(service.requests).toBeGreaterThan(verdict.attempts * 0.9);
    // The first five, their successors, and those of the scale-out.
    expect(podsThatStored).toBeGreaterThan(2 * REPLICAS);
    expect(podFailures).toEqual([]);
    expect(complaints).toEqual([]);
  },
);
