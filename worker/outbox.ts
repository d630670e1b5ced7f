/**
 * The Durable Object that holds what the cluster did not take, one for each provider: puts the shelf, the drain and the
 * archive together, and keeps an alarm set for as long as there is anything to do. Decides nothing else.
 */

import { DurableObject } from 'cloudflare:workers';
import { CREDIT_HEADER } from '../pipeline/contract/level.ts';
import type { LogLine } from './log.ts';
import { Archive } from './outbox/archive.ts';
import type {
  DeadBody,
  DeadLetter,
  OfferedBatch,
  OfferOutcome,
  OutboxCalls,
  OutboxTotals,
  Receipt,
} from './outbox/calls.ts';
import { Statements } from './outbox/database.ts';
import { type Delivered, Drain } from './outbox/drain.ts';
import { fateOf } from './outbox/fate.ts';
import { EXPIRE_MAX_BATCHES, type HeldBatch, Shelf } from './outbox/shelf.ts';
import { type Fetch, relay } from './relay.ts';
import { outboxBounds, settingsOf } from './settings.ts';

/** For one delivery: nobody waits for it, and a pod that is behind may hold it for a while. */
export const DELIVERY_TIMEOUT_MS = 20_000;
/** Set before any work: whatever happens to this run, there is another. It waits for a run that takes longer. */
export const ALARM_GUARD_MS = 2_000;
/** How often receipts and dead letters are looked through. */
export const TIDY_INTERVAL_MS = 3_600_000;

export interface OutboxParts {
  fetch: Fetch;
  nowMs: () => number;
  random: () => number;
  wait: (ms: number) => Promise<void>;
  log: (line: LogLine) => void;
}

/**
 * Invariant: while a batch is held or a receipt kept, an alarm is set, at most {@link ALARM_GUARD_MS} after the time
 * at which it is needed.
 */
export class OutboxObject extends DurableObject<object> implements OutboxCalls {
  readonly #parts: OutboxParts;
  readonly #sql: Statements;
  readonly #shelf: Shelf;
  readonly #archive: Archive;
  readonly #drain: Drain;
  /** When the alarm is set for, as far as is known; null during a run, until that sets the next. */
  #alarmMs: number | null = null;
  #isRunning = false;
  #tidyMs: number;
  /** Kept on disk since the first batch: an object that an alarm wakes does not know its name. */
  #provider: string;

