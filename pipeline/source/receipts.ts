/**
 * `GET /v1/receipts/{provider}/{batch}`: what the ledger says of a batch, whoever pushed it, however long ago, as
 * long as the ledger remembers.
 */

import { problem, type Rejection } from '../contract/answer.ts';
import { isBatchId, isProvider } from '../contract/identity.ts';
import { type Handler, json, problemAnswer, storeAway } from './http.ts';

/** What this door asks of a store. */
export interface LedgerReader {
  readLedger(
    provider: string,
    batchId: string,
  ): Promise<
    { stored: number; duplicates: number; rejected: Rejection[]; ignoredFields: number; storedAtMs: number } | undefined
  >;
}

/** 200 in the shape of the answer that the batch had; 404; 503 when the store cannot be asked. */
export function readReceipt(reader: LedgerReader): Handler {
  return async (_request, [provider = '', batchId = '']) => {
    const nothing = problemAnswer(problem('not-found', 'the ledger holds no batch of this id'));
    if (!isProvider(provider) || !isBatchId(batchId)) return nothing;
    let entry;
    try {
      entry = await reader.readLedger(provider, batchId);
    } catch {
      return storeAway();
    }
    if (entry === undefined) return nothing;
    const { storedAtMs, ...receipt } = entry;
    const { stored, duplicates, rejected, ignoredFields } = receipt;
    const storedAt = new Date(storedAtMs).toISOString();
    return json(200, { batch: batchId, status: 'stored', stored, duplicates, rejected, ignoredFields, storedAt });
  };
}
