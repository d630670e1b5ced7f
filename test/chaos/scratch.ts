/** A directory that is gone when the story is over. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export async function scratch(stack: AsyncDisposableStack): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'mdp-chaos-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