  constructor(ctx: DurableObjectState, env: object, parts: OutboxParts) {
    super(ctx, env);
    this.#parts = parts;
    const { storage } = ctx;
    this.#sql = new Statements({
      exec: (query, ...bindings) => storage.sql.exec(query, ...bindings),
      transaction: (work) => storage.transactionSync(work),
      sizeBytes: () => storage.sql.databaseSize,
    });
    this.#shelf = new Shelf(this.#sql, outboxBounds(env));
    this.#archive = new Archive(this.#sql);
    this.#drain = new Drain({
      shelf: this.#shelf,
      deliver: (held, body) => this.#deliver(held, body),
      nowMs: parts.nowMs,
      random: parts.random,
      onDead: ({ batch, ticks, attempts }, { reason, detail }) =>
        parts.log({
          level: 'warn',
          event: 'batch-dead',
          provider: this.#provider,
          batch,
          ticks,
          attempts,
          reason,
          detail,
        }),
    });
    // Kept on disk: an object that is woken only to tidy must know that it is time.
    this.#tidyMs = Number(this.#sql.fact('tidy_ms') ?? 0);
    this.#provider = String(this.#sql.fact('provider') ?? '');
    void ctx.blockConcurrencyWhile(async () => {
      this.#alarmMs = await storage.getAlarm();
      await this.#arm();
    });
  }

  /** Holds one batch. Durable before the caller hears of it: the answer waits for the write. Source: output gates. */
  async offer(offered: OfferedBatch): Promise<OfferOutcome> {
    if (this.#provider === '') {
      this.#provider = offered.provider;
      this.#sql.setFact('provider', offered.provider);
    }
    const nowMs = this.#parts.nowMs();
    // Only for the first: a stream of refused batches must not put off the drain for ever.
    if (this.#shelf.isEmpty) this.#drain.pauseUntil(nowMs + offered.waitMs);
    const outcome = this.#shelf.offer(offered);
    if (outcome.kind === 'buffered') await this.#armAt(Math.max(nowMs, this.#drain.pausedUntilMs));
    return outcome;
  }

  receipt(batch: string): Promise<Receipt | undefined> {
    return Promise.resolve(this.#archive.receipt(batch, this.#parts.nowMs()));
  }

  deadLetters(limit: number, beforeCursor: number | undefined): Promise<DeadLetter[]> {
    return Promise.resolve(this.#archive.deadLetters(limit, beforeCursor));
  }

  deadBody(batch: string): Promise<DeadBody | undefined> {
    return Promise.resolve(this.#archive.deadBody(batch));
  }

  totals(): Promise<OutboxTotals> {
    return Promise.resolve(this.#shelf.totals());
  }

  /** Drains and tidies. Never throws: the platform retries an alarm that does a few times only. */
  override async alarm(): Promise<void> {
    const { nowMs, log } = this.#parts;
    this.#alarmMs = null;
    await this.#armAt(nowMs() + ALARM_GUARD_MS);
    if (this.#isRunning) return;
    this.#isRunning = true;
    const heldBefore = this.#shelf.totals().batches;
    try {
      if (nowMs() >= this.#tidyMs) this.#tidy();
      const more = this.#expire();
      await this.#drain.run();
      const { batches, ticks } = this.#shelf.totals();
      if (heldBefore > 0 && batches !== heldBefore) {
        log({ level: 'info', event: 'outbox-drain', provider: this.#provider, heldBefore, batches, ticks });
      }
      this.#alarmMs = null; // the guard has done its part
      if (more) await this.#armAt(nowMs());
      else await this.#arm();
      if (this.#alarmMs === null) await this.ctx.storage.deleteAlarm();
    } catch (error) {
      log({ level: 'error', event: 'outbox-broken', provider: this.#provider, message: String(error) });
    } finally {
      this.#isRunning = false;
    }
  }

  /** Whether there may be more to expire. */
  #expire(): boolean {
    const batches = this.#shelf.expire(this.#parts.nowMs(), this.#drain.onTheirWay);
    if (batches > 0) this.#parts.log({ level: 'error', event: 'batches-expired', provider: this.#provider, batches });
    return batches === EXPIRE_MAX_BATCHES;
  }

  #tidy(): void {
    const { receipts, deadLetters, more } = this.#archive.tidy(this.#parts.nowMs());
    this.#tidyMs = this.#parts.nowMs() + (more ? 0 : TIDY_INTERVAL_MS);
    this.#sql.setFact('tidy_ms', this.#tidyMs);
    if (receipts + deadLetters === 0) return;
    const level = deadLetters > 0 ? 'warn' : 'info';
    this.#parts.log({ level, event: 'outbox-tidied', provider: this.#provider, receipts, deadLetters });
  }

  /** Sets the alarm for what is to be done next, unless one is set for then or before. */
  async #arm(): Promise<void> {
    const drainMs = this.#drain.nextRunMs();
    if (drainMs !== undefined) return this.#armAt(drainMs);
    if (!this.#archive.isEmpty) await this.#armAt(this.#tidyMs);
  }

  async #armAt(atMs: number): Promise<void> {
    if (this.#alarmMs !== null && this.#alarmMs <= Math.max(atMs, this.#parts.nowMs())) return;
    this.#alarmMs = atMs;
    await this.ctx.storage.setAlarm(atMs);
  }

  async #deliver(held: HeldBatch, body: Uint8Array<ArrayBuffer>): Promise<Delivered> {
    const { outcome } = await settingsOf(this.env);
    if (!outcome.ok) {
      const detail = 'the settings of the edge are wrong';
      return { fate: { kind: 'no_answer', why: 'not_a_pod', detail, operator: true }, creditTicks: undefined };
    }
    const relayed = await relay(
      { ...this.#parts, relayTimeoutMs: DELIVERY_TIMEOUT_MS, attemptsMax: 1 },
      outcome.settings,
      {
        provider: this.#provider,
        batch: held.batch,
        batchIdMade: held.batchIdMade,
        contentType: held.contentType,
        contentEncoding: held.encoding,
        body,
      },
    );
    const fate = fateOf(relayed);
    if (fate.kind === 'no_answer' && fate.operator) {
      this.#parts.log({
        level: 'error',
        event: 'outbox-stuck',
        provider: this.#provider,
        why: fate.why,
        detail: fate.detail,
      });
    }
    const credit = relayed.ok ? (relayed.answer.headers[CREDIT_HEADER] ?? '') : '';
    return { fate, creditTicks: /^\d{1,15}$/.test(credit) ? Number(credit) : undefined };
  }
}
