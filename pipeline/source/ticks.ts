/**
 * `POST /v1/ticks/{provider}`: from a request to a batch in the queue, and from its settlement to the answer.
 * The order is cheapest refusal first: path, type, size, signature, unpacking, decoding, budget, room.
 */

import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Throttle } from '../backpressure/throttle.ts';
import {
  admissionHeaders,
  BATCH_TICKS_HEADER,
  NO_BATCH_ID_WARNING,
  problem,
  type ProblemName,
  type Rejection,
  RETRY_AFTER_HEADER,
  type StoredAnswer,
} from '../contract/answer.ts';
import {
  BATCH_MAX_TICKS,
  type BodyFormat,
  bodyFormat,
  type DecodedBatch,
  decodeBatch,
  ticksAt,
} from '../contract/batch.ts';
import { columnsBytes } from '../contract/columns.ts';
import type { TickRules } from '../contract/decode.ts';
import {
  BATCH_ID_MADE_HEADER,
  BATCH_ID_RULE,
  EDGE_COUNTED_HEADER,
  IDEMPOTENCY_KEY_HEADER,
  isBatchId,
  isProvider,
  PROVIDER_RULE,
  randomBatchId,
  splitScopedBatchId,
  unquotedKey,
} from '../contract/identity.ts';
import { CREDIT_HEADER } from '../contract/level.ts';
import {
  type SigningKey,
  verifySignature,
  WEBHOOK_ID_HEADER,
  WEBHOOK_SIGNATURE_HEADER,
  WEBHOOK_TIMESTAMP_HEADER,
} from '../contract/signature.ts';
import type { BoundedQueue } from '../queue/bounded-queue.ts';
import { Delivery, type Receipt } from '../queue/delivery.ts';
import { BodyRoom, readBody, unpackBody } from './body.ts';
import { BodyMemory } from './body-memory.ts';
import { type Answer, header, json, problemAnswer } from './http.ts';

/** `Retry-After` when there is nothing to compute it from: a drain, a store that is away, a pod that has just begun. */
const RETRY_AFTER_AWAY_SECONDS = 2;
const RETRY_AFTER_MAX_SECONDS = 60;
/** What a decoded batch occupies beside its columns: objects, the id, the hash. */
const DELIVERY_OVERHEAD_BYTES = 1_024;
/** One rejection with its detail. */
const REJECTION_BYTES = 160;

/** The books, as intake writes into them. */
export interface IntakeBooks {
  offer(
    provider: string,
    ticks: number,
  ): {
    committed(receipt: Receipt, again: boolean): void;
    rejected(reason: string): void;
    refused(why: ProblemName): void;
  };
}

export interface TickIntakeParts {
  queue: BoundedQueue<Delivery>;
  throttle: Throttle;
  books: IntakeBooks;
  /** Accepted on signatures; empty together with `acceptUnsigned`. */
  edgeKeys: readonly SigningKey[];
  acceptUnsigned: boolean;
  rulesOf: (provider: string) => TickRules;
  isDraining: () => boolean;
  /** Whether a batch has a chance to be written now. */
  isStoreOpen: () => boolean;
  /** Ticks of the provider that there is room for, those held for it among them. */
  creditOf: (provider: string) => number;
  /** Seconds until the store is tried again. */
  storeRetrySeconds: () => number;
  /** Every sender gets its answer within this, whatever the store does. */
  answerTimeoutMs: number;
  /** Told of each readable batch. */
  onBatch: (batch: { provider: string; batchId: string; ticks: number; isEdges: boolean }) => void;
  /** Told of each batch that was committed now, with the time of its newest event. */
  onCommit: (provider: string, newestTsMs: number | undefined) => void;
  /** Seconds until about `ticks` of what waits will have been written; `undefined` while nobody knows. */
  secondsToDrain: (ticks: number) => number | undefined;
  /** Brings the throttle's level up to date; called before each look at it. */
  observe: () => void;
  /** Called after each delivery that went into the queue. */
  wake: () => void;
  /** What time it is, for signatures. */
  nowMs: () => number;
  /** Only ever goes on, for budgets and deadlines. */
  steadyMs: () => number;
}

type Refused = { ok: false; answer: Answer };
type Identified = { ok: true; batchId: string; made: boolean } | Refused;
interface OfferedBody {
  batchId: string;
  made: boolean;
  /** The edge has counted it. */
  isEdges: boolean;
  decoded: DecodedBatch;
  bodyHash: Uint8Array;
  unpacked: Uint8Array;
  format: BodyFormat;
}
type ReadBatch = ({ ok: true } & OfferedBody) | Refused;

/** Answers tick requests. Invariant: an answer of `stored` is given only for a settlement that said so. */
export class TickIntake {
  readonly #parts: TickIntakeParts;
  readonly #room = new BodyRoom();
  readonly #memory = new BodyMemory();
  /** The end of the last job of {@link #inTurn}. */
  #turn: Promise<void> = Promise.resolve();

  constructor(parts: TickIntakeParts) {
    this.#parts = parts;
  }

