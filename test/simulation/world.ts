/**
 * One world: some pods before a store, an edge before them, providers before that; all of it made from one seed. First
 * much goes wrong, then nothing does, and then everything that is owed must be there.
 *
 * Real: the pod from its HTTP routes on (`createPod`: intake, signatures, decoding, queue, throttle, writer, circuit,
 * feedback, books, drain); the Worker from `app.fetch` on (authentication, relay, circuit, budgets, packing, receipts);
 * the outbox's Durable Object as it is, on real SQLite; the overflow's consumer.
 *
 * Simulated: time, chance and each machine's clock (scheduler.ts, platform.ts, life.ts); the network, HTTP's sockets
 * among it (network.ts, modules/http.ts); the store behind the Store interface (database.ts, store.ts); the platform of
 * a Durable Object (durable-object.ts) and the queue (overflow.ts); what Node does in threads, gzip and hashes, is done
 * at once. Not in it: the real stores, the WebSocket, the status board, the meter.
 */

import { type Config, readConfig } from '../../pipeline/config.ts';
import type { SigningKey } from '../../pipeline/contract/signature.ts';
import { randomFrom, type Random } from '../support/random.ts';
import { BatchMaker, type SentBatch } from './batches.ts';
import { type ClientParts, deliver, type Manner } from './clients.ts';
import { SimulatedDatabase } from './database.ts';
import type { ObjectHost } from './durable-object.ts';
import { EDGE_SECRET, EdgeMachine, type EdgeWorld, outboxHost } from './edge.ts';
import { FAULTS } from './faults.ts';
import { Judge } from './judge.ts';
import type { MachineClock } from './life.ts';
import { FAIR_WEATHER, Network } from './network.ts';
import { Oracle, Violation } from './oracle.ts';
import { OverflowQueue } from './overflow.ts';
import { usePlatform } from './platform.ts';
import { PodMachine } from './pod.ts';
import { Scheduler } from './scheduler.ts';
import { FEEDBACK_TOKEN, type Shape, shapeOf } from './shape.ts';
import type { StoreMood, StoreWorld } from './store.ts';

const START_MS = Date.parse('2026-11-23T14:30:00Z');
/** An hour and more: a message of the overflow is tried so seldom at last. */
const SETTLE_MAX_MS = 3 * 3_600_000;
const LOOK_MS = 1_000;
/** A word of a foreign store counts for a minute. */
const FEEDBACK_EXPIRY_MS = 60_000;
/** What was on its way, or before a frozen pod, when all got well. */
const LATE_MAX_MS = 45_000;

export interface RunResult {
  seed: number;
  hash: number;
  happened: number;
  virtualMs: number;
  violation: Violation | undefined;
}

export interface RunOptions {
  onTrace?: (line: string) => void;
}

/** Runs one world to its end; the same seed, the same result. */
export async function runSeed(seed: number, options: RunOptions = {}): Promise<RunResult> {
  const scheduler = new Scheduler(START_MS);
  scheduler.onTrace = options.onTrace;
  const random = randomFrom(seed);
  usePlatform({ scheduler, random });
  const world = await World.make(scheduler, random);
  const onRejection = (cause: unknown): void => world.rejected(cause);
  process.on('unhandledRejection', onRejection);
  try {
    await world.run();
  } finally {
    process.off('unhandledRejection', onRejection);
    world.close();
  }
  const { violation } = world;
  return { seed, hash: scheduler.hash, happened: scheduler.happened, virtualMs: scheduler.nowMs - START_MS, violation };
}

export class World {
  readonly scheduler: Scheduler;
  readonly #random: Random;
  readonly shape: Shape;
  readonly network: Network;
  readonly database: SimulatedDatabase;
  readonly #store: StoreWorld;
  readonly pods: PodMachine[] = [];
  readonly edges: EdgeMachine[] = [];
  readonly outboxes: ObjectHost[];
  readonly clocks: MachineClock[] = [];
  readonly #overflow: OverflowQueue | undefined;
  readonly oracle: Oracle;
  readonly maker: BatchMaker;
  readonly edgeKey: SigningKey;
  readonly usurped = new Set<string>();
  #busyClients = 0;
  #isFaulty = true;
  violation: Violation | undefined;

  static async make(scheduler: Scheduler, random: Random): Promise<World> {
    const shape = shapeOf(random);
    const outcome = readConfig({ MDP_EDGE_SECRETS: EDGE_SECRET, ...shape.settings });
    if (!outcome.ok) throw new Error(outcome.problems.join('\n'));
    return new World(scheduler, random, shape, outcome.config);
  }

