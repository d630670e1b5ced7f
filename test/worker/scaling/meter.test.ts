/** What isolates count, what the meter makes of it, and what it says when it does not know. */

import { describe, expect, it } from 'vitest';
import type { OutboxNamespace, OutboxTotals } from '../../../worker/outbox/calls.ts';
import type { BatchOutcome, MeterCalls, ScalingReport } from '../../../worker/scaling/calls.ts';
import { DEMAND_WINDOW_SECONDS, LISTENED_MIN_SECONDS, SETTLE_SECONDS } from '../../../worker/scaling/demand.ts';
import { ScalingLedger } from '../../../worker/scaling/ledger.ts';
import {
  ASK_EMPTY_INTERVAL_MS,
  ASK_INTERVAL_MS,
  ASK_TIMEOUT_MS,
  KNOWN_MAX_MS,
  OutboxWatch,
} from '../../../worker/scaling/outstanding.ts';
import { RecentKeys, REMEMBER_MS } from '../../../worker/scaling/recent.ts';
import { REPORT_INTERVAL_MS, ScalingReporter } from '../../../worker/scaling/reporter.ts';
import { ARRIVALS_MAX, REFUSED_MAX, ScalingTally } from '../../../worker/scaling/tally.ts';
import { newSeed, randomFrom } from '../../support/random.ts';

const START_MS = 1_763_908_200_000;
const START_SECOND = START_MS / 1000;

let made = 0;
function report(more: Partial<ScalingReport> = {}): ScalingReport {
  made += 1;
  return { id: `r${made}`, arrivals: [], refused: [], batches: [], ...more };
}

function arrived(second: number, ticks: number, provider = 'ibkr'): ScalingReport {
  return report({ arrivals: [{ provider, second, ticks }] });
}

describe('keys of late', () => {
  it('are known for two minutes at least and four at most', () => {
    const recent = new RecentKeys();
    expect(recent.isFirst('a', START_MS)).toBe(true);
    expect(recent.isFirst('a', START_MS + REMEMBER_MS - 1)).toBe(false);
    expect(recent.isFirst('b', START_MS + REMEMBER_MS - 1)).toBe(true);
    expect(recent.isFirst('c', START_MS + REMEMBER_MS)).toBe(true);
    expect(recent.has('b', START_MS + 2 * REMEMBER_MS - 2)).toBe(true);
    expect(recent.has('b', START_MS + 3 * REMEMBER_MS)).toBe(false);
    expect(recent.isFirst('a', START_MS + 3 * REMEMBER_MS)).toBe(true);
  });

  it('never number more than their bound, and the newest half of it is always known', () => {
    const recent = new RecentKeys(10);
    for (let at = 0; at < 1_000; at += 1) {
      expect(recent.isFirst(`k${at}`, START_MS)).toBe(true);
      for (let back = 0; back < Math.min(5, at); back += 1) expect(recent.has(`k${at - back}`, START_MS)).toBe(true);
      expect(at >= 10 && recent.has(`k${at - 10}`, START_MS)).toBe(false);
    }
  });
});

describe('the marks of keys', () => {
  const seed = newSeed();

  it(`tell apart keys that are nearly alike, and know each of them again (seed ${seed})`, () => {
    const random = randomFrom(seed);
    const keys = new Set<string>();
    while (keys.size < 20_000) {
      const provider = random.between(0, 1) === 0 ? 'ibkr' : 'acme';
      keys.add(`${provider}/batch-${random.between(0, 99_999)}${'0'.repeat(random.between(0, 2))}`);
    }
    const recent = new RecentKeys();
    for (const key of keys) expect(recent.isFirst(key, START_MS), key).toBe(true);
    for (const key of keys) expect(recent.isFirst(key, START_MS), key).toBe(false);
  });
});

const note = (tally: ScalingTally, batch: string, outcome: BatchOutcome, ticks?: number, nowMs = START_MS): void =>
  tally.note({ provider: 'ibkr', batch, outcome, ticks, arrivedMs: nowMs }, nowMs);

