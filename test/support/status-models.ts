/** Records of a status board, as it would have made them: fine, in trouble, old, new, and with a history. */

import type { BoardRecord } from '../../worker/status/board-tables.ts';
import { type CanaryResult, type ClusterCheck, type Facts, noFacts } from '../../worker/status/facts.ts';
import { dayOf, type DayCounts } from '../../worker/status/history.ts';
import type { Incident } from '../../worker/status/incidents.ts';
import { CAUSES } from '../../worker/status/judge.ts';
import { statusModel, type StatusModel } from '../../worker/status/model.ts';
import { type Pace, PACE } from '../../worker/status/pace.ts';
import { type Publication } from '../../worker/status/publication.ts';

export const NOW_MS = Date.parse('2026-11-23T14:30:05Z');
const DAY_MS = 86_400_000;
const COMPONENTS = ['edge', 'cluster', 'store', 'provider-ibkr'] as const;

export function check(change: Partial<ClusterCheck> = {}): ClusterCheck {
  const fine = { reachable: true, why: null, level: 'ok' as const, draining: false, storeOpen: true, depthTicks: 120 };
  return { atMs: NOW_MS - 4_000, ...fine, ...change };
}

export function canary(change: Partial<CanaryResult> = {}): CanaryResult {
  return { atMs: NOW_MS - 12_000, outcome: 'stored', tookMs: 14, ...change };
}

/** 200 days old, everything as it should be, one provider. */
export function fineFacts(change: Partial<Facts> = {}): Facts {
  const bornMs = NOW_MS - 200 * DAY_MS;
  const counts = { stored: 1_200, buffered: 0, refused: 0, rejected: 3, failed: 0, ticks: 741_000 };
  return {
    ...noFacts(bornMs),
    judgedSinceMs: Object.fromEntries(COMPONENTS.map((id) => [id, bornMs])),
    beatMs: NOW_MS - 4_000,
    cluster: { last: check(), failures: 0 },
    canary: { last: canary(), failures: 0 },
    window: [{ startMs: NOW_MS - 5_000, ...counts }],
    providers: { ibkr: { lastSeenMs: NOW_MS - 3_000, usualGapMs: 5_000, level: 'ok' } },
    ...change,
  };
}

/** 90 days, all up but for one outage, one slow day and one that nobody measured. */
export function history(): DayCounts[] {
  const days: DayCounts[] = [];
  for (let back = 89; back >= 0; back -= 1) {
    const minutes = back === 0 ? 868 : 1_440;
    for (const component of COMPONENTS) {
      const outage = back === 33 && component !== 'edge' ? 27 : 0;
      const degraded = back === 12 && component === 'store' ? 180 : 0;
      if (back === 58) continue;
      const operational = minutes - outage - degraded;
      days.push({ day: dayOf(NOW_MS - back * DAY_MS), component, operational, degraded, outage });
    }
  }
  return days;
}

export function incident(change: Partial<Incident> = {}): Incident {
  const startedMs = NOW_MS - 33 * DAY_MS;
  return {
    id: '4b6f7a52-6d2e-4c55-9c06-0d2f1f7b9f0e',
    component: 'cluster',
    componentName: 'Cluster',
    startedMs,
    endedMs: startedMs + 27 * 60_000,
    impact: 'major',
    cause: CAUSES.unreachable,
    status: 'resolved',
    updates: [
      { atMs: startedMs, status: 'identified', text: 'The cluster could not be reached' },
      { atMs: startedMs + 27 * 60_000, status: 'monitoring', text: 'Works again; watched for a minute' },
      { atMs: startedMs + 28 * 60_000, status: 'resolved', text: 'Working again; it lasted 27 min' },
    ],
    ...change,
  };
}

export function openIncident(change: Partial<Incident> = {}): Incident {
  const startedMs = NOW_MS - 9 * 60_000;
  const updates = [{ atMs: startedMs, status: 'identified' as const, text: 'A tick took 3.2 s to be stored' }];
  return incident({
    id: '0c5a1bfa-3a6e-4a8b-93a4-5b9f6f6b1a11',
    component: 'store',
    componentName: 'Store',
    startedMs,
    endedMs: null,
    impact: 'minor',
    cause: CAUSES.store_slow,
    status: 'identified',
    updates,
    ...change,
  });
}

export function record(facts: Facts = fineFacts(), change: Partial<BoardRecord> = {}): BoardRecord {
  const first = Math.floor(NOW_MS / 60_000) - 59;
  const minutes = Array.from({ length: 60 }, (_, at) => {
    return { minute: first + at, ticksPerSecond: 9_000 + 4_000 * Math.sin(at / 6) + 700 * Math.sin(at * 2) };
  });
  return { facts, days: history(), incidents: [incident()], minutes, ...change };
}

/** Who may be shown by name. */
const IBKR: Publication = { all: false, names: ['ibkr'] };

/** Every state the page can be in, by name. */
export const RECORDS = {
  fine: () => record(),
  degraded: () => {
    const facts = fineFacts({
      canary: { last: canary({ tookMs: 3_200 }), failures: 0 },
      cluster: { last: check({ level: 'soft', depthTicks: 7_431 }), failures: 0 },
      providers: { ibkr: { lastSeenMs: NOW_MS - 80_000, usualGapMs: 5_000, level: 'ok' } },
    });
    return record(facts, { incidents: [openIncident(), incident()] });
  },
  outage: () => {
    const facts = fineFacts({
      cluster: {
        last: check({ reachable: false, why: 'the cluster could not be reached', level: null, depthTicks: null }),
        failures: 8,
      },
      canary: { last: canary({ outcome: 'no_cluster', tookMs: 1_050 }), failures: 4 },
      load: { atMs: NOW_MS - 4_000, ticksPerSecond: 12_400, outstandingTicks: 1_488_000, oldestAgeSeconds: 121 },
    });
    const open = openIncident({
      component: 'cluster',
      componentName: 'Cluster',
      impact: 'major',
      cause: CAUSES.unreachable,
      startedMs: NOW_MS - 125_000,
      updates: [{ atMs: NOW_MS - 110_000, status: 'identified', text: 'The cluster could not be reached' }],
    });
    return record(facts, { incidents: [open, incident()] });
  },
  unknown: () => {
    const thenMs = NOW_MS - 10 * 60_000;
    const facts = fineFacts({
      beatMs: thenMs,
      cluster: { last: check({ atMs: thenMs }), failures: 0 },
      canary: { last: canary({ atMs: thenMs }), failures: 0 },
    });
    return record(facts);
  },
  'first day': () => {
    const bornMs = NOW_MS - 20_000;
    const facts = fineFacts({
      bornMs,
      judgedSinceMs: { edge: bornMs, cluster: bornMs, store: bornMs },
      window: [],
      providers: {},
    });
    return { facts, days: [], incidents: [], minutes: [] };
  },
  nothing: () => undefined,
} as const satisfies Record<string, () => BoardRecord | undefined>;

export type SceneName = keyof typeof RECORDS;
export const SCENE_NAMES = Object.keys(RECORDS) as SceneName[];

export function scene(
  given: BoardRecord | undefined,
  publication: Publication = IBKR,
  nowMs: number = NOW_MS,
  pace: Pace = PACE,
): StatusModel {
  return statusModel(given, publication, nowMs, pace);
}
