/**
 * One batch, once: sign it, post it, and say what became of it as a value. Never sends a second time and never
 * waits between attempts: that is the delivery's.
 */

import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { Agent, type Dispatcher, errors, request } from 'undici';
import { problemName, type Rejection, RETRY_AFTER_HEADER, type StoredAnswer } from '../../pipeline/contract/answer.ts';
import { CREDIT_HEADER, isLevel, type Level, LEVEL_HEADER } from '../../pipeline/contract/level.ts';
import { importSecret, SECRET_RULE, signatureHeaders, WEBHOOK_ID_HEADER } from '../../pipeline/contract/signature.ts';
import type { Batch } from './batches.ts';

export const REQUEST_TIMEOUT_MS = 15_000;
/** 10,000 rejections with the longest details are a third of this. */
export const ANSWER_MAX_BYTES = 16 * 1024 * 1024;

export type Credential = { secret: string } | { token: string };

/** What became of one attempt. Only the answer's status decides, never its text. */
export type Outcome =
  /** 200: committed, but for the ticks in `answer.rejected`. */
  | { kind: 'stored'; answer: StoredAnswer }
  /** 202: durable at the edge. */
  | { kind: 'buffered'; receipt: string | undefined }
  /** 429 or 503: not now. `retryAfterMs` is undefined when the answer does not say. */
  | { kind: 'refused'; status: number; problem: string; retryAfterMs: number | undefined }
  /** No answer, or one that does not tell whether the batch was stored. */
  | { kind: 'unclear'; why: string }
  /** Any other answer: never, as it is. `rejected` where each tick has its own reason. */
  | { kind: 'failed'; status: number; problem: string; detail: string; rejected: Rejection[] };

/** An option that cannot be; its message is for whoever gave it. */
export class OptionError extends Error {
  override name = 'OptionError';
}

export interface Attempt {
  outcome: Outcome;
  /** As the answer's headers tell; undefined where they do not. */
  level: Level | undefined;
  creditTicks: number | undefined;
  /** From the first byte sent to the last received. */
  answerMs: number;
}

export interface PusherOptions {
  /** Where the edge is, with or without a path before `/v1`. */
  to: string;
  provider: string;
  credential: Credential;
  /** Connections at most; as many requests as that may be in flight. */
  connections: number;
  gzip?: boolean;
  requestTimeoutMs?: number;
  /** The clock that signatures carry. */
  wallClockMs?: () => number;
}

export interface Pusher {
  push: (batch: Batch, cancel?: AbortSignal) => Promise<Attempt>;
  close: () => Promise<void>;
}

const gzipBytes = promisify(gzip);

/** Opens nothing yet. Throws an `OptionError` for a secret or address that cannot be one; never quotes the secret. */
export async function createPusher(options: PusherOptions): Promise<Pusher> {
  const { credential, requestTimeoutMs = REQUEST_TIMEOUT_MS, wallClockMs = Date.now } = options;
  const url = ticksUrl(options.to, options.provider);
  const key = 'secret' in credential ? await importSecret(credential.secret) : undefined;
  if ('secret' in credential && key === undefined) throw new OptionError(`the secret must be ${SECRET_RULE}`);
  const agent = new Agent({ connections: options.connections, pipelining: 1 });

  const headersFor = async (batch: Batch, body: Uint8Array): Promise<Record<string, string>> => {
    const headers: Record<string, string> = { 'content-type': 'application/x-ndjson' };
    if (options.gzip === true) headers['content-encoding'] = 'gzip';
    if (key !== undefined) return Object.assign(headers, await signatureHeaders(key, batch.id, wallClockMs(), body));
    const token = 'token' in credential ? credential.token : '';
    return Object.assign(headers, { [WEBHOOK_ID_HEADER]: batch.id, authorization: `Bearer ${token}` });
  };

  const push = async (batch: Batch, cancel?: AbortSignal): Promise<Attempt> => {
    const body = options.gzip === true ? await gzipBytes(batch.body) : batch.body;
    const headers = await headersFor(batch, body);
    const timeout = AbortSignal.timeout(requestTimeoutMs);
    const signal = cancel === undefined ? timeout : AbortSignal.any([timeout, cancel]);
    const startMs = performance.now();
    try {
      const answer = await request(url, { method: 'POST', headers, body, signal, dispatcher: agent });
      const text = await readBounded(answer.body);
      const answerMs = performance.now() - startMs;
      return { ...readHeaders(answer.headers), outcome: readAnswer(answer, text), answerMs };
    } catch (error) {
      const why = timeout.aborted ? 'timeout' : cancel?.aborted === true ? 'cancelled' : noAnswer(error);
      return {
        outcome: { kind: 'unclear', why },
        level: undefined,
        creditTicks: undefined,
        answerMs: performance.now() - startMs,
      };
    }
  };
  return { push, close: () => agent.destroy() };
}

