/**
 * Everything of a cluster that the rehearsals need, on loopback, as real processes: the store, the edge in plain workerd,
 * the Service, the Deployment with its pods, and a Prometheus that scrapes the pods and the edge.
 */

import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateSecret } from '../../pipeline/contract/signature.ts';
import { POD_NODE_FLAGS } from '../local/pod.ts';
import { type PrometheusServer, startPrometheus, type TargetGroup } from '../local/prometheus.ts';
import { bundleWorker, startWorkerd } from '../local/workerd.ts';
import type { Credential } from '../replay/pusher.ts';
import { seededRandom } from '../replay/shuffle.ts';
import { SCALING_PATH } from '../simulate/metrics-api.ts';
import { Deployment } from './deployment.ts';
import { STORE_RATE_SETTING } from './paced-store.ts';
import type { ReadScaling } from './scaler.ts';
import { Service } from './service.ts';
import { openStore, type SharedStore, type StoreKind } from './store.ts';

export const PROVIDER = 'ibkr';
const PACED_STORE = new URL('paced-store.ts', import.meta.url).href;
/** The shipped queue of 10,000 ticks for the shipped C of 2,000 ticks/s. */
const QUEUE_SECONDS = 5;
/** KEDA's `KEDA_HTTP_DEFAULT_TIMEOUT`, default. */
const KEDA_HTTP_TIMEOUT_MS = 3_000;

export interface StageOptions {
  /** C: what each pod's store is held to. */
  capacityTicksPerSecond: number;
  store: StoreKind;
  podStartSeconds: readonly [number, number];
  probeIntervalMs: number;
  /** Undefined: nobody is scraped. */
  scrapeIntervalSeconds: number | undefined;
  seed: string;
}

export interface Stage extends AsyncDisposable {
  readonly edgeUrl: string;
  /** What the edge tells KEDA. */
  readonly readScaling: ReadScaling;
  readonly credential: Credential;
  readonly store: SharedStore;
  readonly service: Service;
  readonly deployment: Deployment;
  readonly prometheus: PrometheusServer | undefined;
  /** What pods logged as a warning or an error. */
  readonly complaints: readonly string[];
}

/** Resolves when all of it runs, with no pod yet. What had started is stopped again when the rest cannot. */
export async function setStage(options: StageOptions): Promise<Stage> {
  await using started = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'mdp-rehearsal-'));
  started.defer(() => rm(directory, { recursive: true, force: true }));
  const secrets = { edge: generateSecret(), provider: generateSecret(), scalingToken: crypto.randomUUID() };
  const bundling = bundleWorker(join(directory, 'bundle'));
  bundling.catch(() => {}); // it is awaited below, where the store is one of what is to be stopped
  const store = started.use(await openStore(options.store, directory));
  const service = started.use(await Service.start(options.probeIntervalMs));
  const edge = await startWorkerd({
    bundlePath: await bundling,
    port: 0,
    bindings: {
      CLUSTER_URL: service.url,
      EDGE_SECRET: secrets.edge,
      PROVIDER_CREDENTIALS: JSON.stringify({ [PROVIDER]: { secrets: [secrets.provider], tokens: [] } }),
      SCALING_TOKEN: secrets.scalingToken,
    },
    dataDir: join(directory, 'edge'),
    // Its canaries would be ticks beside those that are counted.
    without: ['STATUS_BOARD'],
  });
  started.defer(() => edge.stop());
  const targets = new TargetsFile(join(directory, 'pods.json'));
  const complaints: string[] = [];
  const deployment = started.use(
    new Deployment({
      service,
      settings: podSettings(options, store, secrets.edge),
      nodeFlags: [...POD_NODE_FLAGS, '--import', PACED_STORE],
      startDelayMs: startDelays(options),
      onTargets: (pods) =>
        targets.write(pods.map(({ name, url }) => ({ targets: [hostOf(url)], labels: { pod: name } }))),
      onLog: (pod, line) => {
        if (/"level":"(warn|error)"/.test(line)) complaints.push(`${pod}: ${line}`);
      },
    }),
  );
  const { scrapeIntervalSeconds } = options;
  const prometheus =
    scrapeIntervalSeconds === undefined
      ? undefined
      : await startPrometheus(
          [
            { job_name: 'mdp-pipeline', file_sd_configs: [{ files: [targets.path] }] },
            {
              job_name: 'mdp-edge',
              authorization: { type: 'Bearer', credentials: secrets.scalingToken },
              static_configs: [{ targets: [hostOf(edge.url)] }],
            },
          ],
          undefined,
          { scrapeIntervalSeconds },
        );
  if (prometheus !== undefined) started.use(prometheus);
  const all = started.move();
  return {
    edgeUrl: edge.url,
    readScaling: scalingReader(edge.url, secrets.scalingToken),
    credential: { secret: secrets.provider },
    store,
    service,
    deployment,
    prometheus,
    complaints,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

function podSettings(
  { capacityTicksPerSecond }: StageOptions,
  store: SharedStore,
  edgeSecret: string,
): Record<string, string> {
  return {
    MDP_STORE: store.setting,
    MDP_EDGE_SECRETS: edgeSecret,
    MDP_PROVIDERS: JSON.stringify({ [PROVIDER]: {} }),
    MDP_QUEUE_CAPACITY_TICKS: String(QUEUE_SECONDS * capacityTicksPerSecond),
    [STORE_RATE_SETTING]: String(capacityTicksPerSecond),
  };
}

function startDelays({ podStartSeconds: [from, to], seed }: StageOptions): () => number {
  const random = seededRandom(`${seed}/pod-start`);
  return () => 1000 * (from + random() * (to - from));
}

/** As KEDA asks: an answer in time and of status 200, or none. */
function scalingReader(edgeUrl: string, token: string): ReadScaling {
  return async () => {
    const response = await fetch(new URL(SCALING_PATH, edgeUrl), {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(KEDA_HTTP_TIMEOUT_MS),
    });
    if (!response.ok) throw new Error(`${SCALING_PATH} answered ${response.status}`);
    return response.json();
  };
}

function hostOf(url: string): string {
  return new URL(url).host;
}

/** What Prometheus reads its targets from. Invariant: whole at any time, and in the end as written last. */
class TargetsFile {
  readonly path: string;
  #writing: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.path = path;
  }

  write(groups: readonly TargetGroup[]): void {
    const unfinished = `${this.path}.unfinished`;
    this.#writing = this.#writing.then(async () => {
      await writeFile(unfinished, JSON.stringify(groups));
      await rename(unfinished, this.path);
    });
    // The directory is gone when the last pods go.
    void this.#writing.catch(() => {});
  }
}
