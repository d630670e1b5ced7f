/**
 * `npm run rehearse`: the command line of the rehearsals. Arguments, terminal, files and exit code are here; everything
 * else is in scaling.ts and rolling.ts.
 */

import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { lacksPrometheus } from '../local/prometheus.ts';
import type { Scaler } from '../simulate/manifest.ts';
import { drawTimeline } from '../simulate/svg.ts';
import { rehearseRolling } from './rolling.ts';
import {
  AS_IN_A_CLUSTER,
  MANIFEST_CAPACITY_TICKS_PER_SECOND,
  QUICK,
  rehearseScaling,
  type ScalingResult,
  type SyncReport,
} from './scaling.ts';
import { STORE_KIND_DEFAULT, STORE_KINDS, type StoreKind } from './store.ts';
import { failedShare, isWhole, verdictText } from './verdict.ts';

const EXIT_OK = 0;
const EXIT_NOT_HELD = 1;
const EXIT_USAGE = 2;
const MANIFEST = relative('.', fileURLToPath(new URL('../keda', import.meta.url)));
/** What a rehearsal is held to. */
const READY_MAX_SECONDS = 60;
const BACK_MAX_SECONDS = 120;
const FAILED_SHARE_MAX = 0.001;
const COMPLAINTS_SHOWN = 10;

const HELP = `Plays scaling or a rollout with real parts on this machine: pods as processes, the edge in workerd, one store,
Prometheus; for the Service, the Deployment, KEDA and the HPA stand parts of our own.

  npm run rehearse                  load of 1, 3, 8 and again 1 pods' worth, scaled by the shipped ScaledObject; 8 minutes
  npm run rehearse -- rolling       5 pods replaced one after the other, then 5 to 1 to 5, under load; 2 minutes

Options
  --manifest PATH   a file with a ScaledObject (and a ServiceMonitor), or a Kustomize folder; default ${MANIFEST}
  --capacity N      C, the ticks per second that each pod's store is held to; default ${MANIFEST_CAPACITY_TICKS_PER_SECOND}.
                    With another C the target of the ScaledObject is scaled by it
  --store KIND      ${STORE_KINDS.join(' or ')}; default: postgres where one is installed
  --seed TEXT       of the pods' start times; default 1
  --quick           scaling in a minute: 1 to 3 to 1, with shorter syncs, scrapes and windows
  --svg FILE        draws load, replicas, backlog and delay

Exit code 0 when it holds: ready within ${READY_MAX_SECONDS} s of each step up, back within ${BACK_MAX_SECONDS} s, no reversal, nothing lost or stored
twice, and 5xx under ${FAILED_SHARE_MAX * 100} %. 1 when it does not.
`;

interface Options {
  what: 'scaling' | 'rolling';
  manifest: string;
  capacityTicksPerSecond: number;
  store: StoreKind;
  seed: string;
  isQuick: boolean;
  svg: string | undefined;
}

process.exitCode = await main();

async function main(): Promise<number> {
  let options: Options | 'help';
  try {
    options = parse(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`rehearse: ${error instanceof Error ? error.message : String(error)}\n`);
    process.stderr.write('See npm run rehearse -- --help\n');
    return EXIT_USAGE;
  }
  if (options === 'help') {
    print(HELP.trimEnd());
    return EXIT_OK;
  }
  const holds = options.what === 'rolling' ? await rolling(options) : await scaling(options);
  print(holds ? 'it holds' : 'IT DOES NOT HOLD');
  return holds ? EXIT_OK : EXIT_NOT_HELD;
}

function parse(args: string[]): Options | 'help' {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      manifest: { type: 'string', default: MANIFEST },
      capacity: { type: 'string', default: String(MANIFEST_CAPACITY_TICKS_PER_SECOND) },
      store: { type: 'string', default: STORE_KIND_DEFAULT },
      seed: { type: 'string', default: '1' },
      quick: { type: 'boolean', default: false },
      svg: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) return 'help';
  const [what = 'scaling', ...more] = positionals;
  if ((what !== 'scaling' && what !== 'rolling') || more.length > 0) throw new Error('scaling or rolling is rehearsed');
  const store = STORE_KINDS.find((kind) => kind === values.store);
  if (store === undefined) throw new Error(`--store must be ${STORE_KINDS.join(' or ')}`);
  if (!/^[1-9]\d{2,5}$/.test(values.capacity)) throw new Error('--capacity must be a whole number of 100 to 999999');
  if (what === 'scaling' && lacksPrometheus) {
    throw new Error('scaling is rehearsed with a real Prometheus, and none is installed (apt-get install prometheus)');
  }
  const { manifest, seed, quick: isQuick, svg } = values;
  return { what, manifest, capacityTicksPerSecond: Number(values.capacity), store, seed, isQuick, svg };
}

