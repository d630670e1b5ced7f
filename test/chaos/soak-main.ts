/**
 * `npm run soak -- [--minutes N]`: the real system at 70 % of what it was measured to take, for long, and the slopes of
 * memory, descriptors and answer times.
 */

import { parseArgs } from 'node:util';
import { soak } from './soak.ts';

const CAPACITY_MS = 30_000;
const SHARE = 0.7;

// Whoever ends us ends what we have started: each part of the system ends with its starter's exit.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
const { values } = parseArgs({ options: { minutes: { type: 'string', default: '60' } } });
const forMs = Number(values.minutes) * 60_000;
if (!(forMs > 0)) throw new Error('--minutes is a number above 0');

const { capacityTicksPerSecond, ticksPerSecond, ticksAcknowledged, trends, broken } = await soak({
  forMs,
  capacityMs: CAPACITY_MS,
  share: SHARE,
});
console.log(
  `capacity ${capacityTicksPerSecond.toFixed(0)} ticks/s; ${values.minutes} min at ${ticksPerSecond.toFixed(0)} ticks/s: ` +
    `${ticksAcknowledged.toLocaleString('en-US')} ticks acknowledged`,
);
console.table(
  Object.fromEntries(
    Object.entries(trends).map(([name, { samples, mean, perHour, perHourError }]) => [
      name,
      {
        mean: mean.toFixed(1),
        'per hour': `${perHour.toFixed(2)} ± ${perHourError.toFixed(2)}`,
        '% per hour': ((100 * perHour) / mean).toFixed(1),
        samples,
      },
    ]),
  ),
);
for (const sentence of broken) console.log(sentence);
process.exitCode = broken.length === 0 ? 0 : 1;
