/** From facts to states: every reason for a state, and that silence alone turns each of them to unknown. */

import { describe, expect, it } from 'vitest';
import type { BatchCounts, CanaryOutcome, Facts } from '../../../worker/status/facts.ts';
import { noFacts } from '../../../worker/status/facts.ts';
import { judge, type Judged, silentAfterMs, type State, worse } from '../../../worker/status/judge.ts';
import { PACE } from '../../../worker/status/pace.ts';
import { NO_BATCHES } from '../../../worker/status/window.ts';
import { canary, check, fineFacts, NOW_MS } from '../../support/status-models.ts';

function judged(facts: Facts, nowMs = NOW_MS): Record<string, Judged> {
  return Object.fromEntries(judge(facts, ['ibkr', 'unheard'], nowMs, PACE).map((one) => [one.id, one]));
}

function states(facts: Facts, nowMs = NOW_MS): string {
  return Object.values(judged(facts, nowMs))
    .map(({ state }) => state)
    .join(' ');
}

function batches(counts: Partial<BatchCounts>): Facts {
  return fineFacts({ window: [{ startMs: NOW_MS - 10_000, ...NO_BATCHES, ...counts }] });
}

describe('a system that is well', () => {
  it('is operational in every component, in words and without a cause', () => {
    expect(states(fineFacts())).toBe('operational operational operational operational');
    for (const one of Object.values(judged(fineFacts()))) expect(one).toMatchObject({ cause: null });
  });

  it('shows no provider that has not been heard of', () => {
    expect(Object.keys(judged(fineFacts()))).toEqual(['edge', 'cluster', 'store', 'provider-ibkr']);
  });
});

describe('silence', () => {
  it('turns every component to unknown within 90 s of its own measurement, to the millisecond', () => {
    const facts = fineFacts();
    // The canary is 12 s old, the look at the cluster 4 s.
    expect(states(facts, NOW_MS + 78_000 - 1)).toBe('operational operational operational degraded');
    expect(states(facts, NOW_MS + 78_000)).toBe('operational operational unknown degraded');
    expect(states(facts, NOW_MS + 86_000)).toBe('unknown unknown unknown unknown');
    expect(states(facts, NOW_MS + 30 * 86_400_000)).toBe('unknown unknown unknown unknown');
  });

  it.each([0, 1, 1_000, 45_000, 77_999])(
    'says %i ms later until when each state holds, and it holds until then',
    (ms) => {
      for (const one of Object.values(judged(fineFacts(), NOW_MS + ms))) {
        const after = judged(fineFacts(), one.goodUntilMs)[one.id];
        expect(after!.state).toBe('unknown');
      }
    },
  );

  it('of everything, ever, is unknown', () => {
    expect(judged(noFacts(NOW_MS))).toMatchObject({
      edge: { state: 'unknown', words: 'Not measured yet' },
      cluster: { state: 'unknown' },
      store: { state: 'unknown' },
    });
  });

  it('counts as such when a measurement lies in the far future: a clock was set back', () => {
    expect(states(fineFacts(), NOW_MS - 86_400_000)).toBe('unknown unknown unknown unknown');
  });
});

describe('the edge', () => {
  const cases: [string, Facts, State, string | null][] = [
    ['no batches at all', batches({}), 'operational', null],
    ['few batches, all refused', batches({ refused: 9 }), 'operational', null],
    ['4 % refused', batches({ stored: 96, refused: 4 }), 'operational', null],
    ['5 % refused', batches({ stored: 95, refused: 5 }), 'degraded', 'refusing'],
    ['49 % refused', batches({ stored: 51, refused: 49 }), 'degraded', 'refusing'],
    ['half refused', batches({ stored: 5, refused: 5 }), 'outage', 'refusing'],
    ['all of the senders own errors', batches({ rejected: 100 }), 'operational', null],
    ['everything held at the edge', batches({ buffered: 100 }), 'operational', null],
    ['wrong settings', fineFacts({ setUp: false }), 'outage', 'not_set_up'],
    [
      'a backlog of a minute',
      fineFacts({ load: { atMs: NOW_MS, ticksPerSecond: 1, outstandingTicks: 9, oldestAgeSeconds: 60 } }),
      'degraded',
      'backlog',
    ],
    [
      'a backlog of 59 s',
      fineFacts({ load: { atMs: NOW_MS, ticksPerSecond: 1, outstandingTicks: 9, oldestAgeSeconds: 59 } }),
      'operational',
      null,
    ],
  ];
  it.each(cases)('with %s is as it should be', (_, facts, state, cause) => {
    expect(judged(facts)['edge']).toMatchObject({ state, cause });
  });

  it('forgets refusals that are more than a minute old', () => {
    const facts = fineFacts({ window: [{ startMs: NOW_MS - 66_000, ...NO_BATCHES, refused: 100 }] });
    expect(judged(facts)['edge']!.state).toBe('operational');
  });
});

