/**
 * One provider that pushes at a steady rate and sends again, under the same id, whatever was refused or has no answer,
 * until it is stored; and its own ledger of what it was told. It obeys `Retry-After`, or nothing at all.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Batch } from '../../deploy/replay/batches.ts';
import { type Attempt, createPusher, type Pusher } from '../../deploy/replay/pusher.ts';
import type { StoredAnswer } from '../../pipeline/contract/answer.ts';
import { scopedBatchId } from '../../pipeline/contract/identity.ts';
import { lines, trades } from './pod-batch.ts';
import type { FaultyPod } from './faulty-pod-process.ts';

export interface Habits {
  provider: string;
  batchTicks: number;
  ticksPerSecond: number;
  /** Batches it holds unstored at most; at the bound it makes no new ones. */
  outstandingMax: number;
  /** What it waits where others obey `Retry-After`. */
  rudeWaitMs?: number;
}

/** One attempt that did not end as `stored`. */
export interface Denied {
  atMs: number;
  answerMs: number;
  outcome: Exclude<Attempt['outcome'], { kind: 'stored' }>;
  level: string | undefined;
}

/** After an attempt without an answer, and where a refusal did not say. */
const UNTOLD_WAIT_MS = 1_000;
/** Attempts at one batch; a load that is not stored by then has failed. */
const ATTEMPTS_MAX = 20_000;

/** Invariant: each batch it made is outstanding or in `stored`, with the answer that said so. */
export class Sender {
  readonly provider: string;
  readonly stored = new Map<string, StoredAnswer>();
  readonly denied: Denied[] = [];
  /** How long each answer of `stored` took, and when it came. */
  readonly storedMs: { atMs: number; answerMs: number }[] = [];
  made = 0;
  #outstanding = 0;
  #isOver = false;
  readonly #habits: Habits;
  readonly #pusher: Pusher;
  readonly #making: Promise<void>;
  readonly #sending = new Set<Promise<void>>();

  private constructor(habits: Habits, pusher: Pusher) {
    this.provider = habits.provider;
    this.#habits = habits;
    this.#pusher = pusher;
    this.#making = this.#make();
  }

  static async start(pod: FaultyPod, habits: Habits): Promise<Sender> {
    const pusher = await createPusher({
      to: pod.url,
      provider: habits.provider,
      credential: { secret: pod.secret },
      connections: habits.outstandingMax,
    });
    return new Sender(habits, pusher);
  }

  get ticksMade(): number {
    return this.made * this.#habits.batchTicks;
  }

  get outstanding(): number {
    return this.#outstanding;
  }

  /** Makes nothing new, and resolves when everything made is stored. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#making;
    await Promise.all(this.#sending);
    await this.#pusher.close();
  }

  /** Ends all attempts where they are. */
  async cut(): Promise<void> {
    this.#isOver = true;
    await this.#pusher.close();
  }

  async #make(): Promise<void> {
    const { batchTicks, ticksPerSecond, outstandingMax } = this.#habits;
    const periodMs = (batchTicks * 1_000) / ticksPerSecond;
    for (let dueMs = performance.now(); !this.#isOver; dueMs += periodMs) {
      await sleep(Math.max(0, dueMs - performance.now()));
      if (this.#isOver) return;
      if (this.#outstanding >= outstandingMax) continue;
      const sending = this.#bringHome(this.#nextBatch());
      this.#sending.add(sending);
      void sending.finally(() => this.#sending.delete(sending)).catch(() => undefined);
    }
  }

  #nextBatch(): Batch {
    const { provider, batchTicks } = this.#habits;
    const body = new TextEncoder().encode(lines(trades(batchTicks, this.made * batchTicks)));
    this.made += 1;
    return { id: scopedBatchId(provider, `b${this.made}`), ticks: batchTicks, body, dueMs: 0 };
  }

  async #bringHome(batch: Batch): Promise<void> {
    this.#outstanding += 1;
    for (let attempts = 1; attempts <= ATTEMPTS_MAX; attempts += 1) {
      const { outcome, answerMs, level } = await this.#pusher.push(batch);
      const atMs = performance.now();
      if (outcome.kind === 'stored') {
        this.stored.set(batch.id, outcome.answer);
        this.storedMs.push({ atMs, answerMs });
        this.#outstanding -= 1;
        return;
      }
      if (this.#isOver && outcome.kind === 'unclear') return;
      this.denied.push({ atMs, answerMs, outcome, level });
      if (outcome.kind === 'failed') throw new Error(`${outcome.status} ${outcome.problem}: ${outcome.detail}`);
      const told = outcome.kind === 'refused' ? outcome.retryAfterMs : undefined;
      await sleep(this.#habits.rudeWaitMs ?? told ?? UNTOLD_WAIT_MS);
    }
    throw new Error(`${batch.id} was not stored in ${ATTEMPTS_MAX} attempts`);
  }
}
