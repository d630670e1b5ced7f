/** Minutes to days to uptime: what was not measured never counts as up. */

import { describe, expect, it } from 'vitest';
import { dayBars, type DayCounts, dayOf, HISTORY_DAYS, uptime, worstOf } from '../../../worker/status/history.ts';
import { NOW_MS } from '../../support/status-models.ts';

const DAY_MS = 86_400_000;
const TODAY_MS = Date.parse('2026-11-23T00:00:00Z');
const YEAR_AGO_MS = NOW_MS - 365 * DAY_MS;

function day(back: number, operational: number, degraded = 0, outage = 0): DayCounts {
  return { day: dayOf(NOW_MS - back * DAY_MS), component: 'edge', operational, degraded, outage };
}

describe('the worst of a minute', () => {
  it('is kept, by component', () => {
    const first = worstOf({}, [
      { id: 'edge', state: 'operational' },
      { id: 'store', state: 'outage' },
    ]);
    const second = worstOf(first, [
      { id: 'edge', state: 'degraded' },
      { id: 'store', state: 'operational' },
    ]);
    expect(second).toEqual({ edge: 'degraded', store: 'outage' });
  });
});

describe('a bar', () => {
  it.each([
    ['of a whole good day is operational', day(1, 1_440), 'operational', 1, 0],
    ['of a day with one minute of outage is an outage', day(1, 1_439, 0, 1), 'outage', 1_439 / 1_440, 0],
    ['of a day with one degraded minute is degraded, and up', day(1, 1_439, 1), 'degraded', 1, 0],
    ['of a day that nobody measured is unknown', undefined, 'unknown', 0, 1],
    ['of a day half measured is unknown, and half up', day(1, 720), 'unknown', 0.5, 0.5],
    [
      'of a day with 28 unmeasured minutes is operational, but not all up',
      day(1, 1_412),
      'operational',
      1_412 / 1_440,
      28 / 1_440,
    ],
    ['of a day with 29 unmeasured minutes is unknown', day(1, 1_411), 'unknown', 1_411 / 1_440, 29 / 1_440],
  ])('%s', (_, counts, state, up, unknown) => {
    const bar = dayBars(counts === undefined ? [] : [counts], YEAR_AGO_MS, NOW_MS).at(-2)!;
    expect(bar).toMatchObject({ day: '2026-11-22', state });
    expect(bar.up).toBeCloseTo(up, 10);
    expect(bar.unknown).toBeCloseTo(unknown, 10);
  });

  it('is there for each of 90 days, today last', () => {
    const bars = dayBars([], YEAR_AGO_MS, NOW_MS);
    expect(bars).toHaveLength(HISTORY_DAYS);
    expect(bars.at(-1)!.day).toBe('2026-11-23');
    expect(bars[0]!.day).toBe('2026-08-26');
  });

  it('of a day before measuring began is none, neither good nor bad', () => {
    const bars = dayBars([day(0, 60)], NOW_MS - 3_600_000, NOW_MS);
    expect(bars.slice(0, -1).every(({ state }) => state === 'none')).toBe(true);
    expect(bars.at(-1)).toMatchObject({ state: 'operational', unknown: 0 });
  });

  it('of today counts what has passed, save the two minutes that may not have been added up', () => {
    const passed = Math.floor((NOW_MS - TODAY_MS) / 60_000);
    expect(dayBars([day(0, passed - 2)], YEAR_AGO_MS, NOW_MS).at(-1)).toMatchObject({ up: 1, unknown: 0 });
    expect(dayBars([day(0, passed - 3)], YEAR_AGO_MS, NOW_MS).at(-1)!.unknown).toBeGreaterThan(0);
  });

  it('grows unknown by itself when measuring stops', () => {
    const days = [day(0, 870)];
    expect(dayBars(days, YEAR_AGO_MS, NOW_MS).at(-1)!.state).toBe('operational');
    expect(dayBars(days, YEAR_AGO_MS, NOW_MS + 3_600_000).at(-1)!.state).toBe('unknown');
    expect(
      dayBars(days, YEAR_AGO_MS, NOW_MS + DAY_MS)
        .slice(-2)
        .map(({ state }) => state),
    ).toEqual(['unknown', 'unknown']);
  });
});

describe('uptime', () => {
  it('is a share of all minutes since measuring began', () => {
    const bornMs = TODAY_MS - 2 * DAY_MS;
    const days = [day(2, 1_440), day(1, 1_340, 0, 100), day(0, 868)];
    const all = 2 * 1_440 + 868;
    expect(uptime(days, bornMs, NOW_MS).up).toBeCloseTo((all - 100) / all, 10);
  });

  it('does not count an unmeasured minute as up', () => {
    const { up, unknown } = uptime([day(1, 1_440)], TODAY_MS - 2 * DAY_MS, TODAY_MS + 120_000);
    expect([up, unknown]).toEqual([0.5, 0.5]);
  });

  it('is not known in the first minutes', () => {
    expect(uptime([], NOW_MS - 60_000, NOW_MS)).toEqual({ up: null, unknown: 0 });
  });

  it('forgets days that are not shown', () => {
    const days = [
      { ...day(120, 0, 0, 1_440) },
      ...Array.from({ length: 90 }, (_, at) => day(89 - at, at === 89 ? 868 : 1_440)),
    ];
    expect(uptime(days, YEAR_AGO_MS, NOW_MS)).toEqual({ up: 1, unknown: 0 });
  });
});
