/**
 * Takes deliveries from the queue in groups, writes each group in one transaction, and settles every delivery with
 * what the store said. Settling is the sender's answer, so nothing is settled as stored before its commit. What the
 * store cannot take now goes back to the queue; what it can never take is isolate.ts's to find.
 */

import type { BoundedQueue } from '../queue/bounded-queue.ts';
import type { BatchResult, Delivery } from '../queue/delivery.ts';
import { Circuit, type CircuitState } from './circuit.ts';
import { InFlight } from './in-flight.ts';
import { InFlightLimit } from './in-flight-limit.ts';
import { isolate, setAside } from './isolate.ts';
import type { Store, WriteFailure, WriteOutcome } from './store.ts';
import type { WriterBounds } from './writer-bounds.ts';

/** Attempts at one group in a row when something passing is in its way (a deadlock, a lock). */
export const CONTENTION_ATTEMPTS_MAX = 6;
/** Before the next of them: up to twice this, ever later. */
const CONTENTION_WAIT_MS = 10;
/** A delivery that this many groups broke with, unforeseen, is written alone and, if need be, tick by tick. */
export const SURPRISES_TO_ISOLATE = 2;
/** How often a store that says of itself that it is not open is looked at. */
const REOPEN_LOOK_MS = 100;

export interface WriterParts {
  queue: BoundedQueue<Delivery>;
  store: Pick<Store, 'isOpen' | 'write' | 'rehearse' | 'check'>;
  bounds: WriterBounds;
  nowMs: () => number;
  /** 0 up to, but not, 1. */
  random: () => number;
  /** Calls `then` after so long; the result takes it back. */
  after: (ms: number, then: () => void) => () => void;
  /** Told of what an operator should see. */
  onEvent: (level: 'info' | 'warn' | 'error', event: string, facts: Record<string, unknown>) => void;
  /** Told of each call that wrote or failed to. */
  onWrite: (seconds: number, outcome: 'stored' | WriteFailure['kind']) => void;
}

/** Invariant: every delivery taken from the queue is settled or put back, whatever the store does. */
export class Writer {
  readonly #parts: WriterParts;
  readonly #circuit = new Circuit();
  readonly #inFlight = new InFlight();
  readonly #limit: InFlightLimit;
  readonly #surprises = new WeakMap<Delivery, number>();
  /** Handed to the store by us, with an outcome that nobody knows. */
  readonly #inDoubt = new WeakSet<Delivery>();
  #lastWriteMs = 0;
  /** Since when something has been in flight, and for how long before that. */
  #writingSinceMs: number | undefined;
  #writingMs = 0;
  #whenIdle: (() => void)[] = [];
  #timer: { atMs: number; cancel: () => void } | undefined;

  constructor(parts: WriterParts) {
    this.#parts = parts;
    const { groupMaxTicks, inFlightMaxGroups } = parts.bounds;
    this.#limit = new InFlightLimit(groupMaxTicks * inFlightMaxGroups);
  }

  /** Ticks handed to the store and not yet settled; of one provider, when it is given. */
  ticksInFlight(provider?: string): number {
    return provider === undefined ? this.#inFlight.ticks : this.#inFlight.ticksOf(provider);
  }

  /** Milliseconds in which at least one group was being written. */
  get writingMs(): number {
    const sinceMs = this.#writingSinceMs;
    return this.#writingMs + (sinceMs === undefined ? 0 : this.#parts.nowMs() - sinceMs);
  }

  /** A store that says of itself that it is not open counts as one whose circuit is. */
  get circuit(): CircuitState {
    return this.#parts.store.isOpen ? this.#circuit.state : 'open';
  }

  /** Until the store is tried again. */
  get retryInMs(): number {
    const waitMs = this.#circuit.waitMs(this.#parts.nowMs());
    return Number.isFinite(waitMs) ? waitMs : 0;
  }

