/**
 * The page: the model as one HTML document with its style, script and pictures inside. States are told by word,
 * shape and colour together. Everything that varies is escaped; nothing here decides what the state is.
 */

import { FEED_PATH, incidentTitle } from './atom.ts';
import { barsSvg, uptimeText } from './bars.ts';
import { escapeMarkup } from './escape.ts';
import type { Incident, IncidentUpdate } from './incidents.ts';
import type { State } from './judge.ts';
import type { Figures, ShownComponent, StatusModel } from './model.ts';
import { PACE } from './pace.ts';
import { PAGE_SCRIPT } from './page-script.ts';
import { PAGE_STYLE } from './page-style.ts';
import { clock, count, duration, moment } from './words.ts';

export const PAGE_INCIDENTS_MAX = 8;
/** Of an incident's updates, the newest. */
const UPDATES_SHOWN_MAX = 3;

const SERVICE = 'market-data-pipeline';
const LABELS: Readonly<Record<State, string>> = {
  operational: 'Operational',
  degraded: 'Degraded',
  outage: 'Outage',
  unknown: 'Unknown',
};
/** Told apart without colour: a tick, a triangle, a square with a cross, a ring with a question mark. */
const SHAPES: Readonly<Record<State, string>> = {
  operational: 'M8 0a8 8 0 1 0 0 16A8 8 0 0 0 8 0zm-1.2 11.8L3.2 8.2l1.3-1.3 2.3 2.3 4.8-4.9 1.3 1.3z',
  degraded: 'M8 .6 0 15.4h16zM7.1 6h1.8v4.6H7.1zm0 5.8h1.8v1.8H7.1z',
  outage: 'M1 1h14v14H1zm3 4.3L6.7 8 4 10.7 5.3 12 8 9.3 10.7 12 12 10.7 9.3 8 12 5.3 10.7 4 8 6.7 5.3 4z',
  unknown:
    'M8 0a8 8 0 1 0 0 16A8 8 0 0 0 8 0zm-.8 11h1.7v1.7H7.2zm1.6-1.1H7.3c0-2.3 2-2.3 2-3.8 0-.8-.6-1.2-1.3-1.2-.8 0-1.4.5-1.4 1.4H5c0-1.8 1.3-2.9 3-2.9 1.8 0 2.9 1 2.9 2.6 0 2-2.1 2.2-2.1 3.9z',
};
const ICON_COLOURS: Readonly<Record<State, string>> = {
  operational: '#15803d',
  degraded: '#b45309',
  outage: '#b91c1c',
  unknown: '#78716c',
};

