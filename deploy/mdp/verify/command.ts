/** `mdp verify`: its arguments, what they make it look at, and its exit code. */

import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { isProvider, PROVIDER_RULE } from '../../../pipeline/contract/identity.ts';
import { findCredential, PROVIDER_DEFAULT } from '../../replay/credentials.ts';
import { OptionError } from '../../replay/pusher.ts';
import {
  type Command,
  COMMON_OPTIONS,
  EXIT_NOT_WELL,
  EXIT_OK,
  httpUrl,
  print,
  UsageError,
  wholeNumber,
} from '../command.ts';
import { EDGE_DEFAULT, localSystem, POD_DEFAULT, tokenFor } from '../local-system.ts';
import { type Area, AREAS, CHECKS, type Result } from './checks.ts';
import { checkEdge, type EdgeSite, PROBE_SYMBOL } from './edge.ts';
import { checkFirstDay, FIRST_DAY } from './first-day.ts';
import { checkKube, scalerQueries } from './kube.ts';
import { type Limits, shippedLimits } from './limits.ts';
import { Kubectl } from './kubectl.ts';
import { checkPod } from './pod.ts';
import { checkPrometheus } from './prometheus.ts';
import { PrometheusApi } from './prometheus-api.ts';
import { type Report, reportOf, reportText } from './report.ts';

const PROMETHEUS_DEFAULT = 'http://127.0.0.1:9090';
const NAMESPACE_DEFAULT = 'market-data';
const WAIT_MAX_SECONDS = 3_600;
const WAIT_PAUSE_MS = 1_000;

const HELP = `Checks a rollout: the guide's steps 2 to 6, its checklists and the edge, each with what was found, and with the next
step and the runbook's chapter where it is not well.

  npx mdp verify [--cluster URL] [--edge URL] [--prometheus URL] [--kube] [options]

What to look at
  --cluster URL        a pod, through a port-forward or the Service; default ${POD_DEFAULT}
  --edge URL           the Worker; default ${EDGE_DEFAULT}
  --prometheus URL     default ${PROMETHEUS_DEFAULT}
  --kube               also the cluster's own objects, through kubectl: image, port, pods, Service, ScaledObject, HPA
  --context NAME       kubectl's context; default: the current one
  --namespace NAME     default ${NAMESPACE_DEFAULT}
  --replicas MIN-MAX   limits of the ScaledObject; default: those of deploy/keda (1-10) or of one of the overlays
  --only AREAS         some of ${AREAS.join(', ')}, with a comma between them
  --first-day          also the success criteria of the first 24 hours, ${FIRST_DAY.length} queries to Prometheus

As whom
  --provider NAME      pushes one tick as this provider, symbol ${PROBE_SYMBOL}, and reads it back; default ${PROVIDER_DEFAULT}
  --secret whsec_…     its secret, or --token TEXT, or the environment's MDP_PROVIDER_SECRET(_FILE)
  --scaling-token TEXT for the edge's /v1/scaling; or SCALING_TOKEN in the environment
                       without any: those of "npm start", towards this machine only

How
  --wait SECONDS       look again until all is well, for so long at most: after a rollout, in a pipeline
  --json               {"ok","passed","failed","skipped","checks":[{"check","step","title","outcome","fact","next","chapter"}]}

Exit codes: 0 nothing failed (a check that was skipped says why); 1 something failed; 2 wrong usage.

Examples
  npx mdp verify --only pod,edge                       what "npm start" runs
  kubectl -n market-data port-forward deploy/mdp-pipeline 8000:8000 &
  kubectl -n monitoring port-forward svc/prometheus 9090:9090 &
  npx mdp verify --kube --edge https://edge.example.com --wait 120
  npx mdp verify --only prometheus --first-day --json
`;

interface Options {
  clusterUrl: string;
  prometheusUrl: string;
  edge: Omit<EdgeSite, 'nowMs' | 'clusterUrl'>;
  cluster: ConstructorParameters<typeof Kubectl>[0];
  limits: () => Iterable<Limits>;
  areas: ReadonlySet<Area>;
  firstDay: boolean;
  waitMs: number;
  json: boolean;
}

export const command: Command = { help: HELP, run };

async function run(args: string[]): Promise<number> {
  const { report, json } = await verifyRollout(args, { env: process.env, directory: process.cwd() });
  print(json ? `${JSON.stringify(report, null, 2)}\n` : reportText(report, process.stdout));
  return report.ok ? EXIT_OK : EXIT_NOT_WELL;
}

/** Where the command is run. */
export interface World {
  env: Readonly<Record<string, string | undefined>>;
  directory: string;
}

/** All but the printing. Throws a {@link UsageError}. */
export async function verifyRollout(args: string[], world: World): Promise<{ report: Report; json: boolean }> {
  const options = parse(args, world);
  const deadlineMs = Date.now() + options.waitMs;
  let report = await verify(options);
  while (!report.ok && Date.now() < deadlineMs) {
    await sleep(WAIT_PAUSE_MS);
    report = await verify(options);
  }
  return { report, json: options.json };
}

