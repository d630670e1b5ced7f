/**
 * The manifests are valid for those who will read them: schemas of Kubernetes, KEDA, Prometheus Operator and Argo
 * Rollouts, once for values (their validators) and once for names that do not exist (their types, by tsc).
 */

import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readManifests } from '../../deploy/simulate/overlay.ts';
import { FOLDERS, kustomize, lacksKubectl, type Manifest } from './kustomize.ts';

const run = promisify(execFile);
const FLAGGER = resolve('test/deploy/flagger.ts');
const EXPECTED_KINDS = ['Deployment', 'NetworkPolicy', 'PodDisruptionBudget', 'ScaledObject', 'ServiceAccount'];

/** Overlays whose scaler asks the edge itself. */
const READS_THE_EDGE = new Set(['deploy/overlays/steady', 'deploy/overlays/market-open']);

interface Trigger {
  name: string;
  type: string;
  metadata: { url?: string };
  authenticationRef?: { name: string };
}

/** Of each kind, the module that has its type and, for all but Flagger, its validator. */
const SCHEMAS: Readonly<Record<string, string>> = {
  'apps/v1 Deployment': 'kubernetes-models/apps/v1/Deployment',
  'v1 Service': 'kubernetes-models/v1/Service',
  'v1 ServiceAccount': 'kubernetes-models/v1/ServiceAccount',
  'policy/v1 PodDisruptionBudget': 'kubernetes-models/policy/v1/PodDisruptionBudget',
  'networking.k8s.io/v1 NetworkPolicy': 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy',
  'keda.sh/v1alpha1 ScaledObject': '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject',
  'keda.sh/v1alpha1 TriggerAuthentication': '@kubernetes-models/keda/keda.sh/v1alpha1/TriggerAuthentication',
  'argoproj.io/v1alpha1 Rollout': '@kubernetes-models/argo-rollouts/argoproj.io/v1alpha1/Rollout',
  'argoproj.io/v1alpha1 AnalysisTemplate': '@kubernetes-models/argo-rollouts/argoproj.io/v1alpha1/AnalysisTemplate',
  'monitoring.coreos.com/v1 ServiceMonitor':
    '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor',
  'monitoring.coreos.com/v1alpha1 ScrapeConfig':
    '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1alpha1/ScrapeConfig',
  'flagger.app/v1beta1 Canary': FLAGGER,
  'flagger.app/v1beta1 MetricTemplate': FLAGGER,
};

function moduleOf({ apiVersion, kind }: Manifest): string {
  const module = SCHEMAS[`${apiVersion} ${kind}`];
  if (module === undefined) throw new Error(`no schema is known for ${apiVersion} ${kind}`);
  return module;
}

/** What the validator says against a manifest; undefined when it is right. */
async function complaintOf(manifest: Manifest): Promise<string | undefined> {
  const module = moduleOf(manifest);
  if (module === FLAGGER) return undefined;
  const models = (await import(module)) as Record<string, new (data: Manifest) => { validate(): void }>;
  try {
    new models[manifest.kind]!(manifest).validate();
    return undefined;
  } catch (error) {
    return String(error);
  }
}