describe('the tally of an isolate', () => {
  it('counts each batch once, however often it comes and however it ends', () => {
    const tally = new ScalingTally();
    for (const outcome of ['over_budget', 'over_budget', 'buffered', 'stored'] as const) note(tally, 'b1', outcome, 10);
    note(tally, 'b2', 'stored', 5);
    note(tally, 'b2', 'stored', 5);
    const { arrivals, refused, batches } = tally.take('r');
    expect(arrivals).toEqual([{ provider: 'ibkr', second: START_SECOND, ticks: 5 }]);
    expect(refused).toEqual([{ batch: 'ibkr/b1', provider: 'ibkr', second: START_SECOND, ticks: 10 }]);
    expect(Object.fromEntries(batches.map(({ outcome, count }) => [outcome, count]))).toEqual({
      over_budget: 2,
      buffered: 1,
      stored: 3,
    });
    expect(tally.isEmpty).toBe(true);
  });

  it('takes the same id of two providers for two batches', () => {
    const tally = new ScalingTally();
    for (const provider of ['ibkr', 'acme']) {
      tally.note({ provider, batch: 'b1', outcome: 'stored', ticks: 1, arrivedMs: START_MS }, START_MS);
    }
    expect(tally.take('r').arrivals).toHaveLength(2);
  });

  it('counts a batch in the second in which it came, however late it was answered', () => {
    const tally = new ScalingTally();
    tally.note({ provider: 'ibkr', batch: 'b1', outcome: 'stored', ticks: 3, arrivedMs: START_MS }, START_MS + 8_000);
    tally.note({ provider: 'ibkr', batch: 'b2', outcome: 'refused', ticks: 4, arrivedMs: START_MS }, START_MS + 8_000);
    const { arrivals, refused } = tally.take('r');
    expect(arrivals).toEqual([{ provider: 'ibkr', second: START_SECOND, ticks: 3 }]);
    expect(refused).toEqual([{ batch: 'ibkr/b2', provider: 'ibkr', second: START_SECOND, ticks: 4 }]);
  });

  it('does not remember a batch whose ticks nobody could count', () => {
    const tally = new ScalingTally();
    note(tally, 'b1', 'rejected');
    note(tally, 'b1', 'stored', 7);
    expect(tally.take('r').arrivals).toEqual([{ provider: 'ibkr', second: START_SECOND, ticks: 7 }]);
  });

  it('is bounded while nobody takes it, and gives up the oldest', () => {
    const tally = new ScalingTally();
    for (let at = 0; at < ARRIVALS_MAX + 100; at += 1) note(tally, `b${at}`, 'stored', 1, START_MS + at * 1000);
    for (let at = 0; at < REFUSED_MAX + 10; at += 1) note(tally, `c${at}`, 'refused', 1, START_MS + 1e8);
    const { arrivals, refused } = tally.take('r');
    expect(arrivals).toHaveLength(ARRIVALS_MAX);
    expect(arrivals.at(-1)).toEqual({ provider: 'ibkr', second: START_SECOND + 1e5, ticks: 10 });
    expect(refused).toHaveLength(REFUSED_MAX);
  });
});

function world() {
  const clock = { nowMs: START_MS };
  const taken: ScalingReport[] = [];
  const control: { fails: boolean } = { fails: false };
  const works: Promise<unknown>[] = [];
  const meter: MeterCalls = {
    report: async (one) => {
      taken.push(one);
      if (control.fails) throw new Error('away');
    },
    figures: async () => undefined,
  };
  const reporter = new ScalingReporter({
    nowMs: () => clock.nowMs,
    wait: async (ms) => void (clock.nowMs += ms),
  });
  const scope = {
    env: { METER: { getByName: () => meter } },
    waitUntil: (work: Promise<unknown>) => void works.push(work),
  };
  let batches = 0;
  const note = async (): Promise<void> => {
    batches += 1;
    reporter.note(scope, {
      provider: 'ibkr',
      batch: `b${batches}`,
      outcome: 'stored',
      ticks: 1,
      arrivedMs: clock.nowMs,
    });
    await Promise.all(works);
  };
  return { clock, taken, control, works, note, reporter, scope };
}

