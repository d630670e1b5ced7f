/**
 * The whole system as processes of this machine: the edge in plain workerd, three pods behind a Service, their store.
 * Each part is killed, stopped and started again as a scenario likes, always on the same ports and files.
 */

import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../../deploy/local/free-ports.ts';
import { type RunningPod, startPod } from '../../deploy/local/pod.ts';
import { bundleWorker, type RunningWorkerd, startWorkerd } from '../../deploy/local/workerd.ts';
import { parseExposition, sampleOf } from '../../deploy/mdp/exposition.ts';
import type { Credential } from '../../deploy/replay/pusher.ts';
import { generateSecret } from '../../pipeline/contract/signature.ts';
import { tokenHash } from '../support/edge-credentials.ts';
import { noProcessMemory, peakBytes } from '../support/process-memory.ts';
import { Service } from '../support/service.ts';
import { isRunning } from '../support/user-process.ts';
import type { ClusterStore } from './stores.ts';

export const PROVIDERS = ['ibkr', 'acme'] as const;
const PODS = 3;
const MIB = 1024 * 1024;
const LOOK_TIMEOUT_MS = 2_000;
/** Of a look that nobody waits for. */
const HEAP_TIMEOUT_MS = 10_000;
const LOG_LINES_MAX = 200;

/** Where a part of the system lives, when not simply on this machine. */
export interface Place {
  /** Its address. */
  host?: string;
  /** What runs it: see `startPod` and `startWorkerd`. */
  under?: readonly string[];
  /** Of a pod: more, or others, than all have. */
  settings?: Readonly<Record<string, string>>;
}

export interface ClusterOptions {
  store: ClusterStore;
  pods?: readonly Place[];
  /** `inspectorPort`: see `startWorkerd`. */
  edge?: Place & { dataDir?: string; inspectorPort?: number };
  /** Where the Service listens, and where the edge finds it. */
  service?: { listen: string; host: string };
}

export interface PodLook {
  level: string;
  providers: Record<string, { residue: number; deadLetters: number; inFlight: number }>;
}

/** Invariant: a pod that has ended without being told to is in {@link Cluster.surprises}. */
export class Pod {
  readonly url: string;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #place: Place;
  readonly #cluster: Cluster;
  #running: RunningPod | undefined;

  constructor(cluster: Cluster, settings: Readonly<Record<string, string>>, port: number, place: Place) {
    const { host = '127.0.0.1' } = place;
    this.#cluster = cluster;
    this.#place = place;
    this.#settings = { ...settings, ...place.settings, MDP_HOST: host, MDP_PORT: String(port) };
    this.url = `http://${host}:${port}`;
  }

