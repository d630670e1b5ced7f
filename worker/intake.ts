/**
 * What becomes of a batch whose sender is known: to the cluster; into the outbox only when the cluster did not take
 * it for a reason of its own; and back to its sender when neither can, or when it is its sender's fault.
 */

import { NO_BATCH_ID_WARNING, RETRY_AFTER_HEADER } from '../pipeline/contract/answer.ts';
import type { Cluster } from './cluster.ts';
import { BudgetMemory, type OverBudget } from './limit/budget.ts';
import type { LogLine } from './log.ts';
import { type OutboxNamespace, receiptPath, type StoredReceipt } from './outbox/calls.ts';
import { fateOf, isForOutbox, waitMsOf } from './outbox/fate.ts';
import { hold, type HoldOutcome } from './outbox/hold.ts';
import type { Overflow } from './outbox/overflow.ts';
import { countedTicks } from './outbox/pack.ts';
import type { RequestScope } from './paced.ts';
import type { RelayOutcome, RelayRequest } from './relay.ts';
import { jsonResponse, problemResponse } from './response.ts';
import type { Settings } from './settings.ts';
import type { ScalingReporter } from './scaling/reporter.ts';
import type { StatusReporter } from './status/board-client.ts';
import { fateOf as batchFateOf } from './status/tally.ts';

/** An outbox that takes nothing is logged once in this time. */
export const FULL_LOG_INTERVAL_MS = 10_000;

export interface IntakeParts {
  nowMs: () => number;
  log: (line: LogLine) => void;
  offerTimeoutMs?: number;
}

/** A batch, and when all of it was here: it may have waited since. */
export interface ArrivedBatch {
  request: RelayRequest;
  arrivedMs: number;
}

/** Where a batch goes that the cluster does not take. */
interface Bindings {
  outbox: OutboxNamespace | undefined;
  overflow: Overflow | undefined;
}

/** What became of a batch. */
interface Taken {
  /** Undefined when the cluster was not asked. */
  relayed: RelayOutcome | undefined;
  answer: Response;
  /** Where they were counted on the way into the outbox. */
  heldTicks?: number | undefined;
}

/** Who is told of every batch. */
export interface Reporters {
  status: StatusReporter;
  scaling: ScalingReporter;
}

export class Intake {
  readonly #parts: IntakeParts;
  readonly #cluster: Cluster;
  readonly #reporters: Reporters;
  readonly #budgets = new BudgetMemory();
  #fullLoggedMs = Number.NEGATIVE_INFINITY;

  constructor(parts: IntakeParts, cluster: Cluster, reporters: Reporters) {
    this.#reporters = reporters;
    this.#parts = parts;
    this.#cluster = cluster;
  }

  /**
   * A batch that the cluster takes costs no call of the outbox, also while the outbox holds others of its provider: each
   * batch stands for itself. One that is held already may so arrive twice, which the pods' ledger makes harmless.
   */
  async take(settings: Settings, batch: ArrivedBatch, bindings: Bindings, scope: RequestScope): Promise<Response> {
    const { request } = batch;
    const overBudget = this.#budgets.overBudget(request.provider, this.#parts.nowMs());
    const taken =
      overBudget === undefined
        ? await this.#take(settings, batch, bindings)
        : { relayed: undefined, answer: sentBack(request.batch, overBudget) };
    await this.#report(batch, taken, scope);
    return taken.answer;
  }

