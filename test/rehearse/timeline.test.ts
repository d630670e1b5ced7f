/** From a sender's notes and a store's ledger to what happened when. */

import { expect, it } from 'vitest';
import { BATCH_TICKS } from '../../deploy/rehearse/load.ts';
import { timelineOf } from '../../deploy/rehearse/timeline.ts';

it('the timeline has what waited, and since when, at each half second', () => {
  const pods = [
    { atMs: 1_000, replicas: 1, ready: 0 },
    { atMs: 1_900, replicas: 2, ready: 1 },
  ];
  const stored = [
    { id: 'a', storedTicks: BATCH_TICKS, storedAtMs: 2_200, pod: 'p' },
    // Later than one that was made after it.
    { id: 'b', storedTicks: BATCH_TICKS, storedAtMs: 2_900, pod: 'p' },
    { id: 'c', storedTicks: BATCH_TICKS, storedAtMs: 2_400, pod: 'q' },
  ];
  const made = new Map([
    ['a', 1_000],
    ['b', 1_200],
    ['c', 1_600],
  ]);
  const profile = {
    name: 'p',
    title: 'p',
    durationSeconds: 2,
    replicas: 1,
    load: () => new Float64Array(4).fill(2),
    measuredFromSeconds: 0,
    turns: 0,
    startsAt: '2026-01-01T00:00:00Z',
  };
  const timeline = timelineOf({
    profile,
    capacityTicksPerSecond: 100,
    minReplicas: 1,
    startMs: 1_000,
    endMs: 3_000,
    pods,
    made,
    stored,
  });
  expect([...timeline.backlogTicks]).toEqual([1, 2, 3, 1].map((batches) => batches * BATCH_TICKS));
  expect([...timeline.delaySeconds]).toEqual([0, 0.5, 1, 1.3]);
  expect([...timeline.storedTicks]).toEqual([0, 0, 0, 2 * BATCH_TICKS]);
  expect([...timeline.replicas]).toEqual([1, 1, 2, 2]);
  expect([...timeline.ready]).toEqual([0, 0, 1, 1]);
  expect([...timeline.load]).toEqual([2, 2, 2, 2]);
});
