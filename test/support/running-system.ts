/**
 * A real pod and a real edge for one test, in a directory of their own: restarted, looked into and gone at the end,
 * also when the test failed.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../../deploy/local/free-ports.ts';
import { type RunningPod, startPod } from '../../deploy/local/pod.ts';
import { startSystem } from '../../deploy/local/system.ts';
import type { EdgeObject, RunningWorkerd } from '../../deploy/local/workerd.ts';
import type { Credential } from '../../deploy/replay/pusher.ts';
import { generateSecret } from '../../pipeline/contract/signature.ts';
import { tokenHash } from './edge-credentials.ts';
import { plantSecret } from './planted-secrets.ts';
import { StoredTicks, WriteLock } from './stored-ticks.ts';

export interface TestProvider {
  secret: string;
  token: string;
}

/** An edge that refuses what the cluster does not take: the sender then sees what the pod does. */
export const EDGE_HOLDS_NOTHING: readonly EdgeObject[] = ['STATUS_BOARD', 'OUTBOX'];

/** A provider in the pod's `/status`. */
export interface ProviderStatus {
  offered: number;
  stored: number;
  duplicate: number;
  rejected: number;
  refused: number;
  inFlight: number;
  residue: number;
}

export interface PodStatus {
  phase: string;
  level: string;
  queue: { depthTicks: number; beingWrittenTicks: number };
  providers: Record<string, ProviderStatus>;
}

/** Invariant: at most one pod runs, always on the same port and store; the edge runs until the end. */
export class RunningSystem implements AsyncDisposable {
  readonly edge: RunningWorkerd;
  readonly edgeSecret: string;
  readonly providers: Readonly<Record<string, TestProvider>>;
  /** Everything the pods logged. */
  readonly log: string[];
  readonly #directory: string;
  readonly #stopAll: () => Promise<unknown>;
  #pod: RunningPod;

  private constructor(
    parts: Pick<RunningSystem, 'edge' | 'edgeSecret' | 'providers' | 'log'>,
    directory: string,
    pod: RunningPod,
    stopAll: () => Promise<unknown>,
  ) {
    this.edge = parts.edge;
    this.edgeSecret = parts.edgeSecret;
    this.providers = parts.providers;
    this.log = parts.log;
    this.#directory = directory;
    this.#pod = pod;
    this.#stopAll = stopAll;
  }

  /**
   * With these providers; `environment` is the pod's, beside what it needs to be alone. No status board unless told:
   * its canaries would be ticks that no test has sent.
   */
  static async start(
    names: readonly string[],
    environment: Record<string, string> = {},
    without: readonly EdgeObject[] = ['STATUS_BOARD'],
  ): Promise<RunningSystem> {
    const directory = await mkdtemp(join(tmpdir(), 'mdp-end-to-end-'));
    const log: string[] = [];
    const edgeSecret = generateSecret();
    const providers = Object.fromEntries(
      names.map((name) => [name, { secret: generateSecret(), token: `token-of-${name}-${crypto.randomUUID()}` }]),
    );
    for (const { token } of Object.values(providers)) plantSecret(token);
    const credentials = Object.entries(providers).map(([name, { secret, token }]) => {
      return [name, { secrets: [secret], tokens: [tokenHash(token)] }];
    });
    const [podPort] = (await freePorts(1)) as [number]; // it is its own also between two pods
    try {
      const started = await startSystem({
        edgePort: 0,
        edgeSecret,
        providerCredentials: JSON.stringify(Object.fromEntries(credentials)),
        podSettings: { ...environment, ...podSettings(directory, podPort) },
        without,
        onLog: (from, line) => from === 'pod' && log.push(line),
      });
      const { edge, pod } = started;
      return new RunningSystem({ edge, edgeSecret, providers, log }, directory, pod, () => started.stop());
    } catch (cause) {
      await rm(directory, { recursive: true, force: true });
      throw cause;
    }
  }

  get pod(): RunningPod {
    return this.#pod;
  }

  credential(provider: string): Credential {
    return { secret: this.providers[provider]!.secret };
  }

  /** Once the last pod has ended: another on its port and store. */
  async startNextPod(): Promise<void> {
    await this.#pod.exited;
    this.#pod = await startPod({
      settings: { ...podSettings(this.#directory, this.#pod.port), MDP_EDGE_SECRETS: this.edgeSecret },
      onLog: (line) => this.log.push(line),
    });
  }

  /** A look into the store's file itself, past the pod. */
  openStore(): StoredTicks {
    return new StoredTicks(join(this.#directory, 'ticks.db'));
  }

  lockStore(): WriteLock {
    return new WriteLock(join(this.#directory, 'ticks.db'));
  }

  async status(): Promise<PodStatus> {
    return (await (await fetch(`${this.#pod.url}/status`)).json()) as PodStatus;
  }

  /** The value of each series whose name is `name`. */
  async metric(name: string): Promise<number[]> {
    const text = await (await fetch(`${this.#pod.url}/metrics`)).text();
    return text
      .split('\n')
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      .map((line) => Number(line.slice(line.lastIndexOf(' ') + 1)));
  }

  /** What a pod logged that somebody would have to look at. */
  complaints(): string[] {
    return this.log.filter((line) => /"level":"(warn|error)"/.test(line));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pod.stop();
    await this.#stopAll();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

function podSettings(directory: string, port: number): Record<string, string> {
  return { MDP_PORT: String(port), MDP_STORE: `sqlite:${join(directory, 'ticks.db')}`, MDP_POD_NAME: 'test-pod' };
}
