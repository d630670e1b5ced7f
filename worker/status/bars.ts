/**
 * 90 days as bars: each day's state by height and colour, in one small SVG. Days in a row that say the same share
 * one path and one title; the whole has one text, which names the latest bad days.
 */

import { escapeMarkup } from './escape.ts';
import { type DayBar, HISTORY_DAYS, type Uptime } from './history.ts';
import { dayName, percent } from './words.ts';

const STEP_PX = 8;
const BAR_PX = 6;
const HEIGHT_PX = 32;
/** The worse, the lower, so that a black and white print tells it, too. */
const BAR_HEIGHT_PX: Readonly<Record<DayBar['state'], number>> = {
  operational: 32,
  degraded: 24,
  outage: 14,
  unknown: 6,
  none: 2,
};
const DAYS_NAMED_MAX = 6;
/** Of more different stretches than this only the states are told, so that the worst 90 days have room on the page. */
const RUNS_MAX = 16;

export function barsSvg(bars: readonly DayBar[]): string {
  const width = HISTORY_DAYS * STEP_PX - (STEP_PX - BAR_PX);
  const label = escapeMarkup(barsText(bars));
  const runs = runsOf(bars);
  const groups = runs.length > RUNS_MAX ? byState(bars) : runs;
  const paths = groups.map(({ state, days, text }) => {
    return `<path class="b-${state}" d="${barsPath(days, state)}"><title>${escapeMarkup(text)}</title></path>`;
  });
  return `<svg class="bars" viewBox="0 0 ${width} ${HEIGHT_PX}" preserveAspectRatio="none" role="img" aria-label="${label}">${paths.join('')}</svg>`;
}

/** Days that share a path; they are places in the list of bars, ascending. */
interface Group {
  state: DayBar['state'];
  days: number[];
  text: string;
}

/** Days in a row that say the same. */
function runsOf(bars: readonly DayBar[]): Group[] {
  const runs: (Group & { says: string; from: string })[] = [];
  for (const [at, bar] of bars.entries()) {
    const says = dayText(bar);
    const name = dayName(bar.day);
    const last = runs.at(-1);
    if (last !== undefined && last.state === bar.state && last.says === says) {
      last.days.push(at);
      last.text = `${last.from} to ${name}: ${says}`;
    } else {
      runs.push({ state: bar.state, days: [at], text: `${name}: ${says}`, says, from: name });
    }
  }
  return runs;
}

function byState(bars: readonly DayBar[]): Group[] {
  const groups = Map.groupBy(bars.entries(), ([, { state }]) => state);
  return [...groups].map(([state, entries]) => {
    return { state, days: entries.map(([at]) => at), text: `${entries.length} days ${state}` };
  });
}

function barsPath(days: readonly number[], state: DayBar['state']): string {
  const height = BAR_HEIGHT_PX[state];
  const bar = `h${BAR_PX}v${height}h-${BAR_PX}z`;
  return days
    .map((at, number) => {
      const before = days[number - 1];
      if (before === undefined) return `M${at * STEP_PX} ${HEIGHT_PX - height}${bar}`;
      return `m${(at - before) * STEP_PX} 0${bar}`;
    })
    .join('');
}

/** `up 99.31 %, outage 10 min`. */
export function dayText({ state, up, unknown, degradedMinutes, outageMinutes }: DayBar): string {
  if (state === 'none') return 'not measured yet';
  const parts = [`up ${percent(up)}`];
  if (outageMinutes > 0) parts.push(`outage ${outageMinutes} min`);
  if (degradedMinutes > 0) parts.push(`degraded ${degradedMinutes} min`);
  if (unknown > 0) parts.push(`unknown ${percent(unknown)}`);
  return parts.join(', ');
}

export function uptimeText({ up, unknown }: Uptime): string {
  if (up === null) return 'history begins today';
  return unknown > 0 ? `${percent(up)} up, ${percent(unknown)} unknown` : `${percent(up)} up`;
}

function barsText(bars: readonly DayBar[]): string {
  const seen = bars.filter(({ state }) => state !== 'none');
  if (seen.length === 0) return 'No days measured yet';
  const bad = seen.filter(({ state }) => state !== 'operational').toReversed();
  const days = seen.length === 1 ? 'Today' : `${seen.length} days`;
  if (bad.length === 0) return `${days}, each of them up`;
  const named = bad.slice(0, DAYS_NAMED_MAX).map((bar) => `${dayName(bar.day)} ${bar.state}, ${dayText(bar)}`);
  const more = bad.length > DAYS_NAMED_MAX ? `; and ${bad.length - DAYS_NAMED_MAX} more` : '';
  return `${days}, not all well on ${bad.length}: ${named.join('; ')}${more}`;
}
