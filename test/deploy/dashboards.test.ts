/**
 * The dashboard as Grafana imports it: the guide's panels first, nothing over anything else, every panel with a query
 * and a unit. Whether the queries answer is dashboards-live's.
 */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type Dashboard, expressionsOf } from '../support/dashboard.ts';

const dashboard = JSON.parse(readFileSync('deploy/grafana/pipeline.json', 'utf8')) as Dashboard;
const panels = dashboard.panels.filter(({ type }) => type !== 'row');

describe('the dashboard', () => {
  it("begins with the guide's four panels", () => {
    // The fourth is not the guide's own: kube_pod_info has no label phase, and its query never answers.
    expect(panels.slice(0, 4).map(({ type, title, targets }) => [type, title, targets![0]!.expr])).toEqual([
      ['timeseries', 'Store Queue Depth', 'max(pipeline_feedback_queue_depth{source="store_coordinator"})'],
      ['gauge', 'Pipeline Rate Scale', 'avg(pipeline_rate_scale_factor{provider="ibkr"})'],
      ['stat', 'Backpressure State', 'max(pipeline_backpressure_state{provider="ibkr"})'],
      [
        'stat',
        'Active Pods',
        'count(kube_pod_status_phase{namespace="market-data", pod=~"mdp-pipeline-.*", phase="Running"} == 1)',
      ],
    ]);
  });

  it('then has books, latency, queue and levels, store, edge, scaling', () => {
    const rows = dashboard.panels.filter(({ type }) => type === 'row').map(({ title }) => title);
    expect(rows).toEqual(['Books', 'Latency', 'Queue and levels', 'Store', 'Edge', 'Scaling']);
  });

  it('has no two panels in one place, and none beyond the 24 columns', () => {
    const taken = new Map<string, string>();
    for (const { title, gridPos } of dashboard.panels) {
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(taken.get(`${x},${y}`), title).toBeUndefined();
          taken.set(`${x},${y}`, title);
        }
      }
    }
  });

  it('has an id, a title, a unit, queries and the chosen data source for each panel', () => {
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
    for (const { title, datasource, targets, fieldConfig } of panels) {
      expect(fieldConfig?.defaults.unit, title).toBeTruthy();
      expect(targets?.length, title).toBeGreaterThan(0);
      expect(new Set(targets!.map(({ refId }) => refId)).size, title).toBe(targets!.length);
      const sources = [datasource, ...targets!.map((target) => target.datasource)];
      expect(new Set(sources.map((source) => source?.uid)), title).toEqual(new Set(['${datasource}']));
    }
    expect(dashboard.templating.list.map(({ name }) => name)).toEqual(['datasource', 'provider']);
  });

  it('shows the very queries that the scaler asks', () => {
    const { spec } = parse(readFileSync('deploy/keda/scaledobject-pipeline.yaml', 'utf8')) as {
      spec: { triggers: { metadata: { query: string } }[] };
    };
    const shown = expressionsOf(dashboard).map((expression) => expression.replaceAll(/\s+/g, ''));
    for (const { metadata } of spec.triggers) expect(shown).toContain(metadata.query.replaceAll(/\s+/g, ''));
  });
});
