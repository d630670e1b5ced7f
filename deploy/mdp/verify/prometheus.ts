/**
 * Steps 4 to 6 of the guide, as far as Prometheus tells: it scrapes the pods, the guide's three queries answer, the
 * dashboard has data, and the scaler's queries have a value.
 */

import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { checkAlerts } from './alerts.ts';
import { type CHECKS, type Chapter, fail, pass, type Result, skip } from './checks.ts';
import { PrometheusApi, PrometheusError, type Sample } from './prometheus-api.ts';

/** As the ServiceMonitor and scrape.yaml name it. */
const TARGETS = 'up{job=~"(.*/)?mdp-pipeline"}';
/** Six scrapes of five seconds. */
const FRESH_SECONDS = 30;
const AGE = 'max(time() - timestamp(pipeline_backpressure_state))';
/** The dashboard's first panels are the guide's; the fourth is about Kubernetes' own figures. */
const GUIDE_PANELS = 4;
const DASHBOARD = new URL('../../grafana/pipeline.json', import.meta.url);
const SCALED_OBJECT = new URL('../../keda/scaledobject-pipeline.yaml', import.meta.url);

const SCRAPE_NEXT =
  'Does serviceMonitorSelector of Prometheus match the labels of the ServiceMonitor, and does the network policy let it in? kubectl -n market-data get servicemonitor mdp-pipeline -o yaml';

export interface PrometheusSite {
  url: string;
  provider: string;
  inKubernetes: boolean;
  /** Of the ScaledObject in the cluster; of the shipped one where there is none. */
  scalerQueries: ReadonlyMap<string, string> | undefined;
}

type Name = keyof typeof CHECKS;

export async function checkPrometheus(site: PrometheusSite): Promise<Result[]> {
  const prometheus = new PrometheusApi(site.url);
  const rest: Name[] = [
    'prometheus.target',
    'prometheus.fresh',
    'prometheus.depth',
    'prometheus.rate-scale',
    'prometheus.state',
    'watch.panels',
    'watch.rules',
    'watch.can-fire',
    'scaling.queries',
  ];
  try {
    await prometheus.query('vector(1)');
  } catch (error) {
    const next =
      'Is the port-forward up? kubectl -n monitoring port-forward svc/prometheus 9090:9090. Without Prometheus the scaler holds the number of pods.';
    const dead = fail('prometheus.answers', `${site.url}: ${messageOf(error)}`, next, 'before-the-first-rollout');
    return [dead, ...rest.map((name) => skip(name, 'Prometheus does not answer'))];
  }
  const results = [pass('prometheus.answers', site.url)];
  const guarded = async (name: Name, check: () => Promise<Result | Result[]>): Promise<void> => {
    try {
      results.push(...[await check()].flat());
    } catch (error) {
      if (!(error instanceof PrometheusError)) throw error;
      results.push(fail(name, error.message, 'Ask Prometheus by hand.', 'verify'));
    }
  };
  await guarded('prometheus.target', () => checkTargets(prometheus));
  await guarded('prometheus.fresh', () => checkFresh(prometheus));
  for (const query of guideQueries(site.provider)) {
    await guarded(query.check, () => checkQuery(prometheus, query));
  }
  await guarded('watch.panels', () => checkPanels(prometheus, site.inKubernetes));
  await guarded('watch.rules', () => checkAlerts({ ...site, prometheus }));
  await guarded('scaling.queries', () => checkScaling(prometheus, site.scalerQueries ?? shippedQueries()));
  return results;
}

async function checkTargets(prometheus: PrometheusApi): Promise<Result> {
  const targets = await prometheus.query(TARGETS);
  const down = targets.filter(({ value }) => value !== 1);
  const fact = `${targets.length - down.length} of ${targets.length} UP`;
  if (targets.length === 0) return fail('prometheus.target', 'no target', SCRAPE_NEXT, 'pipelinenodemandmetric');
  if (down.length === 0) return pass('prometheus.target', fact);
  const [first] = down as [Sample];
  const why = await prometheus.lastScrapeError(first.labels['instance'] ?? '').catch(() => undefined);
  const who = first.labels['pod'] ?? first.labels['instance'];
  const next = 'Try its /metrics with a port-forward.';
  return fail('prometheus.target', `${fact}; ${who}: ${why ?? 'down'}`, next, 'pipelinepodnotscraped');
}

