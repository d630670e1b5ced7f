/**
 * A real edge before a pod that comes and goes, on one disk and two fixed ports: either is killed and started again
 * as a test likes. For tests of what the edge holds.
 */

import { globSync, readdirSync, readlinkSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type RunningPod, startPod } from '../../deploy/local/pod.ts';
import { type RunningWorkerd, startWorkerd } from '../../deploy/local/workerd.ts';
import { makeCredentials } from './edge-credentials.ts';
import { NDJSON } from './edge-outbox.ts';
import { type RawAnswer, send } from './edge-request.ts';
import { StoredTicks, WriteLock } from './stored-ticks.ts';
import { freePorts } from '../../deploy/local/free-ports.ts';

export interface RigOptions {
  /** What `bundleWorker` returned. */
  bundlePath: string;
  /** More of the Worker's settings. */
  settings?: Record<string, string>;
  /** Of the edge, after each start. */
  clusterUrl?: string;
}

/** Invariant: at most one edge and one pod run, always on the same ports and files. */
export class EdgeRig implements AsyncDisposable {
  readonly credentials = makeCredentials();
  /** Everything that the edges logged. */
  readonly log: string[] = [];
  readonly #options: RigOptions;
  readonly #directory: string;
  readonly #edgePort: number;
  readonly #podPort: number;
  #edge: RunningWorkerd | undefined;
  #pod: RunningPod | undefined;

  private constructor(options: RigOptions, directory: string, edgePort: number, podPort: number) {
    this.#options = options;
    this.#directory = directory;
    this.#edgePort = edgePort;
    this.#podPort = podPort;
  }

  /** With an edge and without a pod. */
  static async start(options: RigOptions): Promise<EdgeRig> {
    const directory = await mkdtemp(join(tmpdir(), 'mdp-rig-'));
    const [edgePort, podPort] = (await freePorts(2)) as [number, number];
    const rig = new EdgeRig(options, directory, edgePort, podPort);
    try {
      await rig.startEdge();
      return rig;
    } catch (cause) {
      await rm(directory, { recursive: true, force: true });
      throw cause;
    }
  }

  get edge(): RunningWorkerd {
    if (this.#edge === undefined) throw new Error('the edge is not running');
    return this.#edge;
  }

  /** Also while it is not running. */
  get edgeUrl(): string {
    return `http://127.0.0.1:${this.#edgePort}`;
  }

  async startEdge(): Promise<void> {
    const { bundlePath, settings = {}, clusterUrl = `http://127.0.0.1:${this.#podPort}` } = this.#options;
    this.#edge = await startWorkerd({
      without: ['STATUS_BOARD'],
      bundlePath,
      port: this.#edgePort,
      bindings: { ...this.credentials.bindings(clusterUrl), ...settings },
      dataDir: join(this.#directory, 'edge'),
      onLine: (line) => this.log.push(line),
    });
  }

  /** SIGKILL, and waits until it is gone. */
  async killEdge(): Promise<void> {
    this.edge.kill();
    await this.edge.exited;
    this.#edge = undefined;
  }

  async startPod(settings: Record<string, string> = {}): Promise<RunningPod> {
    this.#pod = await startPod({
      settings: {
        MDP_PORT: String(this.#podPort),
        MDP_STORE: `sqlite:${this.#storePath}`,
        MDP_POD_NAME: 'test-pod',
        MDP_EDGE_SECRETS: this.credentials.edgeSecret,
        ...settings,
      },
    });
    return this.#pod;
  }

  get #storePath(): string {
    return join(this.#directory, 'ticks.db');
  }

  openStore(): StoredTicks {
    return new StoredTicks(this.#storePath);
  }

  /** Whether a Durable Object of this class is in memory: its own file is open as long. Source: proc(5), fd. */
  isAwake(className: string): boolean {
    const fds = `/proc/${this.edge.pid}/fd`;
    const file = new RegExp(`/objects/${className}/[0-9a-f]{64}\\.sqlite$`);
    return readdirSync(fds).some((fd) => {
      try {
        return file.test(readlinkSync(join(fds, fd)));
      } catch {
        return false; // closed meanwhile
      }
    });
  }

  /** Ids of the batches of one provider in the order in which the outbox accepted them, held or not. */
  heldOrder(): string[] {
    const [file] = globSync(join(this.#directory, 'edge/objects/Outbox/*.sqlite'));
    const db = new DatabaseSync(file!, { readOnly: true });
    try {
      return db
        .prepare('SELECT batch FROM batches ORDER BY seq')
        .all()
        .map((row) => String(row['batch']));
    } finally {
      db.close();
    }
  }

  lockStore(): WriteLock {
    return new WriteLock(this.#storePath);
  }

  /** One batch of `ibkr`. */
  push(batch: string, body: string, headers: Record<string, string> = {}): Promise<RawAnswer> {
    const sent = {
      authorization: 'Bearer ibkr-token-new',
      'content-type': NDJSON,
      'idempotency-key': batch,
      ...headers,
    };
    return send(`${this.edge.url}/v1/ticks/ibkr`, 'POST', sent, [body]);
  }

  /** What a provider reads at the edge. */
  async get(path: string): Promise<RawAnswer> {
    return send(`${this.edge.url}${path}`, 'GET', { authorization: 'Bearer ibkr-token-new' });
  }

  async receipt(batch: string): Promise<Record<string, unknown>> {
    return JSON.parse((await this.get(`/v1/receipts/ibkr/${batch}`)).text) as Record<string, unknown>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#edge?.stop();
    await this.#pod?.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
