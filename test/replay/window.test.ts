/** What may be in flight, and how long a batch waits: the pure decisions of a sender. */

import { describe, expect, test } from 'vitest';
import type { Outcome } from '../../deploy/replay/pusher.ts';
import {
  BACKOFF_MAX_MS,
  BACKOFF_MIN_MS,
  RETRY_AFTER_MAX_MS,
  RETRY_JITTER_MAX_MS,
  retryDelayMs,
} from '../../deploy/replay/retry.ts';
import { CREDIT_STALE_MS, Window } from '../../deploy/replay/window.ts';
import type { Level } from '../../pipeline/contract/level.ts';

const NOTHING = { level: undefined, creditTicks: undefined };

/** Enters batches of `ticks` until the window says no; how many it took. */
function fill(window: Window, ticks: number, nowMs = 0): number {
  let entered = 0;
  while (entered < 1000 && window.ask(ticks, nowMs).kind === 'go') {
    window.enter(ticks);
    entered += 1;
  }
  return entered;
}

function refused(retryAfterMs: number | undefined): Outcome {
  return { kind: 'refused', status: 503, problem: 'no-room', retryAfterMs };
}

function told(requestsMax: number, news: { level?: Level; creditTicks?: number }, nowMs = 0): Window {
  const window = new Window(requestsMax);
  window.enter(1);
  window.leave(1, { ...NOTHING, ...news }, nowMs);
  return window;
}

describe('window', () => {
  const allowed: Record<Level, number> = { ok: 8, soft: 4, hard: 1 };

  test.each(Object.entries(allowed) as [Level, number][])(
    'of 8 requests lets through, at level %s, %i',
    (level, count) => {
      expect(fill(told(8, { level }), 1)).toBe(count);
    },
  );

  test('of one request still lets one through at every level', () => {
    for (const level of ['ok', 'soft', 'hard'] as const) expect(fill(told(1, { level }), 1)).toBe(1);
  });

  test('opens again as soon as an answer says ok', () => {
    const window = told(8, { level: 'hard' });
    window.enter(1);
    expect(window.ask(1, 0)).toEqual({ kind: 'after_an_answer' });
    window.leave(1, { level: 'ok', creditTicks: undefined }, 0);
    expect(fill(window, 1)).toBe(8);
  });

  test('keeps the level last told when an answer tells none', () => {
    const window = told(8, { level: 'soft' });
    window.enter(1);
    window.leave(1, NOTHING, 0);
    expect(fill(window, 1)).toBe(4);
  });

  test('lets one batch alone go and ask before any answer, and all that it may when that tells no credit', () => {
    // Seen failing: with an unbounded credit at the start, 16 batches of 1,000 ticks met a queue of 10,000.
    const window = new Window(8);
    expect(fill(window, 1_000)).toBe(1);
    window.leave(1_000, NOTHING, 0);
    expect(fill(window, 1_000)).toBe(8);
  });

  test('never has more ticks in flight than the credit last told', () => {
    expect(fill(told(8, { creditTicks: 2500 }), 1000)).toBe(2);
    expect(fill(told(8, { creditTicks: 3000 }), 1000)).toBe(3);
  });

  test('with nothing in flight and too little credit lets one batch ask again, after a pause', () => {
    const window = told(8, { creditTicks: 0 }, 100);
    expect(window.ask(10, 100)).toEqual({ kind: 'later', waitMs: CREDIT_STALE_MS });
    expect(fill(window, 10, 100 + CREDIT_STALE_MS)).toBe(1);
  });

  test('lets nothing through while it is held', () => {
    const window = new Window(8);
    window.hold(1000);
    window.hold(500);
    expect(window.ask(1, 400)).toEqual({ kind: 'later', waitMs: 600 });
    expect(window.ask(1, 1000)).toEqual({ kind: 'go' });
  });
});

describe('retry', () => {
  const unclear: Outcome = { kind: 'unclear', why: 'timeout' };

  test('is never of what is final', () => {
    const final: Outcome[] = [
      {
        kind: 'stored',
        answer: { batch: 'b', status: 'stored', stored: 1, duplicates: 0, rejected: [], ignoredFields: 0 },
      },
      { kind: 'buffered', receipt: undefined },
      { kind: 'failed', status: 409, problem: 'batch-conflict', detail: '', rejected: [] },
    ];
    expect(final.map((outcome) => retryDelayMs(outcome, 0, 0))).toEqual([undefined, undefined, undefined]);
  });

  test('waits at least Retry-After, a little longer by chance, and at most the limit', () => {
    expect(retryDelayMs(refused(2000), 0, 0)).toBe(2000);
    expect(retryDelayMs(refused(2000), 7, 0.5)).toBe(2000 + RETRY_JITTER_MAX_MS / 2);
    expect(retryDelayMs(refused(86_400_000), 0, 0)).toBe(RETRY_AFTER_MAX_MS);
  });

  test('without an answer doubles from 100 ms to 5 s, and stays between for any number of tries', () => {
    expect([0, 1, 2, 3].map((tries) => retryDelayMs(unclear, tries, 0))).toEqual([100, 200, 400, 800]);
    for (const tries of [0, 1, 5, 50, 5000]) {
      for (const random of [0, 0.5, 0.999_999]) {
        expect(retryDelayMs(unclear, tries, random)).toBeGreaterThanOrEqual(BACKOFF_MIN_MS);
        expect(retryDelayMs(unclear, tries, random)).toBeLessThanOrEqual(BACKOFF_MAX_MS);
      }
    }
    expect(retryDelayMs(refused(undefined), 0, 0)).toBe(BACKOFF_MIN_MS);
  });
});