  /** Starts what can be started, ends what has waited too long. To be called after each offer; calls itself. */
  wake(): void {
    this.#expire();
    this.#start();
    this.#setTimer();
    if (this.#isIdle) for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  /** Resolves when nothing waits and nothing is being written. */
  idle(): Promise<void> {
    if (this.#isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  /** Answers everybody who still waits; what is being written may be stored all the same. */
  abandon(detail: string): void {
    const { queue } = this.#parts;
    const waiting = queue.takeOver(() => true);
    for (const delivery of [...waiting, ...this.#inFlight.deliveries()]) {
      delivery.settle({ outcome: 'store_unavailable', detail });
    }
  }

  get #isIdle(): boolean {
    return this.#parts.queue.isEmpty && this.#inFlight.groups === 0;
  }

  #start(): void {
    const { queue, store, bounds, nowMs } = this.#parts;
    // No batch is risked on a store that may hang: while it is away, nobody is let in to wait for the end of a probe.
    const isForCheck = this.#circuit.checkInMs(nowMs()) === 0 && (this.#circuit.state === 'open' || queue.isEmpty);
    if (isForCheck && store.isOpen && this.#inFlight.groups === 0) void this.#check();
    while (!queue.isEmpty && store.isOpen && this.#circuit.state !== 'open' && this.#mayStart()) {
      const attempt = this.#circuit.begin(nowMs());
      if (attempt === undefined) break;
      // A probe is the oldest delivery alone.
      const mostTicks = Math.min(bounds.groupMaxTicks, this.#limit.ticks - this.#inFlight.ticks);
      const group = attempt === 'probe' ? queue.take(1) : queue.take(mostTicks, bounds.groupMaxBytes);
      void this.#run(group);
    }
  }

  #mayStart(): boolean {
    const { queue, bounds, nowMs } = this.#parts;
    if (this.#inFlight.groups === 0) return true;
    if (!this.#hasRoom) return false;
    return queue.depthTicks >= bounds.pipelineMinTicks || nowMs() >= queue.oldest!.offeredMs + bounds.pipelineMaxWaitMs;
  }

  /** For a further group beside those that are being written. */
  get #hasRoom(): boolean {
    const { inFlightMaxGroups, pipelineMaxWriteMs } = this.#parts.bounds;
    const { groups, ticks } = this.#inFlight;
    return groups < inFlightMaxGroups && ticks < this.#limit.ticks && this.#lastWriteMs <= pipelineMaxWriteMs;
  }

  #expire(): void {
    const { queue, nowMs } = this.#parts;
    const isOver = (delivery: Delivery): boolean => delivery.isSettled || delivery.deadlineMs <= nowMs();
    const waited = queue.takeOver(isOver);
    for (const delivery of [...waited, ...this.#inFlight.deliveriesOver(nowMs())]) {
      if (!isOver(delivery) || delivery.isSettled) continue;
      delivery.settle({ outcome: 'store_unavailable', detail: 'the store did not commit the batch in time' });
    }
  }

  /** Never rejects: this is what keeps writing alive. */
  async #run(group: readonly Delivery[]): Promise<void> {
    this.#inFlight.add(group);
    this.#writingSinceMs ??= this.#parts.nowMs();
    try {
      await this.#write(group);
    } catch (cause) {
      // A bug of ours, in here. The group is offered again, and the store is given a rest.
      this.#parts.onEvent('error', 'writer_unforeseen', { detail: describe(cause) });
      this.#retryLater(group);
    }
    this.#inFlight.remove(group);
    if (this.#inFlight.groups === 0) {
      this.#writingMs = this.writingMs;
      this.#writingSinceMs = undefined;
    }
    this.wake();
  }

  /** Writes the group until it is settled or put back. */
  async #write(group: readonly Delivery[]): Promise<void> {
    const { nowMs } = this.#parts;
    for (let attempt = 1; ; attempt += 1) {
      const sinceMs = nowMs();
      const inFlightTicks = this.#inFlight.ticks;
      const outcome = await this.#call(() => this.#parts.store.write(group.map(({ batch }) => batch)));
      this.#lastWriteMs = nowMs() - sinceMs;
      if (outcome.ok && outcome.results.length === group.length) {
        this.#circuit.succeeded();
        this.#limit.note({ inFlightTicks, ms: this.#lastWriteMs });
        // The next group first: the credit that these senders are told counts it, and not this one.
        this.#inFlight.remove(group);
        this.#start();
        group.forEach((delivery, at) => this.#settle(delivery, outcome.results[at]!));
        return;
      }
      const failure = outcome.ok ? SURPRISE : outcome;
      const kind = failure === SURPRISE ? await this.#surprised(group) : failure.kind;
      if (kind === 'data') return this.#writeParts(group);
      if (kind === 'unavailable') return this.#retryLater(group, failure.detail);
      if (attempt === CONTENTION_ATTEMPTS_MAX) {
        return group.length > 1 ? this.#writeParts(group) : this.#retryLater(group, failure.detail);
      }
      await this.#pause(CONTENTION_WAIT_MS * attempt * 2 * this.#parts.random());
    }
  }

  /** Each delivery of the group by itself; one alone that cannot be written loses the ticks that cannot. */
  async #writeParts(group: readonly Delivery[]): Promise<void> {
    // It is a tick that the store will not have; the store is well.
    this.#circuit.succeeded();
    if (group.length === 1) return this.#writeWithoutBadTicks(group[0]!);
    for (const [at, delivery] of group.entries()) {
      await this.#write([delivery]);
      if (
        this.#circuit.state === 'closed' &&
        this.#parts.store.isOpen &&
        this.#circuit.waitMs(this.#parts.nowMs()) === 0
      ) {
        continue;
      }
      return this.#putBack(group.slice(at + 1));
    }
  }

  async #writeWithoutBadTicks(delivery: Delivery): Promise<void> {
    const isolated = await isolate(delivery, async (batch) => {
      const outcome = await this.#call(() => this.#parts.store.rehearse(batch));
      return outcome === SURPRISE && (await this.#isWell()) ? { ...SURPRISE, kind: 'data' } : outcome;
    });
    if (!isolated.ok) return this.#retryLater([delivery], isolated.detail);
    const { provider, batchId } = delivery.batch;
    const { unstorableTicks: ticks, why } = isolated;
    this.#parts.onEvent('warn', 'ticks_unstorable', { provider, batch: batchId, ticks, detail: why });
    // What the rehearsals did not find shows at the commit, and then nothing says which tick it is.
    for (const batch of [isolated.batch, setAside(delivery)]) {
      const outcome = await this.#call(() => this.#parts.store.write([batch]));
      if (outcome.ok && outcome.results.length === 1) return this.#settle(delivery, outcome.results[0]!);
      if (outcome.ok || outcome.kind !== 'data') return this.#retryLater([delivery], outcome.ok ? '' : outcome.detail);
    }
    delivery.settle({ outcome: 'store_unavailable', detail: 'the store takes neither the batch nor its dead letters' });
  }

  /** One call of the store, which may throw or hang although it promised not to. */
  async #call(call: () => Promise<WriteOutcome>): Promise<WriteOutcome | typeof SURPRISE> {
    const { bounds, nowMs, after, onEvent, onWrite } = this.#parts;
    const sinceMs = nowMs();
    let outcome: WriteOutcome | typeof SURPRISE;
    let cancel: (() => void) | undefined;
    try {
      const tooLong = new Promise<WriteOutcome>((resolve) => {
        cancel = after(bounds.callTimeoutMs, () =>
          resolve({ ok: false, kind: 'unavailable', detail: 'the store did not end the call' }),
        );
      });
      outcome = await Promise.race([call(), tooLong]);
    } catch (cause) {
      onEvent('error', 'store_unforeseen', { detail: describe(cause) });
      outcome = SURPRISE;
    }
    cancel?.();
    onWrite((nowMs() - sinceMs) / 1000, outcome.ok ? 'stored' : outcome.kind);
    return outcome;
  }

  /** Once is the store's bad day; again with the same delivery, and nothing wrong without it, and it may be the delivery. */
  async #surprised(group: readonly Delivery[]): Promise<'unavailable' | 'data'> {
    let most = 0;
    for (const delivery of group) {
      const count = (this.#surprises.get(delivery) ?? 0) + 1;
      this.#surprises.set(delivery, count);
      most = Math.max(most, count);
    }
    return most >= SURPRISES_TO_ISOLATE && (await this.#isWell()) ? 'data' : 'unavailable';
  }

  #settle(delivery: Delivery, result: BatchResult): void {
    // That the ledger knows a batch which was in doubt means that our earlier attempt did store it.
    const isOurs = result.outcome === 'stored' && this.#inDoubt.has(delivery);
    delivery.settle(isOurs ? { ...result, again: false } : result);
  }

  #retryLater(group: readonly Delivery[], detail = ''): void {
    const { nowMs, random, onEvent } = this.#parts;
    for (const delivery of group) this.#inDoubt.add(delivery);
    const before = this.#circuit.state;
    this.#circuit.failed(nowMs(), random());
    if (before === 'closed' && this.#circuit.state === 'open') onEvent('warn', 'circuit_open', { detail });
    this.#putBack(group);
  }

  #putBack(group: readonly Delivery[]): void {
    this.#parts.queue.putBack(group.filter((delivery) => !delivery.isSettled));
  }

  /** Whether the store commits something that is nobody's. */
  async #isWell(): Promise<boolean> {
    const { store } = this.#parts;
    return (await this.#call(async () => (await store.check()) ?? { ok: true, results: [] })).ok;
  }

  /** Ends with or without something to write: an open circuit lets nothing come. */
  async #check(): Promise<void> {
    const { nowMs, random, onEvent } = this.#parts;
    if (!this.#circuit.beginCheck(nowMs())) return;
    if (await this.#isWell()) {
      this.#circuit.checked(nowMs());
      if (this.#circuit.state === 'half_open') onEvent('info', 'circuit_half_open', {});
    } else {
      this.#circuit.failed(nowMs(), random());
    }
    this.wake();
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#parts.after(ms, resolve));
  }

  /** One timer, for whatever comes first; one that rings too early costs nothing. */
  #setTimer(): void {
    const { nowMs, after } = this.#parts;
    const inMs = this.#nextInMs();
    if (!Number.isFinite(inMs)) return;
    const atMs = nowMs() + inMs;
    if (this.#timer !== undefined && this.#timer.atMs <= atMs) return;
    this.#timer?.cancel();
    const cancel = after(Math.max(1, inMs), () => {
      this.#timer = undefined;
      this.wake();
    });
    this.#timer = { atMs, cancel };
  }

  #nextInMs(): number {
    const { queue, store, bounds, nowMs } = this.#parts;
    const { oldest } = queue;
    let inMs = Number.POSITIVE_INFINITY;
    const within = (ms: number): void => void (inMs = Math.min(inMs, Math.max(0, ms)));
    if (oldest !== undefined) within(oldest.deadlineMs - nowMs());
    within(this.#inFlight.deadlineMs - nowMs());
    if (!store.isOpen) {
      if (oldest !== undefined || this.#circuit.state !== 'closed') within(REOPEN_LOOK_MS);
    } else if (this.#inFlight.groups === 0) {
      within(this.#circuit.checkInMs(nowMs()));
      if (oldest !== undefined) within(this.#circuit.waitMs(nowMs()));
    }
    if (oldest !== undefined && this.#inFlight.groups > 0 && this.#hasRoom)
      within(oldest.offeredMs + bounds.pipelineMaxWaitMs - nowMs());
    return inMs;
  }
}

/** The store threw, or gave no result for a batch: nobody foresaw it. */
const SURPRISE = { ok: false, kind: 'unavailable', detail: 'the store failed in a way that it does not know' } as const;

function describe(cause: unknown): string {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}
