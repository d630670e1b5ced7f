/** A pod with a faulty store, as a process of its own in a directory of its own, and the way to tell its store. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { POD_NODE_FLAGS } from '../../deploy/local/pod.ts';
import type { Circuit } from '../../pipeline/backpressure/throttle.ts';
import type { Level } from '../../pipeline/contract/level.ts';
import { generateSecret } from '../../pipeline/contract/signature.ts';
import { NO_FAULT, type StoreFault } from './faulty-pod-store.ts';

const SCRIPT = fileURLToPath(new URL('faulty-pod.ts', import.meta.url));

/** Of `GET /status`, as far as tests look at it. */
export interface PodPicture {
  level: Level;
  reasons: Record<'queue' | 'store' | 'feedback' | 'memory', Level>;
  queue: { depthTicks: number; capacityTicks: number; depthBytes: number; beingWrittenTicks: number };
  store: { circuit: Circuit };
  providers: Record<string, { level: string; inFlight: number; residue: number }>;
}

/** Invariant: not running any more after it was disposed of, and its directory gone. */
export class FaultyPod implements AsyncDisposable {
  readonly url: string;
  readonly secret: string;
  /** What it logged. */
  readonly log: string[];
  readonly exited: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #directory: string;

  private constructor(
    parts: Pick<FaultyPod, 'url' | 'secret' | 'log' | 'exited'>,
    child: ChildProcess,
    directory: string,
  ) {
    this.url = parts.url;
    this.secret = parts.secret;
    this.log = parts.log;
    this.exited = parts.exited;
    this.#child = child;
    this.#directory = directory;
  }

  static async start(settings: Readonly<Record<string, string>> = {}): Promise<FaultyPod> {
    const directory = await mkdtemp(join(tmpdir(), 'mdp-faulty-pod-'));
    const secret = generateSecret();
    const child = fork(SCRIPT, {
      execArgv: [...POD_NODE_FLAGS],
      env: {
        PATH: process.env['PATH'] ?? '',
        MDP_PORT: '0',
        MDP_STORE: `sqlite:${join(directory, 'ticks.db')}`,
        MDP_EDGE_SECRETS: secret,
        ...settings,
      },
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    const log: string[] = [];
    createInterface({ input: child.stdout! }).on('line', (line) => log.push(line));
    const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
    const started = once(child, 'message') as Promise<[{ port: number }]>;
    const first = await Promise.race([started, exited]);
    if (!Array.isArray(first)) {
      await rm(directory, { recursive: true, force: true });
      throw new Error(`the pod ended with ${first}:\n${log.join('\n')}`);
    }
    return new FaultyPod({ url: `http://127.0.0.1:${first[0].port}`, secret, log, exited }, child, directory);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** The file of the store. */
  get path(): string {
    return join(this.#directory, 'ticks.db');
  }

  /** Resolves when it counts. */
  async suffer(fault: Partial<StoreFault>): Promise<void> {
    const obeyed = once(this.#child, 'message');
    this.#child.send({ ...NO_FAULT, ...fault } satisfies StoreFault);
    await obeyed;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async status(): Promise<PodPicture> {
    return (await (await fetch(`${this.url}/status`)).json()) as PodPicture;
  }

  async isReady(): Promise<boolean> {
    const answer = await fetch(`${this.url}/ready`);
    await answer.text();
    return answer.status === 200;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill('SIGKILL');
    await this.exited;
    await rm(this.#directory, { recursive: true, force: true });
  }
}
