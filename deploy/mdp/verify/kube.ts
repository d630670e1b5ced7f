/**
 * The guide's steps 2 and 6 and its checklist, as the cluster itself tells: what runs, from which image, on which port,
 * behind which Service, and what scales it. Only ever looks.
 */

import { shown } from '../ask.ts';
import { type CHECKS, fail, pass, type Result, skip } from './checks.ts';
import type { Limits } from './limits.ts';
import { at, type KubeObject, type Kubectl, objectsAt } from './kubectl.ts';

const NAME = 'mdp-pipeline';
const CONTAINER = 'pipeline';
const PORT = 8000;
const SCALED_OBJECT = 'mdp-pipeline-scaler';
const HPA = `keda-hpa-${SCALED_OBJECT}`;
const SELECTOR = `app=${NAME}`;
const LOG_LINES = 50;

type Name = keyof typeof CHECKS;

/** `limits`: how few and how many pods are meant. */
export async function checkKube(kubectl: Kubectl, limits: () => Iterable<Limits>): Promise<Result[]> {
  const [deployment, pods] = await Promise.all([kubectl.get('deployment', NAME), kubectl.get('pods', '-l', SELECTOR)]);
  if (!pods.ok) {
    const rest: Name[] = [
      'kube.image',
      'kube.port',
      'kube.pods',
      'kube.service',
      'kube.log',
      'kube.monitor',
      'kube.scaledobject',
      'kube.hpa',
    ];
    const next =
      'Install kubectl, choose the cluster (kubectl config use-context, or --context), and ask for the right to look.';
    const unreachable = fail('kube.kubectl', pods.why, next, 'before-the-first-rollout');
    return [unreachable, ...rest.map((name) => skip(name, 'the cluster cannot be asked'))];
  }
  const running = objectsAt(pods.value, 'items').filter(
    (pod) => at(pod, 'metadata', 'deletionTimestamp') === undefined,
  );
  const container = deployment.ok ? containerOf(at(deployment.value, 'spec', 'template', 'spec')) : undefined;
  return [
    pass('kube.kubectl', `${running.length} pods of ${SELECTOR}`),
    ...(container === undefined
      ? notDeployed(deployment.ok ? `it has no container ${CONTAINER}` : deployment.why)
      : [checkImage(container), await checkPort(kubectl, container), checkPods(running, shown(container['image']))]),
    ...(await Promise.all([
      checkService(kubectl),
      checkLog(kubectl),
      checkMonitor(kubectl),
      checkScaledObject(kubectl, limits),
      checkHpa(kubectl),
    ])),
  ];
}

function containerOf(podSpec: unknown): KubeObject | undefined {
  return objectsAt(podSpec, 'containers').find(({ name }) => name === CONTAINER);
}

function notDeployed(why: string): Result[] {
  const next = `kubectl -n market-data apply -f deploy/keda/deployment-pipeline.yaml`;
  return [
    fail('kube.image', why, next, 'deploy-the-pods'),
    skip('kube.port', 'there is no Deployment'),
    skip('kube.pods', 'there is no Deployment'),
  ];
}

function checkImage({ image }: KubeObject): Result {
  const text = typeof image === 'string' ? image : '';
  if (text.startsWith('your-registry.example.com/')) {
    const next = 'The image line was not rewritten: run the sed line of "Deploy the pods", and apply again.';
    return fail('kube.image', text, next, 'deploy-the-pods');
  }
  if (/\/mdp-pipeline(?::|@)[\w.:-]+$/.test(text)) return pass('kube.image', text);
  const next = 'Set it: kubectl -n market-data set image deployment/mdp-pipeline pipeline=$REG/mdp-pipeline:$IMAGE_TAG';
  return fail('kube.image', text === '' ? 'no image' : text, next, 'deploy-the-pods');
}

async function checkPort(kubectl: Kubectl, container: KubeObject): Promise<Result> {
  const ports = objectsAt(container, 'ports');
  const resolved = (port: unknown): unknown =>
    typeof port === 'string' ? ports.find(({ name }) => name === port)?.['containerPort'] : port;
  const listens = objectsAt(container, 'env').find(({ name }) => name === 'MDP_PORT')?.['value'];
  const service = await kubectl.get('service', NAME);
  const wrong = [
    ...(ports.some(({ containerPort }) => containerPort === PORT)
      ? []
      : [`the container has port ${ports.map(({ containerPort }) => shown(containerPort)).join(', ') || 'none'}`]),
    ...(listens === undefined || listens === String(PORT) ? [] : [`MDP_PORT is ${shown(listens)}`]),
    ...['startupProbe', 'livenessProbe', 'readinessProbe'].flatMap((probe) => {
      const port = at(container, probe, 'httpGet', 'port');
      return port === undefined || resolved(port) === PORT ? [] : [`${probe} asks port ${shown(port)}`];
    }),
    ...(service.ok ? objectsAt(service.value, 'spec', 'ports') : []).flatMap(({ port, targetPort }) =>
      port === PORT && resolved(targetPort ?? port) === PORT
        ? []
        : [`the Service leads from ${shown(port)} to ${shown(targetPort ?? port)}`],
    ),
  ];
  if (wrong.length === 0) return pass('kube.port', `${PORT}`);
  const next = `The pod listens on ${PORT}: apply deploy/keda/deployment-pipeline.yaml as it is.`;
  return fail('kube.port', wrong.join('; '), next, 'deploy-the-pods');
}

