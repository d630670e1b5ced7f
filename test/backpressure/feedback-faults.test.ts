/**
 * A foreign store's words on a bad network: dropped, repeated, out of order, up to 30 s late. Its broadcaster says its
 * level at every interval, in bodies of six keys (no time in them) or eight, or only when its level changes.
 */

import { describe, expect, it } from 'vitest';
import { FeedbackBoard } from '../../pipeline/backpressure/feedback.ts';
import { parseFeedback } from '../../pipeline/contract/feedback.ts';
import type { Level } from '../../pipeline/contract/level.ts';
import { newSeed, type Random, randomFrom } from '../support/random.ts';

const EXPIRY_MS = 60_000;
const INTERVAL_MS = 5_000;
/** Of a word without a fault. */
const TRANSIT_MAX_MS = 50;
const DELAY_MAX_MS = 30_000;
const FAULTY_MS = 120_000;
const QUEUE: Readonly<Record<Level, number>> = { ok: 5_000, soft: 5_001, hard: 8_000 };

type Keys = 'six' | 'eight';

interface Sent {
  body: string;
  level: Level;
  sentMs: number;
  arrivesMs: number;
}

function bodyOf(level: Level, sentMs: number, keys: Keys): string {
  const reason = level === 'ok' ? '"queue_recovered"' : 'null';
  const six = `{"coordinator_id":"bars-coord","queue_size":${QUEUE[level]},"capacity":10000,"level":"${level}","reason":${reason},"utilization":${QUEUE[level] / 10_000}`;
  return keys === 'six' ? `${six}}` : `${six},"source":"store","ts":${sentMs / 1_000}}`;
}

interface Truth {
  level: Level;
  sinceMs: number;
}

/** The true level over time: a new one every 1 to 40 s. */
function truthOf(random: Random, untilMs: number): (nowMs: number) => Truth {
  const changes: Truth[] = [];
  for (let sinceMs = 0; sinceMs < untilMs; sinceMs += random.between(1_000, 40_000)) {
    changes.push({ sinceMs, level: random.pick(['ok', 'soft', 'hard']) });
  }
  return (nowMs) => changes.findLast(({ sinceMs }) => sinceMs <= nowMs)!;
}

/** What arrives when, and when the last fault was: a word that was lost, or one that came late or once more. */
function broadcast(
  random: Random,
  truth: (nowMs: number) => Truth,
  keys: Keys,
  untilMs: number,
): { sent: Sent[]; lastFaultMs: number } {
  const sent: Sent[] = [];
  let lastFaultMs = 0;
  for (let sentMs = random.below(INTERVAL_MS); sentMs < untilMs; sentMs += INTERVAL_MS) {
    const { level } = truth(sentMs);
    const word = { body: bodyOf(level, sentMs, keys), level, sentMs };
    const arrive = (arrivesMs: number): void => void sent.push({ ...word, arrivesMs });
    const fault = sentMs < FAULTY_MS ? random.pick(['none', 'drop', 'repeat', 'delay', 'delay']) : 'none';
    if (fault === 'drop') lastFaultMs = Math.max(lastFaultMs, sentMs);
    if (fault === 'none' || fault === 'repeat') arrive(sentMs + random.below(TRANSIT_MAX_MS));
    if (fault === 'repeat' || fault === 'delay') {
      const lateMs = sentMs + random.between(TRANSIT_MAX_MS, DELAY_MAX_MS);
      lastFaultMs = Math.max(lastFaultMs, lateMs);
      arrive(lateMs);
    }
  }
  return { sent: sent.sort((left, right) => left.arrivesMs - right.arrivesMs), lastFaultMs };
}

function hear(board: FeedbackBoard, word: Sent): void {
  const parsed = parseFeedback(word.body);
  if (!parsed.ok) throw new Error(parsed.detail);
  board.hear(parsed.feedback, word.arrivesMs);
}