  async handle(request: IncomingMessage, provider: string): Promise<Answer> {
    if (!isProvider(provider)) {
      return problemAnswer(problem('bad-request', `a provider name is ${PROVIDER_RULE}`));
    }
    const { headers } = request;
    if (this.#parts.isDraining()) return this.#refuse(provider, 'draining', 'this pod takes nothing new');
    const format = bodyFormat(headers['content-type']);
    if (format === undefined) {
      return this.#problem(
        provider,
        'unsupported-type',
        'content-type must be application/x-ndjson or application/json',
      );
    }
    const sent = await readBody(request, this.#room, this.#memory);
    if (!sent.ok) {
      return sent.problem === 'no-room'
        ? this.#refuse(provider, 'no-room', sent.detail)
        : this.#problem(provider, sent.problem, sent.detail);
    }
    let read: ReadBatch;
    try {
      read = await this.#read(provider, headers, format, sent.body);
    } finally {
      this.#room.give(sent.body.length);
    }
    if (!read.ok) return read.answer;
    const answer = await this.#offer(provider, read);
    answer.headers[BATCH_TICKS_HEADER] = String(read.decoded.ticks);
    return answer;
  }

  /** Who sent it, which batch it is, and its ticks. */
  async #read(
    provider: string,
    headers: IncomingHttpHeaders,
    format: BodyFormat,
    sent: Uint8Array,
  ): Promise<ReadBatch> {
    const identified = await this.#identify(provider, headers, sent);
    if (!identified.ok) return identified;
    return this.#inTurn(async () => {
      const unpacked = await unpackBody(sent, headers['content-encoding']);
      if (!unpacked.ok) return { ok: false, answer: this.#problem(provider, unpacked.problem, unpacked.detail) };
      const decoded = decodeBatch(unpacked.body, format, this.#maxTicks, this.#parts.rulesOf(provider));
      if (!decoded.ok) {
        const name = decoded.why === 'too_many_ticks' ? 'too-large' : 'unreadable';
        return { ok: false, answer: this.#problem(provider, name, decoded.detail) };
      }
      const bodyHash = new Uint8Array(createHash('sha256').update(unpacked.body).digest());
      const isEdges = header(headers, EDGE_COUNTED_HEADER) === '1';
      return { ...identified, isEdges, decoded: decoded.batch, bodyHash, unpacked: unpacked.body, format };
    });
  }

  get #maxTicks(): number {
    return Math.min(BATCH_MAX_TICKS, this.#parts.queue.capacityTicks);
  }

  /** The batch id, and whether the sender may use it. */
  async #identify(provider: string, headers: IncomingHttpHeaders, body: Uint8Array): Promise<Identified> {
    const signedId = header(headers, WEBHOOK_ID_HEADER);
    const { edgeKeys, acceptUnsigned, nowMs } = this.#parts;
    const signature = header(headers, WEBHOOK_SIGNATURE_HEADER);
    if (!acceptUnsigned || signature !== undefined) {
      const timestamp = header(headers, WEBHOOK_TIMESTAMP_HEADER);
      const verdict = await verifySignature(edgeKeys, { id: signedId, timestamp, body }, signature, nowMs());
      if (!verdict.ok) return { ok: false, answer: this.#problem(provider, 'unauthenticated', verdict.detail) };
    }
    const scoped = splitScopedBatchId(signedId ?? '');
    if (scoped.provider !== undefined && scoped.provider !== provider) {
      return { ok: false, answer: this.#problem(provider, 'forbidden', 'webhook-id names another provider') };
    }
    if (scoped.provider === undefined && !acceptUnsigned) {
      const detail = 'webhook-id must be PROVIDER/BATCH, which binds the signature to this path';
      return { ok: false, answer: this.#problem(provider, 'unauthenticated', detail) };
    }
    const given = signedId === undefined ? unquotedKey(header(headers, IDEMPOTENCY_KEY_HEADER) ?? '') : scoped.batchId;
    const isMissing = signedId === undefined && given === '';
    const made = isMissing || header(headers, BATCH_ID_MADE_HEADER) === '1';
    const batchId = isMissing ? randomBatchId() : given;
    if (!isBatchId(batchId)) {
      return { ok: false, answer: this.#problem(provider, 'bad-request', `a batch id is ${BATCH_ID_RULE}`) };
    }
    return { ok: true, batchId, made };
  }

  async #offer(provider: string, body: OfferedBody): Promise<Answer> {
    const { books, queue, throttle, steadyMs, wake, answerTimeoutMs } = this.#parts;
    const { batchId, made, decoded } = body;
    const { ticks } = decoded;
    const offered = books.offer(provider, ticks);
    this.#parts.onBatch({ provider, batchId, ticks, isEdges: body.isEdges });
    const refuse = (why: ProblemName, detail: string, seconds?: number): Answer => {
      offered.refused(why);
      return this.#refuse(provider, why, detail, seconds, batchId);
    };
    // Reading the body took time; the world may have changed since.
    if (this.#parts.isDraining()) return refuse('draining', 'this pod takes nothing new');
    if (!this.#parts.isStoreOpen()) return this.#refuseForStore(refuse, 'the store cannot be written to now');
    this.#parts.observe();
    const admitted = throttle.admit(provider, ticks, steadyMs());
    if (!admitted.ok) {
      const detail = `${ticks} ticks are more than the budget admits at level ${throttle.levelOf(provider)}`;
      const overHalf = queue.depthTicks - queue.capacityTicks / 2;
      const seconds = Number.isFinite(admitted.retryAfterSeconds)
        ? admitted.retryAfterSeconds
        : this.#parts.secondsToDrain(Math.max(overHalf, ticks));
      return refuse(admitted.why, detail, seconds);
    }
    const delivery = deliveryOf(provider, body, steadyMs(), answerTimeoutMs);
    if (!queue.offer(delivery)) {
      throttle.giveBack(provider, ticks, steadyMs());
      return refuse('no-room', `the queue has no room for ${ticks} ticks`, this.#parts.secondsToDrain(ticks));
    }
    wake();
    const settled = await delivery.settlement;
    // Otherwise the writer may still be at work on it.
    if (settled.outcome !== 'store_unavailable') this.#memory.giveBack(body.unpacked);
    if (settled.outcome === 'conflict') {
      offered.rejected('batch_conflict');
      const detail = 'the ledger holds this batch id with another body';
      return this.#problem(provider, 'batch-conflict', detail, { batch: batchId });
    }
    if (settled.outcome === 'store_unavailable') {
      throttle.giveBack(provider, ticks, steadyMs());
      return this.#refuseForStore(refuse, settled.detail);
    }
    const { rejected } = settled.receipt;
    offered.committed(settled.receipt, settled.again);
    if (!settled.again) this.#parts.onCommit(provider, decoded.newestTsMs);
    if (rejected.length === ticks) {
      return this.#problem(provider, 'all-rejected', `none of ${ticks} ticks is valid`, { batch: batchId, rejected });
    }
    const answer: StoredAnswer = { batch: batchId, status: 'stored', ...settled.receipt };
    if (made) answer.warning = NO_BATCH_ID_WARNING;
    return json(200, answer, this.#headers(provider));
  }

  #refuseForStore(refuse: (why: ProblemName, detail: string, seconds?: number) => Answer, detail: string): Answer {
    return refuse('store-unavailable', detail, Math.max(RETRY_AFTER_AWAY_SECONDS, this.#parts.storeRetrySeconds()));
  }

  /**
   * Runs one job after the other, each in a turn of the event loop of its own: at most one unpacked body exists
   * at a time, and scrapes and probes are answered between two.
   */
  #inTurn<Result>(job: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(() => new Promise((resolve) => setImmediate(resolve))).then(job);
    this.#turn = result.then(ignore, ignore);
    return result;
  }

  #headers(provider: string): Record<string, string> {
    this.#parts.observe();
    return {
      ...admissionHeaders(this.#parts.throttle.admission(provider, this.#parts.steadyMs())),
      [CREDIT_HEADER]: String(this.#parts.creditOf(provider)),
    };
  }

  #problem(
    provider: string,
    name: ProblemName,
    detail: string,
    more: { batch?: string; rejected?: Rejection[] } = {},
  ): Answer {
    return problemAnswer(problem(name, detail, more), this.#headers(provider));
  }

  #refuse(
    provider: string,
    why: ProblemName,
    detail: string,
    seconds = RETRY_AFTER_AWAY_SECONDS,
    batchId?: string,
  ): Answer {
    const retryAfter = Math.min(RETRY_AFTER_MAX_SECONDS, Math.max(1, Math.ceil(seconds)));
    return problemAnswer(problem(why, detail, batchId === undefined ? {} : { batch: batchId }), {
      ...this.#headers(provider),
      [RETRY_AFTER_HEADER]: String(retryAfter),
    });
  }
}

function deliveryOf(provider: string, body: OfferedBody, nowMs: number, answerTimeoutMs: number): Delivery {
  const { batchId, bodyHash, decoded, unpacked, format } = body;
  const { ticks, columns, rejected, rejectedBytes, ignoredFields } = decoded;
  const held = decoded.accepted === 0 ? 0 : unpacked.length;
  const bytes =
    DELIVERY_OVERHEAD_BYTES +
    columnsBytes(columns) +
    held +
    rejected.length * REJECTION_BYTES +
    rejectedBytes.bytes.length;
  return new Delivery({
    batch: { provider, batchId, bodyHash, ticks, columns, rejected, rejectedBytes, ignoredFields },
    bytes,
    offeredMs: nowMs,
    deadlineMs: nowMs + answerTimeoutMs,
    // Without a tick that could fail nobody will ask, and the body need not be held.
    bytesOf: decoded.accepted === 0 ? () => [] : (indices) => ticksAt(unpacked, format, indices),
  });
}

function ignore(): void {}
