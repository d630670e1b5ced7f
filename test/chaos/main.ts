/**
 * `npm run chaos -- [scenario|all] [--minutes N]`: something goes wrong with the real system while providers push, and
 * a line of figures for each scenario says what came of it.
 */

import { parseArgs } from 'node:util';
import { run, type RunOptions, type Scenario, TICKS_PER_SECOND_DEFAULT } from './scenario.ts';
import { SCENARIOS } from './scenarios.ts';

const HELP = `Lets something go wrong with the real system under load (an edge, three pods, a store; providers that keep their
own books), and tells what came of it: ticks acknowledged, lost and stored twice, refusals, recovery, memory.

  npm run chaos -- [scenario|all] [options]

  --minutes N           how long the fault goes on; default: as listed
  --seconds N           the same in seconds
  --ticks-per-second N  what the providers push together; default ${TICKS_PER_SECOND_DEFAULT}
  --batch N             ticks in a batch, up to 1000
  --seed N              of chance; without it, another one each time

${SCENARIOS.map(({ name, what, seconds }) => `  ${name.padEnd(18)}${what} (${seconds} s)`).join('\n')}

Exit codes: 0 every promise was kept; 1 something was lost, stored twice, or did not recover; 2 wrong usage.
`;

// Whoever ends us ends what we have started: each part of the system ends with its starter's exit.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
process.exitCode = await main();

async function main(): Promise<number> {
  let parsed;
  try {
    parsed = parseArgs({
      allowPositionals: true,
      options: {
        minutes: { type: 'string' },
        seconds: { type: 'string' },
        'ticks-per-second': { type: 'string' },
        batch: { type: 'string' },
        seed: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (cause) {
    return usage(cause instanceof Error ? cause.message : String(cause));
  }
  const { values, positionals } = parsed;
  if (values.help === true || positionals.length === 0) {
    process.stdout.write(HELP);
    return 0;
  }
  const unknown = positionals.filter((name) => name !== 'all' && !SCENARIOS.some((one) => one.name === name));
  if (unknown.length > 0) return usage(`there is no scenario ${unknown.join(', ')}`);
  const options: RunOptions = {};
  const seconds = values.seconds ?? (values.minutes === undefined ? undefined : Number(values.minutes) * 60);
  const given = {
    forMs: seconds,
    ticksPerSecond: values['ticks-per-second'],
    batchTicks: values.batch,
    seed: values.seed,
  };
  for (const [name, text] of Object.entries(given)) {
    if (text === undefined) continue;
    if (!(Number(text) >= 0)) return usage(`${String(text)} is not a number`);
    options[name as keyof RunOptions] = name === 'forMs' ? Number(text) * 1000 : Number(text);
  }
  const chosen = SCENARIOS.filter(({ name }) => positionals.includes('all') || positionals.includes(name));
  let isSound = true;
  for (const scenario of chosen) isSound = (await tell(scenario, options)) && isSound;
  return isSound ? 0 : 1;
}

async function tell(scenario: Scenario, options: RunOptions): Promise<boolean> {
  const lacks = await scenario.lacks();
  if (lacks !== undefined) {
    console.log(`${scenario.name}: skipped, it needs ${lacks}`);
    return true;
  }
  const { line, broken } = await run(scenario, options);
  console.log(line);
  for (const sentence of broken) console.log(`  ${sentence}`);
  return broken.length === 0;
}

function usage(why: string): number {
  process.stderr.write(`chaos: ${why}\n\n${HELP}`);
  return 2;
}
