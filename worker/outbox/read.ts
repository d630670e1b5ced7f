/**
 * What a provider may look up at the edge: the receipt of a batch, and its dead letters. The caller has made sure who
 * is asking.
 */

import { BATCH_ID_RULE, isBatchId } from '../../pipeline/contract/identity.ts';
import { RETRY_AFTER_HEADER } from '../../pipeline/contract/answer.ts';
import { UNPACKED_MAX_BYTES } from '../../pipeline/contract/batch.ts';
import { within } from '../deadline.ts';
import { jsonResponse, problemResponse } from '../response.ts';
import type { Settings } from '../settings.ts';
import { DEAD_LIST_MAX } from './archive.ts';
import { askForReceipt, type AskParts } from './ask.ts';
import { outboxName, type OutboxCalls, type OutboxNamespace, type Receipt } from './calls.ts';
import { gunzip } from './pack.ts';

export const DEAD_LIST_DEFAULT = 100;
/** When to ask again for what could not be looked up. */
export const READ_RETRY_AFTER_SECONDS = 5;
const CALL_TIMEOUT_MS = 5_000;

export interface ReadParts extends AskParts {
  outbox: OutboxNamespace | undefined;
}

/**
 * `GET /v1/receipts/{provider}/{batch}`: what the outbox knows, else what the cluster's ledger says. 404 only when both
 * have looked; 503 while one could not.
 */
export async function readReceipt(
  parts: ReadParts,
  settings: Settings,
  provider: string,
  batch: string,
): Promise<Response> {
  if (!isBatchId(batch)) return problemResponse('bad-request', `a batch id is ${BATCH_ID_RULE}`);
  const held = await asked(parts.outbox, provider, (outbox) => outbox.receipt(batch));
  if (held.ok && held.value !== undefined && isLastWord(held.value)) return jsonResponse(200, held.value);
  const cluster = await askForReceipt(parts, settings, provider, batch);
  if (cluster.ok) return jsonResponse(200, cluster.receipt);
  if (held.ok && held.value !== undefined) return jsonResponse(200, held.value);
  if (held.ok && cluster.why === 'unknown') return problemResponse('not-found', 'no batch of this id is known');
  return unavailable('neither held here nor, as long as the cluster does not answer, known to be stored', batch);
}

/** What the cluster's ledger keeps too: the id is that body's for good. */
const LEDGER_KEEPS: ReadonlySet<string> = new Set(['all-rejected', 'batch-conflict']);

/** Whether the cluster need not be asked. A batch that died otherwise may have been sent again, and been stored. */
function isLastWord(receipt: Receipt): boolean {
  return receipt.status !== 'dead' || LEDGER_KEEPS.has(receipt.reason);
}

/** `GET /v1/dead-letters/{provider}?limit=&before=`: newest first; `next` is the `before` of the next page, or null. */
export async function listDeadLetters(parts: ReadParts, provider: string, query: URLSearchParams): Promise<Response> {
  const limit = wholeNumber(query.get('limit'), DEAD_LIST_DEFAULT);
  const before = wholeNumber(query.get('before'), Number.MAX_SAFE_INTEGER);
  if (limit === undefined || limit > DEAD_LIST_MAX || before === undefined) {
    return problemResponse('bad-request', `limit must be 1 to ${DEAD_LIST_MAX}, before the "next" of an earlier page`);
  }
  const asking = await asked(parts.outbox, provider, (outbox) => outbox.deadLetters(limit, before));
  if (!asking.ok) return unavailable('the outbox does not answer');
  const found = asking.value ?? [];
  const deadLetters = found.map(({ cursor: _cursor, ...shown }) => shown);
  const next = found.length === limit ? found.at(-1)!.cursor : null;
  return jsonResponse(200, { provider, deadLetters, next });
}

/** `GET /v1/dead-letters/{provider}/{batch}`: the body, unpacked where it can be. */
export async function readDeadBody(parts: ReadParts, provider: string, batch: string): Promise<Response> {
  if (!isBatchId(batch)) return problemResponse('bad-request', `a batch id is ${BATCH_ID_RULE}`);
  const asking = await asked(parts.outbox, provider, (outbox) => outbox.deadBody(batch));
  if (!asking.ok) return unavailable('the outbox does not answer');
  if (asking.value === undefined) return problemResponse('not-found', 'no dead letter of this batch id is kept here');
  const { body, encoding, contentType } = asking.value;
  const unpacked = encoding === null ? { ok: true as const, bytes: body } : await gunzip(body, UNPACKED_MAX_BYTES);
  return new Response(unpacked.ok ? unpacked.bytes : body, {
    headers: {
      // What could not be unpacked, which may be why it is dead, is given back as it came.
      'content-type': unpacked.ok ? contentType : 'application/gzip',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    },
  });
}

type Asked<Value> = { ok: true; value: Value | undefined } | { ok: false };

/** One call of a provider's outbox under a deadline; an edge without one knows nothing. */
async function asked<Value>(
  namespace: OutboxNamespace | undefined,
  provider: string,
  call: (outbox: OutboxCalls) => Promise<Value>,
): Promise<Asked<Value>> {
  if (namespace === undefined) return { ok: true, value: undefined };
  try {
    const calling = call(namespace.getByName(outboxName(provider))).then((value) => ({ ok: true as const, value }));
    return await within<Asked<Value>>(calling, CALL_TIMEOUT_MS, { ok: false });
  } catch {
    return { ok: false };
  }
}

function wholeNumber(text: string | null, fallback: number): number | undefined {
  if (text === null) return fallback;
  return /^[1-9]\d{0,15}$/.test(text) ? Number(text) : undefined;
}

function unavailable(detail: string, batch?: string): Response {
  const headers = { [RETRY_AFTER_HEADER]: String(READ_RETRY_AFTER_SECONDS) };
  return problemResponse('cluster-unreachable', detail, headers, batch === undefined ? {} : { batch });
}
