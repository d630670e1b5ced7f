/**
 * A pod before a store that becomes slow, in steps and in a ramp, then goes away for a minute in four different ways,
 * and comes back: four providers push meanwhile, one of them many times what the others do, one without any manners.
 *
 * What it cannot show: how a disk or a server fails by itself; the stores' own tests do.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPusher } from '../../deploy/replay/pusher.ts';
import { CIRCUIT_LEVEL } from '../../pipeline/backpressure/throttle.ts';
import { WATERMARKS } from '../../pipeline/backpressure/watermark.ts';
import { scopedBatchId } from '../../pipeline/contract/identity.ts';
import { worstLevel } from '../../pipeline/contract/level.ts';
import { WRITER_BOUNDS } from '../../pipeline/sink/writer-bounds.ts';
import { CIRCUIT_DELAY_MAX_MS } from '../../pipeline/sink/circuit.ts';
import { type Denied, Sender } from '../support/faulty-pod-load.ts';
import { FaultyPod, type PodPicture } from '../support/faulty-pod-process.ts';
import type { StoreFault } from '../support/faulty-pod-store.ts';
import { lines, trades } from '../support/pod-batch.ts';
import { noProcessMemory, peakBytes, resetPeakBytes } from '../support/process-memory.ts';
import { StoredTicks } from '../support/stored-ticks.ts';

const CAPACITY_TICKS = 10_000;
const ANSWER_TIMEOUT_MS = 8_000;
/** Two busy cores between the pod's clock and ours. */
const SLACK_MS = 1_500;
const AWAY_MS = 60_000;
/** Measured: 198 to 211 MiB, of which a pod with nothing in hand takes 90. */
const MEMORY_MAX_MIB = 300;
/** From the first failure to an open circuit. */
const OPENED_MAX_MS = 2_000;
/** Senders whose batches a hanging store holds. */
const HELD = 40;
const SETTINGS = {
  MDP_QUEUE_CAPACITY_TICKS: String(CAPACITY_TICKS),
  MDP_ANSWER_TIMEOUT_MS: String(ANSWER_TIMEOUT_MS),
  MDP_FUTURE_MAX_MS: String(365 * 86_400_000),
};

const FLOOD = { provider: 'flood', batchTicks: 500, ticksPerSecond: 12_000, outstandingMax: 80 };
const CALM = [
  { provider: 'calm-a', batchTicks: 50, ticksPerSecond: 200, outstandingMax: 400 },
  { provider: 'calm-b', batchTicks: 50, ticksPerSecond: 200, outstandingMax: 400 },
];
const RUDE = { provider: 'rude', batchTicks: 100, ticksPerSecond: 400, outstandingMax: 4, rudeWaitMs: 25 };

const LOOK_INTERVAL_MS = 25;
const SCRAPE_INTERVAL_MS = 1_000;

interface Look {
  atMs: number;
  picture: PodPicture;
  isReady: boolean;
}

interface Phase {
  fromMs: number;
  toMs: number;
}

let pod: FaultyPod;
let senders: Sender[];
const looks: Look[] = [];
const phases: Record<string, Phase> = {};
let peakMiB = 0;

/** Runs one part of the story and remembers when it was. */
async function phase(name: string, story: () => Promise<void>): Promise<void> {
  const fromMs = performance.now();
  await story();
  phases[name] = { fromMs, toMs: performance.now() };
}

async function suffer(fault: Partial<StoreFault>, ms: number): Promise<void> {
  await pod.suffer(fault);
  await sleep(ms);
}

/** Looks at the pod until the signal, and scrapes it as Prometheus would. */
async function watch(over: AbortSignal): Promise<void> {
  let scrapedMs = 0;
  while (!over.aborted) {
    const atMs = performance.now();
    const [picture, isReady] = await Promise.all([pod.status(), pod.isReady()]);
    looks.push({ atMs, picture, isReady });
    if (atMs - scrapedMs >= SCRAPE_INTERVAL_MS) {
      scrapedMs = atMs;
      await (await fetch(`${pod.url}/metrics`)).text();
    }
    await sleep(LOOK_INTERVAL_MS);
  }
}

