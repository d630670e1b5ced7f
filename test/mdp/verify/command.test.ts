/**
 * `mdp verify` before a real pod, a real edge in workerd and a real Prometheus with the project's rules: all green; and
 * before each of a row of planted faults: red at the right step, with the right hint. Kubernetes is a program that
 * answers as kubectl does; what else is wrong with an answer, a proxy makes it so.
 */

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { devCredentials, type DevCredentials, providerCredentials } from '../../../deploy/local/dev-credentials.ts';
import { type RunningPod, startPod } from '../../../deploy/local/pod.ts';
import { bundleWorker, type RunningWorkerd, startWorkerd } from '../../../deploy/local/workerd.ts';
import { command, verifyRollout } from '../../../deploy/mdp/verify/command.ts';
import { CHAPTERS, CHECKS } from '../../../deploy/mdp/verify/checks.ts';
import type { Report } from '../../../deploy/mdp/verify/report.ts';
import { generateSecret } from '../../../pipeline/contract/signature.ts';
import { type ClusterState, fakeKubectl, healthyCluster } from '../../support/fake-kubectl.ts';
import { KUBERNETES_METRICS } from '../../support/kubernetes-metrics.ts';
import { mdp, type Ran } from '../../support/mdp-command.ts';
import { lacksPrometheus, type PrometheusServer, startPrometheus } from '../../../deploy/local/prometheus.ts';
import { freePorts } from '../../../deploy/local/free-ports.ts';
import { rewritingProxy } from '../../support/rewriting-proxy.ts';
import { WriteLock } from '../../support/stored-ticks.ts';

const IMAGE = 'registry.example.org/mdp-pipeline:0.9.0';
/** Nothing listens there: port 9 is "discard", which no machine has had for decades. */
const NOWHERE = 'http://127.0.0.1:9';
const ALERT_RULES = await readFile('deploy/prometheus/rules.yaml', 'utf8');
const EVERY_SECOND = ALERT_RULES.replaceAll(/interval: \d+[sm]$/gm, 'interval: 1s');
const MISSPELT = EVERY_SECOND.replace('abs(pipeline_balance_residue_ticks)', 'abs(pipeline_residue_ticks)').replace(
  'pipeline_rate_scale_factor[5m]',
  'pipeline_rate_scale_factor{phase="Running"}[5m]',
);

