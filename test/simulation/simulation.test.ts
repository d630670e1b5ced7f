/**
 * Ten thousand worlds in which much goes wrong and nothing may be lost; and the same worlds with a bug planted, which
 * they have to find.
 */

import { beforeAll, describe, expect, it } from 'vitest';
import { changed } from './hooks.ts';
import { MUTATIONS } from './mutations.ts';
import { REGRESSIONS } from './regressions.ts';
import { type Simulated, simulate } from './simulate.ts';

const SEEDS = 10_000;
/** For each planted bug. */
const MUTATION_SEEDS = 500;
/** Two run side by side: it is the machine's. */
const PROCESSES = 2;
const TIMEOUT_MS = 400_000;

describe('worlds in which machines die, messages are lost and clocks are set', () => {
  it(
    `of ${SEEDS} seeds lose nothing, store nothing twice, leave nobody without an answer and no level stuck`,
    { timeout: TIMEOUT_MS },
    async () => {
      const share = SEEDS / PROCESSES;
      const runs = await Promise.all(Array.from({ length: PROCESSES }, (_, at) => simulate(share, 1 + at * share)));
      // Each violation names its seed: `npm run simulate:faults -- --seeds 1 --start SEED --trace`.
      expect(runs.flatMap(({ violations }) => violations)).toEqual([]);
      expect(runs.reduce((sum, { seeds }) => sum + seeds, 0)).toBe(SEEDS);
    },
  );

  it('run again, happening by happening, from the same seeds in another process', { timeout: TIMEOUT_MS }, async () => {
    const [first, second, other] = await Promise.all([simulate(40, 1), simulate(40, 1), simulate(40, 2)]);
    expect(second.hash).toBe(first.hash);
    expect(second.happened).toBe(first.happened);
    expect(other.hash).not.toBe(first.hash);
  });

  it.each(REGRESSIONS)('of seed $seed do not show again that $found', { timeout: TIMEOUT_MS }, async ({ seed }) => {
    expect((await simulate(1, seed)).violations).toEqual([]);
  });
});

describe('a planted bug', () => {
  const found = new Map<string, Simulated | Error>();

  beforeAll(async () => {
    const left = Object.keys(MUTATIONS);
    const work = async (): Promise<void> => {
      for (let name = left.shift(); name !== undefined; name = left.shift()) {
        found.set(name, await simulate(MUTATION_SEEDS, 1, name).catch((cause: Error) => cause));
      }
    };
    await Promise.all(Array.from({ length: PROCESSES }, work));
  }, TIMEOUT_MS);

  it.each(Object.keys(MUTATIONS))(`is found within ${MUTATION_SEEDS} seeds: %s`, (name) => {
    const result = found.get(name);
    if (result instanceof Error) throw result;
    expect(result?.violations).toHaveLength(1);
  });

  it('whose place in the source is gone, or not the only one, is an error', () => {
    const change = { file: 'pipeline/main.ts', find: 'one', replace: 'two' };
    expect(changed('only one', change)).toBe('only two');
    expect(() => changed('one and one', change)).toThrow('has this 2 times, not once');
    expect(() => changed('', change)).toThrow('has this 0 times, not once');
  });
});
