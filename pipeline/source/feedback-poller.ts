/**
 * Looks at a foreign store's /metrics every few seconds and writes what it sees on the feedback board, as if the
 * store had said it: for stores whose broadcaster is silent, or whose words get lost. A look that fails changes
 * nothing; what was seen before expires by itself.
 */

import type { FeedbackBoard } from '../backpressure/feedback.ts';
import { FOREIGN_WATERMARKS, nextLevel } from '../backpressure/watermark.ts';
import { readQueueDepths } from './feedback-exposition.ts';

export const POLL_BODY_MAX_BYTES = 1024 * 1024;

export interface FeedbackPollerParts {
  board: FeedbackBoard;
  /** Of the metrics page; user and password in it become Basic credentials. */
  url: string;
  intervalMs: number;
  /** For one look, from connecting to the last byte. */
  timeoutMs: number;
  /** Items that a coordinator's queue holds: the foreign store does not tell. */
  capacity: number;
  fetch: typeof fetch;
  /** Calls `run` once after `ms`; returns what prevents it. */
  after: (ms: number, run: () => void) => () => void;
  nowMs: () => number;
  log: (level: 'info' | 'warn', event: string, facts: Readonly<Record<string, unknown>>) => void;
}

/** How a look ended. `no_series`: a page, but without the depth of any coordinator. */
export type PollOutcome = 'ok' | 'timeout' | 'unreachable' | 'bad_status' | 'too_large' | 'no_series';

/** Invariant: one look at a time, and the next one planned as long as it has not been stopped. */
export class FeedbackPoller {
  readonly #parts: FeedbackPollerParts;
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #stopping = new AbortController();
  #cancelNext: () => void = () => undefined;
  #polling: Promise<void> = Promise.resolve();
  /** Each change is logged once; the first success goes without saying. */
  #last: PollOutcome = 'ok';

  constructor(parts: FeedbackPollerParts) {
    this.#parts = parts;
    const url = new URL(parts.url);
    const { username, password } = url;
    url.username = '';
    url.password = '';
    this.#url = url.href;
    const pair = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
    this.#headers = { accept: 'text/plain', ...(username || password ? { authorization: `Basic ${pair}` } : {}) };
  }

  /** Looks at once, and then every interval. */
  start(): void {
    this.#polling = this.#pollAndPlan();
  }

  /** Ends the look under way and plans no other. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#cancelNext();
    await this.#polling;
  }

  async #pollAndPlan(): Promise<void> {
    const { intervalMs, nowMs, after, log } = this.#parts;
    const startedMs = nowMs();
    const outcome = await this.#poll();
    if (this.#stopping.signal.aborted) return;
    if (outcome !== this.#last) {
      if (outcome === 'ok') log('info', 'feedback_poll_recovered', {});
      else log('warn', 'feedback_poll_failed', { why: outcome, detail: 'what was seen before expires by itself' });
      this.#last = outcome;
    }
    // From start to start; a clock that was set meanwhile neither hurries nor delays it beyond an interval.
    const waitMs = Math.min(intervalMs, Math.max(0, startedMs + intervalMs - nowMs()));
    this.#cancelNext = after(waitMs, () => this.start());
  }

  async #poll(): Promise<PollOutcome> {
    const { timeoutMs, after } = this.#parts;
    const timedOut = new AbortController();
    const cancelTimeout = after(timeoutMs, () => timedOut.abort());
    try {
      return await this.#look(AbortSignal.any([timedOut.signal, this.#stopping.signal]));
    } catch {
      // What fetch and its body throw: refused, reset, a redirect, broken compression, or one of our own aborts.
      return timedOut.signal.aborted ? 'timeout' : 'unreachable';
    } finally {
      cancelTimeout();
    }
  }

  async #look(signal: AbortSignal): Promise<PollOutcome> {
    const { board, capacity, fetch, nowMs } = this.#parts;
    const answer = await fetch(this.#url, { headers: this.#headers, redirect: 'error', signal });
    if (answer.status !== 200) {
      await answer.body?.cancel();
      return 'bad_status';
    }
    const text = await readAtMost(answer.body, POLL_BODY_MAX_BYTES);
    if (text === undefined) return 'too_large';
    const depths = readQueueDepths(text);
    for (const [coordinatorId, queueSize] of depths) {
      const before = board.coordinators(nowMs()).get(coordinatorId)?.level ?? 'ok';
      const level = nextLevel(before, queueSize / capacity, FOREIGN_WATERMARKS);
      board.hear({ coordinatorId, queueSize, capacity, level, sentMs: undefined }, nowMs());
    }
    return depths.size === 0 ? 'no_series' : 'ok';
  }
}

/** The body as text, or `undefined` when it is longer; unpacked bytes count. */
async function readAtMost(body: ReadableStream<Uint8Array> | null, maxBytes: number): Promise<string | undefined> {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of body ?? []) {
    bytes += chunk.length;
    // Leaving the loop cancels the stream.
    if (bytes > maxBytes) return undefined;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
