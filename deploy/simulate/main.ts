/**
 * `npm run simulate`: the command line of the scaling simulator. Arguments, files and exit code are here; everything
 * else is computed elsewhere.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runAligned, type Spreads, spreadsOf } from './figures.ts';
import { readScaler } from './manifest.ts';
import { readManifests } from './overlay.ts';
import { METRICS } from './plant.ts';
import { type Profile, PROFILES } from './profiles.ts';
import { POD_START_SECONDS, type Setup, type Timeline } from './run.ts';
import { drawTimeline } from './svg.ts';
import { COLUMNS, comparisonTable, profileTable } from './table.ts';
import { parseTrace } from './trace.ts';

const EXIT_OK = 0;
const EXIT_USAGE = 2;
const ALIGNMENTS_DEFAULT = 20;
const ALIGNMENTS_MAX = 1_000;
const CAPACITY_DEFAULT_TICKS_PER_SECOND = 2_000;
const DEPLOY = fileURLToPath(new URL('..', import.meta.url));
/** What is compared when no manifest is named: the shipped ones, and what they replace. */
const SHIPPED = [
  'simulate/original-scaledobject.yaml',
  'keda',
  ...['dev', 'staging', 'production', 'conservative', 'aggressive', 'steady', 'market-open'].map(
    (name) => `overlays/${name}`,
  ),
];

const HELP = `Plays load against a ScaledObject as KEDA, the HPA and Prometheus would, and tells how fast, steady and late
the pods follow.

  npm run simulate -- [PROFILE | TRACE.json] [options]

PROFILE      ${PROFILES.map(({ name }) => name).join(', ')}
             without one: the comparison of all configurations
TRACE.json   [{"atSeconds":0,"ticksPerSecond":1500},…], or what Prometheus answers to query_range

Options
  --manifest PATH   a file with a ScaledObject (and a ServiceMonitor), or a Kustomize folder; may be repeated;
                    default: the shipped base and overlays, and the original
  --alignments N    of scrapes, HPA syncs and pod starts; default ${ALIGNMENTS_DEFAULT}
  --capacity N      C, the ticks per second that one pod stores; default ${CAPACITY_DEFAULT_TICKS_PER_SECOND}
  --seed TEXT       the same seed gives the same figures; default 1
  --svg FILE        draws the first alignment of PROFILE or TRACE, for the first manifest
  --json            prints the figures as JSON

Figures are median/worst over the alignments.

Examples
  npm run simulate
  npm run simulate -- spike --manifest deploy/overlays/steady --svg spike.svg
  npm run simulate -- constant --manifest deploy/simulate/original-scaledobject.yaml
`;

interface Options {
  what: string | undefined;
  manifests: readonly string[];
  alignments: number;
  capacityTicksPerSecond: number;
  seed: string;
  svg: string | undefined;
  json: boolean;
}

process.exitCode = main();

function main(): number {
  try {
    const options = parse(process.argv.slice(2));
    if (options === 'help') process.stdout.write(HELP);
    else simulate(options);
    return EXIT_OK;
  } catch (error) {
    process.stderr.write(`simulate: ${error instanceof Error ? error.message : String(error)}\n`);
    process.stderr.write('See npm run simulate -- --help\n');
    return EXIT_USAGE;
  }
}

function parse(args: string[]): Options | 'help' {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      manifest: { type: 'string', multiple: true },
      alignments: { type: 'string', default: String(ALIGNMENTS_DEFAULT) },
      capacity: { type: 'string', default: String(CAPACITY_DEFAULT_TICKS_PER_SECOND) },
      seed: { type: 'string', default: '1' },
      svg: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) return 'help';
  if (positionals.length > 1) throw new Error('one PROFILE or TRACE at a time');
  if (values.svg !== undefined && positionals.length === 0) throw new Error('--svg needs a PROFILE or a TRACE');
  return {
    what: positionals[0],
    manifests: values.manifest ?? SHIPPED.map((path) => relative('.', join(DEPLOY, path))),
    alignments: wholeNumber(values.alignments, '--alignments', ALIGNMENTS_MAX),
    capacityTicksPerSecond: wholeNumber(values.capacity, '--capacity', 100_000_000),
    seed: values.seed,
    svg: values.svg,
    json: values.json,
  };
}

function wholeNumber(text: string, name: string, most: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= most) return value;
  throw new Error(`${name} must be a whole number of 1 to ${most}`);
}

function simulate(options: Options): void {
  const { what, alignments, capacityTicksPerSecond, seed, svg, json } = options;
  const chosen = what === undefined ? undefined : chooseProfile(what, capacityTicksPerSecond);
  const profiles = chosen === undefined ? comparedProfiles() : [chosen];
  const results = new Map<string, Map<string, Spreads>>();
  let drawn: Timeline | undefined;
  for (const [name, setup] of options.manifests.map((path) => setupOf(path, capacityTicksPerSecond))) {
    const ofManifest = new Map<string, Spreads>();
    for (const profile of profiles) {
      const timelines = runAligned(profile, setup, seed, alignments);
      ofManifest.set(profile.name, spreadsOf(profile, timelines));
      drawn ??= timelines[0];
    }
    results.set(name, ofManifest);
  }
  if (svg !== undefined && drawn !== undefined) {
    writeFileSync(svg, drawTimeline(drawn, `${drawn.profile.title} - ${[...results.keys()][0]!}`));
  }
  if (json) {
    // Infinity, which JSON does not have, is null: it never happened.
    const plain = Object.fromEntries(
      [...results].map(([name, ofManifest]) => [
        name,
        Object.fromEntries([...ofManifest].map(([profile, spreads]) => [profile, Object.fromEntries(spreads)])),
      ]),
    );
    process.stdout.write(`${JSON.stringify({ seed, alignments, capacityTicksPerSecond, figures: plain }, null, 2)}\n`);
    return;
  }
  process.stdout.write(chosen === undefined ? comparisonTable(results) : profileTable(chosen, results));
  process.stdout.write(
    `\nmedian/worst of ${alignments} alignments, C = ${capacityTicksPerSecond} ticks/s, seed ${seed}\n`,
  );
}

function comparedProfiles(): Profile[] {
  return PROFILES.filter(({ name }) => COLUMNS.some(({ profile }) => profile === name));
}

function chooseProfile(what: string, capacityTicksPerSecond: number): Profile {
  const known = PROFILES.find(({ name }) => name === what);
  if (known !== undefined) return known;
  if (what.endsWith('.json')) return parseTrace(readFileSync(what, 'utf8'), what, capacityTicksPerSecond);
  throw new Error(
    `there is no profile ${what}: ${PROFILES.map(({ name }) => name).join(', ')}, or a file that ends in .json`,
  );
}

function setupOf(path: string, capacityTicksPerSecond: number): [name: string, setup: Setup] {
  const { name, scaledObject, scrapeIntervalSeconds } = readManifests(path);
  const scaler = readScaler(scaledObject, METRICS);
  return [name, { scaler, capacityTicksPerSecond, scrapeIntervalSeconds, podStartSeconds: POD_START_SECONDS }];
}