function during(name: string): Look[] {
  const { fromMs, toMs } = phases[name]!;
  return looks.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
}

function deniedDuring(name: string, provider: string): Denied[] {
  const { fromMs, toMs } = phases[name]!;
  return senderOf(provider).denied.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
}

function levelsDuring(name: string): string[] {
  return during(name).map(({ picture }) => picture.level);
}

/** Each `Retry-After` that came, in milliseconds; undefined where a refusal had none. */
function retriesToldDuring(name: string): Set<number | undefined> {
  const denied = senders.flatMap(({ provider }) => deniedDuring(name, provider));
  return new Set(denied.map(({ outcome }) => ('retryAfterMs' in outcome ? outcome.retryAfterMs : undefined)));
}

function senderOf(provider: string): Sender {
  return senders.find((sender) => sender.provider === provider)!;
}

/** Without repeats of what stands before. */
function changes<T>(values: readonly T[]): T[] {
  return values.filter((value, at) => value !== values[at - 1]);
}

/** What section 6 allows a look at the queue to show, whatever was before. */
function isAsMarked({ picture: { level, reasons, queue, store } }: Look): boolean {
  const share = queue.depthTicks / queue.capacityTicks;
  if (share >= WATERMARKS.hardFrom && reasons.queue !== 'hard') return false;
  if (share >= WATERMARKS.softFrom && reasons.queue === 'ok') return false;
  if (share < WATERMARKS.hardUntil && reasons.queue === 'hard') return false;
  if (share < WATERMARKS.softUntil && reasons.queue !== 'ok') return false;
  return reasons.store === CIRCUIT_LEVEL[store.circuit] && level === worstLevel(Object.values(reasons));
}

