/** The drain's pace: when how many batches go, by time and chance that the test holds. */

import { describe, expect, it } from 'vitest';
import type { Fate } from '../../../worker/outbox/fate.ts';
import {
  BACKOFF_MAX_MS,
  BACKOFF_MIN_MS,
  backoffMs,
  dueAfter,
  FIRST_PACE,
  IN_FLIGHT_MAX,
  JITTER_SHARE,
  mayGo,
  NEXT_LOOK_GAP_MS,
  OPERATOR_WAIT_MS,
  type Pace,
  paceAfter,
  SUSPECT_WAIT_MAX_MS,
} from '../../../worker/outbox/pace.ts';

const STORED: Fate = { kind: 'stored', facts: { stored: 1, duplicates: 0, rejected: [] } };
const DEAD: Fate = { kind: 'rejected', problem: { type: '', title: '', status: 422, detail: '' } };
const REFUSED: Fate = { kind: 'refused', why: 'no-room', retryAfterSeconds: 7 };
const FAILED: Fate = { kind: 'failed', why: 'internal', retryAfterSeconds: 2 };
const SILENT: Fate = { kind: 'no_answer', why: 'unreachable', detail: '', operator: false };
const LOCKED_OUT: Fate = { kind: 'no_answer', why: 'refused_edge', detail: '', operator: true };
const NOTHING = { batches: 0, ticks: 0 };

function after(fates: readonly Fate[], creditTicks?: number, pace: Pace = FIRST_PACE, nowMs = 0): Pace {
  return fates.reduce((last, fate) => paceAfter(last, fate, creditTicks, nowMs, 0), pace);
}

describe('without a credit', () => {
  it('one batch goes first, and each final answer adds one, up to what a Worker may have open', () => {
    const windows = Array.from({ length: IN_FLIGHT_MAX + 2 }, (_, answers) => {
      return after(Array.from({ length: answers }, (_unused, at) => (at % 2 === 0 ? STORED : DEAD))).window;
    });
    expect(windows).toEqual([1, 2, 3, 4, 5, 6, 6, 6]);
    expect(mayGo(FIRST_PACE, NOTHING, 10_000, 0)).toBe(true);
    expect(mayGo(FIRST_PACE, { batches: 1, ticks: 1 }, 1, 0)).toBe(false);
  });
});

describe('with a credit', () => {
  const pace = after([STORED], 1_000);

  it('as many go as it covers, beside those on their way', () => {
    expect(mayGo(pace, { batches: 1, ticks: 400 }, 600, 0)).toBe(true);
    expect(mayGo(pace, { batches: 1, ticks: 400 }, 601, 0)).toBe(false);
    expect(mayGo(pace, { batches: IN_FLIGHT_MAX, ticks: 6 }, 1, 0)).toBe(false);
  });

  it('one alone always goes, to ask for a new one', () => {
    expect(mayGo(after([STORED], 0), NOTHING, 10_000, 0)).toBe(true);
    expect(mayGo(after([STORED], 0), { batches: 1, ticks: 1 }, 1, 0)).toBe(false);
  });
});

describe('a refusal', () => {
  it('lets nothing go before Retry-After, and then one alone', () => {
    const pace = after([STORED, STORED, REFUSED], undefined, FIRST_PACE, 100);
    expect(pace).toMatchObject({ window: 1, pausedUntilMs: 7_100 });
    expect(mayGo(pace, NOTHING, 1, 7_099)).toBe(false);
    expect(mayGo(pace, NOTHING, 1, 7_100)).toBe(true);
    expect(mayGo(pace, { batches: 1, ticks: 1 }, 1, 7_100)).toBe(false);
  });

  it('is not forgotten for an answer to a batch that was on its way', () => {
    const pace = paceAfter(after([REFUSED]), STORED, undefined, 10, 0);
    expect(mayGo(pace, NOTHING, 1, 6_999)).toBe(false);
  });

  it('is waited for a little longer by chance, never shorter', () => {
    const ends = [0, 0.5, 0.999].map((random) => paceAfter(FIRST_PACE, REFUSED, undefined, 0, random).pausedUntilMs);
    expect(ends).toEqual([7_000, 8_750, 10_497]);
  });
});

describe('a cluster that does not answer', () => {
  it('is looked for after twice the time each time, up to a bound', () => {
    let pace = FIRST_PACE;
    const waits: number[] = [];
    for (let failure = 0; failure < 8; failure += 1) {
      const nowMs = pace.pausedUntilMs;
      pace = paceAfter(pace, SILENT, undefined, nowMs, 0);
      waits.push(pace.pausedUntilMs - nowMs);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000, 10_000]);
    expect(backoffMs(1_000_000)).toBe(BACKOFF_MAX_MS);
    expect(after([STORED], undefined, pace).failures).toBe(0);
  });

  it('has failed once when all that were on their way fail together', () => {
    expect(after(Array.from({ length: IN_FLIGHT_MAX }, () => SILENT))).toMatchObject({
      failures: 1,
      pausedUntilMs: BACKOFF_MIN_MS,
    });
  });

  it('is looked for slowly while only an operator can help', () => {
    expect(after([LOCKED_OUT]).pausedUntilMs).toBe(OPERATOR_WAIT_MS);
  });

  it('is found again at most one and a half bounds after it is back', () => {
    expect(paceAfter({ ...FIRST_PACE, failures: 50 }, SILENT, undefined, 0, 1).pausedUntilMs).toBe(
      BACKOFF_MAX_MS * (1 + JITTER_SHARE),
    );
  });
});

function paused(failures: number, hasAnswered = true): Pace {
  return { ...FIRST_PACE, failures, hasAnswered, pausedUntilMs: 500 };
}

describe('a batch that was not taken', () => {
  it('is due at once when it was not about it', () => {
    for (const fate of [REFUSED, LOCKED_OUT] as const) expect(dueAfter(fate, 9, paused(9), 50, 0.5)).toBe(50);
  });

  it('lets another be the next probe while the cluster is away', () => {
    const soon = 500 + NEXT_LOOK_GAP_MS;
    for (const attempts of [0, 1, 40]) expect(dueAfter(SILENT, attempts, paused(2), 50, 0)).toBe(soon);
    // Since a restart nobody has answered anybody: the first to fail is no more suspect than the next.
    for (const attempts of [0, 1, 40]) expect(dueAfter(SILENT, attempts, paused(1, false), 50, 0)).toBe(soon);
    expect(after([SILENT]).hasAnswered).toBe(false);
    for (const fate of [STORED, DEAD, REFUSED, FAILED]) expect(after([fate, SILENT]).hasAnswered).toBe(true);
  });

  it('is put behind the others, longer each time, when they are answered and it is not', () => {
    for (const fate of [SILENT, FAILED] as const) {
      const waits = [0, 1, 2, 5, 6, 40].map((attempts) => dueAfter(fate, attempts, paused(1), 50, 0) - 500);
      expect(waits).toEqual([1_000, 2_000, 4_000, 32_000, SUSPECT_WAIT_MAX_MS, SUSPECT_WAIT_MAX_MS]);
    }
  });
});
