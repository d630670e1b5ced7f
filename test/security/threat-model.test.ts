/** docs/security.md names, for each attacker, the tests that show the guards; this one keeps the names true. */

import { describe, expect, it } from 'vitest';
import { chaptersOf, sourceOf } from '../support/named-tests.ts';

const attackers = await chaptersOf('docs/security.md');

describe('the threat model', () => {
  it('has attackers, each with a guard that a test shows', () => {
    expect(attackers.length).toBeGreaterThan(8);
    expect(attackers.filter(({ tests }) => tests.length === 0).map(({ title }) => title)).toEqual([]);
  });

  // Seen failing with one letter of a name changed. It does not show that a test guards against what its chapter says.
  it.each(attackers.flatMap(({ tests }) => tests))('names a test that is there: $file, $name', async (named) => {
    expect(await sourceOf(named)).toContain(named.name);
  });
});
