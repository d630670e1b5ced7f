/**
 * The model in the shape of Statuspage's public API (version 2), so that tools made for it can read this page. That
 * shape has no word for "unknown": it is told as a major trouble, never as none.
 */

import { incidentTitle } from './atom.ts';
import type { Impact, Incident, IncidentUpdate } from './incidents.ts';
import { EDGE, type State } from './judge.ts';
import type { ShownComponent, StatusModel } from './model.ts';

const PAGE_ID = 'market-data-pipeline';

export type StatuspageIndicator = 'none' | 'minor' | 'major' | 'critical';
export type StatuspageStatus = 'operational' | 'degraded_performance' | 'partial_outage' | 'major_outage';

const STATUS: Readonly<Record<State, StatuspageStatus>> = {
  operational: 'operational',
  degraded: 'degraded_performance',
  outage: 'major_outage',
  unknown: 'partial_outage',
};
const INDICATOR: Readonly<Record<State, StatuspageIndicator>> = {
  operational: 'none',
  degraded: 'minor',
  outage: 'major',
  unknown: 'major',
};
/** What a component was while an incident of this impact lasted. */
const STATUS_WITHIN: Readonly<Record<Impact, StatuspageStatus>> = {
  none: 'partial_outage',
  minor: 'degraded_performance',
  major: 'major_outage',
};

/** `GET /api/v2/status.json`. */
export function statusJson(model: StatusModel, origin: string): object {
  return { page: page(model, origin), status: status(model) };
}

/** `GET /api/v2/components.json`. */
export function componentsJson(model: StatusModel, origin: string): object {
  return { page: page(model, origin), components: components(model) };
}

/** `GET /api/v2/incidents.json`: the newest 50, open or not. */
export function incidentsJson(model: StatusModel, origin: string): object {
  return { page: page(model, origin), incidents: model.incidents.map((one) => incident(one, model, origin)) };
}

/** `GET /api/v2/summary.json`: everything as it is now; incidents that are open. */
export function summaryJson(model: StatusModel, origin: string): object {
  const open = model.incidents.filter((one) => one.endedMs === null);
  return {
    page: page(model, origin),
    components: components(model),
    incidents: open.map((one) => incident(one, model, origin)),
    scheduled_maintenances: [],
    status: status(model),
  };
}

function page(model: StatusModel, origin: string): object {
  const updatedAt = iso(model.asOfMs ?? model.bornMs);
  return { id: PAGE_ID, name: 'market-data-pipeline', url: origin, time_zone: 'Etc/UTC', updated_at: updatedAt };
}

function status(model: StatusModel): { indicator: StatuspageIndicator; description: string } {
  const edge = model.components.find(({ id }) => id === EDGE);
  const indicator = edge?.state === 'outage' ? 'critical' : INDICATOR[model.overall.state];
  return { indicator, description: model.overall.words };
}

function components(model: StatusModel): object[] {
  return model.components.map((one, at) => component(one, at, model));
}

function component(one: ShownComponent, at: number, model: StatusModel): object {
  return {
    id: one.id,
    name: one.name,
    status: STATUS[one.state],
    created_at: iso(one.bornMs),
    updated_at: iso(model.asOfMs ?? one.bornMs),
    position: at + 1,
    description: one.words,
    showcase: true,
    start_date: iso(one.bornMs).slice(0, 10),
    group_id: null,
    page_id: PAGE_ID,
    group: false,
    only_show_if_degraded: false,
  };
}

function incident(one: Incident, model: StatusModel, origin: string): object {
  const monitoring = one.updates.findLast(({ status }) => status === 'monitoring');
  const at = model.components.findIndex(({ id }) => id === one.component);
  return {
    id: one.id,
    name: incidentTitle(one),
    status: one.status,
    created_at: iso(one.startedMs),
    updated_at: iso(one.updates.at(-1)?.atMs ?? one.startedMs),
    monitoring_at: monitoring === undefined ? null : iso(monitoring.atMs),
    resolved_at: one.endedMs === null ? null : iso(one.endedMs),
    impact: one.impact,
    shortlink: `${origin}/#incident-${one.id}`,
    started_at: iso(one.startedMs),
    page_id: PAGE_ID,
    incident_updates: one.updates.map((update, number) => incidentUpdate(update, number, one)).toReversed(),
    components: at < 0 ? [] : [component(model.components[at]!, at, model)],
    reminder_intervals: null,
  };
}

function incidentUpdate(update: IncidentUpdate, number: number, one: Incident): object {
  const at = iso(update.atMs);
  const during = STATUS_WITHIN[one.impact];
  const newStatus = update.status === 'identified' ? during : 'operational';
  const oldStatus = number === 0 ? 'operational' : during;
  const affected = [{ code: one.component, name: one.componentName, old_status: oldStatus, new_status: newStatus }];
  return {
    id: `${one.id}-${number}`,
    status: update.status,
    body: update.text,
    incident_id: one.id,
    created_at: at,
    updated_at: at,
    display_at: at,
    affected_components: affected,
    deliver_notifications: false,
    custom_tweet: null,
    tweet_id: null,
  };
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}
