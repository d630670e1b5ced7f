/**
 * A sender under steady load that keeps books of its own: how every attempt at every batch ended. What was refused or
 * not answered it sends again under the same id, until it is stored. It knows a pod by its URL, and a store by the
 * rows that SQL finds there; it believes the pod nothing but its answers.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Row } from '../../deploy/local/postgres.ts';
import { lines, type LooseTick } from './pod-batch.ts';
import { until } from './postgres-stores.ts';
import { compareRows, type Held, serialTicks } from './serial-ticks.ts';

export const TICKS_PER_BATCH = 100;
/** As long as the edge waits. */
const ANSWER_WAIT_MS = 10_000;
/** A pod's own limit by default, `MDP_ANSWER_TIMEOUT_MS`, and what a busy machine adds. */
const ANSWER_LATE_MS = 8_000 + 1_500;
/** What a sender does whom nobody told when to come back. */
const UNTOLD_WAIT_MS = 1_000;
const ATTEMPTS_MAX = 100;
const BATCHES_PENDING_MAX = 3_000;
const MAKE_INTERVAL_MS = 10;

export interface LoadBatch {
  number: number;
  provider: string;
  id: string;
  ticks: readonly LooseTick[];
}

/** How the attempts since the last `begin` ended. */
export interface LoadAccount {
  acknowledged: number;
  attempts: number;
  /** 429 and 503 with a `Retry-After`, by problem. */
  refused: Map<string, number>;
  /** Not stored and not refused so: no answer, or one that leaves the sender in the dark. */
  inexplicit: Map<string, number>;
  /** Acknowledged, but not with the words that all of it was stored and none of it was there. */
  contradictions: string[];
  longestRetryAfterSeconds: number;
  slowestAnswerMs: number;
  lateAnswers: number;
}

