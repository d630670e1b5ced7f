/**
 * When a component's trouble is an incident, and when it is over. Pure: one step for each judgement. A component
 * has one open incident at most, which lives through getting worse, better and worse again; what is unknown neither
 * opens nor ends one.
 */

import { CAUSES, type Judged } from './judge.ts';
import type { Pace } from './pace.ts';
import { duration } from './words.ts';

/** Beyond these only the end of an incident is added. */
export const UPDATES_MAX = 20;

export type IncidentStatus = 'identified' | 'monitoring' | 'resolved';
export type Impact = 'none' | 'minor' | 'major';

export interface IncidentUpdate {
  atMs: number;
  status: IncidentStatus;
  text: string;
}

export interface Incident {
  /** A UUID: also its identity in the feed. */
  id: string;
  component: string;
  componentName: string;
  startedMs: number;
  endedMs: number | null;
  /** The worst so far. */
  impact: Impact;
  /** One of {@link CAUSES}: the last one while open. */
  cause: string;
  status: IncidentStatus;
  /** Oldest first. */
  updates: IncidentUpdate[];
}

/** What is remembered of a component between two judgements. */
export interface Watch {
  badSinceMs: number | null;
  goodSinceMs: number | null;
  open: Incident | null;
}

export const NO_WATCH: Watch = { badSinceMs: null, goodSinceMs: null, open: null };

export interface WatchStep {
  watch: Watch;
  /** The incident as it now is, when it began, changed or ended. */
  changed: Incident | null;
}

/** One judgement later. `newId` is used when an incident begins. */
export function watchStep(watch: Watch, judged: Judged, nowMs: number, pace: Pace, newId: () => string): WatchStep {
  switch (judged.state) {
    case 'unknown':
      return { watch: { badSinceMs: null, goodSinceMs: null, open: watch.open }, changed: null };
    case 'operational':
      return whenGood(watch, nowMs, pace);
    case 'degraded':
    case 'outage':
      return whenBad(watch, judged, nowMs, pace, newId);
  }
}

function whenGood({ goodSinceMs, open }: Watch, nowMs: number, pace: Pace): WatchStep {
  if (open === null) return { watch: NO_WATCH, changed: null };
  const sinceMs = goodSinceMs ?? nowMs;
  if (nowMs - sinceMs >= pace.closeAfterMs) {
    const text = `Working again; it lasted ${duration(sinceMs - open.startedMs)}`;
    return { watch: NO_WATCH, changed: resolved(open, sinceMs, nowMs, text) };
  }
  const monitored =
    open.status === 'monitoring' ? open : updated(open, nowMs, 'monitoring', 'Works again; watched for a minute');
  return {
    watch: { badSinceMs: null, goodSinceMs: sinceMs, open: monitored },
    changed: monitored === open ? null : monitored,
  };
}

function whenBad(watch: Watch, judged: Judged, nowMs: number, pace: Pace, newId: () => string): WatchStep {
  const badSinceMs = watch.badSinceMs ?? nowMs;
  const impact: Impact = judged.state === 'outage' ? 'major' : 'minor';
  const cause = CAUSES[judged.cause ?? 'not_measured'];
  const { open } = watch;
  if (open === null) {
    const waits = judged.state === 'degraded' && nowMs - badSinceMs < pace.openAfterMs;
    if (waits) return { watch: { badSinceMs, goodSinceMs: null, open: null }, changed: null };
    const { id: component, name: componentName, words } = judged;
    const first: IncidentUpdate = { atMs: nowMs, status: 'identified', text: words };
    const begun: Incident = {
      id: newId(),
      component,
      componentName,
      startedMs: badSinceMs,
      endedMs: null,
      impact,
      cause,
      status: 'identified',
      updates: [first],
    };
    return { watch: { badSinceMs, goodSinceMs: null, open: begun }, changed: begun };
  }
  const worst: Impact = open.impact === 'major' ? 'major' : impact;
  const same = open.status === 'identified' && open.cause === cause && open.impact === worst;
  const now = same ? open : { ...updated(open, nowMs, 'identified', judged.words), cause, impact: worst };
  return { watch: { badSinceMs, goodSinceMs: null, open: now }, changed: same ? null : now };
}

function updated(incident: Incident, atMs: number, status: IncidentStatus, text: string): Incident {
  const full = incident.updates.length >= UPDATES_MAX;
  const updates = full ? incident.updates : [...incident.updates, { atMs, status, text }];
  return { ...incident, status, updates };
}

function resolved(incident: Incident, endedMs: number, nowMs: number, text: string): Incident {
  const updates = [...incident.updates, { atMs: nowMs, status: 'resolved' as const, text }];
  return { ...incident, status: 'resolved', endedMs, updates };
}

/** For a stretch in which nobody measured: told afterwards, and over when it is told. */
export function silenceIncident(id: string, fromMs: number, toMs: number): Incident {
  const text = `Nothing was measured for ${duration(toMs - fromMs)}; what happened meanwhile is not known`;
  return {
    id,
    component: 'status',
    componentName: 'Status page',
    startedMs: fromMs,
    endedMs: toMs,
    impact: 'none',
    cause: CAUSES.not_measured,
    status: 'resolved',
    updates: [{ atMs: toMs, status: 'resolved', text }],
  };
}
