/**
 * Signs one batch and forwards it to the pods: all attempts under one deadline, the pod's answer handed back as it
 * came. Repeats only what got no HTTP answer, which is harmless, since a batch is stored once however often it
 * arrives. Never judges an answer beyond "is this a pod's?", and never holds a batch: that is the outbox's.
 */

import { BATCH_TICKS_HEADER, PROBLEM_CONTENT_TYPE, RETRY_AFTER_HEADER } from '../pipeline/contract/answer.ts';
import { BATCH_ID_MADE_HEADER, EDGE_COUNTED_HEADER, scopedBatchId } from '../pipeline/contract/identity.ts';
import { CREDIT_HEADER, isLevel, LEVEL_HEADER, RATE_SCALE_HEADER, type Level } from '../pipeline/contract/level.ts';
import { signatureHeaders } from '../pipeline/contract/signature.ts';
import { readAnswer } from './body.ts';
import type { Settings } from './settings.ts';

/** For all attempts together: well inside the time that HTTP clients wait by default (30 s and more). */
export const RELAY_TIMEOUT_MS = 10_000;
/** Before the second attempt, the third, …: long enough for a connection to a restarted pod, short enough to be held for. */
export const RETRY_WAITS_MS = [50, 200, 800] as const;
/** Each wait is drawn from its length times 1 minus to 1 plus this share, so that senders do not come back in step. */
export const RETRY_JITTER_SHARE = 0.5;
/** Room for 10,000 rejections with the longest detail in ordinary characters. */
export const ANSWER_MAX_BYTES = 4 * 1024 * 1024;

/** The pod's headers that reach the sender; all others stay inside. */
export const PASSED_HEADERS = [
  'content-type',
  RETRY_AFTER_HEADER,
  LEVEL_HEADER,
  RATE_SCALE_HEADER,
  'ratelimit',
  'ratelimit-policy',
  CREDIT_HEADER,
] as const;

export type Fetch = (input: string, init: RequestInit) => Promise<Response>;

/** The world outside, so that tests can be in charge of faults, time and chance. */
export interface RelayParts {
  fetch: Fetch;
  nowMs: () => number;
  /** In [0, 1). */
  random: () => number;
  wait: (ms: number) => Promise<void>;
  relayTimeoutMs: number;
  /** As many as {@link RETRY_WAITS_MS} allows unless told otherwise. */
  attemptsMax?: number;
}

export interface RelayRequest {
  provider: string;
  batch: string;
  /** The edge made `batch` up. */
  batchIdMade: boolean;
  contentType: string | null;
  contentEncoding: string | null;
  /** As sent: still packed when the sender packed it. */
  body: Uint8Array<ArrayBuffer>;
}

export interface PodAnswer {
  status: number;
  headers: Record<string, string>;
  body: Uint8Array<ArrayBuffer>;
  level: Level | undefined;
  /** In the batch; undefined where the pod has not read it. */
  ticks: number | undefined;
}

/** Why there is no answer to pass on. */
export interface NoAnswer {
  why: 'unreachable' | 'timeout' | 'not_a_pod' | 'refused_edge';
  /** For the sender; names nothing inside the cluster. */
  detail: string;
  /** What the runtime said about the last attempt; for the log alone. */
  cause?: string;
}

export type RelayOutcome = { ok: true; answer: PodAnswer } | ({ ok: false } & NoAnswer);

