/**
 * The fault harness in its short form: scenarios of `npm run chaos` for a few seconds each, on real processes, and a
 * disk that lies about its syncs, by which the harness is seen to see. Longer ones are run by the command.
 */

import { describe, expect, test, vi } from 'vitest';
import { LYING_DISK } from './disks.ts';
import { run } from './scenario.ts';
import { SCENARIOS } from './scenarios.ts';

/** Four systems at once are mostly waiting; the load is what two cores bear beside them. */
vi.setConfig({ maxConcurrency: 4 });
const TICKS_PER_SECOND = 2_000;
const BATCH_TICKS = 50;
const TIMEOUT = { timeout: 120_000 };

const SECONDS: Readonly<Record<string, number>> = {
  'clock-put-right': 3,
  'net-half-open': 4,
  'disk-full': 3,
  'power-loss': 4,
  'net-partition': 4,
  'kill-pods': 4,
  'kill-edge': 4,
  'net-loss': 3,
};

const short = await Promise.all(
  Object.entries(SECONDS).map(async ([name, seconds]) => {
    const scenario = SCENARIOS.find((one) => one.name === name)!;
    const lacks = await scenario.lacks();
    return { scenario, seconds, lacks, title: lacks === undefined ? name : `${name} (needs ${lacks})` };
  }),
);
const lyingLacks = await LYING_DISK.lacks();
const options = { ticksPerSecond: TICKS_PER_SECOND, batchTicks: BATCH_TICKS };

describe.concurrent('under load, nothing acknowledged is lost, nothing is stored twice, and it recovers by itself', () => {
  for (const { scenario, seconds, lacks, title } of short) {
    test.skipIf(lacks !== undefined)(`after ${title}: ${scenario.what}`, TIMEOUT, async () => {
      const { line, broken } = await run(scenario, { ...options, forMs: seconds * 1000 });
      console.log(line);
      expect(broken, line).toEqual([]);
    });
  }

  test.skipIf(lyingLacks !== undefined)(
    `but for a disk that lies about its syncs, whose losses are seen${lyingLacks === undefined ? '' : ` (needs ${lyingLacks})`}`,
    TIMEOUT,
    async () => {
      const { line, broken } = await run(LYING_DISK, { ...options, forMs: 3_000 });
      console.log(line);
      expect(broken.join('\n'), line).toMatch(/acknowledged ticks are not in the store|malformed|corrupt/);
    },
  );
});