describe('a store that becomes slow, goes away for a minute and comes back, under four providers', () => {
  beforeAll(async () => {
    pod = await FaultyPod.start(SETTINGS);
    await pod.suffer({ delayMs: 10 });
    if (!noProcessMemory) resetPeakBytes(pod.pid);
    senders = await Promise.all([FLOOD, ...CALM, RUDE].map((habits) => Sender.start(pod, habits)));
    const over = new AbortController();
    const watching = watch(over.signal);
    try {
      await phase('quick', () => suffer({ delayMs: 10 }, 3_000));
      await phase('slow', async () => {
        await suffer({ delayMs: 100 }, 2_000);
        await suffer({ delayMs: 500 }, 3_000);
        await suffer({ delayMs: 2_000, when: 'after' }, 10_000);
        for (let delayMs = 2_000; delayMs > 10; delayMs *= 0.75) await suffer({ delayMs }, 250);
      });
      await phase('quick again', () => suffer({ delayMs: 10 }, 6_000));
      await phase('away', async () => {
        await suffer({ kind: 'throw', when: 'after' }, AWAY_MS * 0.2);
        await suffer({ kind: 'unavailable' }, AWAY_MS * 0.2);
        await suffer({ kind: 'hang', when: 'after' }, AWAY_MS * 0.4);
        await suffer({ kind: 'unavailable', when: 'after' }, AWAY_MS * 0.2);
      });
      await phase('back', async () => {
        await suffer({ delayMs: 200 }, 4_000);
        await suffer({ delayMs: 10 }, 0);
        await Promise.all(senders.map((sender) => sender.end()));
        // One more look, at the pod that has nothing left to do.
        const seen = looks.length;
        while (looks.length < seen + 2) await sleep(LOOK_INTERVAL_MS);
      });
      if (!noProcessMemory) peakMiB = peakBytes(pod.pid) / 1024 / 1024;
    } finally {
      over.abort();
      await watching;
    }
  }, 180_000);

  afterAll(async () => {
    await Promise.all(senders.map((sender) => sender.cut()));
    await pod[Symbol.asyncDispose]();
  });

  test('makes the level go ok, soft, hard and back, as the marks say at every look', () => {
    // A level that ends between two looks is not seen: on a busy machine soft may be.
    const down = [...new Set([...levelsDuring('quick'), ...levelsDuring('slow')])].filter((level) => level !== 'soft');
    expect(down).toEqual(['ok', 'hard']);
    expect(levelsDuring('quick again').at(-1)).toBe('ok');
    expect(levelsDuring('away').at(-1)).toBe('hard');
    expect([levelsDuring('back').at(0), levelsDuring('back').at(-1)]).toEqual(['hard', 'ok']);
    expect(looks.at(-1)!.picture.level).toBe('ok');
    expect(looks.filter((look) => !isAsMarked(look))).toEqual([]);
  });

  test('opens the circuit, which stays open for the minute and closes again over one half-open state', () => {
    const seen = changes(looks.map(({ picture }) => picture.store.circuit));
    expect(['closed, open, closed', 'closed, open, half_open, closed']).toContain(seen.join(', '));
  });

  test('makes the pod not ready while it is away, and only then', () => {
    const opened = during('away').findIndex(({ picture }) => picture.store.circuit === 'open');
    expect(during('away')[opened]!.atMs - phases['away']!.fromMs).toBeLessThan(OPENED_MAX_MS);
    expect(
      during('away')
        .slice(opened + 1)
        .filter(({ isReady }) => isReady),
    ).toEqual([]);
    for (const name of ['quick', 'slow', 'quick again']) {
      expect(during(name).filter(({ isReady }) => !isReady)).toEqual([]);
    }
    expect(looks.at(-1)!.isReady).toBe(true);
  });

  test('costs no sender an answer: all are stored, or 429 or 503 with Retry-After, within the time for answers', () => {
    const denied = senders.flatMap((sender) => sender.denied);
    const explicit = denied.filter(
      ({ outcome, answerMs }) =>
        outcome.kind === 'refused' && outcome.retryAfterMs! >= 1_000 && answerMs < ANSWER_TIMEOUT_MS + SLACK_MS,
    );
    console.log(
      `${denied.length} refusals, ${denied.length - explicit.length} of them not explicit; ${JSON.stringify(fates())}; ` +
        `peak ${peakMiB.toFixed(0)} MiB; away to all stored again ${seconds(phases['back']!)} s`,
    );
    expect(denied.length).toBeGreaterThan(1_000);
    expect(explicit.length / denied.length).toBeGreaterThan(0.999);
  });

  test('leaves `Retry-After` something that was computed', () => {
    expect(retriesToldDuring('slow').size).toBeGreaterThanOrEqual(2);
    // While it is away: until it is looked at again, in whole seconds, and no longer.
    const nextLookMs = Math.ceil(CIRCUIT_DELAY_MAX_MS / 1000) * 1000;
    expect(Math.max(...[...retriesToldDuring('away')].map(Number))).toBeLessThanOrEqual(nextLookMs);
    // Nobody is sent away for long by a store that has only just begun to move.
    for (const name of ['slow', 'away', 'back'])
      expect(Math.max(...[...retriesToldDuring(name)].map(Number))).toBeLessThanOrEqual(30_000);
  });

  test("does not make a flood everybody's: while it is slow, the others are refused next to nothing", () => {
    const floods = deniedDuring('slow', 'flood').length;
    expect(floods).toBeGreaterThan(50);
    for (const { provider } of CALM) {
      const attempts = deniedDuring('slow', provider).length + storedDuring('slow', provider).length;
      expect(deniedDuring('slow', provider).length / attempts).toBeLessThan(0.02);
    }
  });

  test('leaves everything that was ever offered stored, exactly once, without hands', () => {
    for (const sender of senders) {
      expect([sender.stored.size, sender.outstanding]).toEqual([sender.made, 0]);
      const receipts = [...sender.stored.values()];
      expect(receipts.filter(({ duplicates, rejected }) => duplicates + rejected.length > 0)).toEqual([]);
      expect(receipts.reduce((ticks, { stored }) => ticks + stored, 0)).toBe(sender.ticksMade);
    }
    using store = new StoredTicks(pod.path);
    const held = senders.map(({ provider }) => [store.counts(provider).trades, store.batches(provider)]);
    expect(held).toEqual(senders.map(({ ticksMade, made }) => [ticksMade, made]));
    expect(store.counts()).toEqual({
      trades: senders.reduce((ticks, { ticksMade }) => ticks + ticksMade, 0),
      quotes: 0,
    });
  });

  test('leaves the books balanced at every look, and in the end nothing in flight', () => {
    expect(looks.length).toBeGreaterThan(1_000);
    const books = looks.flatMap(({ picture }) => Object.values(picture.providers));
    expect(books.filter(({ residue }) => residue !== 0)).toEqual([]);
    const last = Object.values(looks.at(-1)!.picture.providers);
    expect(last.filter(({ inFlight }) => inFlight !== 0)).toEqual([]);
  });

  test.skipIf(noProcessMemory)('costs the pod bounded memory, in ticks, in bytes and in all', () => {
    // A batch that is put back may stand above the capacity: what two groups held.
    const depths = looks.map(({ picture }) => picture.queue.depthTicks);
    expect(Math.max(...depths)).toBeLessThanOrEqual(CAPACITY_TICKS + 2 * WRITER_BOUNDS.groupMaxTicks);
    expect(peakMiB).toBeLessThan(MEMORY_MAX_MIB);
  });

  test('leaves a pod that drains and ends with 0, and complained of nothing but its store', async () => {
    const events = pod.log.map((line) => JSON.parse(line) as { level: string; event: string });
    const complaints = events.filter(({ level }) => level !== 'info').map(({ event }) => event);
    expect(new Set(complaints)).toEqual(new Set(['circuit_open', 'store_unforeseen']));
    pod.kill('SIGTERM');
    expect(await pod.exited).toBe(0);
  });
});

