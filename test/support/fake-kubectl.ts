/**
 * A kubectl for machines without a cluster: a program of that name which answers from a file. The objects are those of
 * the shipped manifests, with the status that a cluster adds once all is well. It knows what `mdp verify` asks, and is
 * an error for anything else. What it cannot show: that a real API server answers in this form.
 */

import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';

/** `kind/name`, or `kind` for a list, to what the API server gives; `logs` is text. */
export type ClusterState = Record<string, unknown>;

interface Manifest {
  kind: string;
  metadata: { name: string };
  spec: Record<string, unknown>;
}

/** A namespace in which everything is well, with one pod. */
export async function healthyCluster(image: string): Promise<ClusterState> {
  const manifests = new Map<string, Manifest>();
  for (const file of ['deployment-pipeline', 'scaledobject-pipeline', 'prometheus-servicemonitor']) {
    const text = await readFile(`deploy/keda/${file}.yaml`, 'utf8');
    // As the guide's sed rewrites it.
    for (const document of parseAllDocuments(text.replace(/image:.*/, `image: ${image}`))) {
      const manifest = document.toJS() as Manifest;
      manifests.set(manifest.kind, manifest);
    }
  }
  const deployment = manifests.get('Deployment')!;
  const template = deployment.spec['template'] as { spec: Record<string, unknown> };
  const pod = {
    kind: 'Pod',
    metadata: { name: 'mdp-pipeline-7d9c5b8f6d-x2x7k', labels: { app: 'mdp-pipeline' } },
    spec: structuredClone(template.spec),
    status: {
      phase: 'Running',
      containerStatuses: [{ name: 'pipeline', ready: true, restartCount: 0, image, state: { running: {} } }],
    },
  };
  const slice = {
    kind: 'EndpointSlice',
    metadata: { name: 'mdp-pipeline-abcde', labels: { 'kubernetes.io/service-name': 'mdp-pipeline' } },
    endpoints: [{ addresses: ['10.0.0.7'], conditions: { ready: true, serving: true, terminating: false } }],
    ports: [{ name: 'http', port: 8000, protocol: 'TCP' }],
  };
  const hpa = {
    kind: 'HorizontalPodAutoscaler',
    metadata: { name: 'keda-hpa-mdp-pipeline-scaler' },
    spec: {
      minReplicas: 1,
      maxReplicas: 10,
      metrics: [
        {
          type: 'External',
          external: { metric: { name: 's0-composite-metric' }, target: { type: 'AverageValue', averageValue: '1600' } },
        },
      ],
    },
    status: {
      currentReplicas: 1,
      desiredReplicas: 1,
      currentMetrics: [
        { type: 'External', external: { metric: { name: 's0-composite-metric' }, current: { averageValue: '250' } } },
      ],
      conditions: [{ type: 'ScalingActive', status: 'True', reason: 'ValidMetricFound' }],
    },
  };
  return {
    'deployment/mdp-pipeline': deployment,
    'service/mdp-pipeline': manifests.get('Service'),
    'servicemonitor/mdp-pipeline': manifests.get('ServiceMonitor'),
    'scaledobject/mdp-pipeline-scaler': {
      ...manifests.get('ScaledObject'),
      status: {
        conditions: [
          { type: 'Ready', status: 'True', reason: 'ScaledObjectReady' },
          { type: 'Active', status: 'True', reason: 'ScalerActive' },
          { type: 'Fallback', status: 'False', reason: 'NoFallbackFound' },
        ],
      },
    },
    'hpa/keda-hpa-mdp-pipeline-scaler': hpa,
    pods: { kind: 'List', items: [pod] },
    endpointslices: { kind: 'List', items: [slice] },
    logs: '{"level":"info","event":"started","message":"Application startup complete"}\n',
  };
}

const PROGRAM = `#!/bin/sh
exec "${process.execPath}" "$(dirname "$0")/kubectl.mjs" "$@"
`;

const ANSWERER = `import { readFileSync } from 'node:fs';
const state = JSON.parse(readFileSync(new URL('state.json', import.meta.url), 'utf8'));
const args = process.argv.slice(2);
const words = [];
for (let at = 0; at < args.length; at += 1) {
  if (['--namespace', '--context', '-o', '-l', '-c'].includes(args[at])) at += 1;
  else if (!args[at].startsWith('-')) words.push(args[at]);
}
const [verb, kind, name] = words;
const fail = (why) => { process.stderr.write(why + '\\n'); process.exit(1); };
if (verb === 'logs') process.stdout.write(state.logs);
else if (verb !== 'get') fail('error: unknown command ' + JSON.stringify(verb));
else {
  const found = state[name === undefined ? kind : kind + '/' + name];
  if (found === undefined) fail('Error from server (NotFound): ' + kind + 's "' + name + '" not found');
  process.stdout.write(JSON.stringify(found));
}
`;

/** Puts the program into `directory`, which goes to the front of the PATH; later calls change what it answers. */
export async function fakeKubectl(directory: string, state: ClusterState): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, 'kubectl'), PROGRAM);
  await chmod(join(directory, 'kubectl'), 0o755);
  await writeFile(join(directory, 'kubectl.mjs'), ANSWERER);
  await writeFile(join(directory, 'state.json'), JSON.stringify(state));
}
