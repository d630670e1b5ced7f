/**
 * The soak for some seconds, or as many minutes as `SOAK_MINUTES` says: that it measures, and that nothing is lost. Its
 * slopes are told, and judged only where they have had the time of its command.
 */

import { expect, test } from 'vitest';
import { POSTGRES_BIN } from '../../deploy/local/postgres.ts';
import { noProcessMemory } from '../support/process-memory.ts';
import { trend } from './slope.ts';
import { soak } from './soak.ts';

const FOR_MS = Number(process.env['SOAK_MINUTES'] ?? 0.1) * 60_000;

test('a line is found in samples, and the warm-up left out', () => {
  const flat = Array.from({ length: 10 }, (_, at) => ({ atMs: at * 1000, value: 1000 - at * 100 }));
  const rising = Array.from({ length: 31 }, (_, at) => ({ atMs: 10_000 + at * 1000, value: 50 + at }));
  const line = { samples: 31, mean: 65, perHour: expect.closeTo(3600, 6), perHourError: expect.closeTo(0, 6) };
  expect(trend(rising, 0)).toEqual(line);
  expect(trend([...flat, ...rising], 0.25).perHour).toBeCloseTo(3600, 6);
  expect(trend([], 0.25).perHour).toBeNaN();
  // By hand: of 0, 1, 0, 1 a slope of 0.2 a second, residuals of -0.2, 0.6, -0.6 and 0.2, and so an error of 0.4 * sqrt(0.5).
  const restless = [0, 1, 0, 1].map((value, at) => ({ atMs: at * 1000, value }));
  expect(trend(restless, 0).perHour).toBeCloseTo(0.2 * 3600, 6);
  expect(trend(restless, 0).perHourError).toBeCloseTo(0.4 * Math.SQRT1_2 * 3600, 6);
  // Saying each of twelve things twenty times over makes none of it surer.
  const twelve = Array.from({ length: 12 }, (_, at) => ({ atMs: at * 20_000 + 9_500, value: (at * 7) % 12 }));
  const said = Array.from({ length: 240 }, (_, at) => ({ ...twelve[Math.floor(at / 20)]!, atMs: at * 1000 }));
  expect(trend(said, 0).perHourError).toBeCloseTo(trend(twelve, 0).perHourError, 6);
});

test.skipIf(noProcessMemory || POSTGRES_BIN === undefined)(
  `the system at 70 % of its capacity for ${FOR_MS / 1000} s loses nothing, and each of its figures is one (needs Linux and PostgreSQL)`,
  { timeout: FOR_MS + 270_000 },
  async () => {
    const { capacityTicksPerSecond, ticksPerSecond, ticksAcknowledged, trends, broken } = await soak({
      forMs: FOR_MS,
      capacityMs: Math.min(20_000, FOR_MS / 2),
      share: 0.7,
      datedAlikeMs: FOR_MS / 3,
    });
    console.log({ ticksPerSecond, ticksAcknowledged, trends });
    expect(broken).toEqual([]);
    expect(ticksPerSecond).toBeCloseTo(capacityTicksPerSecond * 0.7, 3);
    expect(Object.keys(trends)).toEqual([
      'edge memory, MiB',
      'edge heap, MiB',
      'pods memory, MiB',
      'pods heap, MiB',
      'bare Worker memory, MiB',
      'answer p99, ms',
      'bare Worker answer p99, ms',
      "answer p99, of the bare Worker's",
      'edge descriptors at rest',
      'pods descriptors at rest',
    ]);
    for (const [name, { samples, mean, perHour }] of Object.entries(trends)) {
      expect(samples).toBeGreaterThan(name.endsWith('at rest') ? 3 : 5);
      expect(mean).toBeGreaterThan(0);
      expect(perHour).not.toBeNaN();
    }
  },
);
