/** What is remembered of foreign stores, and for how long. */

import { describe, expect, it } from 'vitest';
import { COORDINATORS_MAX, FeedbackBoard, LATE_MAX_MS } from '../../pipeline/backpressure/feedback.ts';
import type { Feedback } from '../../pipeline/contract/feedback.ts';
import type { Level } from '../../pipeline/contract/level.ts';

const EXPIRY_MS = 60_000;

function say(level: Level, more: Partial<Feedback> = {}): Feedback {
  return { coordinatorId: 'bars', queueSize: 1, capacity: 10, level, sentMs: undefined, ...more };
}

describe('feedback', () => {
  it('counts the worst of several coordinators, each by its last word', () => {
    const board = new FeedbackBoard(EXPIRY_MS);
    expect(board.level(0)).toBe('ok');
    board.hear(say('soft'), 0);
    board.hear(say('hard', { coordinatorId: 'ticks' }), 0);
    expect(board.level(0)).toBe('hard');
    board.hear(say('ok', { coordinatorId: 'ticks' }), 1);
    expect(board.level(1)).toBe('soft');
  });

  it('expires by itself, each coordinator on its own, and not a millisecond early', () => {
    // Seen failing: without the expiry a lost "ok" kept the level at hard for ever.
    const board = new FeedbackBoard(EXPIRY_MS);
    board.hear(say('hard'), 0);
    board.hear(say('soft', { coordinatorId: 'ticks' }), 1_000);
    expect([EXPIRY_MS - 1, EXPIRY_MS, EXPIRY_MS + 999, EXPIRY_MS + 1_000].map((nowMs) => board.level(nowMs))).toEqual([
      'hard',
      'soft',
      'soft',
      'ok',
    ]);
  });

  it('does not go back to what was sent before, where the sender tells when', () => {
    const board = new FeedbackBoard(EXPIRY_MS);
    expect(board.hear(say('ok', { sentMs: 2_000 }), 10)).toBe(true);
    expect(board.hear(say('hard', { sentMs: 1_000 }), 20)).toBe(false);
    expect(board.level(20)).toBe('ok');
    expect(board.hear(say('hard', { sentMs: 2_000 }), 30), 'a repeat is not older').toBe(true);
  });

  it('is remembered of a bounded number of coordinators, those heard last', () => {
    const board = new FeedbackBoard(EXPIRY_MS);
    board.hear(say('hard', { coordinatorId: 'first' }), 0);
    for (let at = 0; at < COORDINATORS_MAX; at += 1) board.hear(say('soft', { coordinatorId: `c${at}` }), 1);
    expect(board.coordinators(1).size).toBe(COORDINATORS_MAX);
    expect(board.level(1)).toBe('soft');
  });

  it('knows a late word as late even after the one before it has expired', () => {
    // Seen failing: with expired coordinators forgotten, the late "hard" counted for another expiry.
    const board = new FeedbackBoard(10_000);
    board.hear(say('ok', { sentMs: 5_000 }), 5_000);
    expect(board.hear(say('hard', { sentMs: 1_000 }), 31_000)).toBe(false);
    expect([board.level(31_000), board.coordinators(31_000).size]).toEqual(['ok', 0]);
  });

  it('takes an older time for a clock that went back once it cannot be a late word any more', () => {
    // Seen failing: with no end to the order, a store whose clock was an hour ahead once was never heard again.
    const board = new FeedbackBoard(600_000);
    board.hear(say('hard', { sentMs: 3_600_000 }), 0);
    const later = [1_000, LATE_MAX_MS - 1, LATE_MAX_MS].map((nowMs) => board.hear(say('ok', { sentMs: nowMs }), nowMs));
    expect(later).toEqual([false, false, true]);
    expect(board.level(LATE_MAX_MS)).toBe('ok');
  });

  it('keeps the order of timed words across one without a time', () => {
    const board = new FeedbackBoard(EXPIRY_MS);
    board.hear(say('ok', { sentMs: 2_000 }), 2_000);
    expect(board.hear(say('soft'), 3_000)).toBe(true);
    expect(board.hear(say('hard', { sentMs: 1_000 }), 4_000)).toBe(false);
    expect(board.level(4_000)).toBe('soft');
  });
});
