/**
 * A bare Worker in the edge's runtime, before an upstream that only drains, that is given a batch as often as the edge:
 * what grows of its memory is the runtime's, and what its answers are held up by is the machine's; none of it the edge's.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startWorkerd } from '../../deploy/local/workerd.ts';
import { createPusher, type Pusher } from '../../deploy/replay/pusher.ts';
import { generateSecret } from '../../pipeline/contract/signature.ts';
import { startDrainingUpstream } from '../support/draining-upstream.ts';
import { lines } from '../support/pod-batch.ts';
import { serialTicks } from '../support/serial-ticks.ts';
import { AnswerTimes } from './answer-times.ts';
import { paced } from './pace.ts';

const BUNDLE = fileURLToPath(new URL('../bench/bare-worker.js', import.meta.url));
const IN_FLIGHT = 8;

export class BareWorker implements AsyncDisposable {
  readonly pid: number;
  readonly answerTimes = new AnswerTimes();
  readonly #stack: AsyncDisposableStack;
  readonly #pusher: Pusher;
  readonly #body: Uint8Array<ArrayBuffer>;
  readonly #batchTicks: number;
  readonly #pushing: Promise<unknown>;
  readonly #over = new AbortController();
  #pushed = 0;

  private constructor(stack: AsyncDisposableStack, pid: number, pusher: Pusher, load: BareLoad) {
    this.#stack = stack;
    this.pid = pid;
    this.#pusher = pusher;
    this.#batchTicks = load.batchTicks;
    this.#body = Buffer.from(lines(serialTicks(1, load.batchTicks, Date.now())));
    const due = paced(() => 1000 / load.batchesPerSecond, this.#over.signal);
    this.#pushing = Promise.all(Array.from({ length: IN_FLIGHT }, () => this.#push(due)));
    this.#pushing.catch(() => undefined); // told when it is disposed of
  }

  static async start(load: BareLoad): Promise<BareWorker> {
    await using stack = new AsyncDisposableStack();
    const dataDir = stack.adopt(await mkdtemp(join(tmpdir(), 'mdp-bare-')), (path) => rm(path, { recursive: true }));
    const upstream = stack.use(await startDrainingUpstream());
    const secret = generateSecret();
    const workerd = await startWorkerd({
      bundlePath: BUNDLE,
      port: 0,
      bindings: { PROVIDER_SECRET: secret, EDGE_SECRET: generateSecret(), CLUSTER_URL: upstream.url, SIGNS: '1' },
      dataDir,
      without: ['OUTBOX', 'STATUS_BOARD', 'METER', 'SOCKETS'],
    });
    stack.defer(() => workerd.stop());
    const to = { to: workerd.url, provider: 'ibkr', credential: { secret }, connections: IN_FLIGHT };
    const pusher = await createPusher(to);
    stack.defer(() => pusher.close());
    return new BareWorker(stack.move(), workerd.pid, pusher, load);
  }

  async #push(due: AsyncGenerator<void>): Promise<void> {
    while ((await due.next()).done !== true) {
      this.#pushed += 1;
      const batch = { id: `bare-${this.#pushed}`, ticks: this.#batchTicks, body: this.#body, dueMs: 0 };
      const { outcome, answerMs } = await this.#pusher.push(batch);
      if (outcome.kind !== 'stored') throw new Error(`the bare Worker answered otherwise: ${JSON.stringify(outcome)}`);
      this.answerTimes.add(answerMs);
    }
  }

  /** Throws when a batch did not come through. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    try {
      await this.#pushing;
    } finally {
      await this.#stack.disposeAsync();
    }
  }
}

export interface BareLoad {
  batchesPerSecond: number;
  batchTicks: number;
}