/** The address that a provider pushes to. Throws an `OptionError` when `to` is not an http or https address. */
export function ticksUrl(to: string, provider: string): string {
  const base = URL.parse(to);
  if (base === null || !/^https?:$/.test(base.protocol)) {
    throw new OptionError(`${JSON.stringify(to)} is not an http:// or https:// address`);
  }
  return `${base.origin}${base.pathname.replace(/\/+$/, '')}/v1/ticks/${encodeURIComponent(provider)}`;
}

async function readBounded(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > ANSWER_MAX_BYTES) throw new AnswerTooLarge(`the answer is longer than ${ANSWER_MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

class AnswerTooLarge extends Error {
  override name = 'AnswerTooLarge';
}

function noAnswer(error: unknown): string {
  if (error instanceof AnswerTooLarge) return 'answer too large';
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'ECONNRESET' || code === 'EPIPE') return code;
  return error instanceof errors.UndiciError || code !== '' ? 'connection lost' : 'no answer';
}

type Headers = Dispatcher.ResponseData['headers'];

function readHeaders(headers: Headers): { level: Level | undefined; creditTicks: number | undefined } {
  const level = headers[LEVEL_HEADER];
  const credit = headers[CREDIT_HEADER];
  return {
    level: isLevel(level) ? level : undefined,
    creditTicks: typeof credit === 'string' && /^\d{1,15}$/.test(credit) ? Number(credit) : undefined,
  };
}

function readAnswer(answer: Dispatcher.ResponseData, text: string): Outcome {
  const status = answer.statusCode;
  const body = parseObject(text);
  if (status === 200) {
    // Without its account there is no telling that this is the answer to our batch; the ledger will say it again.
    return isStoredAnswer(body) ? { kind: 'stored', answer: body } : { kind: 'unclear', why: 'unreadable 200' };
  }
  if (status === 202) {
    const receipt = body?.['receipt'];
    return { kind: 'buffered', receipt: typeof receipt === 'string' ? receipt : undefined };
  }
  const problem = problemName(body?.['type']) ?? `status ${status}`;
  if (status === 429 || status === 503) {
    return { kind: 'refused', status, problem, retryAfterMs: retryAfterMs(answer.headers) };
  }
  if (status === 408 || status >= 500) return { kind: 'unclear', why: problem };
  const detail = typeof body?.['detail'] === 'string' ? body['detail'] : '';
  const rejected = Array.isArray(body?.['rejected']) ? body['rejected'].filter(isRejection) : [];
  return { kind: 'failed', status, problem, detail, rejected };
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return value !== null && typeof value === 'object' ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function isStoredAnswer(body: unknown): body is StoredAnswer {
  if (body === null || typeof body !== 'object') return false;
  const { stored, duplicates, rejected } = body as Partial<Record<keyof StoredAnswer, unknown>>;
  return Number.isSafeInteger(stored) && Number.isSafeInteger(duplicates) && isRejections(rejected);
}

function isRejections(value: unknown): value is Rejection[] {
  return Array.isArray(value) && value.every(isRejection);
}

function isRejection(value: unknown): value is Rejection {
  return value !== null && typeof value === 'object' && 'reason' in value && typeof value.reason === 'string';
}

/** Seconds or an HTTP date, as milliseconds from now. Source: RFC 9110, section 10.2.3. */
function retryAfterMs(headers: Headers): number | undefined {
  const value = headers[RETRY_AFTER_HEADER];
  if (typeof value !== 'string') return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const instantMs = Date.parse(value);
  return Number.isNaN(instantMs) ? undefined : Math.max(0, instantMs - Date.now());
}