/** Forwards one batch. Resolves within `relayTimeoutMs` (and the time to sign): with a pod's answer, or why there is none. */
export async function relay(
  parts: RelayParts,
  settings: Pick<Settings, 'clusterUrl' | 'edgeKey'>,
  request: RelayRequest,
): Promise<RelayOutcome> {
  const deadlineMs = parts.nowMs() + parts.relayTimeoutMs;
  const signal = AbortSignal.timeout(parts.relayTimeoutMs);
  const url = `${settings.clusterUrl}/v1/ticks/${request.provider}`;
  const id = scopedBatchId(request.provider, request.batch);
  const headers = await signatureHeaders(settings.edgeKey, id, parts.nowMs(), request.body);
  // Without this the platform would ask for a packed answer, whose length says nothing about its size.
  headers['accept-encoding'] = 'identity';
  headers[EDGE_COUNTED_HEADER] = '1';
  if (request.contentType !== null) headers['content-type'] = request.contentType;
  if (request.contentEncoding !== null) headers['content-encoding'] = request.contentEncoding;
  if (request.batchIdMade) headers[BATCH_ID_MADE_HEADER] = '1';

  for (let attempt = 0; ; attempt += 1) {
    const init: RequestInit = { method: 'POST', headers, body: request.body, redirect: 'manual', signal };
    const outcome = await tryOnce(parts, url, init, deadlineMs);
    if (!('broken' in outcome)) return outcome;
    const cause = outcome.broken;
    if (signal.aborted || parts.nowMs() >= deadlineMs) {
      const detail = `the cluster did not answer within ${parts.relayTimeoutMs} ms`;
      return { ok: false, why: 'timeout', detail, cause };
    }
    const isLast = attempt + 1 === parts.attemptsMax;
    const waitMs = isLast ? undefined : retryWaitMs(attempt, parts.random());
    if (waitMs === undefined || parts.nowMs() + waitMs >= deadlineMs) {
      const detail = `the cluster could not be reached in ${attempt + 1} attempt(s)`;
      return { ok: false, why: 'unreachable', detail, cause };
    }
    await parts.wait(waitMs);
  }
}

/** How long to wait after failed attempt number `attempt` (0 is the first); `undefined` when there were enough. */
export function retryWaitMs(attempt: number, random: number): number | undefined {
  const waitMs = RETRY_WAITS_MS[attempt];
  return waitMs === undefined ? undefined : Math.round(waitMs * (1 + RETRY_JITTER_SHARE * (2 * random - 1)));
}

/** No whole HTTP answer came; the runtime's words for that are for the log and decide nothing. */
interface Broken {
  broken: string;
}

/** One attempt: a pod's answer, an answer that is none, or nothing whole. */
async function tryOnce(
  parts: RelayParts,
  url: string,
  init: RequestInit,
  deadlineMs: number,
): Promise<RelayOutcome | Broken> {
  let response: Response;
  try {
    response = await parts.fetch(url, init);
  } catch (error) {
    return { broken: String(error) };
  }
  const judged = judgeHead(response.status, response.headers);
  if (judged !== undefined) {
    void response.body?.cancel().catch(() => undefined);
    return { ok: false, ...judged };
  }
  const maxWaitMs = Math.max(1, deadlineMs - parts.nowMs());
  const read = await readAnswer(response, { maxBytes: ANSWER_MAX_BYTES, maxWaitMs });
  if (!read.ok) {
    return read.why === 'too_large'
      ? { ok: false, why: 'not_a_pod', detail: `the answer is longer than ${ANSWER_MAX_BYTES} bytes` }
      : { broken: 'the answer broke off' };
  }
  const level = response.headers.get(LEVEL_HEADER);
  return {
    ok: true,
    answer: {
      status: response.status,
      headers: passedHeaders(response.headers),
      body: read.bytes,
      level: isLevel(level) ? level : undefined,
      ticks: countOf(response.headers.get(BATCH_TICKS_HEADER)),
    },
  };
}

/**
 * Whether status and headers can be a pod's: a 200 or 202 with a level, or a problem. Anything else (a redirect, a
 * proxy's own page, another server's friendly 200) would tell the sender something that no pod has said.
 */
function judgeHead(status: number, headers: Headers): NoAnswer | undefined {
  if (status === 401) return { why: 'refused_edge', detail: 'the cluster refused the edge; your credentials are fine' };
  const stored = (status === 200 || status === 202) && isLevel(headers.get(LEVEL_HEADER));
  const type = (headers.get('content-type') ?? '').split(';', 1)[0]!.trim().toLowerCase();
  const refused = status >= 400 && status <= 599 && type === PROBLEM_CONTENT_TYPE;
  if (stored || refused) return undefined;
  return { why: 'not_a_pod', detail: `something that is no pod answered with status ${status}` };
}

function countOf(text: string | null): number | undefined {
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

function passedHeaders(headers: Headers): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const name of PASSED_HEADERS) {
    const value = headers.get(name);
    if (value !== null) passed[name] = value;
  }
  return passed;
}
