/** Pages that name, for each of their chapters, the tests that enforce it; and whether there are such tests. */

import { readFile } from 'node:fs/promises';

const REPOSITORY = new URL('../../', import.meta.url);

export interface NamedTest {
  file: string;
  name: string;
}

export interface Chapter {
  title: string;
  tests: NamedTest[];
}

/** The chapters of a page of this repository: each from its `## ` on, with its lines of the form "- `FILE`: "NAME"". */
export async function chaptersOf(page: string): Promise<Chapter[]> {
  const text = await readFile(new URL(page, REPOSITORY), 'utf8');
  return text
    .split(/^## /m)
    .slice(1)
    .map((chapter) => ({
      title: chapter.split('\n', 1)[0]!,
      tests: [...chapter.matchAll(/^- `(test\/\S+\.test\.ts)`: "(.+)"$/gm)].map(([, file, name]) => ({
        file: file!,
        name: name!,
      })),
    }));
}

/** The file in which such a test must stand; throws when there is no such file. */
export function sourceOf({ file }: NamedTest): Promise<string> {
  return readFile(new URL(file, REPOSITORY), 'utf8');
}
