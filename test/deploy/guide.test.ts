/**
 * The manifests are those that the rollout guide speaks of, and fit the pod: names, ports, the line its sed rewrites,
 * settings, metrics, and times that add up.
 */

import { execFileSync } from 'node:child_process';
import { copyFileSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { readManifests } from '../../deploy/simulate/overlay.ts';
import { metricsOf, parsePromql } from '../../deploy/simulate/promql-parse.ts';
import { SETTINGS } from '../../pipeline/settings.ts';
import type { Manifest } from './kustomize.ts';

const DEPLOYMENT = 'deploy/keda/deployment-pipeline.yaml';
const SCALED_OBJECT = 'deploy/keda/scaledobject-pipeline.yaml';
const SERVICE_MONITOR = 'deploy/keda/prometheus-servicemonitor.yaml';
const GRACE_SPARE_SECONDS = 5;

/** What the pod and the edge expose. Source: the settings of the scaling signal; a live scrape is another test's. */
const EXPOSED = new Set([
  'edge_demand_ticks_per_second',
  'edge_outstanding_ticks',
  'edge_oldest_outstanding_seconds',
  'pipeline_demand_ticks_per_second',
  'pipeline_in_flight_ticks',
  'pipeline_store_circuit_state',
  'pipeline_store_write_seconds_bucket',
  'pipeline_pod_capacity_ticks_per_second',
  'pipeline_feedback_queue_depth',
  'pipeline_backpressure_state',
  'pipeline_rate_scale_factor',
  'pipeline_balance_residue_ticks',
  'pipeline_ticks_offered_total',
  'pipeline_ticks_stored_total',
  'pipeline_ticks_refused_total',
]);

interface Trigger {
  name: string;
  metadata: { query?: string };
}

interface Container {
  name: string;
  image: string;
  ports: { name: string; containerPort: number }[];
  env: { name: string; value?: string }[];
  lifecycle: { preStop: { sleep: { seconds: number } } };
  volumeMounts: { name: string; mountPath: string }[];
  [probe: `${string}Probe`]: { httpGet: { path: string; port: string } };
}

interface PodSpec {
  enableServiceLinks: boolean;
  terminationGracePeriodSeconds: number;
  serviceAccountName: string;
  containers: [Container, ...Container[]];
  volumes: { name: string; secret?: { items: { path: string }[] } }[];
}

function documents(file: string): Manifest[] {
  return parseAllDocuments(readFileSync(file, 'utf8')).map((document) => document.toJS() as Manifest);
}

const [deployment, ...others] = documents(DEPLOYMENT) as [Manifest, ...Manifest[]];
const podSpec = (deployment.spec['template'] as { spec: PodSpec }).spec;
const [container] = podSpec.containers;

function setting(name: string): string | undefined {
  return container.env.find((one) => one.name === name)?.value;
}

describe('the manifests of the guide', () => {
  it('are in its three files, under its names', () => {
    expect([deployment.kind, deployment.metadata.name]).toEqual(['Deployment', 'mdp-pipeline']);
    expect(others.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([
      'Service mdp-pipeline',
      'ServiceAccount mdp-pipeline',
    ]);
    expect(documents(SCALED_OBJECT).map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([
      'ScaledObject mdp-pipeline-scaler',
    ]);
    expect(documents(SERVICE_MONITOR).map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([
      'ServiceMonitor mdp-pipeline',
    ]);
  });

  it('name the container pipeline, its port http 8000, and the pods app=mdp-pipeline', () => {
    expect(container.name).toBe('pipeline');
    expect(container.ports).toEqual([{ name: 'http', containerPort: 8000 }]);
    expect(setting('MDP_PORT')).toBe('8000');
    const template = deployment.spec['template'] as { metadata: { labels: Record<string, string> } };
    expect(template.metadata.labels).toEqual({ app: 'mdp-pipeline' });
    expect(others[0]!.spec).toEqual({
      selector: { app: 'mdp-pipeline' },
      ports: [{ name: 'http', port: 8000, targetPort: 'http' }],
    });
    const monitor = documents(SERVICE_MONITOR)[0]!.spec;
    expect(monitor['selector']).toEqual({ matchLabels: others[0]!.metadata.labels });
    expect(monitor['endpoints']).toMatchObject([{ port: 'http', path: '/metrics', interval: '5s' }]);
  });

  it("have one image line, which the guide's sed rewrites and nothing else", () => {
    const folder = mkdtempSync(join(tmpdir(), 'mdp-guide-'));
    try {
      const copy = join(folder, 'deployment-pipeline.yaml');
      copyFileSync(DEPLOYMENT, copy);
      const image = 'registry.example.org/mdp-pipeline:0.8.1';
      execFileSync('sed', ['-i', `s|image:.*|image: ${image}|`, copy]);
      const [before, after] = [DEPLOYMENT, copy].map((file) => readFileSync(file, 'utf8').split('\n')) as [
        string[],
        string[],
      ];
      const changed = after.filter((line, at) => line !== before[at]);
      expect(changed).toEqual([`          image: ${image}`]);
      const [rewritten] = documents(copy);
      expect((rewritten!.spec['template'] as { spec: PodSpec }).spec.containers[0].image).toBe(image);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('leave the number of pods to KEDA, from 1 to 10', () => {
    expect(deployment.spec).not.toHaveProperty('replicas');
    const lines = readFileSync(SCALED_OBJECT, 'utf8').split('\n');
    // As the guide greps for them.
    expect(lines).toContain('  minReplicaCount: 1');
    expect(lines).toContain('  maxReplicaCount: 10');
  });

  it('fit the drain: preStop, drain and something to spare within the grace period', () => {
    const drainSeconds = Number(setting('MDP_DRAIN_TIMEOUT_MS')) / 1000;
    const preStopSeconds = container.lifecycle.preStop.sleep.seconds;
    expect(podSpec.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(
      preStopSeconds + drainSeconds + GRACE_SPARE_SECONDS,
    );
  });

  it('ask /health whether a pod lives and /ready whether it takes ticks', () => {
    const paths = ['startupProbe', 'livenessProbe', 'readinessProbe'].map(
      (probe) => container[probe as `${string}Probe`]!.httpGet,
    );
    expect(paths).toEqual([
      { path: '/health', port: 'http' },
      { path: '/health', port: 'http' },
      { path: '/ready', port: 'http' },
    ]);
  });

  it('set nothing that is no setting of the pod', () => {
    const known = new Set<string>(
      SETTINGS.flatMap((one) => ('secret' in one ? [one.name, `${one.name}_FILE`] : [one.name])),
    );
    const files = globSync('deploy/{keda,overlays,canary}/**/*.yaml');
    const named = files.flatMap((file) => readFileSync(file, 'utf8').match(/\bMDP_\w+/g) ?? []);
    expect(files.length).toBeGreaterThan(15);
    expect(named.filter((name) => !known.has(name))).toEqual([]);
    expect(podSpec.enableServiceLinks).toBe(false);
  });

  it('mount every file that a setting names, and a place to write', () => {
    const files = container.env.filter(({ name }) => name.endsWith('_FILE')).map(({ value }) => value!);
    const mounts = new Map(container.volumeMounts.map(({ name, mountPath }) => [name, mountPath]));
    const mounted = podSpec.volumes.flatMap(({ name, secret }) =>
      (secret?.items ?? []).map(({ path }) => `${mounts.get(name)!}/${path}`),
    );
    expect(new Set(mounted)).toEqual(new Set(files));
    expect(mounts.get('tmp')).toBe('/tmp');
    expect(podSpec.serviceAccountName).toBe(others[1]!.metadata.name);
  });

  it('read metrics that pod and edge expose, in every trigger and analysis', () => {
    const files = globSync('deploy/{keda,overlays,canary}/**/*.yaml');
    const used = files.flatMap((file) => {
      const text = readFileSync(file, 'utf8').replaceAll(/^\s*#.*$/gm, '');
      return text.match(/\b(pipeline|edge)_\w+(?=[{[)\s])/g) ?? [];
    });
    expect(used.length).toBeGreaterThan(15);
    const triggers = ['deploy/keda', ...globSync('deploy/overlays/*/')].flatMap(
      (folder) => (readManifests(folder).scaledObject as unknown as { spec: { triggers: Trigger[] } }).spec.triggers,
    );
    // A formula has the names of triggers, which may begin as those of metrics do.
    const names = new Set(triggers.map(({ name }) => name));
    expect(used.filter((metric) => !EXPOSED.has(metric) && !names.has(metric))).toEqual([]);
    const read = triggers.flatMap(({ metadata: { query } }) =>
      query === undefined ? [] : metricsOf(parsePromql(query)),
    );
    expect(read.length).toBeGreaterThan(30);
    expect(read.filter((metric) => !EXPOSED.has(metric))).toEqual([]);
  });
});