async function checkFresh(prometheus: PrometheusApi): Promise<Result> {
  const age = (await prometheus.query(AGE))[0]?.value;
  if (age === undefined) {
    return fail('prometheus.fresh', 'it has no figures of any pod', SCRAPE_NEXT, 'pipelinenodemandmetric');
  }
  const fact = `the oldest is ${age.toFixed(1)} s old`;
  if (age <= FRESH_SECONDS) return pass('prometheus.fresh', fact);
  const next = `Scaling needs a scrape every 5 s: is the interval of the ServiceMonitor another, or a pod overrun?`;
  return fail('prometheus.fresh', fact, next, 'pipelinepodnotscraped');
}

interface GuideQuery {
  check: 'prometheus.depth' | 'prometheus.rate-scale' | 'prometheus.state';
  expression: string;
  /** What it is when nobody is slowed down; undefined: any. */
  normal?: number;
  chapter: Chapter;
}

/** Source: rollout guide, step 4. */
export function guideQueries(provider: string): GuideQuery[] {
  return [
    {
      check: 'prometheus.depth',
      expression: 'max(pipeline_feedback_queue_depth{source="store_coordinator"})',
      chapter: 'pipelinequeuehigh',
    },
    {
      check: 'prometheus.rate-scale',
      expression: `avg(pipeline_rate_scale_factor{provider="${provider}"})`,
      normal: 1,
      chapter: 'pipelineratescalelow',
    },
    {
      check: 'prometheus.state',
      expression: `max(pipeline_backpressure_state{provider="${provider}"})`,
      normal: 0,
      chapter: 'pipelinehardbackpressure',
    },
  ];
}

async function checkQuery(prometheus: PrometheusApi, query: GuideQuery): Promise<Result> {
  const { check, expression, normal, chapter } = query;
  const value = (await prometheus.query(expression))[0]?.value;
  if (value === undefined || !Number.isFinite(value)) {
    const next = `Prometheus has no such series: is the pod scraped, and is the provider one of its own (--provider)? ${SCRAPE_NEXT}`;
    return fail(check, `${expression} is empty`, next, 'pipelinenodemandmetric');
  }
  const fact = `${expression} = ${value}`;
  if (normal === undefined || value === normal) return pass(check, fact);
  return fail(check, fact, `${normal} is normal: GET /status of the pods names the reason.`, chapter);
}

interface Panel {
  type: string;
  title: string;
  targets?: { expr: string }[];
}

async function checkPanels(prometheus: PrometheusApi, inKubernetes: boolean): Promise<Result> {
  const { panels } = JSON.parse(readFileSync(DASHBOARD, 'utf8')) as { panels: Panel[] };
  const guide = panels.filter(({ type }) => type !== 'row').slice(0, inKubernetes ? GUIDE_PANELS : GUIDE_PANELS - 1);
  const empty: string[] = [];
  for (const { title, targets = [] } of guide) {
    const samples = (await Promise.all(targets.map(({ expr }) => prometheus.query(expr)))).flat();
    if (!samples.some(({ value }) => Number.isFinite(value))) empty.push(title);
  }
  const titles = guide.map(({ title }) => title).join(', ');
  if (empty.length === 0) return pass('watch.panels', titles);
  const next = 'The dashboard would show "No data" there: are the pods scraped, and kube-state-metrics?';
  return fail('watch.panels', `no data: ${empty.join(', ')}`, next, 'watch');
}

export interface ScaledObject {
  spec: { triggers: { name?: string; metadata: { query?: string } }[] };
}

export function queriesOf({ spec }: ScaledObject): Map<string, string> {
  const queries = spec.triggers.flatMap(({ name, metadata }, at): [string, string][] =>
    metadata.query === undefined ? [] : [[name ?? `trigger ${at + 1}`, metadata.query]],
  );
  return new Map(queries);
}

function shippedQueries(): Map<string, string> {
  return queriesOf(parse(readFileSync(SCALED_OBJECT, 'utf8')) as ScaledObject);
}

async function checkScaling(prometheus: PrometheusApi, queries: ReadonlyMap<string, string>): Promise<Result> {
  const values: string[] = [];
  const empty: string[] = [];
  for (const [name, query] of queries) {
    const value = (await prometheus.query(query))[0]?.value;
    if (value === undefined) empty.push(name);
    else values.push(`${name} ${Number(value.toPrecision(6))}`);
  }
  if (empty.length === 0 && values.length > 0) return pass('scaling.queries', values.join(', '));
  const fact = empty.length === 0 ? 'there are none' : `no value: ${empty.join(', ')}`;
  if (empty.join() === 'store_ok') {
    const next = 'Scaling is held because the store is away or slow: bring it back.';
    return fail('scaling.queries', fact, next, 'pipelinestoregateclosed');
  }
  const next = 'KEDA holds the number of pods, whatever the load is, until these have a value.';
  return fail('scaling.queries', fact, next, 'pipelinenodemandmetric');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