function checkPods(pods: readonly KubeObject[], image: string): Result {
  if (pods.length === 0) {
    const next =
      'kubectl -n market-data describe deployment mdp-pipeline: quota, image pull, or the Secret is missing.';
    return fail('kube.pods', 'there is no pod', next, 'by-symptom');
  }
  const trouble = pods.flatMap((pod) => {
    const name = shown(at(pod, 'metadata', 'name'));
    const runs = containerOf(at(pod, 'spec'))?.['image'];
    if (runs !== image) return [`${name} runs ${shown(runs)}`];
    const status = objectsAt(pod, 'status', 'containerStatuses').find((one) => one['name'] === CONTAINER);
    if (status?.['ready'] === true) return [];
    const waits = at(status, 'state', 'waiting', 'reason') ?? at(pod, 'status', 'phase');
    return [`${name} is not ready (${shown(waits)})`];
  });
  const restarts = pods
    .flatMap((pod) => objectsAt(pod, 'status', 'containerStatuses'))
    .reduce((sum, { restartCount }) => sum + (typeof restartCount === 'number' ? restartCount : 0), 0);
  const ready = `${pods.length - trouble.length} of ${pods.length} ready`;
  if (trouble.length === 0) return pass('kube.pods', `${ready}, ${restarts} restarts`);
  const next =
    'kubectl -n market-data logs -l app=mdp-pipeline --tail=50, and rollout status while a rollout is under way.';
  return fail(
    'kube.pods',
    `${ready}: ${trouble.join('; ')}`,
    next,
    restarts > 2 ? 'pipelinepodrestarting' : 'by-symptom',
  );
}

async function checkService(kubectl: Kubectl): Promise<Result> {
  const service = await kubectl.get('service', NAME);
  if (!service.ok) {
    const next =
      'kubectl -n market-data apply -f deploy/keda/deployment-pipeline.yaml brings it: without it nothing reaches the pods, and nothing scrapes them.';
    return fail('kube.service', service.why, next, 'deploy-the-pods');
  }
  const slices = await kubectl.get('endpointslices', '-l', `kubernetes.io/service-name=${NAME}`);
  if (!slices.ok) return fail('kube.service', slices.why, 'Ask for the right to look at EndpointSlices.', 'verify');
  const endpoints = objectsAt(slices.value, 'items').flatMap((slice) => objectsAt(slice, 'endpoints'));
  const ready = endpoints.filter((one) => at(one, 'conditions', 'ready') !== false);
  if (ready.length > 0) return pass('kube.service', `${ready.length} ready endpoints`);
  const next = `No pod is ready, or the selector does not match ${SELECTOR}: kubectl -n market-data get endpoints mdp-pipeline`;
  return fail('kube.service', `${endpoints.length} endpoints, none ready`, next, 'verify');
}

async function checkLog(kubectl: Kubectl): Promise<Result> {
  const log = await kubectl.run('logs', '-l', SELECTOR, `--tail=${LOG_LINES}`, '-c', CONTAINER);
  if (!log.ok) return fail('kube.log', log.why, 'Ask for the right to read logs.', 'verify');
  const errors = log.value.split('\n').filter((line) => line.includes('"level":"error"'));
  if (errors.length === 0) return pass('kube.log', `none in the last ${LOG_LINES} lines of each pod`);
  const next = 'Someone must act on each of these.';
  return fail('kube.log', `${errors.length}; the last: ${errors.at(-1)!.slice(0, 200)}`, next, 'by-symptom');
}

async function checkMonitor(kubectl: Kubectl): Promise<Result> {
  const monitor = await kubectl.get('servicemonitor', NAME);
  if (!monitor.ok && monitor.missing) {
    return skip('kube.monitor', 'there is none: right where Prometheus reads deploy/prometheus/scrape.yaml');
  }
  if (!monitor.ok) return fail('kube.monitor', monitor.why, 'Ask for the right to look.', 'verify');
  const wanted = at(monitor.value, 'spec', 'selector', 'matchLabels');
  const service = await kubectl.get('service', NAME);
  if (!service.ok) return skip('kube.monitor', 'there is no Service');
  const labels = at(service.value, 'metadata', 'labels');
  const differing = Object.entries((wanted ?? {}) as KubeObject).filter(([key, value]) => at(labels, key) !== value);
  if (differing.length === 0) return pass('kube.monitor', JSON.stringify(wanted));
  const next = 'Apply deploy/keda/prometheus-servicemonitor.yaml and deployment-pipeline.yaml of the same version.';
  return fail(
    'kube.monitor',
    `the Service has no ${JSON.stringify(Object.fromEntries(differing))}`,
    next,
    'deploy-the-pods',
  );
}

