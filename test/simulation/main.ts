/**
 * `npm run simulate:faults -- --seeds N --start S`: runs as many worlds, each from its own seed, and says which broke a
 * promise. Exit code 0: none; 1: at least one; 2: wrong arguments. A seed by itself, with `--trace`, tells all that
 * happened in its world.
 */

import { parseArgs } from 'node:util';
import { installHooks } from './hooks.ts';
import { MUTATIONS } from './mutations.ts';
import { installPlatform } from './platform.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    start: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
    mutation: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const seeds = Number(values.seeds);
const start = Number(values.start);
const mutation = values.mutation === undefined ? undefined : MUTATIONS[values.mutation];
if (!Number.isInteger(seeds) || !Number.isInteger(start) || (values.mutation !== undefined && mutation === undefined)) {
  console.error(
    `usage: simulate:faults [--seeds N] [--start S] [--trace] [--mutation ${Object.keys(MUTATIONS).join('|')}]`,
  );
  process.exit(2);
}

const startedMs = performance.now();
installPlatform();
installHooks(mutation ?? []);
const { runSeed } = await import('./world.ts');
const total = { happened: 0, virtualMs: 0, hash: 0 };
const violations: { seed: number; kind: string; detail: string }[] = [];
for (let seed = start; seed < start + seeds; seed += 1) {
  const result = await runSeed(seed, values.trace ? { onTrace: (line) => console.log(line) } : {});
  total.happened += result.happened;
  total.virtualMs += result.virtualMs;
  total.hash = (Math.imul(total.hash, 31) + result.hash) >>> 0;
  const { violation } = result;
  if (violation === undefined) continue;
  violations.push({ seed, kind: violation.kind, detail: violation.message });
  if (!values.json) console.log(`seed ${seed}: ${violation.message}`);
  if (mutation !== undefined) break;
}
const seconds = (performance.now() - startedMs) / 1000;
if (values.json) console.log(JSON.stringify({ start, seeds, ...total, seconds, violations }));
else {
  const hours = (total.virtualMs / 3_600_000).toFixed(0);
  const hash = total.hash.toString(16).padStart(8, '0');
  console.log(
    `${seeds} seeds from ${start}: ${violations.length} violations; ${total.happened} happenings in ${hours} h of virtual time, ${seconds.toFixed(1)} s; trace ${hash}`,
  );
}
process.exitCode = violations.length === 0 ? 0 : 1;