describe('the level that a foreign store says at every interval', () => {
  const seed = newSeed();

  it.each(['six', 'eight'] as const)(
    `is right within two intervals of the last fault, in bodies of %s keys (MDP_TEST_SEED=${seed})`,
    (keys) => {
      const random = randomFrom(seed);
      let looks = 0;
      for (let run = 0; run < 100; run += 1) {
        const untilMs = FAULTY_MS + 3 * EXPIRY_MS;
        const truth = truthOf(random, untilMs);
        const { sent, lastFaultMs } = broadcast(random, truth, keys, untilMs);
        const board = new FeedbackBoard(EXPIRY_MS);
        for (let nowMs = 0; nowMs < untilMs - INTERVAL_MS; nowMs += 250) {
          while (sent.length > 0 && sent[0]!.arrivesMs <= nowMs) hear(board, sent.shift()!);
          if (nowMs < lastFaultMs + 2 * INTERVAL_MS) continue;
          const { level, sinceMs } = truth(nowMs);
          // What changed within the last interval need not have been said yet.
          if (nowMs - sinceMs < INTERVAL_MS + TRANSIT_MAX_MS) continue;
          expect(board.level(nowMs), `run ${run} at ${nowMs} ms`).toBe(level);
          looks += 1;
        }
      }
      expect(looks).toBeGreaterThan(10_000);
    },
  );

  it(`never goes back to an older word where words tell their time, faults or not (MDP_TEST_SEED=${seed})`, () => {
    // Seen failing: without the order, and, at a short expiry, with expired coordinators forgotten.
    const random = randomFrom(seed);
    for (let run = 0; run < 200; run += 1) {
      const truth = truthOf(random, FAULTY_MS);
      const { sent } = broadcast(random, truth, 'eight', FAULTY_MS);
      const expiryMs = random.pick([EXPIRY_MS, 8_000]);
      const board = new FeedbackBoard(expiryMs);
      let newest: Sent | undefined;
      for (const word of sent) {
        hear(board, word);
        if (newest === undefined || word.sentMs >= newest.sentMs) newest = word;
        const shown = board.coordinators(word.arrivesMs).get('bars-coord');
        // Silence too long, though late words came meanwhile, is none of them.
        expect(shown?.level ?? newest.level).toBe(newest.level);
        expect(board.level(word.arrivesMs)).toBe(shown?.level ?? 'ok');
      }
    }
  });

  it.each(['six', 'eight'] as const)(
    `is stuck nowhere when the store falls silent: ok once all has expired, in bodies of %s keys (MDP_TEST_SEED=${seed})`,
    (keys) => {
      const random = randomFrom(seed);
      for (let run = 0; run < 200; run += 1) {
        const { sent } = broadcast(random, truthOf(random, FAULTY_MS), keys, FAULTY_MS);
        const board = new FeedbackBoard(EXPIRY_MS);
        for (const word of sent) hear(board, word);
        expect(board.level(sent.at(-1)!.arrivesMs + EXPIRY_MS)).toBe('ok');
      }
    },
  );
});

describe('the level that a foreign store says once, when it changes', () => {
  const seed = newSeed();
  it(`is right again an expiry after the last fault at the latest, whatever was lost (MDP_TEST_SEED=${seed})`, () => {
    // The original's broadcaster: its words carry no order, and a lost "ok" is not said again. Expiry is what heals.
    const random = randomFrom(seed);
    for (let run = 0; run < 500; run += 1) {
      const board = new FeedbackBoard(EXPIRY_MS);
      const words: Sent[] = [];
      let lastFaultMs = 0;
      let sentMs = 0;
      for (const level of ['soft', 'hard', 'ok', 'soft', 'ok'] as const) {
        sentMs += random.between(1_000, 20_000);
        const lateMs = random.pick([0, 0, DELAY_MAX_MS]);
        const word = { body: bodyOf(level, sentMs, 'six'), level, sentMs, arrivesMs: sentMs + lateMs };
        lastFaultMs = Math.max(lastFaultMs, word.arrivesMs);
        if (!random.chance(0.3)) words.push(word);
      }
      words.sort((left, right) => left.arrivesMs - right.arrivesMs);
      for (const word of words) hear(board, word);
      expect(board.level(lastFaultMs + EXPIRY_MS)).toBe('ok');
    }
  });
});
