/**
 * SPEC.md names, for each promise, the tests that enforce it; this one keeps the names true.
 */

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const REPOSITORY = new URL('../', import.meta.url);
const SPEC = await readFile(new URL('pipeline/SPEC.md', REPOSITORY), 'utf8');

const promises = SPEC.split(/^## /m)
  .slice(1)
  .map((section) => ({
    title: section.split('\n', 1)[0]!,
    tests: [...section.matchAll(/^- `(test\/\S+\.test\.ts)`: "(.+)"$/gm)].map(([, file, name]) => ({
      file: file!,
      name: name!,
    })),
  }));

describe('SPEC.md', () => {
  it('numbers its promises from 1, each with at least one test', () => {
    expect(promises.map(({ title }) => title.split('.')[0])).toEqual(promises.map((_, at) => `P${at + 1}`));
    expect(promises.filter(({ tests }) => tests.length === 0).map(({ title }) => title)).toEqual([]);
  });

  // Seen failing with one letter of a name changed. It does not show that a test enforces what its promise says.
  it.each(promises.flatMap(({ tests }) => tests))(
    'names a test that is there: $file, $name',
    async ({ file, name }) => {
      const source = await readFile(fileURLToPath(new URL(file, REPOSITORY)), 'utf8');
      expect(source).toContain(name);
    },
  );
});