  private constructor(scheduler: Scheduler, random: Random, shape: Shape, config: Config) {
    this.scheduler = scheduler;
    this.#random = random;
    this.shape = shape;
    this.edgeKey = config.edgeKeys[0]!;
    this.network = new Network(scheduler, random);
    this.database = new SimulatedDatabase(scheduler, random);
    this.#store = { scheduler, random, database: this.database, mood: 'well', slowMaxMs: 0, hanging: [] };
    this.oracle = new Oracle(this.usurped);
    this.maker = new BatchMaker(random, shape.faults.includes('poison'));
    const fail = (violation: Violation): void => this.fail(violation);
    const clock = (): MachineClock => {
      const one = { aheadMs: (random.next() * 2 - 1) * 2_000 };
      this.clocks.push(one);
      return one;
    };
    for (let at = 0; at < shape.pods; at += 1) {
      const endsHere = (pod: PodMachine): boolean => this.#endsHere(() => DEATHS.pod(this, pod));
      const parts = { scheduler, random, store: this.#store, clock: clock(), endsHere, fail };
      const name = `pod-${at}`;
      this.pods.push(new PodMachine({ ...parts, name, config: { ...config, podName: name } }));
    }
    const hosts = new Map<string, ObjectHost>();
    const namespace = { getByName: (name: string) => hosted(hosts.get(name)!) };
    this.#overflow = shape.hasOverflow ? new OverflowQueue(scheduler, random, namespace) : undefined;
    const edgeWorld: EdgeWorld = {
      scheduler,
      random,
      network: this.network,
      pods: this.pods,
      providers: shape.providers,
      outboxMaxBytes: shape.outboxMaxBytes,
      outboxMaxAgeSeconds: shape.outboxMaxAgeSeconds,
      overflow: this.#overflow,
      fail,
    };
    for (const provider of shape.providers) {
      const endsHere = (): boolean => this.#endsHere(() => hosts.get(provider)!.kill());
      hosts.set(provider, outboxHost(edgeWorld, provider, clock(), endsHere));
    }
    this.outboxes = [...hosts.values()];
    for (let at = 0; at < shape.edges; at += 1) {
      const endsHere = (edge: EdgeMachine): boolean => this.#endsHere(() => DEATHS.edge(this, edge));
      this.edges.push(new EdgeMachine(edgeWorld, hosts, `edge-${at}`, clock(), endsHere));
    }
  }

  async run(): Promise<void> {
    const { faultyMs } = this.shape;
    for (const machine of [...this.pods, ...this.edges]) machine.start();
    this.#sendBatches();
    this.#planFaults();
    const startMs = this.scheduler.nowMs;
    await this.runFor(faultyMs);
    this.#end();
    const isDone = (): boolean => this.#busyClients === 0 && this.isNothingHeld;
    while (this.violation === undefined && !isDone()) {
      await this.runFor(LOOK_MS);
      // What froze in the middle of a drain has ended since.
      for (const pod of this.pods) pod.start();
      if (this.scheduler.nowMs - startMs > SETTLE_MAX_MS) {
        return this.fail(new Violation('unsettled', `${this.#busyClients} senders, ${this.held} batches held`));
      }
    }
    // Foreign stores say nothing more; what they said counts for a minute, by clocks that were set a moment ago.
    await this.runFor(FEEDBACK_EXPIRY_MS + LATE_MAX_MS);
    if (this.violation === undefined) await new Judge(this).judge().catch((cause: unknown) => this.#judged(cause));
  }

  /** Once over, nothing more goes wrong: what a fault had planned for later is still done. */
  later(ms: number, then: () => void): void {
    this.scheduler.after(ms, then);
  }

  fail(violation: Violation): void {
    this.violation ??= violation;
  }

  setMood(mood: StoreMood, slowMaxMs: number): void {
    this.scheduler.trace(`store is ${mood}`);
    if (mood === 'mad') this.oracle.mayRefuseAny = true;
    this.#store.mood = mood;
    this.#store.slowMaxMs = slowMaxMs;
    if (mood !== 'hanging') for (const go of this.#store.hanging.splice(0)) go();
  }

  calm(): void {
    this.network.weather = FAIR_WEATHER;
  }

  tellFeedback(pod: PodMachine, level: string): void {
    const body = Buffer.from(
      JSON.stringify({
        coordinator_id: 'foreign',
        queue_size: 5,
        capacity: 10,
        level,
        ts: this.scheduler.nowMs / 1000,
      }),
    );
    const request = { method: 'POST', url: `/feedback?token=${FEEDBACK_TOKEN}`, headers: {}, body };
    this.network.pass(() => pod.receive(request, () => undefined));
  }

  rejected(cause: unknown): void {
    if (cause instanceof Error && cause.name === 'DeadError') return;
    this.fail(new Violation('unhandled rejection', cause instanceof Error ? (cause.stack ?? '') : String(cause)));
  }

  close(): void {
    for (const pod of this.pods) pod.kill(false);
    for (const edge of this.edges) edge.kill();
    for (const outbox of this.outboxes) outbox.close();
  }

  runFor(ms: number): Promise<boolean> {
    return this.scheduler.run(this.scheduler.nowMs + ms, () => this.violation !== undefined);
  }

  #endsHere(end: () => void): boolean {
    if (!this.#isFaulty || this.shape.endsAtEffect === 0 || !this.#random.chance(this.shape.endsAtEffect)) return false;
    end();
    return true;
  }

  #sendBatches(): void {
    const { batches, ticksMax, providers, faultyMs } = this.shape;
    const random = this.#random;
    for (let at = 0; at < batches; at += 1) {
      const provider = random.pick(providers);
      const kind = random.next();
      if (kind < 0.1) {
        const batch = this.maker.batchOfIds(provider, ticksMax);
        this.usurped.add(`${provider}/${batch.id}`);
        this.#send(batch, 'faithful', faultyMs);
        this.#send(this.maker.usurper(batch, ticksMax), 'faithful', faultyMs);
      } else if (kind < 0.2) {
        const batch = this.maker.batchOfIds(provider, ticksMax);
        for (const one of [batch, ...this.maker.recut(batch)]) this.#send(one, 'faithful', faultyMs);
      } else if (kind < 0.25) {
        this.#send(this.maker.nameless(this.maker.batchOfIds(provider, ticksMax)), 'nameless', faultyMs);
      } else {
        const manner = random.pick<Manner>(['faithful', 'faithful', 'faithful', 'hasty', 'forgetful', 'repeating']);
        this.#send(this.maker.batch(provider, ticksMax), manner, faultyMs);
      }
    }
  }

  #send(batch: SentBatch, manner: Manner, withinMs: number): void {
    this.#busyClients += 1;
    this.scheduler.after(this.#random.next() * withinMs, () => {
      void deliver(this.client(), batch, manner).then(() => void (this.#busyClients -= 1));
    });
  }

  client(): ClientParts {
    return {
      scheduler: this.scheduler,
      random: this.#random,
      network: this.network,
      edges: this.edges,
      oracle: this.oracle,
      fail: (violation) => this.fail(violation),
    };
  }

  #planFaults(): void {
    const { faults, faultyMs, faultEveryMs } = this.shape;
    if (faults.length === 0) return;
    for (let atMs = 0; atMs < faultyMs; atMs += this.#random.next() * 2 * faultEveryMs) {
      const kind = this.#random.pick(faults);
      this.scheduler.after(atMs, () => {
        this.scheduler.trace(`fault ${kind}`);
        FAULTS[kind](this, this.#random);
        for (const pod of this.pods) void pod.checkBooks();
        for (const edge of this.edges) edge.checkOpen();
      });
    }
  }

  /** Nothing goes wrong any more, and what has gone wrong is mended. */
  #end(): void {
    this.scheduler.trace('all is well');
    this.#isFaulty = false;
    this.calm();
    this.network.cluster = 'open';
    this.setMood('well', 0);
    this.database.refusesPoison = false;
    for (const clock of this.clocks) clock.aheadMs = (this.#random.next() * 2 - 1) * 2_000;
    for (const outbox of this.outboxes) outbox.clockSet();
    for (const pod of this.pods) {
      pod.memoryShare = 0.1;
      pod.whenBusy(undefined);
      if (!pod.isDraining) pod.start();
    }
    for (const edge of this.edges) edge.start();
  }

  #judged(cause: unknown): void {
    this.fail(cause instanceof Violation ? cause : new Violation('a bug', (cause as Error).stack ?? ''));
  }

  get isNothingHeld(): boolean {
    return this.held === 0 && (this.#overflow?.isEmpty ?? true);
  }

  /** As their disks say. */
  get held(): number {
    return this.outboxes.reduce((sum, outbox) => sum + outbox.held, 0);
  }
}

/** What its end at an effect means for a machine. */
const DEATHS = {
  pod: (world: World, pod: PodMachine): void => {
    pod.kill(true);
    world.later(1_000, () => pod.start());
  },
  edge: (world: World, edge: EdgeMachine): void => {
    edge.kill();
    world.later(500, () => edge.start());
  },
};

function hosted(host: ObjectHost) {
  return {
    offer: (offered) => host.call((object) => object.offer(offered)),
    receipt: (batch) => host.call((object) => object.receipt(batch)),
    deadLetters: (limit, before) => host.call((object) => object.deadLetters(limit, before)),
    deadBody: (batch) => host.call((object) => object.deadBody(batch)),
    totals: () => host.call((object) => object.totals()),
  } satisfies import('../../worker/outbox/calls.ts').OutboxCalls;
}