/** What the ScaledObject in the cluster asks of Prometheus; undefined when there is none. */
export async function scalerQueries(kubectl: Kubectl): Promise<Map<string, string> | undefined> {
  const scaler = await kubectl.get('scaledobject', SCALED_OBJECT);
  if (!scaler.ok) return undefined;
  const queries = objectsAt(scaler.value, 'spec', 'triggers').flatMap((trigger, index): [string, string][] => {
    const query = at(trigger, 'metadata', 'query');
    return typeof query === 'string' ? [[shown(trigger['name'] ?? `trigger ${index + 1}`), query]] : [];
  });
  return new Map(queries);
}

async function checkScaledObject(kubectl: Kubectl, limits: () => Iterable<Limits>): Promise<Result> {
  const scaler = await kubectl.get('scaledobject', SCALED_OBJECT);
  if (!scaler.ok) {
    const next =
      'kubectl -n market-data apply -f deploy/keda/scaledobject-pipeline.yaml; is KEDA installed (kubectl get deploy -n keda)?';
    return fail('kube.scaledobject', scaler.why, next, 'deploy-the-pods');
  }
  const [min, max] = [at(scaler.value, 'spec', 'minReplicaCount'), at(scaler.value, 'spec', 'maxReplicaCount')];
  const conditions = new Map(objectsAt(scaler.value, 'status', 'conditions').map(({ type, ...rest }) => [type, rest]));
  const fact = `min ${shown(min)}, max ${shown(max)}, Ready ${shown(conditions.get('Ready')?.['status'])}`;
  const meant = [];
  for (const one of limits()) {
    meant.push(one);
    if (one.min === min && one.max === max) break;
  }
  const last = meant.at(-1);
  if (last?.min !== min || last?.max !== max) {
    const known = meant.map((one) => `${one.min} to ${one.max} (${one.of})`).join(', ');
    const next = `Meant are ${known}: apply one of these, or say what you mean with --replicas MIN-MAX.`;
    return fail('kube.scaledobject', fact, next, 'deploy-the-pods');
  }
  if (conditions.get('Ready')?.['status'] !== 'True') {
    const why = shown(conditions.get('Ready')?.['message'] ?? 'KEDA has not looked at it');
    return fail(
      'kube.scaledobject',
      `${fact}: ${why}`,
      'kubectl -n market-data describe scaledobject mdp-pipeline-scaler',
      'pipelinescalerblind',
    );
  }
  if (conditions.get('Fallback')?.['status'] === 'True') {
    const next =
      'The fallback holds the number of pods: Prometheus or the edge does not answer KEDA, or the store is away.';
    return fail('kube.scaledobject', `${fact}, Fallback True`, next, 'pipelinescalerblind');
  }
  return pass('kube.scaledobject', fact);
}

async function checkHpa(kubectl: Kubectl): Promise<Result> {
  const hpa = await kubectl.get('hpa', HPA);
  if (!hpa.ok) {
    const next = 'KEDA makes it from the ScaledObject: kubectl -n keda logs -l app=keda-operator --tail=50';
    return fail('kube.hpa', hpa.why, next, 'pipelinescalerblind');
  }
  const values = objectsAt(hpa.value, 'status', 'currentMetrics').flatMap((metric) => {
    const current = at(metric, 'external', 'current');
    const value = at(current, 'averageValue') ?? at(current, 'value');
    return value === undefined ? [] : [shown(value)];
  });
  const targets = objectsAt(hpa.value, 'spec', 'metrics').map((metric) => {
    const target = at(metric, 'external', 'target');
    return shown(at(target, 'averageValue') ?? at(target, 'value'));
  });
  const active = objectsAt(hpa.value, 'status', 'conditions').find(({ type }) => type === 'ScalingActive');
  const pods = `${shown(at(hpa.value, 'status', 'currentReplicas'))} pods`;
  const fact = `${targets.map((target, index) => `${values[index] ?? '<unknown>'}/${target}`).join(', ')}, ${pods}`;
  const known = targets.length > 0 && values.length === targets.length;
  if (known && active?.['status'] !== 'False') return pass('kube.hpa', fact);
  const why = typeof active?.['message'] === 'string' && active['status'] === 'False' ? `: ${active['message']}` : '';
  const next =
    'kubectl -n market-data describe scaledobject mdp-pipeline-scaler, then ask Prometheus its queries by hand: one without an answer leaves the number of pods as it is.';
  return fail('kube.hpa', `${fact}${why}`, next, 'pipelinescalerblind');
}