describe.skipIf(lacksPrometheus)('mdp verify', { timeout: 60_000 }, () => {
  let home: string;
  let credentials: DevCredentials;
  let podPort: number;
  let edgePort: number;
  let pod: RunningPod;
  let bundle: string;
  let edge: RunningWorkerd;
  let kubernetes: Server;
  let prometheus: PrometheusServer;
  /** Has two alerts that ask for what no series has. */
  let misspelt: PrometheusServer;
  let cluster: ClusterState;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'mdp-verify-'));
    credentials = await devCredentials(join(home, 'data/dev-credentials.json'), { edgeUrl: '', podUrl: '' });
    [podPort, edgePort] = (await freePorts(2)) as [number, number];
    const settings = {
      MDP_PORT: String(podPort),
      MDP_STORE: `sqlite:${join(home, 'ticks.db')}`,
      MDP_EDGE_SECRETS: credentials.edgeSecret,
    };
    kubernetes = createServer((_, response) => {
      response.setHeader('content-type', 'text/plain; version=0.0.4');
      response.end(KUBERNETES_METRICS);
    });
    await new Promise<void>((resolve) => kubernetes.listen(0, '127.0.0.1', resolve));
    // A Prometheus takes five seconds to find its targets: meanwhile they are started.
    [pod, bundle, cluster, prometheus, misspelt] = await Promise.all([
      startPod({ settings }),
      bundleWorker(join(home, 'bundle')),
      healthyCluster(IMAGE),
      startPrometheus(scraping(), EVERY_SECOND),
      startPrometheus(scraping(), MISSPELT),
    ]);
    edge = await startEdge({}, edgePort);
    await fakeKubectl(join(home, 'bin'), cluster);
  });

  afterAll(async () => {
    await prometheus?.[Symbol.asyncDispose]();
    await misspelt?.[Symbol.asyncDispose]();
    await edge?.stop();
    await pod?.stop();
    kubernetes?.close();
    await rm(home, { recursive: true, force: true });
  });

  let edges = 0;
  /** In front of the pod; a setting that is undefined is left out. */
  function startEdge(change: Record<string, string | undefined>, port = 0): Promise<RunningWorkerd> {
    const settings = {
      CLUSTER_URL: pod.url,
      EDGE_SECRET: credentials.edgeSecret,
      PROVIDER_CREDENTIALS: providerCredentials(credentials),
      SCALING_TOKEN: credentials.scalingToken,
      ...change,
    };
    const given = Object.entries(settings).filter(([, value]) => value !== undefined);
    edges += 1;
    const dataDir = join(home, `edge-${edges}`);
    return startWorkerd({ bundlePath: bundle, port, bindings: Object.fromEntries(given), dataDir });
  }

  function scraping(): Parameters<typeof startPrometheus>[0] {
    const labels = { pod: 'mdp-pipeline-a', namespace: 'market-data' };
    const other = `127.0.0.1:${(kubernetes.address() as AddressInfo).port}`;
    return [
      { job_name: 'mdp-pipeline', static_configs: [{ targets: [`127.0.0.1:${podPort}`], labels }] },
      {
        job_name: 'mdp-edge',
        authorization: { type: 'Bearer', credentials: credentials.scalingToken },
        static_configs: [{ targets: [`127.0.0.1:${edgePort}`] }],
      },
      { job_name: 'kube-state-metrics', honor_labels: true, static_configs: [{ targets: [other] }] },
    ];
  }

  function run(args: string[], env: Record<string, string> = {}): Promise<Ran> {
    return mdp(['verify', ...args], home, { PATH: `${join(home, 'bin')}:${process.env['PATH']}`, ...env });
  }

  /** In this process, which spares most of the time that it takes. */
  async function report(args: string[], path = ''): Promise<Report> {
    const env = { ...process.env, PATH: `${path}:${process.env['PATH']}` };
    return (await verifyRollout(args, { env, directory: home })).report;
  }

  const here = (): string[] => ['--cluster', pod.url, '--edge', edge.url, '--prometheus', prometheus.url];

  it('passes every check of a system that is well, the cluster’s own too', async () => {
    // The edge's status has to have seen a tick go its way, and Prometheus a scrape of everything.
    const { code, stdout } = await run([...here(), '--kube', '--wait', '40', '--json']);
    const found = JSON.parse(stdout) as Report;
    expect(found.checks.filter(({ outcome }) => outcome !== 'pass')).toEqual([]);
    expect(found.checks.map(({ check }) => check)).toEqual(Object.keys(CHECKS));
    expect([code, found]).toMatchObject([0, { ok: true, failed: 0, skipped: 0 }]);
    const tick = found.checks.find(({ check }) => check === 'edge.read-back');
    expect(tick?.fact).toMatch(/^stored by /);
  });

  it('prints it for people: by step, without colours where there is no terminal', async () => {
    const { code, stdout } = await run([...here(), '--only', 'pod,edge']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\nStep 3, health\n {2}pass {2}\/health says healthy +200 \{"status":"healthy"/);
    expect(stdout).toMatch(/\nThe edge\n/);
    expect(stdout).toMatch(/\n\n13 passed, 0 failed, 0 skipped\n$/);
    expect(stdout).not.toContain('\u001B');
    const coloured = await run([...here(), '--only', 'pod'], { FORCE_COLOR: '1' });
    expect(coloured.stdout).toContain('\u001B[32mpass');
  });

  it('names a wrong metric name: step 3, /metrics', async () => {
    await using proxy = await rewritingProxy(pod.url, (path, text) =>
      path === '/metrics' ? text.replaceAll('pipeline_backpressure_state', 'pipeline_backpresure_state') : text,
    );
    const found = await report(['--cluster', proxy.url, '--only', 'pod']);
    const said = theFailure(found, 'pod.metrics');
    expect(said).toContain('pipeline_backpressure_state is missing');
    expect(said).toContain('compare the image with the one you built');
  });

  it('names a stale gauge: step 3, queue depth', async () => {
    await using proxy = await rewritingProxy(pod.url, (path, text) =>
      path === '/metrics' ? text.replace(/(source="store_coordinator"\}) \d+/, '$1 4242') : text,
    );
    const said = theFailure(await report(['--cluster', proxy.url, '--only', 'pod']), 'pod.depth');
    expect(said).toContain('the gauge says 4242, /status says 0');
    expect(said).toContain('#pipelinelevelstale');
  });

  it('names a rate scale that is stuck: step 3, rate scale', async () => {
    await using proxy = await rewritingProxy(pod.url, (path, text) =>
      path === '/metrics'
        ? text.replace('pipeline_rate_scale_factor{provider="ibkr"} 1', (on) => `${on.slice(0, -1)}0.5`)
        : text,
    );
    const said = theFailure(await report(['--cluster', proxy.url, '--only', 'pod']), 'pod.rate-scale');
    expect(said).toContain('ibkr: 0.5 at level ok, which has 1');
    expect(said).toContain('#pipelinelevelstale');
  });

  it('names books that do not balance, and a state that is not the level', async () => {
    await using proxy = await rewritingProxy(pod.url, (path, text) => {
      if (path !== '/metrics') return text;
      return text
        .replace('pipeline_balance_residue_ticks{provider="ibkr"} 0', (on) => `${on.slice(0, -1)}7`)
        .replace('pipeline_backpressure_state{provider="ibkr"} 0', (on) => `${on.slice(0, -1)}2`);
    });
    const found = await report(['--cluster', proxy.url, '--only', 'pod']);
    expect(failed(found)).toEqual(['pod.state', 'pod.books']);
    expect(JSON.stringify(found)).toContain('residue ibkr 7');
    expect(JSON.stringify(found)).toContain('ibkr: the gauge says 2, the level is ok');
  });

  it('names a dead Prometheus: step 4, and does not look at what only it can tell', async () => {
    const found = await report(['--prometheus', NOWHERE, '--only', 'prometheus', '--first-day']);
    const [first, ...others] = found.checks;
    expect(first).toMatchObject({ check: 'prometheus.answers', outcome: 'fail' });
    expect(`${first?.fact} ${first?.next}`).toMatch(/127\.0\.0\.1:9: .* port-forward svc\/prometheus 9090:9090/s);
    expect(others.every(({ outcome }) => outcome !== 'pass')).toBe(true);
  });

  it('names a pod without a store: step 3, /ready, and why nobody is let in', async () => {
    const path = join(home, 'locked.db');
    const alone = await startPod({
      settings: { MDP_PORT: '0', MDP_DEV: '1', MDP_STORE: `sqlite:${path}`, MDP_STORE_TIMEOUT_MS: '100' },
    });
    try {
      using _lock = new WriteLock(path);
      const push = async (): Promise<number> => {
        const body = `{"symbol":"AAPL","tsMs":${Date.now()},"price":"1","size":"1"}`;
        const headers = { 'content-type': 'application/x-ndjson' };
        return (await fetch(`${alone.url}/v1/ticks/ibkr`, { method: 'POST', headers, body })).status;
      };
      void push().catch(() => undefined);
      await expect.poll(async () => (await fetch(`${alone.url}/ready`)).status, { timeout: 20_000 }).toBe(503);
      const found = await report(['--cluster', alone.url, '--only', 'pod']);
      expect(failed(found)).toEqual(['pod.ready', 'pod.level']);
      const [ready, level] = found.checks.filter(({ outcome }) => outcome === 'fail');
      expect(ready).toMatchObject({
        fact: '503, reason: store',
        chapter: expect.stringMatching(/#pipelinestorecircuitopen$/),
      });
      expect(level?.fact).toMatch(/store (soft|hard)/);
    } finally {
      await alone.kill();
    }
  });

  it('names an alert that cannot fire: step 5, with the alert and the metric', async () => {
    const args = ['--prometheus', misspelt.url, '--only', 'prometheus'];
    // The scaler's queries have a value once this Prometheus has scraped everything.
    await expect.poll(async () => failed(await report(args)), { timeout: 40_000 }).toEqual(['watch.can-fire']);
    const said = theFailure(await report(args), 'watch.can-fire');
    expect(said).toContain('PipelineBooksResidue: no pipeline_residue_ticks');
    expect(said).toContain('PipelineRateScaleLow: no pipeline_rate_scale_factor has a label phase');
    expect(said).toContain('stays quiet for ever');
  });

  it('names a Prometheus that has neither the rules nor the pods', async () => {
    await using other = await startPrometheus([]);
    const found = await report(['--prometheus', other.url, '--only', 'prometheus']);
    expect(failed(found)).toEqual(
      Object.keys(CHECKS).filter((name) => /^(prometheus|watch|scaling)\./.test(name) && name !== 'prometheus.answers'),
    );
    expect(JSON.stringify(found)).toContain('ruleSelector');
    expect(JSON.stringify(found)).toContain('serviceMonitorSelector');
  });

  it('names an edge whose secret is not that of the pods: the tick stays at the edge', async () => {
    const other = await startEdge({ EDGE_SECRET: generateSecret() });
    try {
      const found = await report(['--cluster', pod.url, '--edge', other.url, '--only', 'pod,edge']);
      expect(failed(found)).toContain('edge.probe');
      const probe = found.checks.find(({ check }) => check === 'edge.probe');
      expect(probe?.fact).toContain('202, buffered');
      expect(`${probe?.next} ${probe?.chapter}`).toMatch(
        /EDGE_SECRET has to be one of the pods’ MDP_EDGE_SECRETS.*#edgeoutboxold/,
      );
    } finally {
      await other.stop();
    }
  });

  it('names an edge without a secret: its /health says which setting', async () => {
    const other = await startEdge({ EDGE_SECRET: undefined });
    try {
      const said = theFailure(await report(['--edge', other.url, '--only', 'edge']), 'edge.health');
      expect(said).toContain('misconfigured: EDGE_SECRET');
      expect(said).toContain('wrangler secret put');
    } finally {
      await other.stop();
    }
  });

  it('names a wrong scaling token, and wrong credentials of a provider', async () => {
    const args = ['--edge', edge.url, '--only', 'edge', '--scaling-token', 'not-the-token-of-it', '--token', 'not-it'];
    const found = await report(args);
    expect(failed(found)).toEqual(['edge.probe', 'edge.scaling']);
    const next = found.checks.filter(({ outcome }) => outcome === 'fail').map((one) => one.next);
    expect(next.join()).toMatch(/PROVIDER_CREDENTIALS of this edge.*scaling-token of the Secret/);
  });

  /** `change` is put over the healthy state; undefined removes an object. */
  async function inCluster(change: ClusterState, args: string[] = []): Promise<Report> {
    const directory = join(home, 'faulty-bin');
    await fakeKubectl(directory, { ...structuredClone(cluster), ...change });
    return report(['--only', 'kube', ...args], directory);
  }

  it('names a missing Service: step 2', async () => {
    const said = theFailure(await inCluster({ 'service/mdp-pipeline': undefined }), 'kube.service');
    expect(said).toContain('services "mdp-pipeline" not found');
    expect(said).toContain('apply -f deploy/keda/deployment-pipeline.yaml');
  });

  it('names an HPA whose targets are unknown: step 6', async () => {
    const hpa = structuredClone(cluster['hpa/keda-hpa-mdp-pipeline-scaler']) as { status: Record<string, unknown> };
    hpa.status['currentMetrics'] = null;
    const message = 'the HPA was unable to compute the replica count: unable to get external metric';
    hpa.status['conditions'] = [{ type: 'ScalingActive', status: 'False', message }];
    const said = theFailure(await inCluster({ 'hpa/keda-hpa-mdp-pipeline-scaler': hpa }), 'kube.hpa');
    expect(said).toContain('<unknown>/1600');
    expect(said).toContain(message);
    expect(said).toContain('#pipelinescalerblind');
  });

  it('names an image on a wrong port: step 2', async () => {
    const faulty = structuredClone(cluster);
    containerOf(faulty)['ports'] = [{ name: 'http', containerPort: 8080 }];
    const said = theFailure(await inCluster(faulty), 'kube.port');
    expect(said).toContain('the container has port 8080');
    expect(said).toContain('livenessProbe asks port http');
    expect(said).toContain('The pod listens on 8000');
  });

  it('names an image line that nobody rewrote, pods of another image, and limits that are not the guide’s', async () => {
    const faulty = structuredClone(cluster);
    containerOf(faulty)['image'] = 'your-registry.example.com/mdp-pipeline:0.9.0';
    const scaler = faulty['scaledobject/mdp-pipeline-scaler'] as { spec: Record<string, unknown> };
    scaler.spec['maxReplicaCount'] = 4;
    const found = await inCluster(faulty);
    expect(failed(found)).toEqual(['kube.image', 'kube.pods', 'kube.scaledobject']);
    expect(JSON.stringify(found)).toContain('run the sed line');
    expect(JSON.stringify(found)).toContain(`runs ${IMAGE}`);
    expect(JSON.stringify(found)).toContain('min 1, max 4');
    expect(JSON.stringify(found)).toContain('2 to 10 (production)');
  });

  it('takes the limits of a shipped overlay, and those that the operator means', async () => {
    expect(failed(await inCluster(limited(cluster, 2, 10)))).toEqual([]);
    expect(failed(await inCluster(limited(cluster, 1, 20), ['--replicas', '1-20']))).toEqual([]);
  });

  it('says by name that there is no kubectl', async () => {
    const { code, stdout } = await run(['--only', 'kube', '--json'], { PATH: join(home, 'nothing') });
    expect(code).toBe(1);
    expect(theFailure(JSON.parse(stdout) as Report, 'kube.kubectl')).toContain('there is no kubectl on the PATH');
  });

  it('skips by name what it has no credentials for', async () => {
    const bare = await mkdtemp(join(tmpdir(), 'mdp-verify-bare-'));
    const { report: found } = await verifyRollout(['--edge', edge.url, '--only', 'edge'], { env: {}, directory: bare });
    await rm(bare, { recursive: true });
    expect(found.ok).toBe(true);
    expect(found.checks.filter(({ outcome }) => outcome === 'skip').map(({ check, fact }) => [check, fact])).toEqual([
      ['edge.probe', expect.stringContaining('give --secret')],
      ['edge.read-back', 'no tick was pushed'],
      ['edge.scaling', expect.stringContaining('--scaling-token')],
    ]);
  });
});

