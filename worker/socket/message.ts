/**
 * The words of a socket: one text message is one batch, one text message back is its answer. Pure.
 */

import { type Problem, problem, RETRY_AFTER_HEADER } from '../../pipeline/contract/answer.ts';
import { BODY_MAX_BYTES } from '../../pipeline/contract/batch.ts';
import { BATCH_ID_RULE, isBatchId } from '../../pipeline/contract/identity.ts';
import { isLevel, LEVEL_HEADER, type Level, RATE_SCALE_HEADER } from '../../pipeline/contract/level.ts';

/** First line included. */
export const MESSAGE_MAX_BYTES = BODY_MAX_BYTES;
const FIRST_LINE_RULE = `the first line must be {"batch":"…"}, the id of the batch: ${BATCH_ID_RULE}`;

export type MessageOutcome =
  | { ok: true; batch: string; body: Uint8Array<ArrayBuffer> }
  | { ok: false; problem: Problem };

/** `{"batch":"…"}`, a newline, and the lines of ticks. Other members of the first line are ignored. */
export function readMessage(message: string | ArrayBuffer): MessageOutcome {
  if (typeof message !== 'string') return wrong('unsupported-type', 'a batch is a text message');
  // No character has less than one byte.
  if (message.length > MESSAGE_MAX_BYTES) return tooLarge();
  const newline = message.indexOf('\n');
  const batch = batchOf(newline < 0 ? message : message.slice(0, newline));
  if (batch === undefined) return wrong('bad-request', FIRST_LINE_RULE);
  if (newline < 0) return wrong('unreadable', 'the message holds no tick', batch);
  const body = new TextEncoder().encode(message.slice(newline + 1)) as Uint8Array<ArrayBuffer>;
  return newline + 1 + body.length > MESSAGE_MAX_BYTES ? tooLarge(batch) : { ok: true, batch, body };
}

function batchOf(line: string): string | undefined {
  try {
    const batch = (JSON.parse(line) as { batch?: unknown } | null)?.batch;
    return typeof batch === 'string' && isBatchId(batch) ? batch : undefined;
  } catch {
    return undefined;
  }
}

function tooLarge(batch?: string): MessageOutcome {
  return wrong('too-large', `the message is longer than ${MESSAGE_MAX_BYTES} bytes`, batch);
}

function wrong(
  name: 'unsupported-type' | 'bad-request' | 'unreadable' | 'too-large',
  detail: string,
  batch?: string,
): MessageOutcome {
  return { ok: false, problem: problem(name, detail, batch === undefined ? {} : { batch }) };
}

/** What an HTTP answer says in headers, a socket's says in members of its own. */
export interface AnswerFacts {
  /** Ticks that this socket may have unanswered at once, those that are now among them. */
  credit: number;
  level?: Level | undefined;
  rateScale?: number | undefined;
  retryAfterSeconds?: number | undefined;
}

/** The body of the HTTP answer, and the facts beside it. */
export function answerText(body: object, facts: AnswerFacts): string {
  return JSON.stringify({ ...body, ...facts });
}

/** The facts that an HTTP answer has in its headers. */
export function factsOf(headers: Headers): Omit<AnswerFacts, 'credit'> {
  const level = headers.get(LEVEL_HEADER);
  const rateScale = headers.get(RATE_SCALE_HEADER);
  const retryAfter = headers.get(RETRY_AFTER_HEADER);
  return {
    level: isLevel(level) ? level : undefined,
    rateScale: rateScale === null ? undefined : Number(rateScale),
    retryAfterSeconds: retryAfter === null ? undefined : Number(retryAfter),
  };
}
