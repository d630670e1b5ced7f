/**
 * Step 5 of the guide: the alerts are loaded, are evaluated, and can fire. An alert that asks for a metric or a label
 * that no series has stays quiet for ever, and nobody notices.
 */

import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { fail, pass, type Result } from './checks.ts';
import type { AlertRule, PrometheusApi } from './prometheus-api.ts';
import { type Selector, selectorsOf } from './selectors.ts';

const RULES = new URL('../../prometheus/rules.yaml', import.meta.url);
/** What an expression asks for when it is about this system: so the guide's own alerts are looked at, too. */
const OURS = /\b(?:pipeline_|edge_|mdp:|provider:|keda-hpa-mdp|mdp-pipeline)/;

/** Metrics that others have to bring. */
const FOREIGN: readonly { prefix: string; from: string; onlyIn: 'kubernetes' | 'where it is used' }[] = [
  { prefix: 'kube_', from: 'kube-state-metrics', onlyIn: 'kubernetes' },
  { prefix: 'certmanager_', from: 'cert-manager', onlyIn: 'where it is used' },
  { prefix: 'probe_', from: 'the blackbox exporter', onlyIn: 'where it is used' },
];

export interface AlertSite {
  prometheus: PrometheusApi;
  inKubernetes: boolean;
}

export async function checkAlerts(site: AlertSite): Promise<Result[]> {
  const { alerts, recorded } = await site.prometheus.rules();
  const ours = alerts.filter(({ name, expression }) => shippedAlerts().includes(name) || OURS.test(expression));
  return [checkLoaded(ours), await checkCanFire(ours, recorded, site)];
}

export function shippedAlerts(): string[] {
  const { groups } = parse(readFileSync(RULES, 'utf8')) as { groups: { rules: { alert?: string }[] }[] };
  return groups.flatMap(({ rules }) => rules.flatMap(({ alert }) => alert ?? []));
}

function checkLoaded(ours: readonly AlertRule[]): Result {
  const shipped = shippedAlerts();
  const names = new Set(ours.map(({ name }) => name));
  const missing = shipped.filter((name) => !names.has(name));
  const failing = ours.filter(({ health }) => health === 'err');
  if (failing.length > 0) {
    const fact = failing.map(({ name, lastError }) => `${name}: ${lastError}`).join('; ');
    return fail(
      'watch.rules',
      fact,
      'Prometheus cannot evaluate it: load deploy/prometheus/rules.yaml again.',
      'watch',
    );
  }
  if (missing.length > 0) {
    const next =
      'kubectl apply -k deploy/prometheus, or load deploy/prometheus/rules.yaml; does ruleSelector of Prometheus match the label release?';
    return fail('watch.rules', `${missing.length} of ${shipped.length} missing: ${few(missing)}`, next, 'watch');
  }
  const evaluated = ours.filter(({ health }) => health === 'ok').length;
  return pass('watch.rules', `${ours.length} alerts, ${evaluated} evaluated already`);
}

async function checkCanFire(
  ours: readonly AlertRule[],
  recorded: ReadonlySet<string>,
  { prometheus, inKubernetes }: AlertSite,
): Promise<Result> {
  const [withSeries, declared] = await Promise.all([prometheus.metricNames(), prometheus.families()]);
  const exists = ({ metric }: Selector): boolean =>
    withSeries.has(metric) || recorded.has(metric) || declared.has(metric) || declared.has(familyOf(metric));
  const reasons = new Map<string, string[]>();
  const elsewhere = new Set<string>();
  for (const { name, expression } of ours) {
    for (const selector of selectorsOf(expression)) {
      const { metric, labels } = selector;
      const foreign = FOREIGN.find(({ prefix }) => metric.startsWith(prefix));
      if (!exists(selector)) {
        if (foreign !== undefined && !(foreign.onlyIn === 'kubernetes' && inKubernetes)) elsewhere.add(foreign.from);
        else add(reasons, name, `no ${metric}${foreign === undefined ? '' : `, which ${foreign.from} brings`}`);
        continue;
      }
      // Whoever brings it may label it one way or another, and the expression has an alternative for each.
      if (!withSeries.has(metric) || foreign?.onlyIn === 'where it is used') continue;
      for (const label of labels) {
        const having = await prometheus.query(`count(${metric}{${label}!=""})`);
        if (having.length === 0) add(reasons, name, `no ${metric} has a label ${label}`);
      }
    }
  }
  if (reasons.size > 0) {
    const fact = [...reasons].map(([name, why]) => `${name}: ${[...new Set(why)].join(', ')}`);
    const next =
      'Such an alert stays quiet for ever. Mend its expression, or scrape what brings the metric (the edge: deploy/keda/edge-scrape).';
    return fail('watch.can-fire', fact.join('; '), next, 'watch');
  }
  if (ours.length === 0) return fail('watch.can-fire', 'there are no alerts', 'Load the rules first.', 'watch');
  const without = elsewhere.size === 0 ? '' : `; not looked at here: what ${[...elsewhere].join(', ')} would bring`;
  return pass('watch.can-fire', `${ours.length} alerts ask for what is there${without}`);
}

/** The family that a histogram's or summary's series belongs to. */
function familyOf(metric: string): string {
  return metric.replace(/_(?:bucket|count|sum)$/, '');
}

function add(map: Map<string, string[]>, key: string, value: string): void {
  map.set(key, [...(map.get(key) ?? []), value]);
}

function few(names: readonly string[]): string {
  return names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;
}