describe('the way to the meter', () => {
  it('is gone at most every two seconds, however many batches come', async () => {
    const { clock, works, note } = world();
    for (let at = 0; at < 50; at += 1) await note();
    expect(works.length).toBe(50); // the clock moves with each wait
    expect(clock.nowMs).toBe(START_MS + 49 * REPORT_INTERVAL_MS);
  });

  it('loses nothing when the meter is away: the same report goes again under its id', async () => {
    const { taken, control, note } = world();
    control.fails = true;
    await note();
    control.fails = false;
    await note();
    expect(taken.map(({ arrivals }) => arrivals.reduce((sum, { ticks }) => sum + ticks, 0))).toEqual([1, 1, 1]);
    expect(taken[0]!.id).toBe(taken[1]!.id);
    expect(taken[2]!.id).not.toBe(taken[1]!.id);
  });

  it('costs nothing where there is no meter', () => {
    const { works, reporter, scope } = world();
    const batch = { provider: 'ibkr', batch: 'b', outcome: 'stored', ticks: 1, arrivedMs: START_MS } as const;
    reporter.note({ ...scope, env: {} }, batch);
    expect(works).toHaveLength(0);
  });
});

describe('the demand', () => {
  it('is not known before it was listened to, and exact from then on', () => {
    const ledger = new ScalingLedger(START_MS);
    const knownFromMs = START_MS + (LISTENED_MIN_SECONDS + SETTLE_SECONDS) * 1000;
    for (let second = 0; second < 60; second += 1) {
      const nowMs = START_MS + second * 1000;
      ledger.take(arrived(START_SECOND + second, 500), nowMs + 999);
      const demand = ledger.ticksPerSecond('ibkr', nowMs);
      expect(demand).toBe(nowMs < knownFromMs ? undefined : 500);
    }
    expect(ledger.ticksPerSecond('acme', START_MS + 60_000)).toBe(0);
  });

  it('leaves by itself when an isolate dies or is silent', () => {
    const ledger = new ScalingLedger(START_MS - 60_000);
    ledger.take(arrived(START_SECOND, 2_000), START_MS + 500);
    expect(ledger.ticksPerSecond('ibkr', START_MS + (SETTLE_SECONDS + 1) * 1000)).toBe(2_000 / DEMAND_WINDOW_SECONDS);
    expect(ledger.ticksPerSecond('ibkr', START_MS + (SETTLE_SECONDS + DEMAND_WINDOW_SECONDS + 1) * 1000)).toBe(0);
  });

  const seed = newSeed();
  it(`of many isolates with late, repeated and skewed reports is the ticks of the window (seed ${seed})`, () => {
    const random = randomFrom(seed);
    const ledger = new ScalingLedger(START_MS - 60_000);
    const bySecond = new Map<number, number>();
    const sent: { atMs: number; report: ScalingReport }[] = [];
    for (let second = 0; second < 40; second += 1) {
      for (let isolate = 0; isolate < 5; isolate += 1) {
        const ticks = random.below(1_000);
        bySecond.set(second, (bySecond.get(second) ?? 0) + ticks);
        const one = {
          atMs: START_MS + second * 1000 + random.below(2_900),
          report: arrived(START_SECOND + second, ticks),
        };
        sent.push(one);
        if (random.below(4) === 0) sent.push({ ...one, atMs: one.atMs + random.below(20_000) });
      }
    }
    for (const { atMs, report: one } of sent.toSorted((a, b) => a.atMs - b.atMs)) ledger.take(one, atMs);
    const end = 38;
    let expected = 0;
    for (let second = end - DEMAND_WINDOW_SECONDS; second < end; second += 1) expected += bySecond.get(second)!;
    const nowMs = START_MS + (end + SETTLE_SECONDS) * 1000;
    expect(ledger.ticksPerSecond('ibkr', nowMs)).toBe(expected / DEMAND_WINDOW_SECONDS);
    expect(ledger.counters('ibkr').ticksOffered).toBe([...bySecond.values()].reduce((a, b) => a + b, 0));
  });

  it('takes a clock that is ahead for ours, and leaves out what is a minute late', () => {
    const ledger = new ScalingLedger(START_MS - 60_000);
    ledger.take(arrived(START_SECOND + 3_600, 100), START_MS);
    ledger.take(arrived(START_SECOND - 61, 100), START_MS);
    expect(ledger.ticksPerSecond('ibkr', START_MS + 4_000)).toBe(5);
  });

  it('counts a batch that several isolates refuse once', () => {
    const ledger = new ScalingLedger(START_MS - 60_000);
    const refused = [{ batch: 'ibkr/b1', provider: 'ibkr', second: START_SECOND, ticks: 100 }];
    for (let isolate = 0; isolate < 9; isolate += 1) ledger.take(report({ refused }), START_MS);
    expect(ledger.counters('ibkr').ticksOffered).toBe(100);
  });
});

