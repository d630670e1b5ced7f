/**
 * The whole table of levels: every reason in every state, from every state before, to the level, its scale and what
 * admission says. Typed so that a missing entry does not compile.
 */

import { describe, expect, it } from 'vitest';
import { type Circuit, Throttle } from '../../pipeline/backpressure/throttle.ts';
import { LEVEL_NUMBER, type Level, RATE_SCALE } from '../../pipeline/contract/level.ts';
import { queueOf } from '../support/queue-view.ts';
import { newSeed, randomFrom } from '../support/random.ts';

const LEVELS = ['ok', 'soft', 'hard'] as const satisfies readonly Level[];

type Band = 'low' | 'between' | 'high' | 'full';
type Next = Readonly<Record<Level, Readonly<Record<Band, Level>>>>;

/** The level before, and where the share lies now. */
const QUEUE_NEXT: Next = {
  ok: { low: 'ok', between: 'ok', high: 'soft', full: 'hard' },
  soft: { low: 'ok', between: 'soft', high: 'soft', full: 'hard' },
  hard: { low: 'ok', between: 'soft', high: 'hard', full: 'hard' },
};
const QUEUE_TICKS: Readonly<Record<Band, number>> = { low: 1_999, between: 4_900, high: 5_000, full: 9_000 };
const QUEUE_TICKS_TO: Readonly<Record<Level, number>> = { ok: 0, soft: 6_000, hard: 9_500 };

/** Of memory the bands are narrower: between is 0.75 to 0.8, high 0.85 to 0.9. */
const MEMORY_NEXT: Next = QUEUE_NEXT;
const MEMORY_SHARE: Readonly<Record<Band, number>> = { low: 0.749, between: 0.799, high: 0.85, full: 0.9 };
const MEMORY_SHARE_TO: Readonly<Record<Level, number>> = { ok: 0, soft: 0.84, hard: 0.95 };

const STORE: Readonly<Record<Circuit, Level>> = { closed: 'ok', half_open: 'soft', open: 'hard' };

const WORSE: Readonly<Record<Level, Readonly<Record<Level, Level>>>> = {
  ok: { ok: 'ok', soft: 'soft', hard: 'hard' },
  soft: { ok: 'soft', soft: 'soft', hard: 'hard' },
  hard: { ok: 'hard', soft: 'hard', hard: 'hard' },
};

const SCALE: Readonly<Record<Level, number>> = { ok: 1, soft: 0.5, hard: 0 };

/** To half a burst, to the other half, and to one tick more: what {@link says} returns. */
const ADMITS: Readonly<Record<Level, readonly [half: string, other: string, more: string]>> = {
  ok: ['ok', 'ok', 'over-budget'],
  soft: ['ok', 'backpressure', 'over-budget'],
  hard: ['backpressure', 'backpressure', 'over-budget'],
};

const BUDGET = { ticksPerSecond: 100, burst: 200 };

function keysOf<Key extends string>(table: Readonly<Record<Key, unknown>>): Key[] {
  return Object.keys(table) as Key[];
}

function says(one: Throttle, provider: string): string[] {
  const answer = (ticks: number): string => {
    const outcome = one.admit(provider, ticks, 0);
    return outcome.ok ? 'ok' : outcome.why;
  };
  return [answer(100), answer(100), answer(1)];
}

const before = LEVELS.flatMap((queue) => LEVELS.map((memory) => ({ queue, memory })));

describe('the level of a provider', () => {
  it.each(before)('after queue $queue and memory $memory is the worst of all its reasons', ({ queue, memory }) => {
    // Seen failing, after every state: with the queue's marks for memory, and with half_open counted as ok.
    let rows = 0;
    for (const queueBand of keysOf(QUEUE_TICKS)) {
      for (const memoryBand of keysOf(MEMORY_SHARE)) {
        for (const circuit of keysOf(STORE)) {
          for (const feedback of LEVELS) {
            const one = new Throttle(new Map(), BUDGET, RATE_SCALE);
            const feed = (ticks: number, memoryShare: number, more: { circuit: Circuit; feedback: Level }): void =>
              one.observe({ queue: queueOf({ ibkr: ticks }), memoryShare, ...more });
            feed(QUEUE_TICKS_TO[queue], MEMORY_SHARE_TO[memory], { circuit: 'closed', feedback: 'ok' });
            // From here on the provider has an account, which remembers: it has pushed, if nothing.
            one.admit('ibkr', 0, 0);
            expect(one.reasonsOf('ibkr')).toMatchObject({ queue, memory });
            feed(QUEUE_TICKS[queueBand], MEMORY_SHARE[memoryBand], { circuit, feedback });

            const reasons = {
              queue: QUEUE_NEXT[queue][queueBand],
              store: STORE[circuit],
              feedback,
              memory: MEMORY_NEXT[memory][memoryBand],
            };
            const level = WORSE[WORSE[reasons.queue][reasons.store]][WORSE[reasons.feedback][reasons.memory]];
            const row = `${queueBand} ${memoryBand} ${circuit} ${feedback}`;
            expect([one.reasonsOf('ibkr'), one.reasons], row).toEqual([reasons, reasons]);
            expect([one.levelOf('ibkr'), one.rateScaleOf('ibkr')], row).toEqual([level, SCALE[level]]);
            expect([one.level, one.rateScale], row).toEqual([level, SCALE[level]]);
            expect(one.creditOf('ibkr') > 0, row).toBe(level === 'ok');
            rows += 1;
          }
        }
      }
    }
    expect(rows).toBe(4 * 4 * 3 * 3);
  });

  it.each(LEVELS)('is %s: admission says what the level stands for', (level) => {
    const one = new Throttle(new Map(), BUDGET, RATE_SCALE);
    one.observe({ queue: queueOf({}), circuit: 'closed', feedback: level, memoryShare: 0 });
    expect(says(one, 'ibkr')).toEqual(ADMITS[level]);
  });
});

