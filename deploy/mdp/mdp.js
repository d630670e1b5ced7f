#!/usr/bin/env node
/** `npx mdp`: the command line, for a Node that runs TypeScript. `npx` and `npm run` bring the clone's own. */

if (process.features.typescript) {
  await import('./main.ts');
} else {
  process.stderr.write(`mdp: Node ${process.versions.node} is too old. In the clone, after npm ci: npx mdp\n`);
  process.exitCode = 2;
}
