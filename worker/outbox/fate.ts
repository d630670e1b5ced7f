/**
 * What becomes of a batch after the cluster's answer, or none: whose fault it is decides where it ends. One table
 * for the sender's own request and for the drain. Pure: knows neither time nor storage.
 */

import { type Problem, problemName, type Rejection, RETRY_AFTER_HEADER } from '../../pipeline/contract/answer.ts';
import type { NoAnswer, PodAnswer, RelayOutcome } from '../relay.ts';

/** What a pod says when it says nothing else. */
export const RETRY_AFTER_DEFAULT_SECONDS = 2;
/** Nobody has said when to come back; the sender's own request has just waited. */
const NO_ANSWER_WAIT_SECONDS = 1;
/** A pod says 60 at most; whatever says more does not stop the drain for longer. */
export const RETRY_AFTER_MAX_SECONDS = 300;

/** Final: the same batch would get the same answer again. */
const REJECTIONS: ReadonlySet<number> = new Set([400, 409, 413, 415, 422]);

export interface StoredFacts {
  stored: number;
  duplicates: number;
  rejected: Rejection[];
  /** Of pods that say so. */
  ignoredFields?: number;
}

export type Fate =
  /** Committed. */
  | { kind: 'stored'; facts: StoredFacts }
  /** Invalid for good: the sender's own, or a dead letter when the edge has accepted it. */
  | { kind: 'rejected'; problem: Problem }
  /** The provider's own budget: the sender's, or a wait when the edge has accepted it. */
  | { kind: 'over_budget'; retryAfterSeconds: number }
  /** The system's own reason, which has nothing to do with this batch. */
  | { kind: 'refused'; why: string; retryAfterSeconds: number }
  /** A bug in the pod, perhaps over this very batch. */
  | { kind: 'failed'; why: string; retryAfterSeconds: number }
  /** Nothing that a pod has said. `operator`: it ends only when somebody mends a secret or an address. */
  | { kind: 'no_answer'; why: NoAnswer['why']; detail: string; operator: boolean };

/** Reads one outcome. A 200 that does not say what was stored is no pod's. */
export function fateOf(outcome: RelayOutcome): Fate {
  if (!outcome.ok) {
    const { why, detail } = outcome;
    return { kind: 'no_answer', why, detail, operator: why === 'refused_edge' || why === 'not_a_pod' };
  }
  const { status } = outcome.answer;
  const json = parsedBody(outcome.answer);
  if (status === 200) {
    const facts = storedFacts(json);
    return facts === undefined ? notAPod('a 200 that says not what was stored') : { kind: 'stored', facts };
  }
  const name = problemName(json?.['type']);
  const retryAfterSeconds = retryAfter(outcome.answer.headers);
  if (REJECTIONS.has(status)) return { kind: 'rejected', problem: problemOf(status, json) };
  if (name === 'over-budget') return { kind: 'over_budget', retryAfterSeconds };
  const why = name ?? `status ${status}`;
  if (status === 429 || status === 503) return { kind: 'refused', why, retryAfterSeconds };
  // 408: the pod gave up on a body that we were too slow with.
  if (status === 408 || status >= 500) return { kind: 'failed', why, retryAfterSeconds };
  return notAPod(`status ${status}, which no pod gives to ticks`);
}

/** Whether the edge holds a batch of this fate, if it has room. All else goes to the sender as it is. */
export function isForOutbox(fate: Fate): boolean {
  switch (fate.kind) {
    case 'stored':
    case 'rejected':
    case 'over_budget':
      return false;
    case 'refused':
    case 'failed':
    case 'no_answer':
      return true;
  }
}

/** How long the cluster should be left alone before the outbox tries a batch of this fate. */
export function waitMsOf(fate: Fate): number {
  return 1000 * ('retryAfterSeconds' in fate ? fate.retryAfterSeconds : NO_ANSWER_WAIT_SECONDS);
}

function notAPod(detail: string): Fate {
  return { kind: 'no_answer', why: 'not_a_pod', detail: `something answered with ${detail}`, operator: true };
}

function parsedBody({ body }: PodAnswer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(body));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** What a pod's 200 says; `undefined` when it is not one. */
export function storedFacts(json: Record<string, unknown> | undefined): StoredFacts | undefined {
  if (json?.['status'] !== 'stored') return undefined;
  const { stored, duplicates, rejected, ignoredFields } = json;
  if (!isCount(stored) || !isCount(duplicates) || !Array.isArray(rejected)) return undefined;
  const facts = { stored, duplicates, rejected: rejected as Rejection[] };
  return isCount(ignoredFields) ? { ...facts, ignoredFields } : facts;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function problemOf(status: number, json: Record<string, unknown> | undefined): Problem {
  const text = (name: string, fallback: string): string => {
    const value = json?.[name];
    return typeof value === 'string' ? value : fallback;
  };
  const problem: Problem = {
    type: text('type', 'about:blank'),
    title: text('title', 'Rejected'),
    status,
    detail: text('detail', `the cluster answered with status ${status}`),
  };
  if (Array.isArray(json?.['rejected'])) problem.rejected = json['rejected'] as Rejection[];
  return problem;
}

function retryAfter(headers: Record<string, string>): number {
  const text = headers[RETRY_AFTER_HEADER] ?? '';
  if (!/^\d{1,9}$/.test(text)) return RETRY_AFTER_DEFAULT_SECONDS;
  return Math.min(Math.max(1, Number(text)), RETRY_AFTER_MAX_SECONDS);
}