describe('the cluster', () => {
  const away = check({ reachable: false, why: 'no status within 2000 ms', level: null });
  const cases: [string, Partial<Facts>, State, string | null][] = [
    ['that missed one look', { cluster: { last: away, failures: 1 } }, 'degraded', 'unreachable'],
    ['that missed two', { cluster: { last: away, failures: 2 } }, 'outage', 'unreachable'],
    ['at level soft', { cluster: { last: check({ level: 'soft' }), failures: 0 } }, 'degraded', 'slowed'],
    ['at level hard, once', { cluster: { last: check({ level: 'hard' }), failures: 1 } }, 'degraded', 'held_back'],
    ['at level hard for long', { cluster: { last: check({ level: 'hard' }), failures: 2 } }, 'outage', 'held_back'],
    ['with a pod that drains', { cluster: { last: check({ draining: true }), failures: 0 } }, 'operational', null],
    [
      'that refuses the edge',
      { canary: { last: canary({ outcome: 'refused_edge' }), failures: 1 } },
      'outage',
      'refused_edge',
    ],
    [
      'that leaves a fifth of the batches unanswered',
      { window: batches({ stored: 80, failed: 20 }).window },
      'degraded',
      'no_answers',
    ],
    ['that leaves few unanswered', { window: batches({ stored: 81, failed: 19 }).window }, 'operational', null],
    ['never looked at', { cluster: null }, 'unknown', 'not_measured'],
  ];
  it.each(cases)('%s is as it should be', (_, change, state, cause) => {
    expect(judged(fineFacts(change))['cluster']).toMatchObject({ state, cause });
  });
});

describe('the store', () => {
  const ended: Record<CanaryOutcome, { once: State; twice: State }> = {
    stored: { once: 'operational', twice: 'operational' },
    late: { once: 'degraded', twice: 'outage' },
    no_store: { once: 'degraded', twice: 'outage' },
    held_back: { once: 'degraded', twice: 'degraded' },
    rejected: { once: 'degraded', twice: 'outage' },
    no_cluster: { once: 'unknown', twice: 'unknown' },
    refused_edge: { once: 'unknown', twice: 'unknown' },
  };
  it.each(Object.entries(ended))('after a canary that ended %s is as it should be', (outcome, { once, twice }) => {
    const last = canary({ outcome: outcome as CanaryOutcome });
    expect(judged(fineFacts({ canary: { last, failures: 1 } }))['store']!.state).toBe(once);
    expect(judged(fineFacts({ canary: { last, failures: 2 } }))['store']!.state).toBe(twice);
  });

  it.each([
    [1_999, 'operational'],
    [2_000, 'degraded'],
    [7_999, 'degraded'],
  ])('that took %i ms is %s', (tookMs, state) => {
    expect(judged(fineFacts({ canary: { last: canary({ tookMs }), failures: 0 } }))['store']!.state).toBe(state);
  });

  it('is away as soon as a pod says so after the last canary', () => {
    const cluster = { last: check({ storeOpen: false }), failures: 0 };
    expect(judged(fineFacts({ cluster }))['store']).toMatchObject({ state: 'outage', cause: 'store_away' });
    const later = { last: canary({ atMs: NOW_MS - 1_000 }), failures: 0 };
    expect(judged(fineFacts({ cluster, canary: later }))['store']!.state).toBe('operational');
    expect(judged(fineFacts({ cluster, canary: null }))['store']!.state).toBe('outage');
  });

  it('is unknown, not well, as soon as the cluster is away after the last canary', () => {
    const cluster = { last: check({ reachable: false, why: 'x' }), failures: 1 };
    expect(judged(fineFacts({ cluster }))['store']).toMatchObject({ state: 'unknown', cause: 'hidden' });
  });
});

function providerState(silenceMs: number, usualGapMs: number, level: 'ok' | 'soft' | 'hard' = 'ok'): State {
  const facts = fineFacts({ providers: { ibkr: { lastSeenMs: NOW_MS - silenceMs, usualGapMs, level } } });
  return judged(facts)['provider-ibkr']!.state;
}

describe('a provider', () => {
  it.each([
    [44_999, 5_000, 'operational'],
    [45_000, 5_000, 'degraded'],
    [239_999, 60_000, 'operational'],
    [240_000, 60_000, 'degraded'],
    [1_799_999, 5_000, 'degraded'],
    [1_800_000, 5_000, 'unknown'],
  ])('that was silent for %i ms and usually is for %i is %s', (silenceMs, gapMs, state) => {
    expect(providerState(silenceMs, gapMs)).toBe(state);
  });

  it('is degraded at a level, and silent sooner than unknown', () => {
    expect(providerState(0, 0, 'soft')).toBe('degraded');
    expect(providerState(0, 0, 'hard')).toBe('degraded');
    expect(silentAfterMs({ lastSeenMs: 0, usualGapMs: 0, level: null }, PACE)).toBeLessThan(60_000);
  });

  it('cannot be asked for by a name that objects have', () => {
    expect(judge(fineFacts(), ['constructor', '__proto__'], NOW_MS, PACE)).toHaveLength(3);
  });
});

describe('the worse of two states', () => {
  it('is the same whichever comes first, and never operational beside another', () => {
    const all: State[] = ['operational', 'degraded', 'unknown', 'outage'];
    for (const [at, left] of all.entries()) {
      for (const [other, right] of all.entries()) expect(worse(left, right)).toBe(all[Math.max(at, other)]);
    }
  });
});

describe('the pace', () => {
  it('shows a fault within 60 s: the longest wait for a canary, its deadline, a refresh and a cache', () => {
    const { canaryMs, canaryTimeoutMs, refreshMs } = PACE;
    expect(canaryMs + canaryTimeoutMs + refreshMs + 5_000).toBeLessThanOrEqual(60_000);
    expect(PACE.canaryTimeoutMs).toBeLessThan(PACE.beatMs);
    expect(PACE.staleMs).toBe(90_000);
  });
});
