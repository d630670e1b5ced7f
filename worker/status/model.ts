/**
 * Everything the public is shown, judged at the moment of reading. Pure: a record, the time and who may be named go
 * in; page, JSON, feed and badges are made from what comes out.
 */

import type { Level } from '../../pipeline/contract/level.ts';
import type { BoardRecord } from './board-tables.ts';
import { type Facts, noFacts } from './facts.ts';
import { type DayBar, dayBars, type Uptime, uptime } from './history.ts';
import type { Incident } from './incidents.ts';
import {
  CLUSTER,
  EDGE,
  freshCanary,
  freshLoad,
  HARM,
  judge,
  type Judged,
  PROVIDER_PREFIX,
  type State,
  STORE,
  worse,
} from './judge.ts';
import type { Pace } from './pace.ts';
import { type Publication, shownProviders } from './publication.ts';
import { ticksPerSecond } from './window.ts';

/** Said at the top; the others say it themselves, below. */
const DETAIL_MAX_COMPONENTS = 2;
const INCIDENTS_AGE_MAX_MS = 90 * 86_400_000;

export interface ShownComponent extends Judged {
  bars: DayBar[];
  uptime: Uptime;
  /** When it was first measured. */
  bornMs: number;
}

/** Null wherever nothing fresh is known. */
export interface Figures {
  ticksPerSecond: number | null;
  /** From the edge to the store's commit, of the last canary. */
  delayMs: number | null;
  level: Level | null;
  backlogTicks: number | null;
  backlogAgeSeconds: number | null;
}

export interface StatusModel {
  nowMs: number;
  /** When the cluster was last looked at; null when never. */
  asOfMs: number | null;
  /** From here on something that is shown as known is old. */
  freshUntilMs: number;
  refreshMs: number;
  bornMs: number;
  overall: { state: State; words: string; detail: string };
  components: ShownComponent[];
  figures: Figures;
  /** Newest first. */
  incidents: Incident[];
  /** Ticks per second of the last hour, oldest first; null where nobody measured. */
  minutes: (number | null)[];
}

export function statusModel(
  record: BoardRecord | undefined,
  publication: Publication,
  nowMs: number,
  pace: Pace,
): StatusModel {
  const facts = record?.facts ?? noFacts(nowMs);
  const judged = judge(facts, shownProviders(publication, Object.keys(facts.providers)), nowMs, pace);
  const shown = new Set(['status', ...judged.map(({ id }) => id)]);
  const components = judged.map((one) => withHistory(one, record, facts, nowMs));
  const known = core(judged).filter(({ state }) => state !== 'unknown');
  const freshUntilMs = Math.min(nowMs + pace.staleMs, ...known.map((one) => one.goodUntilMs));
  return {
    nowMs,
    asOfMs: facts.beatMs,
    freshUntilMs,
    refreshMs: pace.refreshMs,
    bornMs: facts.bornMs,
    overall: overallOf(judged),
    components,
    figures: figuresOf(facts, nowMs, pace),
    incidents: (record?.incidents ?? []).filter((one) => shown.has(one.component) && isRecent(one, nowMs)),
    minutes: minutesOf(record, nowMs),
  };
}

const HEADLINES: Readonly<Record<State, string>> = {
  operational: 'All systems work',
  degraded: 'Partly degraded',
  outage: 'Partial outage',
  unknown: 'State unknown',
};

/** A provider that is unknown may be asleep: the system's own state is known without it. */
function overallOf(judged: readonly Judged[]): StatusModel['overall'] {
  const counted = judged.filter((one) => !isProviderComponent(one) || one.state === 'degraded');
  const state = counted.map((one) => one.state).reduce(worse, 'operational');
  const edgeDown = judged.some((one) => one.id === EDGE && one.state === 'outage');
  const troubled = counted.filter((one) => one.state !== 'operational');
  const worstFirst = troubled.toSorted((left, right) => HARM[right.state] - HARM[left.state]);
  const detail = worstFirst.slice(0, DETAIL_MAX_COMPONENTS).map((one) => `${one.name}: ${lowerFirst(one.words)}.`);
  return {
    state,
    words: edgeDown ? 'Major outage' : HEADLINES[state],
    detail: state === 'operational' ? 'Ticks are taken, relayed and stored.' : (unmeasured(judged) ?? detail.join(' ')),
  };
}

/** One sentence when nobody has measured anything lately, instead of one for each component. */
function unmeasured(judged: readonly Judged[]): string | undefined {
  const [first] = judged;
  if (!core(judged).every(({ cause }) => cause === 'not_measured')) return undefined;
  return first === undefined ? undefined : `${first.words}. What is shown below is no state of now.`;
}

function withHistory(judged: Judged, record: BoardRecord | undefined, facts: Facts, nowMs: number): ShownComponent {
  const bornMs = facts.judgedSinceMs[judged.id] ?? nowMs;
  const days = (record?.days ?? []).filter((day) => day.component === judged.id);
  return { ...judged, bornMs, bars: dayBars(days, bornMs, nowMs), uptime: uptime(days, bornMs, nowMs) };
}

function figuresOf(facts: Facts, nowMs: number, pace: Pace): Figures {
  const beating = facts.beatMs !== null && nowMs < facts.beatMs + pace.staleMs;
  const check = beating && facts.cluster?.last.reachable === true ? facts.cluster.last : undefined;
  const canary = freshCanary(facts, nowMs, pace);
  const load = freshLoad(facts, nowMs, pace);
  return {
    ticksPerSecond: beating ? ticksPerSecond(facts, nowMs, pace) : null,
    delayMs: canary?.outcome === 'stored' ? canary.tookMs : null,
    level: check?.level ?? null,
    backlogTicks: load?.outstandingTicks ?? check?.depthTicks ?? null,
    backlogAgeSeconds: load?.oldestAgeSeconds ?? null,
  };
}

function minutesOf(record: BoardRecord | undefined, nowMs: number): (number | null)[] {
  const known = new Map((record?.minutes ?? []).map((one) => [one.minute, one.ticksPerSecond]));
  if (known.size === 0) return [];
  const first = Math.floor(nowMs / 60_000) - 60;
  return Array.from({ length: 60 }, (_, at) => known.get(first + at) ?? null);
}

export function isProviderComponent({ id }: Pick<Judged, 'id'>): boolean {
  return id.startsWith(PROVIDER_PREFIX);
}

function core(judged: readonly Judged[]): Judged[] {
  return judged.filter(({ id }) => id === EDGE || id === CLUSTER || id === STORE);
}

function isRecent(incident: Incident, nowMs: number): boolean {
  return incident.endedMs === null || incident.endedMs > nowMs - INCIDENTS_AGE_MAX_MS;
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