export function renderPage(model: StatusModel): string {
  const { overall } = model;
  const title = escapeMarkup(`${overall.words} · ${SERVICE} status`);
  const refreshSeconds = Math.max(1, Math.round(model.refreshMs / 1000));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>${title}</title>
<meta name="description" content="Whether ticks are taken, relayed and stored, measured every minute.">
<noscript><meta http-equiv="refresh" content="${refreshSeconds}"></noscript>
<link rel="icon" href="${iconUrl(overall.state)}">
<link rel="alternate" type="application/atom+xml" title="Incidents" href="${FEED_PATH}">
<style>${PAGE_STYLE}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the state</a>
<svg width="0" height="0" aria-hidden="true" focusable="false">${Object.entries(SHAPES).map(symbol).join('')}</svg>
<header><p>${SERVICE}</p><nav aria-label="Other formats"><a href="${FEED_PATH}">Feed</a><a href="/api/v2/summary.json">JSON</a><a href="/badge.svg">Badge</a></nav></header>
<main id="main" tabindex="-1" data-at="${model.nowMs}" data-as-of="${model.asOfMs === null ? '' : iso(model.asOfMs)}" data-fresh-until="${model.freshUntilMs}" data-refresh="${model.refreshMs}">
${overallPart(model)}
<section aria-labelledby="now"><h2 id="now">Now</h2><div class="card" data-part="figures">${figures(model.figures)}${hour(model.minutes)}</div></section>
<section aria-labelledby="components"><h2 id="components">Components</h2><ul class="card components">${model.components.map(component).join('')}</ul></section>
<section aria-labelledby="incidents"><h2 id="incidents">Incidents of the last 90 days</h2><div class="card" data-part="incidents">${incidents(model.incidents)}</div></section>
</main>
<footer class="soft"><p>Measured from the edge: the cluster is looked at every ${PACE.beatMs / 1000} seconds, and a tick goes the whole way to the store every ${PACE.canaryMs / 1000}. What was not measured is shown as unknown. Days and times are UTC.</p></footer>
<script>${PAGE_SCRIPT}</script>
</body>
</html>
`;
}

/** The live region is the heading alone: it is read out when the state changes, not at every refresh. */
function overallPart({ overall, asOfMs, bornMs, nowMs }: StatusModel): string {
  const asOf = asOfMs === null ? 'Nothing has been measured yet' : `As of ${time(asOfMs, clock(asOfMs))}`;
  const young = asOfMs !== null && nowMs - bornMs < 86_400_000 ? `. Measuring began on ${moment(bornMs)}` : '';
  return `<section class="overall" aria-labelledby="overall" data-part="overall-state" data-state="${overall.state}" data-now="State unknown">
<div role="status"><h1 id="overall" data-part="overall">${icon(overall.state)}<span class="label">${escapeMarkup(overall.words)}</span></h1></div>
<p class="why" data-part="why" data-old="This page could not be refreshed. What it shows below is old.">${escapeMarkup(overall.detail)}</p>
<p class="soft" data-part="as-of">${asOf}${young}</p>
</section>`;
}

function figures({ ticksPerSecond, delayMs, level, backlogTicks, backlogAgeSeconds }: Figures): string {
  const waiting = backlogTicks === null ? '' : 'ticks waiting';
  const age = backlogAgeSeconds === null || !backlogTicks ? waiting : `oldest ${duration(backlogAgeSeconds * 1000)}`;
  return `<dl class="figures">${[
    figure('Ticks per second', ticksPerSecond === null ? null : count(ticksPerSecond), 'last minute'),
    figure('Delay', delayMs === null ? null : `${count(delayMs)} ms`, 'edge to stored'),
    figure('Level', level, level === null ? '' : LEVEL_WORDS[level], ''),
    figure('Backlog', backlogTicks === null ? null : count(backlogTicks), age, ''),
  ].join('')}</dl>`;
}

const LEVEL_WORDS = { ok: 'nobody is slowed', soft: 'half rate', hard: 'nothing admitted' } as const;

/** `noteOld`: what of the note is still true when the value is not. */
function figure(name: string, value: string | null, note: string, noteOld = note): string {
  const shown = value === null ? '–<span hidden> not known</span>' : escapeMarkup(value);
  return `<div><dt>${name}</dt><dd data-old="–">${shown}</dd><dd class="soft" data-old="${noteOld}">${escapeMarkup(note)}</dd></div>`;
}

/** The last hour's ticks per second as a line; gaps where nobody measured. */
function hour(minutes: readonly (number | null)[]): string {
  const known = minutes.filter((value) => value !== null);
  if (known.length < 2) return '';
  const most = Math.max(1, ...known);
  let path = '';
  let drawing = false;
  for (const [at, value] of minutes.entries()) {
    if (value !== null) path += `${drawing ? 'L' : 'M'}${at} ${(36 - (32 * value) / most).toFixed(1)}`;
    drawing = value !== null;
  }
  const text = `Ticks per second in the last hour: at least ${count(Math.min(...known))}, at most ${count(Math.max(...known))}`;
  return `<p class="hour-name">Ticks per second, last hour</p><svg class="hour" viewBox="-1 0 61 38" preserveAspectRatio="none" role="img" aria-label="${text}"><title>${text}</title><path d="${path}"/></svg>`;
}

function component({ id, name, state, words, bars, uptime }: ShownComponent): string {
  const part = escapeMarkup(id);
  return `<li data-part="${part}" data-state="${state}" data-now="Unknown"><div class="row"><h3>${escapeMarkup(name)}</h3><span class="state">${icon(state)}<span class="label">${LABELS[state]}</span></span></div>
<p class="soft" data-old="Not known any more">${escapeMarkup(words)}</p>
${barsSvg(bars)}
<p class="legend"><span class="mid">90 days ago</span><span>${uptimeText(uptime)}</span><span class="mid">Today</span></p></li>`;
}

function incidents(all: readonly Incident[]): string {
  if (all.length === 0) return '<p class="none soft">None.</p>';
  const more = all.length - PAGE_INCIDENTS_MAX;
  const rest = more > 0 ? `<p class="none soft">${more} more in the feed.</p>` : '';
  return `<ul class="incidents">${all.slice(0, PAGE_INCIDENTS_MAX).map(incident).join('')}</ul>${rest}`;
}

function incident(one: Incident): string {
  const { id, startedMs, endedMs, impact, updates } = one;
  const state: State = impact === 'major' ? 'outage' : impact === 'minor' ? 'degraded' : 'unknown';
  const lasted = endedMs === null ? 'now' : time(endedMs, moment(endedMs));
  const length = endedMs === null ? 'goes on' : `lasted ${duration(endedMs - startedMs)}`;
  const newest = updates.slice(-UPDATES_SHOWN_MAX).toReversed();
  return `<li id="incident-${escapeMarkup(id)}"><div class="row"><h3>${escapeMarkup(incidentTitle(one))}</h3><span class="state" data-state="${endedMs === null ? state : 'unknown'}">${icon(endedMs === null ? state : 'operational')}${endedMs === null ? 'Open' : 'Resolved'}</span></div>
<p class="soft">${time(startedMs, moment(startedMs))} to ${lasted}, ${length}</p>
<ol>${newest.map(update).join('')}</ol></li>`;
}

function update({ atMs, text }: IncidentUpdate): string {
  return `<li><span class="soft">${time(atMs, clock(atMs))}</span> ${escapeMarkup(text)}</li>`;
}

function icon(state: State): string {
  return `<svg class="icon" aria-hidden="true"><use href="#i-${state}"/></svg>`;
}

function symbol([state, shape]: [string, string]): string {
  return `<symbol id="i-${state}" viewBox="0 0 16 16"><path fill-rule="evenodd" d="${shape}"/></symbol>`;
}

function iconUrl(state: State): string {
  const svg = `<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><path fill='${ICON_COLOURS[state]}' fill-rule='evenodd' d='${SHAPES[state]}'/></svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

function time(atMs: number, text: string): string {
  return `<time datetime="${iso(atMs)}">${text}</time>`;
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}