  get pid(): number {
    if (this.#running === undefined) throw new Error('the pod is not running');
    return this.#running.pid;
  }

  async start(): Promise<void> {
    const { under = [] } = this.#place;
    const pod = await startPod({ settings: this.#settings, under, onLog: (line) => this.#cluster.noteLog(line) });
    this.#running = pod;
    void pod.exited.then((code) => {
      if (this.#running === pod) this.#cluster.surprises.push(`a pod ended by itself, with code ${code}`);
    });
  }

  /** SIGKILL, and waits until it is gone. */
  async kill(): Promise<void> {
    const pod = this.#take();
    await pod?.kill();
  }

  /** SIGTERM, as in a rollout. */
  async drain(): Promise<void> {
    const code = await this.#take()?.stop();
    if (code !== 0 && code !== undefined) this.#cluster.surprises.push(`a drained pod ended with ${code}`);
  }

  /** Of objects and buffers, those among them that wait to be collected. */
  async heapBytes(): Promise<number> {
    const answer = await fetch(`${this.url}/metrics`, { signal: AbortSignal.timeout(HEAP_TIMEOUT_MS) });
    const families = parseExposition(await answer.text());
    return sampleOf(families, 'nodejs_heap_size_used_bytes') + sampleOf(families, 'nodejs_external_memory_bytes');
  }

  async look(): Promise<PodLook> {
    const answer = await fetch(`${this.url}/status`, { signal: AbortSignal.timeout(LOOK_TIMEOUT_MS) });
    return (await answer.json()) as PodLook;
  }

  #take(): RunningPod | undefined {
    this.#cluster.notePeaks();
    const pod = this.#running;
    this.#running = undefined;
    return pod;
  }
}

export class Cluster implements AsyncDisposable {
  readonly store: ClusterStore;
  readonly pods: readonly Pod[];
  readonly service: Service;
  readonly credentials: Readonly<Record<string, Credential>>;
  /** What should not have happened, whatever the fault. */
  readonly surprises: string[] = [];
  /** The newest lines of the pods' logs. */
  readonly log: string[] = [];
  peakPodMiB = 0;
  peakEdgeMiB = 0;
  readonly #directory: string;
  readonly #startEdge: () => Promise<RunningWorkerd>;
  #edge: RunningWorkerd | undefined;

  private constructor(
    options: ClusterOptions,
    directory: string,
    bundlePath: string,
    ports: readonly number[],
    service: Service,
    edgeSecret: string,
  ) {
    this.store = options.store;
    this.#directory = directory;
    this.service = service;
    const [edgePort, ...podPorts] = ports as [number, ...number[]];
    const shared = {
      ...options.store.settings,
      MDP_EDGE_SECRETS: edgeSecret,
      MDP_PROVIDERS: JSON.stringify(Object.fromEntries(PROVIDERS.map((name) => [name, {}]))),
    };
    this.pods = podPorts.map((port, at) => {
      return new Pod(this, { ...shared, MDP_POD_NAME: `pod-${at}` }, port, options.pods?.[at] ?? {});
    });
    const secrets = PROVIDERS.map((name) => [name, generateSecret()] as const);
    this.credentials = Object.fromEntries(secrets.map(([name, secret]) => [name, { secret }]));
    const providers = secrets.map(([name, secret]) => [
      name,
      { secrets: [secret], tokens: [tokenHash(tokenOf(name))] },
    ]);
    const { host = '127.0.0.1', under = [], dataDir = join(directory, 'edge'), inspectorPort } = options.edge ?? {};
    this.#startEdge = () =>
      startWorkerd({
        // Its canaries would be ticks that no ledger knows.
        without: ['STATUS_BOARD'],
        bundlePath,
        host,
        port: edgePort,
        under,
        bindings: {
          CLUSTER_URL: service.url,
          EDGE_SECRET: edgeSecret,
          PROVIDER_CREDENTIALS: JSON.stringify(Object.fromEntries(providers)),
        },
        dataDir,
        ...(inspectorPort === undefined ? {} : { inspectorPort }),
      });
  }

  static async start(options: ClusterOptions): Promise<Cluster> {
    const directory = await mkdtemp(join(tmpdir(), 'mdp-chaos-'));
    const ports = await freePorts(1 + PODS);
    const urls = ports.slice(1).map((port, at) => `http://${options.pods?.[at]?.host ?? '127.0.0.1'}:${port}`);
    const service = await Service.start(urls, options.service);
    const bundlePath = await bundle();
    const cluster = new Cluster(options, directory, bundlePath, ports, service, generateSecret());
    try {
      await Promise.all([cluster.startEdge(), ...cluster.pods.map((pod) => pod.start())]);
      return cluster;
    } catch (cause) {
      await cluster[Symbol.asyncDispose]();
      throw cause;
    }
  }

  get edgeUrl(): string {
    return this.#runningEdge.url;
  }

  get edgePid(): number {
    return this.#runningEdge.pid;
  }

  async startEdge(): Promise<void> {
    this.#edge = await this.#startEdge();
  }

  /** SIGKILL, and waits until it is gone. */
  async killEdge(): Promise<void> {
    this.notePeaks();
    const edge = this.#runningEdge;
    this.#edge = undefined;
    edge.kill();
    await edge.exited;
  }

  /** What the edge says has become of a batch; undefined while it does not answer. */
  async receiptStatus(provider: string, batch: string): Promise<string | undefined> {
    try {
      const answer = await fetch(`${this.edgeUrl}/v1/receipts/${provider}/${batch}`, {
        headers: { authorization: `Bearer ${tokenOf(provider)}` },
        signal: AbortSignal.timeout(LOOK_TIMEOUT_MS),
      });
      const { status } = (await answer.json()) as { status?: unknown };
      return typeof status === 'string' ? status : undefined;
    } catch {
      return undefined;
    }
  }

  notePeaks(): void {
    if (noProcessMemory) return;
    this.peakPodMiB = Math.max(this.peakPodMiB, ...this.pods.map((pod) => peakMiB(() => pod.pid)));
    this.peakEdgeMiB = Math.max(
      this.peakEdgeMiB,
      peakMiB(() => this.edgePid),
    );
  }

  noteLog(line: string): void {
    this.log.push(line);
    if (this.log.length > LOG_LINES_MAX) this.log.shift();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#edge?.stop();
    await Promise.all(this.pods.map((pod) => pod.kill()));
    await this.service[Symbol.asyncDispose]();
    await rm(this.#directory, { recursive: true, force: true });
  }

  get #runningEdge(): RunningWorkerd {
    if (this.#edge === undefined) throw new Error('the edge is not running');
    return this.#edge;
  }
}

/** By which receipts are read. */
function tokenOf(provider: string): string {
  return `token-of-${provider}`;
}

/** Of a process that may not be there any more. */
function peakMiB(pidOf: () => number): number {
  try {
    const pid = pidOf();
    return isRunning(pid) ? peakBytes(pid) / MIB : 0;
  } catch {
    return 0;
  }
}

let bundled: Promise<string> | undefined;

/** One bundle for all clusters of this process. */
function bundle(): Promise<string> {
  bundled ??= (async () => {
    const directory = await mkdtemp(join(tmpdir(), 'mdp-chaos-bundle-'));
    process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
    return bundleWorker(directory);
  })();
  return bundled;
}
