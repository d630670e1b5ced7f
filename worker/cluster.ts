/**
 * One isolate's dealings with the cluster: forwards batches unless it was away a moment ago, turns what came of it
 * into an answer, and keeps what was seen of it, for answers, status and log.
 */

import { RETRY_AFTER_HEADER } from '../pipeline/contract/answer.ts';
import { LEVEL_HEADER, RATE_SCALE, RATE_SCALE_HEADER } from '../pipeline/contract/level.ts';
import { Circuit } from './circuit.ts';
import type { LogLine } from './log.ts';
import { type Fetch, type NoAnswer, relay, RELAY_TIMEOUT_MS, type RelayOutcome, type RelayRequest } from './relay.ts';
import { problemResponse } from './response.ts';
import type { Settings } from './settings.ts';
import { askForSnapshot, SNAPSHOT_INTERVAL_MS, SNAPSHOT_TIMEOUT_MS } from './status/snapshot.ts';
import { ClusterView, type EdgeStatus } from './status/view.ts';

/** When to come back after the cluster did not answer: a pod restarts in about this time. */
export const CLUSTER_RETRY_AFTER_SECONDS = 5;
/** A cluster that is away is logged once in this time for each kind of failure, however many batches find out. */
export const FAILURE_LOG_INTERVAL_MS = 10_000;

type FailureKind = NoAnswer['why'] | 'no_status';
/** These do not heal by themselves: a wrong secret, or a wrong address. */
const NEEDS_OPERATOR: ReadonlySet<FailureKind> = new Set(['refused_edge', 'not_a_pod']);

/** Of a batch that was not sent at all, because none is answered now. */
const AWAY: RelayOutcome = { ok: false, why: 'unreachable', detail: 'the cluster has not answered of late' };

export interface ClusterParts {
  fetch: Fetch;
  nowMs: () => number;
  random: () => number;
  wait: (ms: number) => Promise<void>;
  log: (line: LogLine) => void;
  relayTimeoutMs?: number;
  snapshotTimeoutMs?: number;
}

/** Knows the cluster only by what it last saw of it. */
export class Cluster {
  readonly #parts: ClusterParts;
  readonly #view = new ClusterView();
  readonly #circuit = new Circuit();
  #snapshotAskedMs = Number.NEGATIVE_INFINITY;
  /** When each kind of failure was last logged; the kinds are few and fixed. */
  readonly #failuresLoggedMs = new Map<FailureKind, number>();
  /** The log's last word on the cluster is that it is lost. */
  #lossLogged = false;

  constructor(parts: ClusterParts) {
    this.#parts = parts;
  }

  /** Forwards one batch whatever was seen before. */
  async send(settings: Settings, request: RelayRequest, attemptsMax?: number): Promise<RelayOutcome> {
    const parts = { ...this.#parts, relayTimeoutMs: this.#parts.relayTimeoutMs ?? RELAY_TIMEOUT_MS };
    const outcome = await relay(attemptsMax === undefined ? parts : { ...parts, attemptsMax }, settings, request);
    if (outcome.ok) {
      const { status, level } = outcome.answer;
      this.#view.noteAnswer({ atMs: this.#parts.nowMs(), status, level });
      this.#noteBack();
    } else {
      this.#noteFailure(outcome.why, outcome.detail, outcome.cause);
    }
    return outcome;
  }

  /** Forwards one batch that can be held otherwise: at once not, while the cluster is known to be away. */
  async sendIfThere(settings: Settings, request: RelayRequest): Promise<RelayOutcome> {
    const { nowMs } = this.#parts;
    const passage = this.#circuit.passage(nowMs());
    if (passage === 'closed') return AWAY;
    const outcome = await this.send(settings, request, passage === 'look' ? 1 : undefined);
    if (outcome.ok) this.#circuit.noteAnswer();
    else this.#circuit.noteFailure(outcome.why, nowMs());
    return outcome;
  }

  /** The pod's answer as it came, or that there is none. */
  answer(outcome: RelayOutcome, batch: string): Response {
    if (!outcome.ok) {
      const retryAfter = { [RETRY_AFTER_HEADER]: String(CLUSTER_RETRY_AFTER_SECONDS) };
      return problemResponse(
        'cluster-unreachable',
        outcome.detail,
        { ...this.levelHeaders(), ...retryAfter },
        { batch },
      );
    }
    const { status, headers, body, level } = outcome.answer;
    // A pod always says its level; an answer made before the pod's routes has only the last one known.
    const levelHeaders = level === undefined ? this.levelHeaders() : {};
    return new Response(body, { status, headers: { ...headers, ...levelHeaders } });
  }

  /** What an answer made by the edge alone says of the level. */
  levelHeaders(): Record<string, string> {
    const level = this.#view.level();
    return { [LEVEL_HEADER]: level, [RATE_SCALE_HEADER]: String(RATE_SCALE[level]) };
  }

  report(): EdgeStatus {
    return this.#view.report(this.#parts.nowMs());
  }

  /** Asks a pod for its status unless this isolate has just done so; the others are told what is known meanwhile. */
  async refresh(settings: Settings): Promise<void> {
    const { fetch, nowMs, snapshotTimeoutMs } = this.#parts;
    if (nowMs() - this.#snapshotAskedMs < SNAPSHOT_INTERVAL_MS) return;
    this.#snapshotAskedMs = nowMs();
    const outcome = await askForSnapshot(fetch, settings.clusterUrl, snapshotTimeoutMs ?? SNAPSHOT_TIMEOUT_MS);
    if (!outcome.ok) return this.#noteFailure('no_status', outcome.why, outcome.cause);
    this.#view.noteSnapshot({ atMs: nowMs(), level: outcome.level, json: outcome.json });
    this.#noteBack();
  }

  #noteFailure(why: FailureKind, detail: string, cause: string | undefined): void {
    const atMs = this.#parts.nowMs();
    this.#view.noteFailure({ atMs, why: detail });
    if (atMs - (this.#failuresLoggedMs.get(why) ?? Number.NEGATIVE_INFINITY) < FAILURE_LOG_INTERVAL_MS) return;
    this.#failuresLoggedMs.set(why, atMs);
    this.#lossLogged = true;
    const event = why === 'refused_edge' ? 'cluster-refused-edge' : 'cluster-lost';
    this.#parts.log({ level: NEEDS_OPERATOR.has(why) ? 'error' : 'warn', event, why, detail, cause });
  }

  #noteBack(): void {
    if (!this.#lossLogged) return;
    this.#lossLogged = false;
    this.#parts.log({ level: 'info', event: 'cluster-back' });
  }
}