describe('a drain while the store hangs', () => {
  test('ends at its limit with 1, once each held sender has its 503, and a second signal changes nothing', async () => {
    // Seen failing: a store that did not close kept the process for ever.
    const limitMs = 2_000;
    await using hung = await FaultyPod.start({ ...SETTINGS, MDP_DRAIN_TIMEOUT_MS: String(limitMs) });
    await hung.suffer({ kind: 'hang' });
    const pusher = await createPusher({
      to: hung.url,
      provider: 'ibkr',
      credential: { secret: hung.secret },
      connections: HELD,
    });
    const answers = Array.from({ length: HELD }, (_, at) => {
      const body = new TextEncoder().encode(lines(trades(100, at * 100)));
      return pusher.push({ id: scopedBatchId('ibkr', `held-${at}`), ticks: 100, body, dueMs: 0 });
    });
    await expect
      .poll(async () => (await hung.status()).providers['ibkr']?.inFlight, { timeout: 10_000 })
      .toBe(HELD * 100);

    const toldMs = performance.now();
    hung.kill('SIGTERM');
    await expect.poll(() => hung.isReady(), { interval: 5 }).toBe(false);
    hung.kill('SIGTERM');
    const outcomes = (await Promise.all(answers)).map(({ outcome }) => outcome);
    const answeredMs = performance.now();
    expect(await hung.exited).toBe(1);
    const endedMs = performance.now();
    const fates = outcomes.map((one) => [one.kind, 'problem' in one && one.problem, 'retryAfterMs' in one]);
    expect(new Set(fates.map(String))).toEqual(new Set(['refused,store-unavailable,true']));
    expect(answeredMs - toldMs).toBeGreaterThan(limitMs - 500);
    expect(endedMs - toldMs).toBeLessThan(limitMs + 3_000);
    expect(hung.log.filter((line) => line.includes('"draining"'))).toHaveLength(1);
    await pusher.close();
  });
});

function storedDuring(name: string, provider: string): { answerMs: number }[] {
  const { fromMs, toMs } = phases[name]!;
  return senderOf(provider).storedMs.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
}

/** For the reader of a run: each provider's slow phase and all. */
function fates(): Record<string, string> {
  return Object.fromEntries(
    senders.map(({ provider, made, denied }) => {
      const slow = storedDuring('slow', provider);
      const slowest = Math.max(0, ...slow.map(({ answerMs }) => answerMs));
      const refused = deniedDuring('slow', provider).length;
      const text = `${made} batches, ${denied.length} refusals; slow: ${slow.length} stored, ${refused} refused, slowest ${slowest.toFixed(0)} ms`;
      return [provider, text];
    }),
  );
}

function seconds({ fromMs, toMs }: Phase): string {
  return ((toMs - fromMs) / 1_000).toFixed(1);
}