async function scaling(options: Options): Promise<boolean> {
  const { capacityTicksPerSecond, isQuick, svg } = options;
  const result = await rehearseScaling({
    ...options,
    pace: isQuick ? QUICK : AS_IN_A_CLUSTER,
    onStart: (scaler) => print(startText(options, scaler)),
    onSync: (sync) => print(syncText(sync, capacityTicksPerSecond)),
  });
  const { timeline, verdict, figures, complaints } = result;
  print(`\n${verdictText(verdict)}`);
  for (const { figure, rehearsed, simulated } of figures) {
    const beside = `simulated ${number(simulated.median)}, worst ${number(simulated.worst)}`;
    print(`${figure.name.padEnd(16)}${number(rehearsed)} ${figure.unit}${isQuick ? '' : ` (${beside})`}`);
  }
  printComplaints(complaints);
  if (svg !== undefined) {
    writeFileSync(
      svg,
      drawTimeline(timeline, `Rehearsal: ${timeline.profile.title}, C = ${capacityTicksPerSecond} ticks/s`),
    );
  }
  return isWhole(verdict) && failedShare(verdict) < FAILED_SHARE_MAX && scalingHolds(result);
}

function scalingHolds({ figures }: ScalingResult): boolean {
  return figures.every(({ figure: { name }, rehearsed }) => {
    if (name.endsWith(' ready')) return rehearsed <= READY_MAX_SECONDS;
    if (name.startsWith('back to ')) return rehearsed <= BACK_MAX_SECONDS;
    return name !== 'reversals' || rehearsed === 0;
  });
}

function startText({ manifest, capacityTicksPerSecond, store }: Options, scaler: Scaler): string {
  const target = scaler.composite!.target;
  const scaled =
    capacityTicksPerSecond === MANIFEST_CAPACITY_TICKS_PER_SECOND ? 'as it stands there' : 'scaled to this C';
  return [
    `${manifest}: ${scaler.name}, ${scaler.min} to ${scaler.max} pods, target ${target} (${scaled})`,
    `each pod's store is held to C = ${capacityTicksPerSecond} ticks/s; all share one ${store}`,
    '',
    '   time   load  demand/s  backlog  store  asked  ready',
  ].join('\n');
}

function syncText({ atSeconds, load, values, replicas, ready }: SyncReport, capacityTicksPerSecond: number): string {
  const value = (name: string): string => {
    const given = values.get(name);
    return given === undefined ? '-' : String(Math.round(given));
  };
  return [
    `${atSeconds.toFixed(0)} s`.padStart(7),
    `${load.toFixed(1)} C`.padStart(7),
    value('demand').padStart(10),
    value('backlog').padStart(9),
    (values.get('store_ok') === undefined ? 'hold' : 'ok').padStart(7),
    String(replicas).padStart(7),
    String(ready).padStart(7),
    load * capacityTicksPerSecond > 0 ? '' : '  idle',
  ].join('');
}

async function rolling({ capacityTicksPerSecond, store, seed, isQuick }: Options): Promise<boolean> {
  print(`each pod's store is held to C = ${capacityTicksPerSecond} ticks/s; all share one ${store}`);
  const pace = isQuick ? QUICK : AS_IN_A_CLUSTER;
  const { verdict, service, podsThatStored, podFailures, complaints } = await rehearseRolling({
    capacityTicksPerSecond,
    store,
    seed,
    ...pace,
    pauseSeconds: isQuick ? 1 : 10,
    onStep: (atSeconds, step) => print(`${`${atSeconds.toFixed(0)} s`.padStart(7)}  ${step}`),
  });
  print(`\n${verdictText(verdict)}`);
  print(`at the Service  ${service.requests} requests; ${service.refused} refused, ${service.broken} broken off`);
  print(`pods            ${podsThatStored} have stored, ${podFailures.length} did not end well`);
  printComplaints([...podFailures, ...complaints]);
  return isWhole(verdict) && failedShare(verdict) < FAILED_SHARE_MAX && podFailures.length === 0;
}

function printComplaints(complaints: readonly string[]): void {
  if (complaints.length === 0) return;
  print(`pods logged ${complaints.length} warnings or errors, the first of them:`);
  for (const line of complaints.slice(0, COMPLAINTS_SHOWN)) print(`  ${line}`);
}

function number(value: number): string {
  return Number.isFinite(value) ? String(Math.round(value * 10) / 10) : 'never';
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