/** Looks everywhere at once; the report is in the order of the guide all the same. */
async function verify(options: Options): Promise<Report> {
  const { areas, clusterUrl, prometheusUrl, edge, cluster } = options;
  const kubectl = new Kubectl(cluster);
  const inKubernetes = areas.has('kube');
  const looks: Promise<Result[]>[] = [];
  if (inKubernetes) looks.push(checkKube(kubectl, options.limits));
  if (areas.has('pod')) looks.push(checkPod(clusterUrl));
  if (areas.has('edge')) {
    const site = { ...edge, clusterUrl: areas.has('pod') ? clusterUrl : undefined, nowMs: Date.now() };
    looks.push(checkEdge(site).catch(wrongOption));
  }
  if (areas.has('prometheus')) {
    const site = async (): Promise<Result[]> =>
      checkPrometheus({
        url: prometheusUrl,
        provider: edge.provider,
        inKubernetes,
        scalerQueries: inKubernetes ? await scalerQueries(kubectl) : undefined,
      });
    looks.push(site());
    if (options.firstDay) looks.push(checkFirstDay(new PrometheusApi(prometheusUrl)));
  }
  const order = [...Object.keys(CHECKS), ...FIRST_DAY.map(({ name }) => `first-day.${name}`)];
  const results = (await Promise.all(looks)).flat();
  return reportOf(results.toSorted((left, right) => order.indexOf(left.check) - order.indexOf(right.check)));
}

/** A secret that cannot be one is only known to who signs with it. */
function wrongOption(error: unknown): never {
  throw error instanceof OptionError ? new UsageError(error.message) : error;
}

function parse(args: string[], { env, directory }: World): Options {
  const { values } = parseArgs({
    args,
    options: {
      ...COMMON_OPTIONS,
      cluster: { type: 'string' },
      edge: { type: 'string' },
      prometheus: { type: 'string', default: PROMETHEUS_DEFAULT },
      kube: { type: 'boolean', default: false },
      context: { type: 'string' },
      namespace: { type: 'string', default: NAMESPACE_DEFAULT },
      replicas: { type: 'string' },
      only: { type: 'string' },
      'first-day': { type: 'boolean', default: false },
      provider: { type: 'string', default: PROVIDER_DEFAULT },
      secret: { type: 'string' },
      token: { type: 'string' },
      'scaling-token': { type: 'string' },
      wait: { type: 'string', default: '0' },
    },
  });
  const { provider, secret, token } = values;
  if (!isProvider(provider)) throw new UsageError(`--provider must be ${PROVIDER_RULE}`);
  if (secret !== undefined && token !== undefined) throw new UsageError('give --secret or --token, not both');
  const local = localSystem(directory);
  const edgeUrl = httpUrl(values.edge ?? local.edgeUrl, '--edge');
  const found = findCredential({ to: edgeUrl, provider, secret, token }, env, directory);
  const areas = areasOf(values.only, values.kube);
  if (values['first-day'] && !areas.has('prometheus'))
    throw new UsageError('--first-day asks Prometheus: add it to --only');
  return {
    clusterUrl: httpUrl(values.cluster ?? local.podUrl, '--cluster'),
    prometheusUrl: httpUrl(values.prometheus, '--prometheus'),
    edge: {
      url: edgeUrl,
      provider,
      credential: found.ok ? found.credential : undefined,
      why: found.ok ? '' : found.why,
      scalingToken: tokenFor(edgeUrl, values['scaling-token'], env['SCALING_TOKEN'], local.scalingToken),
    },
    cluster: { context: values.context, namespace: values.namespace, env },
    limits: limitsOf(values.replicas),
    areas,
    firstDay: values['first-day'],
    waitMs: wholeNumber(values.wait, '--wait', 0, WAIT_MAX_SECONDS) * 1000,
    json: values.json,
  };
}

function limitsOf(replicas: string | undefined): () => Iterable<Limits> {
  if (replicas === undefined) return shippedLimits;
  const [, min, max] = /^(\d{1,4})-(\d{1,4})$/.exec(replicas) ?? [];
  if (min === undefined || max === undefined) throw new UsageError('--replicas must be MIN-MAX, such as 1-10');
  return () => [{ min: Number(min), max: Number(max), of: '--replicas' }];
}

function areasOf(only: string | undefined, kube: boolean): Set<Area> {
  const known = new Set<string>(AREAS);
  const wanted = only === undefined ? ['pod', 'edge', 'prometheus'] : only.split(',').filter((name) => name !== '');
  const unknown = wanted.filter((name) => !known.has(name));
  if (unknown.length > 0) throw new UsageError(`--only knows ${AREAS.join(', ')}, not ${unknown.join(', ')}`);
  if (kube) wanted.push('kube');
  if (wanted.length === 0) throw new UsageError(`--only needs some of ${AREAS.join(', ')}`);
  return new Set(wanted as Area[]);
}