/** The names of what failed, in order. */
function failed({ checks }: Report): string[] {
  return checks.filter(({ outcome }) => outcome === 'fail').map(({ check }) => check);
}

/** Asserts that exactly this check failed, and returns what it says. */
function theFailure(found: Report, check: string): string {
  expect(failed(found)).toEqual([check]);
  const { fact, next, chapter } = found.checks.find((one) => one.check === check)!;
  return [fact, next, chapter].join('\n');
}

/** The ScaledObject of `state`, with other limits. */
function limited(state: ClusterState, min: number, max: number): ClusterState {
  const scaler = structuredClone(state['scaledobject/mdp-pipeline-scaler']) as { spec: Record<string, unknown> };
  Object.assign(scaler.spec, { minReplicaCount: min, maxReplicaCount: max });
  return { 'scaledobject/mdp-pipeline-scaler': scaler };
}

function containerOf(state: ClusterState): Record<string, unknown> {
  const deployment = state['deployment/mdp-pipeline'] as {
    spec: { template: { spec: { containers: Record<string, unknown>[] } } };
  };
  return deployment.spec.template.spec.containers[0]!;
}

describe('what mdp verify says', () => {
  it.each([
    [['--only', 'pods'], /--only knows pod, edge, prometheus, kube, not pods/],
    [['--cluster', 'localhost:8000'], /--cluster must be an http/],
    [['--edge', 'https://user:pass@edge.example.com'], /must not hold a name or a password/],
    [['--wait', 'soon'], /--wait must be a whole number of 0 to 3600/],
    [['--provider', 'a b'], /--provider must be/],
    [['--secret', 'a', '--token', 'b'], /not both/],
    [['--only', 'pod', '--first-day'], /--first-day asks Prometheus/],
    [['--replicas', '10'], /--replicas must be MIN-MAX/],
    [['--kub'], /Unknown option '--kub'/],
    [['extra'], /Unexpected argument 'extra'/],
  ])('to wrong usage is what is wrong: %j', async (args, why) => {
    await expect(command.run(args)).rejects.toThrow(why);
  });

  it('names chapters that the runbook has', async () => {
    const runbook = await readFile('deploy/README.md', 'utf8');
    const anchors = new Set(
      [...runbook.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
        heading!
          .toLowerCase()
          .replaceAll(/[^\w -]/g, '')
          .replaceAll(' ', '-'),
      ),
    );
    expect(CHAPTERS.filter((chapter) => !anchors.has(chapter))).toEqual([]);
  });
});
