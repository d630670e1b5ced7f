/**
 * `POST /feedback`: a foreign store tells how full it is. Answered at once, from memory: its sender waits inside its
 * own queue's lock.
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { FeedbackBoard } from '../backpressure/feedback.ts';
import { problem } from '../contract/answer.ts';
import { FEEDBACK_BODY_MAX_BYTES, parseFeedback } from '../contract/feedback.ts';
import { type Answer, json, problemAnswer } from './http.ts';

export interface FeedbackParts {
  board: FeedbackBoard;
  /** Its SHA-256; `undefined` accepts nothing. */
  tokenHash: Uint8Array | undefined;
  nowMs: () => number;
}

/**
 * The token is the password of `Authorization: Basic` (what credentials in the sender's URL become), or `?token=`.
 * Answers: 200; 400 for a body that is no feedback; 401; 413.
 */
export async function takeFeedback(parts: FeedbackParts, request: IncomingMessage, url: URL): Promise<Answer> {
  if (!isAuthorized(parts, request, url)) {
    const detail = 'the token (MDP_FEEDBACK_TOKEN) goes into the URL: as the password, or as ?token=';
    return problemAnswer(problem('unauthenticated', detail), { 'www-authenticate': 'Basic realm="feedback"' });
  }
  const body = await readShortBody(request);
  if (body === undefined) {
    return problemAnswer(problem('too-large', `feedback is at most ${FEEDBACK_BODY_MAX_BYTES} bytes`));
  }
  const outcome = parseFeedback(body);
  if (!outcome.ok) return problemAnswer(problem('bad-request', outcome.detail));
  const heard = parts.board.hear(outcome.feedback, parts.nowMs());
  return json(200, { status: heard ? 'ok' : 'outdated', level: parts.board.level(parts.nowMs()) });
}

function isAuthorized({ tokenHash }: FeedbackParts, request: IncomingMessage, url: URL): boolean {
  if (tokenHash === undefined) return false;
  const given = basicPassword(request.headers.authorization) ?? url.searchParams.get('token');
  return given !== null && timingSafeEqual(createHash('sha256').update(given).digest(), tokenHash);
}

/** Source: RFC 7617, section 2. */
function basicPassword(header: string | undefined): string | undefined {
  const encoded = /^Basic +([A-Za-z0-9+/=]+)$/i.exec(header ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const pair = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = pair.indexOf(':');
  return colon < 0 ? undefined : pair.slice(colon + 1);
}

async function readShortBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > FEEDBACK_BODY_MAX_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
