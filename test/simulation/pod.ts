/**
 * A pod's machine: the whole pod as `createPod` makes it, behind a server without sockets, before a simulated store. It
 * is started, killed, frozen and drained as its cluster would.
 */

import type { Config } from '../../pipeline/config.ts';
import { createPod, type Pod } from '../../pipeline/topology.ts';
import type { Random } from '../support/random.ts';
import { Life, type MachineClock } from './life.ts';
import { type HttpAnswer, type HttpRequest, type HttpServer, latestServer } from './modules/http.ts';
import { Violation } from './oracle.ts';
import type { Scheduler } from './scheduler.ts';
import { SimulatedStore, type StoreWorld } from './store.ts';

export interface PodMachineParts {
  name: string;
  scheduler: Scheduler;
  random: Random;
  config: Config;
  store: StoreWorld;
  clock: MachineClock;
  endsHere: (machine: PodMachine) => boolean;
  fail: (violation: Violation) => void;
}

/** Beyond the time for answers that a pod gives itself. */
const ANSWER_GRACE_MS = 500;
/** A healthy store takes about this long. */
const BUSY_MAX_MS = 15;
/** Events that only a bug can cause. */
const BUGS: ReadonlySet<string> = new Set(['writer_unforeseen', 'unforeseen']);

/** What one life of the pod has answered for one provider, in ticks. */
interface Account {
  offered: number;
  committed: number;
  rejected: number;
  refused: number;
}

interface OpenRequest {
  request: HttpRequest;
  sinceMs: number;
  reply: (answer: HttpAnswer | undefined) => void;
}

/** What `GET /status` says, as far as it is judged. */
export interface PodStatus {
  phase: string;
  level: string;
  rateScale: number;
  queue: { depthTicks: number; depthBytes: number; beingWrittenTicks: number };
  store: { circuit: string };
  providers: Record<string, Record<'offered' | 'stored' | 'duplicate' | 'rejected' | 'refused' | 'inFlight', number>>;
}

export class PodMachine {
  readonly #parts: PodMachineParts;
  readonly clock: MachineClock;
  #life: Life | undefined;
  #pod: Pod | undefined;
  #server: HttpServer | undefined;
  readonly #open = new Set<OpenRequest>();
  /** Before the door of a frozen pod. */
  readonly #waiting = new Set<Pick<OpenRequest, 'reply'>>();
  readonly #accounts = new Map<string, Account>();
  /** What waited and was being written when the time for a drain was over. */
  #heldAtLimitTicks = 0;
  #onBusy: (() => void) | undefined;
  /** Requests whose connection this life has ended without an answer. */
  #cut = 0;
  memoryShare = 0;
  isDraining = false;

  constructor(parts: PodMachineParts) {
    this.#parts = parts;
    this.clock = parts.clock;
  }

  get name(): string {
    return this.#parts.name;
  }

  get isUp(): boolean {
    return this.#life !== undefined;
  }

  get isReady(): boolean {
    return this.#server?.isListening === true && !this.isDraining;
  }

