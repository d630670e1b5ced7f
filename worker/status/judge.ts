/**
 * From facts and their ages to the state of each component. Pure, and asked again at every reading: what nobody has
 * confirmed lately is unknown, whoever forgot to say so. Never looks at history.
 */

import type { BatchCounts, CanaryResult, Facts, ProviderFact, Series } from './facts.ts';
import { type Pace } from './pace.ts';
import { duration, percent } from './words.ts';
import { windowCounts } from './window.ts';

export type State = 'operational' | 'degraded' | 'outage' | 'unknown';

/** From harmless to harmful; what is not known may be anything but is known to be no outage. */
export const HARM: Readonly<Record<State, number>> = { operational: 0, degraded: 1, unknown: 2, outage: 3 };

/** Shares are of fewer batches than this by chance. */
export const BATCHES_JUDGED_MIN = 10;
export const REFUSED_SHARE_DEGRADED = 0.05;
export const REFUSED_SHARE_OUTAGE = 0.5;
export const FAILED_SHARE_DEGRADED = 0.2;
/** One failed look may be a restart; this many in a row are an outage. */
export const FAILURES_OUTAGE = 2;
/** A provider is silent after this many of its usual gaps. */
export const SILENT_GAPS = 4;

export const EDGE = 'edge';
export const CLUSTER = 'cluster';
export const STORE = 'store';
export const PROVIDER_PREFIX = 'provider-';

/** Every reason for a state that is not operational. The text, after the component's name, is that of an incident. */
export const CAUSES = {
  not_measured: 'not measured',
  not_set_up: 'not set up',
  refusing: 'batches are refused',
  backlog: 'ticks wait',
  unreachable: 'no answer',
  refused_edge: 'refuses the edge',
  held_back: 'takes nothing for now',
  slowed: 'slows its senders',
  no_answers: 'batches get no answer',
  store_away: 'cannot be written to',
  store_late: 'ticks are not stored in time',
  store_slow: 'slow',
  canary_rejected: 'a tick of ours was rejected',
  hidden: 'cannot be seen',
  silent: 'no ticks',
  provider_slowed: 'slowed down',
} as const;
export type Cause = keyof typeof CAUSES;

export interface Judged {
  /** `edge`, `cluster`, `store`, `provider-NAME`. */
  id: string;
  name: string;
  state: State;
  /** Null when operational. */
  cause: Cause | null;
  /** One sentence for anybody, without a full stop. */
  words: string;
  /** When this turns to unknown by itself. */
  goodUntilMs: number;
}

export function worse(left: State, right: State): State {
  return HARM[right] > HARM[left] ? right : left;
}

/** The edge, the cluster, the store, and those of `providers` that have been heard of, in this order. */
export function judge(facts: Facts, providers: readonly string[], nowMs: number, pace: Pace): Judged[] {
  const core = [judgeEdge(facts, nowMs, pace), judgeCluster(facts, nowMs, pace), judgeStore(facts, nowMs, pace)];
  const heard = providers.filter((name) => Object.hasOwn(facts.providers, name)).toSorted();
  return [...core, ...heard.map((name) => judgeProvider(facts, name, facts.providers[name]!, nowMs, pace))];
}

type Verdict = Pick<Judged, 'state' | 'cause' | 'words'>;

const FINE = (words: string): Verdict => ({ state: 'operational', cause: null, words });

/** `verdict` while something measured at `atMs` stands for it, and unknown afterwards. */
function whileFresh(
  who: Pick<Judged, 'id' | 'name'>,
  atMs: number | null | undefined,
  nowMs: number,
  pace: Pace,
  verdict: () => Verdict,
): Judged {
  if (atMs === null || atMs === undefined) {
    return { ...who, state: 'unknown', cause: 'not_measured', words: 'Not measured yet', goodUntilMs: nowMs };
  }
  const goodUntilMs = atMs + pace.staleMs;
  // A time far ahead is a clock that jumped back since: as little to be trusted as an old one.
  if (nowMs >= goodUntilMs || atMs > nowMs + pace.staleMs) {
    const words = `Not measured for ${duration(nowMs - atMs)}`;
    return { ...who, state: 'unknown', cause: 'not_measured', words, goodUntilMs: nowMs };
  }
  return { ...who, goodUntilMs, ...verdict() };
}

function judgeEdge(facts: Facts, nowMs: number, pace: Pace): Judged {
  return whileFresh({ id: EDGE, name: 'Edge intake' }, facts.beatMs, nowMs, pace, () => {
    if (!facts.setUp) {
      return { state: 'outage', cause: 'not_set_up', words: 'The edge is not set up completely and takes no ticks' };
    }
    const counts = windowCounts(facts.window, nowMs, pace.windowMs);
    const refused = share(counts.refused, counts.stored + counts.buffered + counts.refused + counts.rejected);
    if (refused >= REFUSED_SHARE_DEGRADED) {
      const state = refused >= REFUSED_SHARE_OUTAGE ? 'outage' : 'degraded';
      return { state, cause: 'refusing', words: `${percent(refused)} of the last minute's batches were refused` };
    }
    const waitsMs = freshLoad(facts, nowMs, pace)?.oldestAgeSeconds ?? 0;
    if (waitsMs * 1000 >= pace.backlogMs) {
      return {
        state: 'degraded',
        cause: 'backlog',
        words: `Ticks wait at the edge, the oldest for ${duration(waitsMs * 1000)}`,
      };
    }
    return FINE('Batches are taken');
  });
}

