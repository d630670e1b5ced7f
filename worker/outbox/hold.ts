/**
 * From a batch that the cluster did not take to one that the outbox holds: packed, offered under a deadline, and on
 * to the overflow where there is one and the outbox cannot. Says what became of it; the answer is the caller's.
 */

import type { ProblemName } from '../../pipeline/contract/answer.ts';
import { within } from '../deadline.ts';
import type { RelayRequest } from '../relay.ts';
import { type OfferedBatch, type OfferOutcome, outboxName, type OutboxNamespace, type StoredReceipt } from './calls.ts';
import { type Overflow, overflowTakes } from './overflow.ts';
import { packBody } from './pack.ts';

/** A healthy object answers in milliseconds, and so does a queue, which is asked after it. */
export const OFFER_TIMEOUT_MS = 5_000;

export type HoldOutcome =
  | { kind: 'buffered' }
  | { kind: 'stored'; receipt: StoredReceipt }
  | { kind: 'conflict' }
  /** Invalid by the contract alone. */
  | { kind: 'rejected'; problem: ProblemName; detail: string }
  /** Not held; `cause` is for the log. */
  | { kind: 'no_room'; detail: string; cause?: string };

/** With the ticks of the batch, as far as they could be counted. */
export interface Held {
  outcome: HoldOutcome;
  ticks: number | undefined;
}

export interface Holders {
  outbox: OutboxNamespace;
  overflow: Overflow | undefined;
  offerTimeoutMs?: number | undefined;
}

/** Resolves when the batch is durable, or it is known that it cannot be. `waitMs` is the cluster's Retry-After. */
export async function hold(
  { outbox, overflow, offerTimeoutMs = OFFER_TIMEOUT_MS }: Holders,
  { provider, batch, batchIdMade, contentType, contentEncoding, body }: RelayRequest,
  { arrivedMs, waitMs }: { arrivedMs: number; waitMs: number },
): Promise<Held> {
  const packed = await packBody(body, contentType, contentEncoding);
  if (!packed.ok) {
    return { outcome: { kind: 'rejected', problem: packed.problem, detail: packed.detail }, ticks: undefined };
  }
  const offered: OfferedBatch = {
    provider,
    batch,
    batchIdMade,
    contentType: contentType ?? '',
    ...packed.packed,
    arrivedMs,
    waitMs,
    promised: false,
  };
  return { outcome: await offerOrOverflow(outbox, overflow, offered, offerTimeoutMs), ticks: offered.ticks };
}

async function offerOrOverflow(
  outbox: OutboxNamespace,
  overflow: Overflow | undefined,
  offered: OfferedBatch,
  timeoutMs: number,
): Promise<HoldOutcome> {
  const outcome = await offerWithin(outbox, offered, timeoutMs);
  if (outcome.kind !== 'full') return outcome;
  if (overflow !== undefined && (await overflowTakes(overflow, offered, timeoutMs))) return { kind: 'buffered' };
  const { detail, cause } = outcome;
  return cause === undefined ? { kind: 'no_room', detail } : { kind: 'no_room', detail, cause };
}

const SILENT: OfferOutcome = { kind: 'full', detail: 'the outbox does not answer' };

/** An outbox that fails is as good as full; if it has taken the batch after all, that is harmless. */
async function offerWithin(
  outbox: OutboxNamespace,
  offered: OfferedBatch,
  timeoutMs: number,
): Promise<OfferOutcome & { cause?: string }> {
  const name = outboxName(offered.provider, offered.batch);
  try {
    return await within(offerTwice(outbox, name, offered), timeoutMs, SILENT);
  } catch (error) {
    return { kind: 'full', detail: 'the outbox cannot be reached', cause: String(error) };
  }
}

/** An object that moves or restarts breaks what was on its way; the next call finds it again. */
async function offerTwice(outbox: OutboxNamespace, name: string, offered: OfferedBatch): Promise<OfferOutcome> {
  try {
    return await outbox.getByName(name).offer(offered);
  } catch (error) {
    if (!isRetryable(error)) throw error;
    return outbox.getByName(name).offer(offered);
  }
}

/** Source: Durable Objects, "Error handling": `retryable` without `overloaded` may be tried again. */
function isRetryable(error: unknown): boolean {
  const { retryable, overloaded } = error as { retryable?: unknown; overloaded?: unknown };
  return retryable === true && overloaded !== true;
}
