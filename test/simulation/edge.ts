/**
 * The edge: isolates with the Worker's own routes, and the objects that hold what the cluster did not take, each as the
 * Worker makes it; before a cluster that is reached over the simulated network.
 */

import type { AppParts, EdgeApp } from '../../worker/app.ts';
import { createApp } from '../../worker/app.ts';
import type { OfferedBatch, OutboxCalls } from '../../worker/outbox/calls.ts';
import type { Fetch } from '../../worker/relay.ts';
import { tokenHash } from '../support/edge-credentials.ts';
import type { Random } from '../support/random.ts';
import { type HostedObject, ObjectHost } from './durable-object.ts';
import { DeadError, Life, type MachineClock, never } from './life.ts';
import type { HttpRequest } from './modules/http.ts';
import type { Network } from './network.ts';
import { Violation } from './oracle.ts';
import type { PodMachine } from './pod.ts';
import type { Scheduler } from './scheduler.ts';

const OUTBOX_MODULE = '../../worker/outbox.ts';
/** Not imported by its name: its types are of workerd, which this project's tests are not compiled for. */
const { OutboxObject } = (await import(OUTBOX_MODULE)) as {
  OutboxObject: new (context: unknown, env: object, parts: object) => HostedObject;
};

export const EDGE_SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const CLUSTER_URL = 'http://cluster';
/** For the relay (10 s), then for the outbox (5 s) and the overflow (5 s). */
const ANSWER_MAX_MS = 20_500;
const TOKEN = 'token-of-everybody';

export interface EdgeWorld {
  scheduler: Scheduler;
  random: Random;
  network: Network;
  pods: readonly PodMachine[];
  providers: readonly string[];
  /** Of each outbox; undefined: its own. */
  outboxMaxBytes: number | undefined;
  outboxMaxAgeSeconds: number | undefined;
  overflow: { send: (message: OfferedBatch) => Promise<unknown> } | undefined;
  fail: (violation: Violation) => void;
}

export interface EdgeAnswer {
  status: number;
  headers: Headers;
  text: string;
}

/** The Worker's environment, without its bindings. */
function settingsOf(world: EdgeWorld): Record<string, unknown> {
  const { outboxMaxBytes, outboxMaxAgeSeconds, providers } = world;
  return {
    CLUSTER_URL,
    EDGE_SECRET,
    PROVIDER_CREDENTIALS: JSON.stringify(
      Object.fromEntries(providers.map((name) => [name, { tokens: [tokenHash(`${TOKEN}-${name}`)] }])),
    ),
    ...(outboxMaxBytes === undefined ? {} : { OUTBOX_MAX_BYTES: String(outboxMaxBytes) }),
    ...(outboxMaxAgeSeconds === undefined ? {} : { OUTBOX_MAX_AGE_SECONDS: String(outboxMaxAgeSeconds) }),
  };
}

export function authorization(provider: string): Record<string, string> {
  return { authorization: `Bearer ${TOKEN}-${provider}` };
}

/** The way from one machine of the edge to the pods: one of them, whichever the cluster's Service takes. */
function clusterFetch(world: EdgeWorld, life: Life): Fetch {
  const { network, random, pods } = world;
  return (url, init) => {
    if (!life.effect()) return never();
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    const signal = init.signal!;
    signal.addEventListener('abort', () => life.run(() => reject(signal.reason as Error)));
    const refuse = (): void => life.run(() => reject(new TypeError('the connection is gone')));
    if (network.cluster === 'silent') return promise;
    if (network.cluster === 'refused') {
      network.passSurely(refuse);
      return promise;
    }
    const ready = pods.filter((pod) => pod.isReady);
    // A Service hears of the end of a pod a little late.
    const pod = random.pick(ready.length === 0 || random.chance(0.2) ? pods : ready);
    const request: HttpRequest = {
      method: init.method ?? 'GET',
      url: url.slice(CLUSTER_URL.length),
      headers: lowerCase(init.headers as Record<string, string>),
      body: (init.body as Uint8Array | undefined) ?? new Uint8Array(0),
    };
    network.pass(() =>
      pod.receive(request, (answer) => {
        if (answer === undefined) network.passSurely(refuse);
        else network.pass(() => life.run(() => resolve(new Response(answer.body, answer))));
      }),
    );
    return promise;
  };
}