/** What part of the fullest provider's ticks another one has. */
const PARTS = ['none', 'under half', 'over half', 'nearly as much'] as const;
const PART: Readonly<Record<(typeof PARTS)[number], number>> = {
  none: 0,
  'under half': 0.2,
  'over half': 0.6,
  'nearly as much': 0.99,
};

/** The whole queue's level by its share, and the other provider's own, both from ok. */
const FAIR: Readonly<Record<'0.45' | '0.6' | '0.95', Readonly<Record<(typeof PARTS)[number], Level>>>> = {
  '0.45': { none: 'ok', 'under half': 'ok', 'over half': 'ok', 'nearly as much': 'ok' },
  '0.6': { none: 'ok', 'under half': 'ok', 'over half': 'ok', 'nearly as much': 'soft' },
  '0.95': { none: 'ok', 'under half': 'ok', 'over half': 'soft', 'nearly as much': 'hard' },
};
const WHOLE: Readonly<Record<keyof typeof FAIR, Level>> = { '0.45': 'ok', '0.6': 'soft', '0.95': 'hard' };

describe('the queue as a reason', () => {
  it.each(keysOf(FAIR).flatMap((share) => PARTS.map((part) => ({ share, part, level: FAIR[share][part] }))))(
    'is $level at a share of $share for who has $part of what the fullest has',
    ({ share, part, level }) => {
      const total = Number(share) * 10_000;
      const flood = total / (1 + PART[part]);
      const one = new Throttle(new Map(), BUDGET, RATE_SCALE);
      const queue = queueOf({ flood, other: total - flood });
      one.observe({ queue, circuit: 'closed', feedback: 'ok', memoryShare: 0 });
      expect([one.reasons.queue, one.levelOf('flood'), one.levelOf('other')]).toEqual([
        WHOLE[share],
        WHOLE[share],
        level,
      ]);
      expect(LEVEL_NUMBER[level]).toBeLessThanOrEqual(LEVEL_NUMBER[WHOLE[share]]);
      // Beyond the hard mark there is room for those at ok alone: a batch of who is at soft turns it hard.
      expect(says(one, 'other')).toEqual(ADMITS[WHOLE[share] === 'hard' && level === 'soft' ? 'hard' : level]);
    },
  );

  it.each(LEVELS)('does not soften what concerns everybody: store, feedback and memory at %s', (level) => {
    const circuit = keysOf(STORE).find((state) => STORE[state] === level)!;
    for (const seen of [
      { circuit, feedback: 'ok', memoryShare: 0 },
      { circuit: 'closed', feedback: level, memoryShare: 0 },
      { circuit: 'closed', feedback: 'ok', memoryShare: MEMORY_SHARE_TO[level] },
    ] as const) {
      const one = new Throttle(new Map(), BUDGET, RATE_SCALE);
      one.observe({ queue: queueOf({ flood: 9_500 }), ...seen });
      expect([one.levelOf('flood'), one.levelOf('other')]).toEqual(['hard', level]);
    }
  });

  it('is forgotten by who was not looked at, once the whole queue was at ok', () => {
    // Seen failing: without the reset the second provider was at soft for a flood of the first.
    const one = new Throttle(new Map(), BUDGET, RATE_SCALE);
    const levels = (ticks: Record<string, number>): void =>
      one.observe({ queue: queueOf(ticks), circuit: 'closed', feedback: 'ok', memoryShare: 0 });
    one.admission('other', 0);
    levels({ other: 6_000 });
    expect(one.levelOf('other')).toBe('soft');
    levels({});
    levels({ flood: 5_000, other: 2_500 });
    expect([one.levelOf('flood'), one.levelOf('other')]).toEqual(['soft', 'ok']);
  });

  const seed = newSeed();
  it(`is never worse for a provider than for the pod, whoever was looked at when (MDP_TEST_SEED=${seed})`, () => {
    // Seen failing: with a provider's own memory alone, one not looked at since hard was worse than the pod at soft.
    const random = randomFrom(seed);
    const one = new Throttle(new Map(), BUDGET, RATE_SCALE);
    const names = ['a', 'b', 'c'];
    for (const name of names) one.admission(name, 0);
    for (let step = 0; step < 5_000; step += 1) {
      const ticks = Object.fromEntries(names.map((name) => [name, random.pick([0, 1_000, 2_000, 3_000])]));
      one.observe({ queue: queueOf(ticks), circuit: 'closed', feedback: 'ok', memoryShare: 0 });
      const looked = names.filter(() => random.chance(0.3));
      const worse = looked.filter((name) => LEVEL_NUMBER[one.levelOf(name)] > LEVEL_NUMBER[one.level]);
      expect(worse).toEqual([]);
    }
  });
});