  start(): void {
    const { scheduler, random, config, store, clock, endsHere, fail, name } = this.#parts;
    if (this.isUp) return;
    const life = new Life({ scheduler, clock, endsHere: () => endsHere(this) });
    this.#life = life;
    this.isDraining = false;
    this.#accounts.clear();
    this.#cut = 0;
    scheduler.trace(`start ${name}`);
    const isSerial = config.store.kind === 'sqlite';
    this.#pod = createPod({
      config,
      store: new SimulatedStore(store, life, name, config.storeTimeoutMs, isSerial),
      log: (level, event, facts) => {
        if (life.isAlive && BUGS.has(event)) fail(new Violation('a bug in the pod', JSON.stringify(facts)));
        scheduler.onTrace?.(`${name} ${level} ${event} ${JSON.stringify(facts ?? {})}`);
      },
      nowMs: life.nowMs,
      steadyMs: life.steadyMs,
      random: () => random.next(),
      sleep: (ms) => this.#sleep(life, ms),
      after: life.after,
      memoryShare: () => this.memoryShare,
      loopMs: () => 0,
      fetch: () => Promise.reject(new Error('this pod asks nobody')),
    });
    this.#server = latestServer();
    void this.#pod.start();
  }

  /** Does something a moment after the next request has come in, which then is under way most likely. */
  whenBusy(then: (() => void) | undefined): void {
    this.#onBusy = then;
  }

  /** SIGKILL. Who waits for an answer sees the connection end, or nothing. */
  kill(isTold: boolean): void {
    if (this.#life === undefined) return;
    this.#parts.scheduler.trace(`kill ${this.name}`);
    this.#life.isAlive = false;
    this.#end();
    for (const { reply } of [...this.#takeOpen(), ...this.#waiting]) if (isTold) reply(undefined);
    this.#waiting.clear();
  }

  /** SIGTERM, and SIGKILL when the grace period is over, which is longer than a drain may take. */
  drain(): void {
    this.#life?.run(() => this.#drain(this.#life!));
  }

  #drain(life: Life): void {
    if (this.isDraining) return;
    const { scheduler, fail } = this.#parts;
    scheduler.trace(`drain ${this.name}`);
    this.isDraining = true;
    void this.#pod!.drain().then((settled) => {
      if (!life.isAlive) return;
      scheduler.trace(`drained ${this.name} ${settled}`);
      const open = this.#takeOpen();
      const left = open.length + this.#cut;
      if (settled && left > 0) fail(new Violation('left without an answer', `${left} at ${this.name}`));
      if (!settled && this.#heldAtLimitTicks === 0) {
        fail(new Violation('a drain that does not end', `${this.name} gave up with nothing in hand`));
      }
      life.isAlive = false;
      this.#end();
      for (const { reply } of open) reply(undefined);
    });
  }

  freeze(ms: number): void {
    this.#parts.scheduler.trace(`freeze ${this.name} ${ms}`);
    this.#life?.freeze(ms);
    for (const one of this.#open) one.sinceMs += ms;
  }

  /** `reply` is told the answer, or nothing where the connection ended without one. */
  receive(request: HttpRequest, reply: (answer: HttpAnswer | undefined) => void): void {
    const { scheduler } = this.#parts;
    const life = this.#life;
    const server = this.#server;
    if (life === undefined || server === undefined || !server.isListening) return reply(undefined);
    const wait = { reply };
    this.#waiting.add(wait);
    life.run(() => {
      if (!this.#waiting.delete(wait)) return;
      // Who has not been let in when the door is closed is sent away.
      if (!server.isListening) return reply(undefined);
      const one: OpenRequest = { request, sinceMs: scheduler.nowMs, reply };
      this.#open.add(one);
      this.#noteBusy();
      server.receive(request, (answer) => {
        if (!life.effect() || !this.#open.delete(one)) return;
        if (answer === undefined) this.#cut += 1;
        scheduler.trace(`${this.name} answers ${answer?.status} ${request.headers['webhook-id'] ?? request.url}`);
        if (answer !== undefined) this.#answered(one, answer);
        reply(answer);
      });
    });
  }

  /** Asks for something at once, past the network. */
  ask(request: HttpRequest): Promise<HttpAnswer | undefined> {
    return new Promise((resolve) => this.#server!.receive(request, resolve));
  }

  async status(): Promise<PodStatus> {
    const request = { method: 'GET', url: '/status', headers: {}, body: new Uint8Array(0) };
    return JSON.parse((await this.ask(request))!.body) as PodStatus;
  }

  /** The books as they are shown balance, and say of what has an answer what was answered. */
  async checkBooks(isIdle = false): Promise<void> {
    if (!this.isUp || this.#server?.isCut === true) return;
    const { providers } = await this.status();
    for (const [provider, books] of Object.entries(providers)) {
      const { offered, stored, duplicate, rejected, refused, inFlight } = books;
      const residue = offered - stored - duplicate - rejected - refused - inFlight;
      const says = `${this.name} ${provider} ${JSON.stringify(books)}`;
      if (residue !== 0 || inFlight < 0) return this.#parts.fail(new Violation('residue', says));
      if (!isIdle) continue;
      const account = this.#account(provider);
      const isRight =
        inFlight === 0 &&
        offered === account.offered &&
        stored + duplicate === account.committed &&
        rejected === account.rejected &&
        refused === account.refused;
      if (!isRight) this.#parts.fail(new Violation('wrong books', `${says}, not ${JSON.stringify(account)}`));
    }
  }

  /** Senders that wait longer than they may. */
  checkOpen(): void {
    const { scheduler, config, fail } = this.#parts;
    for (const { sinceMs, request } of this.#open) {
      const waitedMs = scheduler.nowMs - sinceMs;
      if (waitedMs > config.answerTimeoutMs + ANSWER_GRACE_MS) {
        const id = request.headers['webhook-id'];
        fail(new Violation('held without an answer', `${id} at ${this.name} for ${Math.round(waitedMs)} ms`));
      }
    }
  }

  #noteBusy(): void {
    const then = this.#onBusy;
    if (then === undefined) return;
    this.#onBusy = undefined;
    this.#parts.scheduler.after(this.#parts.random.next() * BUSY_MAX_MS, then);
  }

  #answered({ request }: OpenRequest, { status, headers, body }: HttpAnswer): void {
    this.checkOpen();
    const ticks = Number(headers['mdp-batch-ticks'] ?? 0);
    const provider = /^\/v1\/ticks\/(.+)$/.exec(request.url)?.[1];
    if (provider === undefined || ticks === 0) return;
    const account = this.#account(provider);
    account.offered += ticks;
    const rejected = status === 409 ? ticks : status === 200 || status === 422 ? rejectedIn(body) : 0;
    account.rejected += rejected;
    if (status === 200) account.committed += ticks - rejected;
    if (status === 429 || status === 503) account.refused += ticks;
  }

  /** The pod's sleep; that of a drain is over when its time is. */
  async #sleep(life: Life, ms: number): Promise<void> {
    await life.sleep(ms);
    if (ms !== this.#parts.config.drainTimeoutMs) return;
    const { queue } = await this.status();
    this.#heldAtLimitTicks = queue.depthTicks + queue.beingWrittenTicks;
  }

  #account(provider: string): Account {
    let account = this.#accounts.get(provider);
    if (account === undefined) {
      this.#accounts.set(provider, (account = { offered: 0, committed: 0, rejected: 0, refused: 0 }));
    }
    return account;
  }

  #takeOpen(): OpenRequest[] {
    const open = [...this.#open];
    this.#open.clear();
    return open;
  }

  #end(): void {
    this.#life = undefined;
    this.#pod = undefined;
    this.#server = undefined;
    this.isDraining = false;
  }
}

function rejectedIn(body: string): number {
  return (JSON.parse(body) as { rejected: unknown[] }).rejected.length;
}
