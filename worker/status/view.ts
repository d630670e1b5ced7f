/**
 * What this isolate last saw of the cluster, and how old that is. Pure state: told what happened and when, asked
 * what to say. Never asks the cluster itself, never forgets, only lets what it knows grow old.
 */

import type { Level } from '../../pipeline/contract/level.ts';

export const EDGE_SERVICE = 'market-data-pipeline-edge';

export type ClusterState = Level | 'unreachable' | 'unknown';

/** A pod's answer to some ticks. */
export interface SeenAnswer {
  atMs: number;
  status: number;
  level: Level | undefined;
}

/** A pod's own `/status`. */
export interface SeenSnapshot {
  atMs: number;
  level: Level | undefined;
  json: Record<string, unknown>;
}

/** A time that the cluster gave no answer a pod would give. */
export interface SeenFailure {
  atMs: number;
  why: string;
}

/** The body of `GET /status`. Ages are whole seconds; all times are this edge's clock. */
export interface EdgeStatus {
  service: typeof EDGE_SERVICE;
  state: ClusterState;
  /** When `state` was last confirmed, or null when nothing has been seen. */
  asOf: string | null;
  ageSeconds: number | null;
  /** The last `/status` a pod answered, however old. */
  cluster: Record<string, unknown> | null;
  clusterAgeSeconds: number | null;
  lastAnswer: { status: number; level: Level | null; asOf: string; ageSeconds: number } | null;
  lastFailure: { why: string; asOf: string; ageSeconds: number } | null;
}

/** The newest event decides the state; each kind of event keeps its own last one. */
export class ClusterView {
  #answer: SeenAnswer | undefined;
  #snapshot: SeenSnapshot | undefined;
  #failure: SeenFailure | undefined;
  #newest: { state: ClusterState; atMs: number } | undefined;

  noteAnswer(answer: SeenAnswer): void {
    this.#answer = answer;
    this.#note(answer.level, answer.atMs);
  }

  noteSnapshot(snapshot: SeenSnapshot): void {
    this.#snapshot = snapshot;
    this.#note(snapshot.level, snapshot.atMs);
  }

  noteFailure(failure: SeenFailure): void {
    this.#failure = failure;
    this.#newest = { state: 'unreachable', atMs: failure.atMs };
  }

  /** The level an answer made by the edge alone carries: hard while the cluster is away, ok until it is known. */
  level(): Level {
    const state = this.#newest?.state ?? 'unknown';
    if (state === 'unreachable') return 'hard';
    return state === 'unknown' ? 'ok' : state;
  }

  report(nowMs: number): EdgeStatus {
    const newest = this.#newest;
    const answer = this.#answer;
    const failure = this.#failure;
    return {
      service: EDGE_SERVICE,
      state: newest?.state ?? 'unknown',
      asOf: newest === undefined ? null : isoTime(newest.atMs),
      ageSeconds: newest === undefined ? null : ageSeconds(newest.atMs, nowMs),
      cluster: this.#snapshot?.json ?? null,
      clusterAgeSeconds: this.#snapshot === undefined ? null : ageSeconds(this.#snapshot.atMs, nowMs),
      lastAnswer:
        answer === undefined
          ? null
          : { status: answer.status, level: answer.level ?? null, ...timesOf(answer.atMs, nowMs) },
      lastFailure: failure === undefined ? null : { why: failure.why, ...timesOf(failure.atMs, nowMs) },
    };
  }

  /** An answer without a level is still an answer: the level stays what it was, or ok. */
  #note(level: Level | undefined, atMs: number): void {
    const before = this.#newest?.state;
    const kept = before === undefined || before === 'unreachable' || before === 'unknown' ? 'ok' : before;
    this.#newest = { state: level ?? kept, atMs };
  }
}

function timesOf(atMs: number, nowMs: number): { asOf: string; ageSeconds: number } {
  return { asOf: isoTime(atMs), ageSeconds: ageSeconds(atMs, nowMs) };
}

function isoTime(atMs: number): string {
  return new Date(atMs).toISOString();
}

function ageSeconds(atMs: number, nowMs: number): number {
  return Math.max(0, Math.floor((nowMs - atMs) / 1000));
}