function watched() {
  const clock = { nowMs: START_MS };
  const control: { calls: number; totals: OutboxTotals; broken: boolean } = {
    calls: 0,
    totals: { batches: 1, ticks: 70, bytes: 9, oldestMs: START_MS - 4_000 },
    broken: false,
  };
  const namespace = {
    getByName: () => ({
      totals: async () => {
        control.calls += 1;
        if (control.broken) throw new Error('away');
        return control.totals;
      },
    }),
  } as unknown as OutboxNamespace;
  const watch = new OutboxWatch(() => clock.nowMs);
  return { clock, control, ask: (bufferedMs?: number) => watch.outstanding(namespace, 'ibkr', bufferedMs), watch };
}

describe('what the outboxes hold', () => {
  it('is asked at most every five seconds, and ages meanwhile', async () => {
    const { clock, control, ask } = watched();
    const held = { ticks: 70, oldestSeconds: 4 };
    expect(await Promise.all([ask(), ask(), ask()])).toEqual([held, held, held]);
    clock.nowMs += ASK_INTERVAL_MS - 1;
    expect((await ask())!.oldestSeconds).toBeCloseTo(9, 2);
    expect(control.calls).toBe(1);
    clock.nowMs += 1;
    await ask();
    expect(control.calls).toBe(2);
  });

  it('is not asked while it is empty and nothing was reported to go in', async () => {
    const { clock, control, ask } = watched();
    control.totals = { batches: 0, ticks: 0, bytes: 0, oldestMs: null };
    await ask();
    clock.nowMs += 30_000;
    expect(await ask()).toEqual({ ticks: 0, oldestSeconds: 0 });
    expect(control.calls).toBe(1);
    await ask(clock.nowMs);
    expect(control.calls).toBe(2);
    clock.nowMs += ASK_EMPTY_INTERVAL_MS;
    await ask(clock.nowMs - 100_000);
    expect(control.calls).toBe(3);
  });

  it('is not known, never 0, when the outbox does not say', async () => {
    const { clock, control, ask } = watched();
    control.broken = true;
    expect(await ask()).toBeUndefined();
    control.broken = false;
    expect(await ask()).toMatchObject({ ticks: 70 });
    control.broken = true;
    clock.nowMs += KNOWN_MAX_MS;
    expect(await ask()).toMatchObject({ ticks: 70 });
    clock.nowMs += 1;
    expect(await ask()).toBeUndefined();
  });

  it('is not waited for longer than two seconds', { timeout: 2 * ASK_TIMEOUT_MS }, async () => {
    const { watch } = watched();
    const silent = { getByName: () => ({ totals: () => new Promise(() => undefined) }) } as unknown as OutboxNamespace;
    expect(await watch.outstanding(silent, 'ibkr', undefined)).toBeUndefined();
  });
});
