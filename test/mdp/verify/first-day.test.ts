/**
 * The criteria of the first 24 hours, asked of a real Prometheus that remembers a good day, and of one that remembers a
 * bad one; and the runbook shows the very queries.
 */

import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { FIRST_DAY } from '../../../deploy/mdp/verify/first-day.ts';
import type { Report } from '../../../deploy/mdp/verify/report.ts';
import { type DaySeries, dayOfMetrics } from '../../support/day-of-metrics.ts';
import { mdp } from '../../support/mdp-command.ts';
import { lacksPrometheus, startPrometheus } from '../../../deploy/local/prometheus.ts';

const HPA = { namespace: 'market-data', horizontalpodautoscaler: 'keda-hpa-mdp-pipeline-scaler' };
const target = (instance: string): Record<string, string> => ({ job: 'market-data/mdp-pipeline', instance });

/** Scaled out to three pods in its sixth hour, and in again; one alert; a busy store now and then. */
const GOOD: readonly DaySeries[] = [
  { metric: 'up', labels: target('a'), at: () => 1 },
  ...['b', 'c'].map((pod): DaySeries => ({
    metric: 'up',
    labels: target(pod),
    at: (at) => (during(at, 300, 360) ? 1 : undefined),
  })),
  { metric: 'process_start_time_seconds', labels: target('a'), at: () => 1_700_000_000 },
  { metric: 'pipeline_store_circuit_state', labels: target('a'), at: () => 0 },
  { metric: 'pipeline_balance_residue_ticks', labels: { ...target('a'), provider: 'ibkr' }, at: () => 0 },
  {
    metric: 'pipeline_backpressure_state',
    labels: { ...target('a'), provider: 'ibkr' },
    at: (at) => (at === 310 ? 2 : 0),
  },
  { metric: 'ALERTS', labels: firing('PipelineQueueHigh'), at: (at) => (during(at, 305, 330) ? 1 : undefined) },
  ...objectives(0.0005),
];

/** A container that was restarted, no scaling, six alerts, three hours without a scrape, and so on. */
const BAD: readonly DaySeries[] = [
  {
    metric: 'kube_pod_container_status_restarts_total',
    labels: { namespace: 'market-data', container: 'pipeline' },
    at: (at) => (at < 700 ? 0 : 1),
  },
  { metric: 'kube_horizontalpodautoscaler_status_desired_replicas', labels: HPA, at: () => 1 },
  { metric: 'pipeline_store_circuit_state', labels: target('a'), at: (at) => (during(at, 200, 380) ? undefined : 0) },
  {
    metric: 'pipeline_balance_residue_ticks',
    labels: { ...target('a'), provider: 'ibkr' },
    at: (at) => (at === 900 ? -3 : 0),
  },
  {
    metric: 'pipeline_backpressure_state',
    labels: { ...target('a'), provider: 'ibkr' },
    at: (at) => (during(at, 500, 600) ? 2 : 0),
  },
  // Twice the same, and five others: each time it begins counts.
  ...['A', 'B', 'C', 'D', 'E', 'F'].map((name, number): DaySeries => ({
    metric: 'ALERTS',
    labels: firing(`Pipeline${name}`),
    at: (at) => (during(at, 100 * number, 100 * number + 20) || (number === 0 && during(at, 900, 920)) ? 1 : undefined),
  })),
  ...objectives(0.02),
];

function during(at: number, from: number, to: number): boolean {
  return at >= from && at < to;
}

function firing(alertname: string): Record<string, string> {
  return { alertname, alertstate: 'firing' };
}

/** Both with an objective of 0.999. */
function objectives(errors: number): DaySeries[] {
  return [
    { metric: 'mdp:slo_objective:ratio', labels: { slo: 'acknowledged' }, at: () => 0.999 },
    { metric: 'mdp:slo_errors:ratio_rate1d', labels: { slo: 'acknowledged' }, at: () => errors },
  ];
}

async function facts(day: readonly DaySeries[]): Promise<Record<string, string>> {
  // Blocks end before the hour in which the server begins its own.
  await using prometheus = await startPrometheus([], undefined, { history: dayOfMetrics(day, Date.now()) });
  const args = ['verify', '--prometheus', prometheus.url, '--only', 'prometheus', '--first-day', '--json'];
  const { stdout } = await mdp(args, tmpdir());
  const { checks } = JSON.parse(stdout) as Report;
  const ofDay = checks.filter(({ step }) => step === 'first-day');
  return Object.fromEntries(
    ofDay.map(({ check, outcome, fact }) => [check.slice('first-day.'.length), `${outcome}: ${fact}`]),
  );
}

describe.skipIf(lacksPrometheus)('mdp verify --first-day', { timeout: 60_000 }, () => {
  it('passes a good day, and says the figures', async () => {
    expect(await facts(GOOD)).toEqual({
      crashes: 'pass: 0 restarts',
      'scaled-up': 'pass: 1 steps up',
      'scaled-down': 'pass: 1 steps down',
      alerts: 'pass: 1 alerts began to fire',
      continuity: expect.stringMatching(/^pass: (0|-1|1) of 1,440 minutes without a scrape$/),
      books: 'pass: 0 ticks off at most',
      hard: expect.stringMatching(/^pass: 0\.0006\d+ of the time hard/),
      objectives: 'pass: 0.5 of the worst error budget used a day',
    });
  });

  it('fails a bad one in every criterion', async () => {
    expect(await facts(BAD)).toEqual({
      crashes: expect.stringMatching(/^fail: 1(\.\d+)? restarts$/),
      'scaled-up': 'fail: 0 steps up',
      'scaled-down': 'fail: 0 steps down',
      alerts: 'fail: 7 alerts began to fire',
      continuity: expect.stringMatching(/^fail: 1(78|79|80) of 1,440 minutes without a scrape$/),
      books: 'fail: 3 ticks off at most',
      hard: expect.stringMatching(/^fail: 0\.0(69|7)\d* of the time hard/),
      objectives: 'fail: 20 of the worst error budget used a day',
    });
  });
});

describe('the runbook', () => {
  it('shows every criterion with the query that is asked, and when it holds', () => {
    const chapter = readFileSync('deploy/README.md', 'utf8').split('\n## The first 24 hours\n')[1]!.split('\n## ')[0]!;
    const shown = [...chapter.matchAll(/^# (.+): (=|>=|<|<=) (\S+)\n(.+)$/gm)].map((match) => match.slice(1));
    expect(shown).toEqual(
      FIRST_DAY.map(({ says, holds: { is, than }, expression }) => [says, is, String(than), expression]),
    );
  });
});
