/**
 * From minutes to days to uptime. Pure. A minute that nobody measured is unknown and never counts as up; a day
 * before measuring began is no day at all.
 */

import { type State, worse } from './judge.ts';

export const HISTORY_DAYS = 90;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** A minute is added to its day by the first beat after its end: until then it is not missing. */
const ROLL_LAG_MS = 2 * MINUTE_MS;
/** A day with a larger share of unknown minutes is shown as unknown. */
export const UNKNOWN_SHARE_SHOWN = 0.02;

/** Minutes of one day and component, by the worst state within each. Unknown ones are not counted. */
export interface DayCounts {
  /** `2026-11-23`, UTC. */
  day: string;
  component: string;
  operational: number;
  degraded: number;
  outage: number;
}

export interface DayBar {
  day: string;
  /** The worst that counts; `none` before measuring began. */
  state: State | 'none';
  /** Shares of the day's minutes so far; up is operational or degraded. */
  up: number;
  unknown: number;
  degradedMinutes: number;
  outageMinutes: number;
}

export interface Uptime {
  /** Shares of all minutes since measuring began, unknown ones included; null on the first minutes. */
  up: number | null;
  unknown: number;
}

export function minuteOf(atMs: number): number {
  return Math.floor(atMs / MINUTE_MS);
}

export function dayOf(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 10);
}

/** The states of a minute after one more judgement. */
export function worstOf(
  minute: Readonly<Record<string, State>>,
  judged: readonly { id: string; state: State }[],
): Record<string, State> {
  const states: Record<string, State> = { ...minute };
  for (const { id, state } of judged) {
    const before = states[id];
    states[id] = before === undefined ? state : worse(before, state);
  }
  return states;
}

/** The bars of one component, oldest first, today last. `bornMs` is when it was first measured. */
export function dayBars(days: readonly DayCounts[], bornMs: number, nowMs: number): DayBar[] {
  const counts = new Map(days.map((day) => [day.day, day]));
  const today = Math.floor(nowMs / DAY_MS);
  return Array.from({ length: HISTORY_DAYS }, (_, at) => {
    const startMs = (today - HISTORY_DAYS + 1 + at) * DAY_MS;
    return dayBar(startMs, counts.get(dayOf(startMs)), bornMs, nowMs);
  });
}

function dayBar(startMs: number, counts: DayCounts | undefined, bornMs: number, nowMs: number): DayBar {
  const day = dayOf(startMs);
  const { operational = 0, degraded = 0, outage = 0 } = counts ?? {};
  const minutes = { degradedMinutes: degraded, outageMinutes: outage };
  const known = operational + degraded + outage;
  const all = Math.max(known, elapsedMinutes(startMs, bornMs, nowMs));
  if (startMs + DAY_MS <= bornMs || all === 0) return { day, state: 'none', up: 0, unknown: 0, ...minutes };
  const unknown = (all - known) / all;
  return {
    day,
    state: dayState(operational, degraded, outage, unknown),
    up: (operational + degraded) / all,
    unknown,
    ...minutes,
  };
}

function dayState(operational: number, degraded: number, outage: number, unknown: number): State {
  if (outage > 0) return 'outage';
  if (operational + degraded === 0 || unknown > UNKNOWN_SHARE_SHOWN) return 'unknown';
  return degraded > 0 ? 'degraded' : 'operational';
}

function elapsedMinutes(startMs: number, bornMs: number, nowMs: number): number {
  const fromMs = Math.max(startMs, bornMs);
  const toMs = Math.min(startMs + DAY_MS, nowMs - ROLL_LAG_MS);
  return Math.max(0, Math.floor((toMs - fromMs) / MINUTE_MS));
}

/** Over the bars, each weighted by its minutes. */
export function uptime(days: readonly DayCounts[], bornMs: number, nowMs: number): Uptime {
  const firstMs = (Math.floor(nowMs / DAY_MS) - HISTORY_DAYS + 1) * DAY_MS;
  const first = dayOf(firstMs);
  let up = 0;
  let known = 0;
  for (const { day, operational, degraded, outage } of days) {
    if (day < first) continue;
    up += operational + degraded;
    known += operational + degraded + outage;
  }
  const fromMs = Math.max(bornMs, firstMs);
  const all = Math.max(known, Math.floor((nowMs - ROLL_LAG_MS - fromMs) / MINUTE_MS));
  return all <= 0 ? { up: null, unknown: 0 } : { up: up / all, unknown: (all - known) / all };
}
