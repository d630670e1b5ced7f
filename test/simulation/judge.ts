/**
 * The end of a world: everything that is owed is there, everybody who asks is told so, and every machine is again as a
 * new one is. Looks from outside, as providers and operators do, and into the store.
 */

import { signatureHeaders } from '../../pipeline/contract/signature.ts';
import { attempt } from './clients.ts';
import { authorization } from './edge.ts';
import type { HttpAnswer } from './modules/http.ts';
import { type DeadLetterSeen, Violation } from './oracle.ts';
import type { PodMachine } from './pod.ts';
import { OPS_TOKEN } from './shape.ts';
import type { World } from './world.ts';

/** An edge that has found the cluster away looks again after two seconds. */
const EDGE_LOOK_MS = 3_000;
const EDGE_TRIES_MAX = 3;
const REST_MS = 120_000;
const REST_LOOK_MS = 1_000;
/** For one question. */
const QUESTION_MAX_MS = 60_000;

export class Judge {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** Throws a {@link Violation}. */
  async judge(): Promise<void> {
    for (const pod of this.#world.pods) pod.start();
    await this.#edges();
    await this.#pods();
    for (const edge of this.#world.edges) edge.checkOpen();
    for (const provider of this.#world.shape.providers) await this.#replayDeadLetters(provider);
    const dead = await this.#within(this.#deadLetters());
    this.#world.oracle.settle(this.#world.database, dead);
    await this.#within(this.#receipts(dead));
    await this.#probes();
  }

  /** Each edge is soon on the straight way to the pods again, past the outbox. */
  async #edges(): Promise<void> {
    for (const edge of this.#world.edges) {
      let kind = '';
      for (let tries = 0; kind !== 'stored' && tries < EDGE_TRIES_MAX; tries += 1) {
        await this.#world.runFor(EDGE_LOOK_MS);
        const batch = this.#world.maker.batchOfIds(this.#world.shape.providers[0]!, 1);
        ({ kind } = await this.#within(attempt({ ...this.#world.client(), edges: [edge] }, batch)));
      }
      if (kind !== 'stored') throw new Violation('stuck', `by ${edge.name} a new batch is ${kind}`);
    }
    const untilMs = this.#world.scheduler.nowMs + REST_MS;
    while (!this.#world.isNothingHeld && this.#world.scheduler.nowMs < untilMs) await this.#world.runFor(REST_LOOK_MS);
    if (!this.#world.isNothingHeld)
      throw new Violation('unsettled', `${this.#world.held} batches of a quiet time held`);
  }

  /** At rest, each pod is as a new one is. */
  async #pods(): Promise<void> {
    for (const pod of this.#world.pods) {
      pod.checkOpen();
      await pod.checkBooks(true);
      const { phase, level, rateScale, queue, store } = await pod.status();
      const isAtRest = queue.depthTicks === 0 && queue.depthBytes === 0 && queue.beingWrittenTicks === 0;
      const isWell = phase === 'serving' && store.circuit === 'closed' && level === 'ok' && rateScale === 1;
      if (!isAtRest || !isWell) {
        const says = JSON.stringify({ phase, level, rateScale, queue, store });
        throw new Violation('stuck', `${pod.name} ${says}`);
      }
    }
  }

  /** An operator's: the store takes by now what it would not have. */
  async #replayDeadLetters(provider: string): Promise<void> {
    const request = {
      method: 'POST',
      url: `/v1/dead-letters/${provider}/replay?limit=1000`,
      headers: { authorization: `Bearer ${OPS_TOKEN}` },
      body: new Uint8Array(0),
    };
    const answer = await this.#within(this.#world.pods[0]!.ask(request));
    if (answer?.status !== 200) throw new Violation('not replayed', `${answer?.status} ${answer?.body}`);
  }

  async #deadLetters(): Promise<Map<string, DeadLetterSeen[]>> {
    const seen = new Map<string, DeadLetterSeen[]>();
    for (const provider of this.#world.shape.providers) {
      const list = await this.#read(provider, `/v1/dead-letters/${provider}?limit=1000`);
      for (const { batch, reason } of list['deadLetters'] as { batch: string; reason: string }[]) {
        const path = `/v1/dead-letters/${provider}/${encodeURIComponent(batch)}`;
        const body = (await this.#world.edges[0]!.ask(path, { headers: authorization(provider) })).text;
        const key = `${provider}/${batch}`;
        seen.set(key, [...(seen.get(key) ?? []), { reason, body }]);
      }
    }
    return seen;
  }

  /** Each batch that was taken has a receipt, which says what became of it. */
  async #receipts(dead: ReadonlyMap<string, readonly DeadLetterSeen[]>): Promise<void> {
    for (const one of this.#world.oracle.buffered()) {
      const { provider } = one.batch;
      const receipt = await this.#read(provider, `/v1/receipts/${provider}/${encodeURIComponent(one.batchId)}`);
      const status = String(receipt['status']);
      if (status === 'dead' && dead.has(`${provider}/${one.batchId}`)) continue;
      if (!['stored', 'partly_rejected', 'rejected'].includes(status)) {
        throw new Violation('wrong receipt', `${one.batchId}: ${JSON.stringify(receipt)}`);
      }
      if (!this.#world.usurped.has(`${provider}/${one.batchId}`))
        this.#world.oracle.checkStored(one, this.#world.database);
    }
    for (const [at, provider] of this.#world.shape.providers.entries()) {
      const { batches, ticks, bytes } = await this.#world.outboxes[at]!.call((outbox) => outbox.totals());
      if (batches !== 0 || ticks !== 0 || bytes !== 0) {
        throw new Violation('miscounted', `an empty outbox of ${provider} says ${batches} batches, ${ticks} ticks`);
      }
    }
  }

  async #read(provider: string, path: string): Promise<Record<string, unknown>> {
    const { status, text } = await this.#world.edges[0]!.ask(path, { headers: authorization(provider) });
    if (status !== 200) throw new Violation('not readable', `${path}: ${status} ${text}`);
    return JSON.parse(text) as Record<string, unknown>;
  }

  /**
   * A new batch passes each pod at once, and hears that there is as much room as there ever was. The first may be the
   * probe that closes a circuit, for which a pod without traffic still waits.
   */
  async #probes(): Promise<void> {
    const roomTicks = Math.ceil(this.#world.shape.capacityTicks / 2) - 1;
    for (const pod of this.#world.pods) {
      if ((await pod.status()).store.circuit !== 'closed') await this.#probe(pod);
      const { status, headers } = await this.#probe(pod);
      const says = [status, headers['mdp-level'], headers['mdp-rate-scale'], headers['mdp-credit']].join(' ');
      const should = [200, 'ok', 1, roomTicks].join(' ');
      if (says !== should) throw new Violation('stuck', `${pod.name} says ${says} instead of ${should}`);
    }
  }

  async #probe(pod: PodMachine): Promise<HttpAnswer> {
    const batch = this.#world.maker.batchOfIds(this.#world.shape.providers[0]!, 1);
    this.#world.oracle.sending(batch);
    const { provider, id, body, contentType, contentEncoding } = batch;
    const signed = await signatureHeaders(this.#world.edgeKey, `${provider}/${id}`, this.#world.scheduler.nowMs, body);
    const headers = { ...signed, 'content-type': contentType, 'content-encoding': contentEncoding ?? 'identity' };
    const answer = await this.#within(pod.ask({ method: 'POST', url: `/v1/ticks/${provider}`, headers, body }));
    if (answer?.status !== 200) throw new Violation('stuck', `${pod.name} answers ${answer?.status} ${answer?.body}`);
    return answer;
  }

  /** What `work` comes to while time goes on. */
  async #within<Value>(work: Promise<Value>): Promise<Value> {
    const state = { isOver: false };
    const done = work.finally(() => void (state.isOver = true));
    done.catch(() => undefined);
    await this.#world.scheduler.run(this.#world.scheduler.nowMs + QUESTION_MAX_MS, () => state.isOver);
    if (!state.isOver) throw new Violation('unanswered', 'a question at the end');
    return done;
  }
}
