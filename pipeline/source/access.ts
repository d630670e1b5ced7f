/**
 * Who may look at a provider's receipts and dead letters: the edge, which signs its questions like its batches, and
 * whoever has the operator's token.
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { problem } from '../contract/answer.ts';
import { splitScopedBatchId } from '../contract/identity.ts';
import {
  type SigningKey,
  verifySignature,
  WEBHOOK_ID_HEADER,
  WEBHOOK_SIGNATURE_HEADER,
  WEBHOOK_TIMESTAMP_HEADER,
} from '../contract/signature.ts';
import { type Answer, header, problemAnswer } from './http.ts';

export interface Access {
  edgeKeys: readonly SigningKey[];
  /** SHA-256 of the operator's token; `undefined` accepts none. */
  opsTokenHash: Uint8Array | undefined;
  /** A development pod on loopback: everybody may. */
  open: boolean;
  nowMs: () => number;
}

const NO_BODY = new Uint8Array(0);

/**
 * Undefined: go on. Else the refusal. A signature is over `PROVIDER/ANYTHING.timestamp.` with no body, and only for
 * looking; what changes something takes the operator's token.
 */
export async function mayRead(access: Access, request: IncomingMessage, provider: string): Promise<Answer | undefined> {
  if (access.open || hasToken(access, request)) return undefined;
  const id = header(request.headers, WEBHOOK_ID_HEADER);
  const isLook = request.method === 'GET' || request.method === 'HEAD';
  if (isLook && splitScopedBatchId(id ?? '').provider === provider) {
    const parts = { id, timestamp: header(request.headers, WEBHOOK_TIMESTAMP_HEADER), body: NO_BODY };
    const signature = header(request.headers, WEBHOOK_SIGNATURE_HEADER);
    if ((await verifySignature(access.edgeKeys, parts, signature, access.nowMs())).ok) return undefined;
  }
  const detail = 'this needs "authorization: Bearer TOKEN" with the token in MDP_OPS_TOKEN';
  return problemAnswer(problem('unauthenticated', detail), { 'www-authenticate': 'Bearer' });
}

function hasToken({ opsTokenHash }: Access, request: IncomingMessage): boolean {
  const token = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (opsTokenHash === undefined || token === undefined) return false;
  return timingSafeEqual(createHash('sha256').update(token).digest(), opsTokenHash);
}