  /** What the public status and the scaling figures are made of. Waits only to count a refused batch. */
  async #report({ request, arrivedMs }: ArrivedBatch, taken: Taken, scope: RequestScope): Promise<void> {
    const { provider, batch } = request;
    const { relayed, answer, heldTicks } = taken;
    const { status, scaling } = this.#reporters;
    if (relayed?.ok === false) status.noteFailure(scope);
    const isOverBudget = relayed === undefined || this.#noteBudget(provider, answer, relayed);
    const { ticks: podTicks, level } = relayed?.ok === true ? relayed.answer : { ticks: undefined, level: undefined };
    const fate = batchFateOf(answer.status, isOverBudget);
    let ticks = podTicks ?? heldTicks;
    const comesAgain = isOverBudget || fate === 'refused';
    if (ticks === undefined && comesAgain && !scaling.isKnown(provider, batch)) {
      ticks = await countedTicks(request.body, request.contentType, request.contentEncoding);
    }
    scaling.note(scope, { provider, batch, outcome: isOverBudget ? 'over_budget' : fate, ticks, arrivedMs });
    status.noteAnswer(scope, { provider, fate, level, ...(ticks === undefined ? {} : { ticks }) });
  }

  /** Whether the pod sent the batch back for its provider's budget; if so that is remembered. */
  #noteBudget(provider: string, answer: Response, relayed: RelayOutcome): boolean {
    if (!relayed.ok || answer.status !== 429) return false;
    const fate = fateOf(relayed);
    if (fate.kind !== 'over_budget') return false;
    this.#budgets.note(provider, fate.retryAfterSeconds, relayed.answer, this.#parts.nowMs());
    return true;
  }

  async #take(
    settings: Settings,
    { request, arrivedMs }: ArrivedBatch,
    { outbox, overflow }: Bindings,
  ): Promise<Taken> {
    const { batch } = request;
    if (outbox === undefined) {
      const relayed = await this.#cluster.send(settings, request);
      return { relayed, answer: this.#cluster.answer(relayed, batch) };
    }
    const { offerTimeoutMs } = this.#parts;
    const relayed = await this.#cluster.sendIfThere(settings, request);
    const answer = this.#cluster.answer(relayed, batch);
    if (answer.ok) return { relayed, answer };
    const fate = fateOf(relayed);
    if (!isForOutbox(fate)) return { relayed, answer };
    const held = await hold({ outbox, overflow, offerTimeoutMs }, request, { arrivedMs, waitMs: waitMsOf(fate) });
    return { relayed, answer: this.#heldAnswer(request, held.outcome) ?? answer, heldTicks: held.ticks };
  }

  /** Undefined where the outbox has no room: the cluster's own refusal stands. */
  #heldAnswer(request: RelayRequest, held: HoldOutcome): Response | undefined {
    const { batch } = request;
    const levelHeaders = this.#cluster.levelHeaders();
    switch (held.kind) {
      case 'buffered':
        return buffered(request, levelHeaders);
      case 'stored':
        return stored(held.receipt, levelHeaders);
      case 'conflict': {
        const detail = 'the outbox holds this batch id with another body';
        return problemResponse('batch-conflict', detail, levelHeaders, { batch });
      }
      case 'rejected':
        return problemResponse(held.problem, held.detail, levelHeaders, { batch });
      case 'no_room':
        this.#logFull(request.provider, held.detail, held.cause);
        return undefined;
    }
  }

  #logFull(provider: string, detail: string, cause: string | undefined): void {
    const { nowMs, log } = this.#parts;
    if (nowMs() - this.#fullLoggedMs < FULL_LOG_INTERVAL_MS) return;
    this.#fullLoggedMs = nowMs();
    log({ level: 'error', event: 'outbox-full', provider, detail, cause });
  }
}

function buffered({ provider, batch, batchIdMade }: RelayRequest, headers: Record<string, string>): Response {
  const receipt = receiptPath(provider, batch);
  const warning = batchIdMade ? { warning: NO_BATCH_ID_WARNING } : {};
  return jsonResponse(202, { batch, status: 'buffered', receipt, ...warning }, { ...headers, location: receipt });
}

/** What a pod would say again, and has said a moment ago. */
function sentBack(batch: string, { retryAfterSeconds, headers }: OverBudget): Response {
  const detail = 'this provider is over its budget, as a pod has just said; the cluster was not asked again';
  const retryAfter = { [RETRY_AFTER_HEADER]: String(retryAfterSeconds) };
  return problemResponse('over-budget', detail, { ...headers, ...retryAfter }, { batch });
}

/** The drain was faster than the sender's re-send: the answer that a pod would give. */
function stored(receipt: StoredReceipt, headers: Record<string, string>): Response {
  return jsonResponse(200, { ...receipt, status: 'stored' }, headers);
}