describe.skipIf(lacksKubectl)('kubectl kustomize', () => {
  const built = new Map<string, Manifest[]>();
  let folder: string;

  beforeAll(async () => {
    for (const path of FOLDERS) built.set(path, await kustomize(path));
    folder = await mkdtemp(join(tmpdir(), 'mdp-manifests-'));
    await symlink(resolve('node_modules'), join(folder, 'node_modules'));
  });

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  /** Type errors of manifests written down as typed literals. */
  async function typeErrors(manifests: readonly Manifest[]): Promise<string[]> {
    const lines = manifests.map((manifest, at) => {
      const type = `import(${JSON.stringify(moduleOf(manifest))}).I${manifest.kind}`;
      return `export const m${at}: ${type} = ${JSON.stringify(manifest)};`;
    });
    await writeFile(join(folder, 'manifests.ts'), lines.join('\n'));
    const options = {
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      module: 'nodenext',
      types: [],
      allowImportingTsExtensions: true,
    };
    await writeFile(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: options, files: ['manifests.ts'] }),
    );
    return run(resolve('node_modules/.bin/tsc'), ['-p', folder]).then(
      () => [],
      (error: { stdout: string }) => error.stdout.trim().split('\n'),
    );
  }

  it('finds the base, seven overlays and two canaries', () => {
    expect(FOLDERS).toHaveLength(10);
  });

  it.each(FOLDERS)('of %s has every object once, all in the namespace market-data', (path) => {
    const manifests = built.get(path)!;
    const names = manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
    expect(new Set(manifests.map(({ metadata }) => metadata.namespace))).toEqual(new Set(['market-data']));
    expect(manifests.map(({ kind }) => kind)).toEqual(expect.arrayContaining(EXPECTED_KINDS));
  });

  it.each(FOLDERS)('of %s has values that the schemas accept', async (path) => {
    for (const manifest of built.get(path)!) expect(await complaintOf(manifest), manifest.kind).toBeUndefined();
  });

  it('has no field that does not exist, in any of them', async () => {
    expect(await typeErrors([...built.values()].flat())).toEqual([]);
  });

  it('would be caught with a field that does not exist, and with a value that is wrong', async () => {
    // Seen so: a misspelt field and a port of the wrong type, in the Deployment and in the ScaledObject.
    const base = structuredClone(built.get('deploy/keda')!);
    const [deployment, scaled] = ['Deployment', 'ScaledObject'].map((kind) =>
      base.find((one) => one.kind === kind)!,
    ) as [Manifest, Manifest];
    (deployment.spec['template'] as { spec: Record<string, unknown> }).spec['terminationGracePeriod'] = 35;
    (scaled.spec['fallback'] as Record<string, unknown>)['behaviour'] = 'static';
    const errors = await typeErrors([deployment, scaled]);
    expect(errors).toEqual([
      expect.stringContaining(`'"terminationGracePeriod"' does not exist in type 'IPodSpec'`),
      expect.stringContaining(`'"behaviour"' does not exist in type 'IFallback'`),
    ]);
    scaled.spec['maxReplicaCount'] = '10';
    expect(await complaintOf(scaled)).toContain('maxReplicaCount');
  });

  it.each(FOLDERS)(
    'of %s has for each trigger with a token the object that takes it from the Secret of the pods',
    (path) => {
      const manifests = built.get(path)!;
      const { spec } = manifests.find(({ kind }) => kind === 'ScaledObject')!;
      const asking = (spec['triggers'] as Trigger[]).filter(({ type }) => type === 'metrics-api');
      expect(asking).toHaveLength(READS_THE_EDGE.has(path) ? 2 : 0);
      for (const { name, authenticationRef } of asking) {
        const named = manifests.find(
          ({ kind, metadata }) => kind === 'TriggerAuthentication' && metadata.name === authenticationRef?.name,
        );
        // Seen failing with another key of the Secret, and with another name of the object.
        expect(named?.spec, name).toEqual({
          secretTargetRef: [{ parameter: 'token', name: 'mdp-pipeline', key: 'scaling-token' }],
        });
      }
    },
  );

  it.each([...READS_THE_EDGE])('of %s asks the host at the edge that Prometheus scrapes', (path) => {
    const manifests = built.get(path)!;
    const { spec } = manifests.find(({ kind }) => kind === 'ScaledObject')!;
    const urls = (spec['triggers'] as Trigger[]).flatMap(({ metadata: { url } }) => url ?? []);
    const scrape = manifests.find(({ kind }) => kind === 'ScrapeConfig')!.spec as unknown as {
      staticConfigs: { targets: string[] }[];
    };
    const [host] = scrape.staticConfigs[0]!.targets;
    expect(new Set(urls)).toEqual(new Set([`https://${host}/v1/scaling`]));
  });

  it.each(FOLDERS)('of %s gives the ScaledObject that the simulator reads', (path) => {
    if (path.startsWith('deploy/canary')) return;
    const { scaledObject } = readManifests(path);
    const { metadata, spec } = built.get(path)!.find(({ kind }) => kind === 'ScaledObject')!;
    expect(scaledObject['spec']).toEqual(spec);
    expect(scaledObject['metadata']).toEqual(metadata);
  });
});
