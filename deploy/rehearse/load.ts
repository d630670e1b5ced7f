/**
 * One provider that cannot wait: it makes ticks at the rate it is told, whatever is answered, and pushes each batch as the
 * replay does until it has its final answer. Keeps what it made and what it was told.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { type Account, AccountBook } from '../replay/account.ts';
import type { Batch } from '../replay/batches.ts';
import { createPusher, type Credential, type Outcome, type Pusher } from '../replay/pusher.ts';
import { retryDelayMs } from '../replay/retry.ts';

/** A rate far below it still makes a batch every few seconds, and one far above keeps a machine at a hundred a second. */
export const BATCH_TICKS = 100;
/** Requests under way at once. A pod answers within seconds, the edge at once: only a fault comes near to it. */
const IN_FLIGHT_MAX = 2_000;
const MAKE_INTERVAL_MS = 50;

export interface LoadOptions {
  to: string;
  provider: string;
  credential: Credential;
  /** Ticks a second, as long as it runs. */
  ticksPerSecond: () => number;
  nowMs: () => number;
}

/** Invariant: every batch in `made` has its final answer or is under way. */
export class Load {
  /** When each batch was made, by its id. */
  readonly made = new Map<string, number>();
  /** Batches that were answered `stored` or `buffered`. */
  readonly acknowledged = new Set<string>();
  /** Attempts that ended with a 5xx or with no answer. */
  failedAttempts = 0;
  attempts = 0;
  readonly #options: LoadOptions;
  readonly #pusher: Pusher;
  readonly #book: AccountBook;
  readonly #underWay = new Set<Promise<void>>();
  readonly #making: Promise<void>;
  #isOver = false;

  private constructor(options: LoadOptions, pusher: Pusher) {
    const { to, provider, nowMs } = options;
    this.#options = options;
    this.#pusher = pusher;
    this.#book = new AccountBook({ file: 'rehearsal', to, provider }, nowMs);
    this.#making = this.#make();
  }

  static async start(options: LoadOptions): Promise<Load> {
    return new Load(options, await createPusher({ ...options, connections: IN_FLIGHT_MAX }));
  }

  get madeTicks(): number {
    return this.made.size * BATCH_TICKS;
  }

  /** Makes nothing new, and resolves when every batch has its final answer. */
  async end(): Promise<Account> {
    this.#isOver = true;
    await this.#making;
    await Promise.all(this.#underWay);
    await this.#pusher.close();
    return this.#book.snapshot();
  }

  async #make(): Promise<void> {
    const { ticksPerSecond, nowMs } = this.#options;
    let owedTicks = 0;
    for (let lastMs = nowMs(); !this.#isOver;) {
      await sleep(MAKE_INTERVAL_MS);
      const atMs = nowMs();
      owedTicks += (ticksPerSecond() * (atMs - lastMs)) / 1000;
      lastMs = atMs;
      for (; owedTicks >= BATCH_TICKS && this.#underWay.size < IN_FLIGHT_MAX; owedTicks -= BATCH_TICKS) {
        const pushing = this.#push(this.#nextBatch(atMs));
        this.#underWay.add(pushing);
        void pushing.finally(() => this.#underWay.delete(pushing));
      }
    }
  }

  #nextBatch(atMs: number): Batch {
    const number = this.made.size;
    const id = `rehearsal-${number}`;
    this.made.set(id, atMs);
    const line = (at: number): string =>
      `{"symbol":"AAPL","tsMs":${Math.floor(atMs)},"id":${number * BATCH_TICKS + at},"price":"187.23","size":"100"}\n`;
    const text = Array.from({ length: BATCH_TICKS }, (_, at) => line(at)).join('');
    return { id, ticks: BATCH_TICKS, body: new TextEncoder().encode(text), dueMs: atMs };
  }

  async #push(batch: Batch): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      const attempt = await this.#pusher.push(batch);
      const { outcome } = attempt;
      this.attempts += 1;
      if (isFailure(outcome)) this.failedAttempts += 1;
      this.#book.addAttempt(batch, attempt, tries > 0);
      if (outcome.kind === 'stored' || outcome.kind === 'buffered') this.acknowledged.add(batch.id);
      const waitMs = retryDelayMs(outcome, tries, Math.random());
      if (waitMs === undefined) return;
      await sleep(waitMs);
    }
  }
}

/** What a sender sees as the system's failure: 5xx, or no answer at all. A 429 is its own doing. */
function isFailure(outcome: Outcome): boolean {
  return outcome.kind === 'unclear' || (outcome.kind === 'refused' && outcome.status >= 500);
}
