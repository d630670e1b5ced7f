/**
 * Property-based tests of the contract: seeded, shrinking, and with a memory. What once broke a property is kept as a
 * file under test/contract/corpus, and is tried first in every run.
 *
 * `MDP_TEST_SEED` repeats a run, `MDP_FUZZ_FACTOR` makes it so many times longer (`npm run fuzz`).
 */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as fc from 'fast-check';
import { newSeed } from './random.ts';

const CORPUS = fileURLToPath(new URL('../contract/corpus/', import.meta.url));

export const FUZZ_SEED = newSeed() | 0;
const FACTOR = Number(process.env['MDP_FUZZ_FACTOR'] ?? 1);
/** A run that is made longer takes longer: at most so long for each property. */
export const FUZZ_TIMEOUT_MS = 60_000 * Math.max(1, FACTOR);

/** Of what one property is tried with. */
export type CorpusKind = 'ticks' | 'batches' | 'feedback';

/** The files of the corpus, by name. */
export function corpus(kind: CorpusKind): { name: string; bytes: Buffer }[] {
  const directory = join(CORPUS, kind);
  return readdirSync(directory)
    .toSorted()
    .map((name) => ({ name, bytes: readFileSync(join(directory, name)) }));
}

/**
 * Holds `property` against what the generator makes, `runs` times; it is broken when it throws. The smallest thing
 * that breaks it is thrown, and kept in the corpus where `keepAs` says as what bytes.
 */
export function holds<T>(
  generator: fc.Arbitrary<T>,
  runs: number,
  property: (one: T) => void | Promise<void>,
  keepAs?: { kind: CorpusKind; bytes: (one: T) => Uint8Array },
): Promise<void> {
  let smallest: { one: T } | undefined;
  const checked = fc.asyncProperty(generator, async (one) => {
    try {
      await property(one);
    } catch (cause) {
      // Each failure that shrinking comes to is smaller than the one before.
      smallest = { one };
      throw cause;
    }
  });
  return fc.assert(checked, { seed: FUZZ_SEED, numRuns: runs * FACTOR }).catch((cause: unknown) => {
    if (smallest !== undefined && keepAs !== undefined) keep(keepAs.kind, keepAs.bytes(smallest.one));
    throw cause;
  });
}

function keep(kind: CorpusKind, bytes: Uint8Array): void {
  const name = `found-${createHash('sha256').update(bytes).digest('hex').slice(0, 12)}`;
  writeFileSync(join(CORPUS, kind, name), bytes);
}
