/**
 * The rollout guide's success criteria of the first 24 hours as PromQL. The runbook shows this very table; a test holds
 * the two together, and promtool plays each criterion through a good day and a bad one.
 */

import { type Chapter, type Result, RUNBOOK } from './checks.ts';
import { type PrometheusApi, PrometheusError } from './prometheus-api.ts';

const TARGETS = '{job=~"(.*/)?mdp-pipeline"}';
/** What the scaler wants; where there is no kube-state-metrics, the pods that are scraped. */
const REPLICAS =
  'max(kube_horizontalpodautoscaler_status_desired_replicas' +
  '{namespace="market-data", horizontalpodautoscaler="keda-hpa-mdp-pipeline-scaler"})' +
  ` or count(up${TARGETS} == 1)`;
const FIRING = 'ALERTS{alertstate="firing", alertname=~"(Pipeline|Edge).*"}';

export interface Criterion {
  name: string;
  /** As the guide says it. */
  says: string;
  expression: string;
  holds: { is: '=' | '>=' | '<' | '<='; than: number };
  unit: string;
  next: string;
  chapter: Chapter;
}

export const FIRST_DAY: readonly Criterion[] = [
  {
    name: 'crashes',
    says: 'Zero pod crashes',
    expression:
      'sum(increase(kube_pod_container_status_restarts_total{namespace="market-data", container="pipeline"}[24h]))' +
      ` or sum(changes(process_start_time_seconds${TARGETS}[24h]))`,
    holds: { is: '=', than: 0 },
    unit: 'restarts',
    next: 'kubectl -n market-data logs --previous POD has its last words.',
    chapter: 'pipelinepodrestarting',
  },
  {
    name: 'scaled-up',
    says: 'KEDA scaled up at least once',
    expression: `resets((-(${REPLICAS}))[24h:1m])`,
    holds: { is: '>=', than: 1 },
    unit: 'steps up',
    next: 'Was there load for it? Make some: npm run replay -- FILE --speed max',
    chapter: 'pipelinescalerblind',
  },
  {
    name: 'scaled-down',
    says: 'KEDA scaled down successfully',
    expression: `resets((${REPLICAS})[24h:1m])`,
    holds: { is: '>=', than: 1 },
    unit: 'steps down',
    next: 'Scale-in waits out a window of low load: has there been one? Then look at the backlog.',
    chapter: 'pipelinescalerblind',
  },
  {
    name: 'alerts',
    says: 'No alert fatigue (< 5 alerts a day)',
    expression: `sum(count_over_time((${FIRING} unless ${FIRING} offset 1m)[24h:1m])) or vector(0)`,
    holds: { is: '<', than: 5 },
    unit: 'alerts began to fire',
    next: 'Which: count by (alertname) (count_over_time(ALERTS{alertstate="firing"}[24h])). Each has its chapter.',
    chapter: 'the-first-24-hours',
  },
  {
    name: 'continuity',
    says: 'Metrics continuity (no gaps)',
    expression: '1440 - count_over_time((count(count_over_time(pipeline_store_circuit_state[1m])))[24h:1m])',
    holds: { is: '<=', than: 1 },
    unit: 'of 1,440 minutes without a scrape',
    next: 'Was the system there for 24 hours? Then look at what kept Prometheus from its targets.',
    chapter: 'pipelinenodemandmetric',
  },
  {
    name: 'books',
    says: 'Expected behaviour: the books balanced',
    expression: 'max(max_over_time(abs(pipeline_balance_residue_ticks)[24h:1m]))',
    holds: { is: '=', than: 0 },
    unit: 'ticks off at most',
    next: 'A defect: keep log and /status of the pod, report it.',
    chapter: 'pipelinebooksresidue',
  },
  {
    name: 'hard',
    says: 'Expected behaviour: nobody was shut out for long',
    expression: 'max(avg_over_time((pipeline_backpressure_state == bool 2)[24h:1m]))',
    holds: { is: '<', than: 0.01 },
    unit: 'of the time hard, at the provider with most',
    next: 'The store took less than came: compare its write time with the demand.',
    chapter: 'pipelinehardbackpressure',
  },
  {
    name: 'objectives',
    says: 'Expected behaviour: the objectives were kept',
    expression: 'max(mdp:slo_errors:ratio_rate1d / on (slo) (1 - mdp:slo_objective:ratio))',
    holds: { is: '<', than: 1 },
    unit: 'of the worst error budget used a day',
    next: 'By objective: mdp:slo_errors:ratio_rate1d. NaN: there was no traffic to judge by.',
    chapter: 'the-first-24-hours',
  },
];

export async function checkFirstDay(prometheus: PrometheusApi): Promise<Result[]> {
  return Promise.all(FIRST_DAY.map((criterion) => checkCriterion(prometheus, criterion)));
}

async function checkCriterion(prometheus: PrometheusApi, criterion: Criterion): Promise<Result> {
  const { name, says, expression, unit, next, chapter } = criterion;
  const about = { check: `first-day.${name}`, step: 'first-day', title: says } as const;
  const failed = { ...about, outcome: 'fail', next, chapter: RUNBOOK + chapter } as const;
  try {
    const value = (await prometheus.query(expression))[0]?.value;
    if (value === undefined) return { ...failed, fact: 'Prometheus has no figures for it (yet)' };
    const fact = `${Number(value.toPrecision(4))} ${unit}`;
    return holds(criterion, value) ? { ...about, outcome: 'pass', fact } : { ...failed, fact };
  } catch (error) {
    if (!(error instanceof PrometheusError)) throw error;
    return { ...failed, fact: error.message };
  }
}

export function holds({ holds: { is, than } }: Criterion, value: number): boolean {
  switch (is) {
    case '=':
      return value === than;
    case '>=':
      return value >= than;
    case '<':
      return value < than;
    case '<=':
      return value <= than;
  }
}
