/**
 * A real pod and a real edge under attack, beside a client that means well and a probe: whatever the attack, the pod
 * stays the same process, answers its probes, serves the good client, loses nothing of it, and does not grow.
 */

import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPusher } from '../../deploy/replay/pusher.ts';
import { scopedBatchId } from '../../pipeline/contract/identity.ts';
import { send } from './edge-request.ts';
import { lines, trades } from './pod-batch.ts';
import { noProcessMemory, openDescriptors, peakBytes, resetPeakBytes } from './process-memory.ts';
import { RunningSystem } from './running-system.ts';
import { isRunning } from './user-process.ts';

const GOOD = 'good';
const GOOD_TICKS = 100;
/** It is there to be served, not to be a load itself. */
const GOOD_PAUSE_MS = 10;
/** Of each attack, however short: the client has been served during it and after it. */
const GOOD_BATCHES_MIN = 3;
const WARM_UP_BATCHES = 100;
const PROBE_INTERVAL_MS = 50;
/** What the manifest gives a liveness probe. */
const PROBE_TIMEOUT_MS = 5_000;
/** In settings of ours, so that the good client's ticks may have any time. */
const FUTURE_MAX_MS = 365 * 86_400_000;

/** What is to be said after every attack. */
export const UNHARMED = {
  /** Batches of the good client that were not answered `stored`, with why. */
  notServed: [] as string[],
  /** Batches answered `stored` that the store does not have, or has in part. */
  lostTicks: 0,
  failedProbes: [] as string[],
  residues: 0,
  sameProcess: true,
};

/** Invariant: one pod and one edge, the same from `start` to disposal. */
export class UnderAttack implements AsyncDisposable {
  readonly system: RunningSystem;
  #goodTicks = 0;
  #batches = 0;

  private constructor(system: RunningSystem) {
    this.system = system;
  }

  /** `providers` beside the good one. */
  static async start(providers: readonly string[], settings: Record<string, string> = {}): Promise<UnderAttack> {
    const all = { MDP_FUTURE_MAX_MS: String(FUTURE_MAX_MS), ...settings };
    const attacked = new UnderAttack(await RunningSystem.start([GOOD, ...providers], all));
    await attacked.#serveGoodClient((batches) => batches >= WARM_UP_BATCHES);
    return attacked;
  }

  /**
   * Attacks, and says what came of it, to be held against {@link UNHARMED}, and how far the pod's memory rose above
   * what it had before. Prints one line.
   */
  async suffers<T>(
    what: string,
    attack: () => Promise<T>,
  ): Promise<{ harm: typeof UNHARMED; grownBytes: number; came: T }> {
    const { pid } = this.system.pod;
    if (!noProcessMemory) resetPeakBytes(pid);
    const before = noProcessMemory ? 0 : peakBytes(pid);
    const over = new AbortController();
    const attacking = attack().finally(() => over.abort());
    const [good, probes, came] = await Promise.all([
      this.#serveGoodClient((batches) => over.signal.aborted && batches >= GOOD_BATCHES_MIN),
      this.#probe(over.signal),
      attacking,
    ]);
    const grownBytes = noProcessMemory ? 0 : peakBytes(pid) - before;
    const harm = {
      notServed: good.notServed,
      lostTicks: this.#lostTicks(),
      failedProbes: probes.failed,
      residues: (await this.system.metric('pipeline_balance_residue_ticks')).filter((value) => value !== 0).length,
      sameProcess: isRunning(pid) && this.system.pod.pid === pid,
    };
    console.log(
      `${what}: ${good.batches} good batches, slowest answer ${good.slowestMs.toFixed(0)} ms; slowest probe ` +
        `${probes.slowestMs.toFixed(0)} ms; memory ${mib(before)} MiB + ${mib(grownBytes)} MiB`,
    );
    return { harm, grownBytes, came };
  }

  /** Descriptors that the pod has open. */
  descriptors(): number {
    return openDescriptors(this.system.pod.pid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.system[Symbol.asyncDispose]();
  }

  /** One batch after the other, to the pod itself, over one connection. */
  async #serveGoodClient(
    isEnough: (batches: number) => boolean,
  ): Promise<{ batches: number; slowestMs: number; notServed: string[] }> {
    const credential = { secret: this.system.edgeSecret };
    const pusher = await createPusher({ to: this.system.pod.url, provider: GOOD, credential, connections: 1 });
    const served = { batches: 0, slowestMs: 0, notServed: [] as string[] };
    while (!isEnough(served.batches)) {
      this.#batches += 1;
      const body = new TextEncoder().encode(lines(trades(GOOD_TICKS, this.#batches * GOOD_TICKS)));
      const id = scopedBatchId(GOOD, `good-${this.#batches}`);
      const { outcome, answerMs } = await pusher.push({ id, ticks: GOOD_TICKS, body, dueMs: 0 });
      await sleep(GOOD_PAUSE_MS);
      served.batches += 1;
      served.slowestMs = Math.max(served.slowestMs, answerMs);
      if (outcome.kind === 'stored') this.#goodTicks += outcome.answer.stored;
      else served.notServed.push(`${id}: ${JSON.stringify(outcome)}`);
    }
    await pusher.close();
    return served;
  }

  /** As kubelet does it: over a new connection each time. */
  async #probe(over: AbortSignal): Promise<{ slowestMs: number; failed: string[] }> {
    const probes = { slowestMs: 0, failed: [] as string[] };
    do {
      const sinceMs = performance.now();
      const late = sleep(PROBE_TIMEOUT_MS, 'timeout', { ref: false });
      const said = await Promise.race([
        late,
        send(`${this.system.pod.url}/health`, 'GET', {}).then(({ status }) => status, String),
      ]);
      if (said !== 200) probes.failed.push(String(said));
      probes.slowestMs = Math.max(probes.slowestMs, performance.now() - sinceMs);
      await sleep(PROBE_INTERVAL_MS);
    } while (!over.aborted);
    return probes;
  }

  #lostTicks(): number {
    using store = this.system.openStore();
    return this.#goodTicks - store.counts(GOOD).trades;
  }
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}

/** A connection that means no good. What comes over it is read only when asked for. */
export class HostileSocket {
  readonly socket: Socket;
  isOpen = true;
  received = '';
  /** Resolves when it was closed, with what had been read of it. */
  readonly closed: Promise<string>;

  /** `reads` false: what comes stays where it is. */
  constructor(port: number, reads = true) {
    this.socket = connect({ port, host: '127.0.0.1' });
    this.socket.setEncoding('latin1').on('error', () => undefined);
    if (reads) this.socket.on('data', (text: string) => (this.received += text));
    else this.socket.pause();
    this.closed = new Promise((resolve) =>
      this.socket.once('close', () => {
        this.isOpen = false;
        resolve(this.received);
      }),
    );
  }

  /** Resolves when it is connected, or has failed to be. */
  get connected(): Promise<void> {
    if (!this.socket.connecting) return Promise.resolve();
    return new Promise((resolve) => this.socket.once('connect', resolve).once('close', () => resolve()));
  }

  end(): void {
    this.socket.destroy();
  }
}