function lowerCase(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function partsOf(world: EdgeWorld, life: Life, name: string): AppParts {
  const { scheduler, random, fail } = world;
  return {
    fetch: clusterFetch(world, life),
    nowMs: life.nowMs,
    random: () => random.next(),
    wait: life.sleep,
    log: (line) => {
      if (life.isAlive && line.event === 'internal-error')
        fail(new Violation('a bug in the edge', JSON.stringify(line)));
      if (life.isAlive && line.event === 'outbox-broken' && !String(line['message']).includes(DeadError.name)) {
        fail(new Violation('a bug in the outbox', JSON.stringify(line)));
      }
      scheduler.onTrace?.(`${name} ${JSON.stringify(line)}`);
    },
  };
}

/** One provider's outbox, wherever the platform runs it. */
export function outboxHost(
  world: EdgeWorld,
  provider: string,
  clock: MachineClock,
  endsHere: () => boolean,
): ObjectHost {
  const { scheduler, random } = world;
  return new ObjectHost({
    name: `outbox-${provider}`,
    scheduler,
    random,
    clock,
    endsHere,
    make: (context, life, afterSync) => {
      const parts = partsOf(world, life, `outbox-${provider}`);
      const fetch: Fetch = async (url, init) => {
        // The output gate.
        await afterSync();
        return parts.fetch(url, init);
      };
      return new OutboxObject(context, settingsOf(world), { ...parts, fetch });
    },
  });
}

export class EdgeMachine {
  readonly #world: EdgeWorld;
  readonly #hosts: ReadonlyMap<string, ObjectHost>;
  readonly name: string;
  readonly clock: MachineClock;
  readonly #endsHere: (machine: EdgeMachine) => boolean;
  #life: Life | undefined;
  #app: EdgeApp | undefined;
  #env: object = {};
  readonly #open = new Map<() => void, number>();

  constructor(
    world: EdgeWorld,
    hosts: ReadonlyMap<string, ObjectHost>,
    name: string,
    clock: MachineClock,
    endsHere: (machine: EdgeMachine) => boolean,
  ) {
    this.#world = world;
    this.#hosts = hosts;
    this.name = name;
    this.clock = clock;
    this.#endsHere = endsHere;
  }

  get isUp(): boolean {
    return this.#life !== undefined;
  }

  start(): void {
    if (this.isUp) return;
    const { scheduler, overflow } = this.#world;
    scheduler.trace(`start ${this.name}`);
    const life = new Life({ scheduler, clock: this.clock, endsHere: () => this.#endsHere(this) });
    this.#life = life;
    this.#app = createApp(partsOf(this.#world, life, this.name));
    this.#env = {
      ...settingsOf(this.#world),
      OUTBOX: { getByName: (name: string) => this.#stub(life, this.#hosts.get(name)!) },
      ...(overflow === undefined
        ? {}
        : { OVERFLOW: { send: (message: OfferedBatch) => this.#overflow(life, message) } }),
    };
  }

  kill(): void {
    if (this.#life === undefined) return;
    this.#world.scheduler.trace(`kill ${this.name}`);
    this.#life.isAlive = false;
    this.#life = undefined;
    for (const cut of this.#open.keys()) cut();
    this.#open.clear();
  }

  /** Senders that wait longer than they may. */
  checkOpen(): void {
    const { scheduler, fail } = this.#world;
    for (const sinceMs of this.#open.values()) {
      const waitedMs = scheduler.nowMs - sinceMs;
      if (waitedMs > ANSWER_MAX_MS) {
        fail(new Violation('held without an answer', `at ${this.name} for ${Math.round(waitedMs)} ms`));
      }
    }
  }

  /** `reply` is told the answer, or nothing where the connection ended without one. */
  receive(path: string, init: RequestInit, reply: (answer: EdgeAnswer | undefined) => void): void {
    const life = this.#life;
    if (life === undefined) return reply(undefined);
    const cut = (): void => reply(undefined);
    this.#open.set(cut, this.#world.scheduler.nowMs);
    void this.#answer(path, init).then((answer) => {
      this.checkOpen();
      if (!life.effect() || !this.#open.delete(cut)) return;
      reply(answer);
    });
  }

  /** Asks for something at once, past the network. */
  async ask(path: string, init: RequestInit): Promise<EdgeAnswer> {
    return this.#answer(path, init);
  }

  async #answer(path: string, init: RequestInit): Promise<EdgeAnswer> {
    const request = new Request(`http://edge${path}`, init);
    const context = { waitUntil: () => undefined, passThroughOnException: () => undefined, props: {} };
    const response = await this.#app!.fetch(request, this.#env, context);
    const bytes = Buffer.from(await response.arrayBuffer());
    return { status: response.status, headers: response.headers, text: bytes.toString('latin1') };
  }

  /** What an isolate holds of an object: each call goes over the platform's own network. */
  #stub(life: Life, host: ObjectHost): OutboxCalls {
    const call = <Value>(work: (object: HostedObject) => Promise<Value>): Promise<Value> => {
      if (!life.effect()) return never();
      const { promise, resolve, reject } = Promise.withResolvers<Value>();
      const { network } = this.#world;
      network.passSurely(() => {
        host.call(work).then(
          (value) => network.passSurely(() => life.run(() => resolve(value))),
          (cause: unknown) => network.passSurely(() => life.run(() => reject(cause))),
        );
      });
      return promise;
    };
    return {
      offer: (offered) => call((object) => object.offer(offered)),
      receipt: (batch) => call((object) => object.receipt(batch)),
      deadLetters: (limit, before) => call((object) => object.deadLetters(limit, before)),
      deadBody: (batch) => call((object) => object.deadBody(batch)),
      totals: () => call((object) => object.totals()),
    };
  }

  #overflow(life: Life, message: OfferedBatch): Promise<unknown> {
    if (!life.effect()) return never();
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const { network, overflow } = this.#world;
    network.passSurely(() => {
      overflow!.send(structuredClone(message)).then(
        (value) => network.passSurely(() => life.run(() => resolve(value))),
        (cause: unknown) => network.passSurely(() => life.run(() => reject(cause))),
      );
    });
    return promise;
  }
}