function judgeCluster(facts: Facts, nowMs: number, pace: Pace): Judged {
  const { cluster } = facts;
  return whileFresh({ id: CLUSTER, name: 'Cluster' }, cluster?.last.atMs, nowMs, pace, () => {
    const { last, failures } = cluster!;
    const canary = freshCanary(facts, nowMs, pace);
    if (canary?.outcome === 'refused_edge') {
      return { state: 'outage', cause: 'refused_edge', words: 'The cluster does not accept what the edge signs' };
    }
    const failing: State = failures >= FAILURES_OUTAGE ? 'outage' : 'degraded';
    if (!last.reachable)
      return { state: failing, cause: 'unreachable', words: sentence(last.why ?? 'it gave no answer') };
    if (last.level === 'hard') {
      return { state: failing, cause: 'held_back', words: 'Takes nothing for now, until what it holds is written' };
    }
    const counts = windowCounts(facts.window, nowMs, pace.windowMs);
    const failed = share(counts.failed, counts.failed + counts.stored);
    if (failed >= FAILED_SHARE_DEGRADED) {
      return {
        state: 'degraded',
        cause: 'no_answers',
        words: `${percent(failed)} of the last minute's batches got no answer`,
      };
    }
    if (last.level === 'soft') {
      return { state: 'degraded', cause: 'slowed', words: 'Slows its senders to half their rate' };
    }
    return FINE(last.draining ? 'Answers; a pod is being replaced' : 'Answers, and slows nobody');
  });
}

function judgeStore(facts: Facts, nowMs: number, pace: Pace): Judged {
  const { canary, cluster } = facts;
  const who = { id: STORE, name: 'Store' };
  const closed = cluster !== null && nowMs < cluster.last.atMs + pace.staleMs && cluster.last.storeOpen === false;
  if (closed && (canary === null || cluster.last.atMs >= canary.last.atMs)) {
    return whileFresh(who, cluster.last.atMs, nowMs, pace, () => {
      return { state: 'outage', cause: 'store_away', words: 'The store cannot be written to' };
    });
  }
  return whileFresh(who, canary?.last.atMs, nowMs, pace, () => {
    if (cluster !== null && !cluster.last.reachable && cluster.last.atMs >= canary!.last.atMs) return HIDDEN;
    return judgeCanary(canary!, pace);
  });
}

const HIDDEN: Verdict = {
  state: 'unknown',
  cause: 'hidden',
  words: 'Cannot be seen while the cluster does not answer',
};

function judgeCanary({ last, failures }: Series<CanaryResult>, pace: Pace): Verdict {
  const failing: State = failures >= FAILURES_OUTAGE ? 'outage' : 'degraded';
  switch (last.outcome) {
    case 'stored':
      return last.tookMs >= pace.canarySlowMs
        ? { state: 'degraded', cause: 'store_slow', words: `A tick took ${seconds(last.tookMs)} to be stored` }
        : FINE('Ticks are stored');
    case 'late':
      return {
        state: failing,
        cause: 'store_late',
        words: `A tick was not stored within ${seconds(pace.canaryTimeoutMs)}`,
      };
    case 'no_store':
      return { state: failing, cause: 'store_away', words: 'The store cannot be written to' };
    case 'held_back':
      return { state: 'degraded', cause: 'held_back', words: 'A tick was told to come back later' };
    case 'rejected':
      return { state: failing, cause: 'canary_rejected', words: 'A tick of ours was rejected' };
    case 'no_cluster':
    case 'refused_edge':
      return HIDDEN;
  }
}

function judgeProvider(facts: Facts, name: string, fact: ProviderFact, nowMs: number, pace: Pace): Judged {
  return whileFresh({ id: PROVIDER_PREFIX + name, name }, facts.beatMs, nowMs, pace, () => {
    const silenceMs = nowMs - fact.lastSeenMs;
    const silent = `Has sent nothing for ${duration(silenceMs)}`;
    if (silenceMs >= pace.silentUnknownMs) return { state: 'unknown', cause: 'silent', words: silent };
    if (silenceMs >= silentAfterMs(fact, pace)) return { state: 'degraded', cause: 'silent', words: silent };
    if (fact.level === 'soft' || fact.level === 'hard') {
      return { state: 'degraded', cause: 'provider_slowed', words: 'Sends, and is slowed down' };
    }
    return FINE('Sends');
  });
}

/** A provider that sends once in five minutes is not silent after one. */
export function silentAfterMs(fact: ProviderFact, pace: Pace): number {
  return Math.max(pace.silentMs, SILENT_GAPS * fact.usualGapMs);
}

/** The last canary, when it says something about now. */
export function freshCanary(facts: Facts, nowMs: number, pace: Pace): CanaryResult | undefined {
  const last = facts.canary?.last;
  return last !== undefined && nowMs < last.atMs + pace.staleMs ? last : undefined;
}

export function freshLoad(facts: Facts, nowMs: number, pace: Pace): Facts['load'] {
  return facts.load !== null && nowMs < facts.load.atMs + pace.staleMs ? facts.load : null;
}

function share(part: BatchCounts['refused'], whole: number): number {
  return whole < BATCHES_JUDGED_MIN ? 0 : part / whole;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