/** Invariant: a batch that was offered is in exactly one of `#pending`, `#acknowledged` and `givenUp`. */
export class LoadLedger {
  readonly #url: string;
  readonly #providers: readonly string[];
  readonly #batchesPerSecond: number;
  readonly #pending = new Set<number>();
  /** Provider by number. */
  readonly #acknowledged = new Map<number, string>();
  /** Offered in vain, or never sent because too many were pending. */
  readonly givenUp: string[] = [];
  account = newAccount();
  /** Of the acknowledged attempts, when the latest began. */
  acknowledgedBegunMs = 0;
  #made = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(url: string, providers: readonly string[], batchesPerSecond: number) {
    this.#url = url;
    this.#providers = providers;
    this.#batchesPerSecond = batchesPerSecond;
  }

  /** Begins a new account, and offers batches at its rate from now on, whatever becomes of them. */
  begin(): void {
    this.account = newAccount();
    const sinceMs = performance.now();
    let offered = 0;
    this.#timer = setInterval(() => {
      const due = Math.floor(((performance.now() - sinceMs) / 1000) * this.#batchesPerSecond);
      for (; offered < due; offered += 1) this.offer(this.make());
    }, MAKE_INTERVAL_MS);
  }

  /** Offers nothing new any more. What is pending goes on until it is stored. */
  end(): void {
    clearInterval(this.#timer);
  }

  get pending(): number {
    return this.#pending.size;
  }

  get acknowledgedTicks(): number {
    return this.#acknowledged.size * TICKS_PER_BATCH;
  }

  /** The next batch, for {@link offer}: trades with an id, trades without, quotes. */
  make(): LoadBatch {
    this.#made += 1;
    const number = this.#made;
    const provider = this.#providers[number % this.#providers.length]!;
    const ticks = serialTicks(number, TICKS_PER_BATCH, Date.now());
    return { number, provider, id: `load-${number}`, ticks };
  }

  offer(batch: LoadBatch): void {
    if (this.#pending.size >= BATCHES_PENDING_MAX) {
      this.givenUp.push(batch.id);
      return;
    }
    this.#pending.add(batch.number);
    void this.#deliver(batch);
  }

  /** Ends when everything that was offered is stored, or given up. */
  settled(timeoutMs: number): Promise<void> {
    return until('everything offered is stored', () => this.#pending.size === 0, timeoutMs);
  }

  /** Holds the rows against everything ever acknowledged. */
  compare(rows: readonly Row[]): Held {
    const acknowledged = [...this.#acknowledged].map(([number, provider]) => ({
      number,
      provider,
      ticks: TICKS_PER_BATCH,
    }));
    return compareRows(rows, acknowledged, (number) => this.#pending.has(number));
  }

  async #deliver(batch: LoadBatch): Promise<void> {
    const body = lines(batch.ticks);
    let waitMs: number | undefined;
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
      waitMs = await this.#attempt(batch, body);
      if (waitMs === undefined) break;
      await sleep(waitMs);
    }
    if (waitMs !== undefined) this.givenUp.push(batch.id);
    this.#pending.delete(batch.number);
  }

  /** Undefined once the batch is stored, else how long to wait. */
  async #attempt({ number, provider, id }: LoadBatch, body: string): Promise<number | undefined> {
    const { account } = this;
    account.attempts += 1;
    const begunMs = Date.now();
    const answer = await this.#post(provider, id, body);
    const tookMs = Date.now() - begunMs;
    account.slowestAnswerMs = Math.max(account.slowestAnswerMs, tookMs);
    if (tookMs > ANSWER_LATE_MS) account.lateAnswers += 1;
    if (!answer.ok) return inexplicit(account, answer.why);
    const { status, says } = answer;
    if (status === 200 && says['status'] === 'stored') {
      const all = { stored: TICKS_PER_BATCH, duplicates: 0, rejected: [] };
      const told = { stored: says['stored'], duplicates: says['duplicates'], rejected: says['rejected'] };
      if (JSON.stringify(told) !== JSON.stringify(all)) account.contradictions.push(`${id}: ${JSON.stringify(told)}`);
      this.#acknowledged.set(number, provider);
      account.acknowledged += 1;
      this.acknowledgedBegunMs = Math.max(this.acknowledgedBegunMs, begunMs);
      return undefined;
    }
    const isRefusal = status === 429 || status === 503;
    if (!isRefusal || answer.retryAfter === undefined) return inexplicit(account, `${status} ${String(says['type'])}`);
    add(account.refused, String(says['type']).replace('/problems/', ''));
    account.longestRetryAfterSeconds = Math.max(account.longestRetryAfterSeconds, answer.retryAfter);
    return answer.retryAfter * 1000;
  }

  async #post(provider: string, id: string, body: string): Promise<Answer> {
    try {
      const response = await fetch(`${this.#url}/v1/ticks/${provider}`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-ndjson', 'idempotency-key': id },
        body,
        signal: AbortSignal.timeout(ANSWER_WAIT_MS),
      });
      const says = (await response.json()) as Record<string, unknown>;
      const told = response.headers.get('retry-after') ?? '';
      const retryAfter = /^[1-9]\d*$/.test(told) ? Number(told) : undefined;
      return { ok: true, status: response.status, says, retryAfter };
    } catch (cause) {
      return { ok: false, why: nameOf(cause) };
    }
  }
}

type Answer =
  | { ok: true; status: number; says: Record<string, unknown>; retryAfter: number | undefined }
  | { ok: false; why: string };

function newAccount(): LoadAccount {
  return {
    acknowledged: 0,
    attempts: 0,
    refused: new Map(),
    inexplicit: new Map(),
    contradictions: [],
    longestRetryAfterSeconds: 0,
    slowestAnswerMs: 0,
    lateAnswers: 0,
  };
}

export function sum(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((total, count) => total + count, 0);
}

function inexplicit(account: LoadAccount, what: string): number {
  add(account.inexplicit, what);
  return UNTOLD_WAIT_MS;
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** fetch hides what happened to the connection behind `cause`. */
function nameOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name;
}
