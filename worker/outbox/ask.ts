/**
 * Asks the cluster for the receipt of one batch. Whatever it answers, or not, is a value.
 */

import { PROBLEM_CONTENT_TYPE } from '../../pipeline/contract/answer.ts';
import { scopedBatchId } from '../../pipeline/contract/identity.ts';
import { signatureHeaders } from '../../pipeline/contract/signature.ts';
import { readAnswer } from '../body.ts';
import { ANSWER_MAX_BYTES, type Fetch } from '../relay.ts';
import type { Settings } from '../settings.ts';
import type { StoredReceipt } from './calls.ts';
import { storedFacts } from './fate.ts';

export const ASK_TIMEOUT_MS = 5_000;

export type ClusterReceipt =
  | { ok: true; receipt: StoredReceipt }
  /** `unknown`: the ledger does not have it. `away`: nobody could say. */
  | { ok: false; why: 'unknown' | 'away' };

export interface AskParts {
  fetch: Fetch;
  nowMs: () => number;
  askTimeoutMs?: number;
}

export async function askForReceipt(
  { fetch, nowMs, askTimeoutMs = ASK_TIMEOUT_MS }: AskParts,
  settings: Settings,
  provider: string,
  batch: string,
): Promise<ClusterReceipt> {
  const signed = await signatureHeaders(settings.edgeKey, scopedBatchId(provider, batch), nowMs(), new Uint8Array(0));
  const headers = { ...signed, accept: 'application/json', 'accept-encoding': 'identity' };
  const signal = AbortSignal.timeout(askTimeoutMs);
  let response: Response;
  try {
    const url = `${settings.clusterUrl}/v1/receipts/${provider}/${encodeURIComponent(batch)}`;
    response = await fetch(url, { headers, redirect: 'manual', signal });
  } catch {
    return { ok: false, why: 'away' };
  }
  const httpStatus = response.status;
  const type = (response.headers.get('content-type') ?? '').split(';', 1)[0]!.trim().toLowerCase();
  const read = await readAnswer(response, { maxBytes: ANSWER_MAX_BYTES, maxWaitMs: askTimeoutMs });
  // Any server has a 404; only a pod's problem says that the ledger was looked into.
  if (httpStatus === 404 && type === PROBLEM_CONTENT_TYPE) return { ok: false, why: 'unknown' };
  const json = httpStatus === 200 && read.ok ? parsed(read.bytes) : undefined;
  const facts = storedFacts(json);
  if (facts === undefined || json?.['batch'] !== batch) return { ok: false, why: 'away' };
  const isAnyStored = facts.stored + facts.duplicates > 0;
  const status = facts.rejected.length === 0 ? 'stored' : isAnyStored ? 'partly_rejected' : 'rejected';
  return { ok: true, receipt: { batch, status, ...facts } };
}

function parsed(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
