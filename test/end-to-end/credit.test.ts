/**
 * What `mdp-credit` is worth at the default capacity, without a word on speed, which is the benchmark's: requests of
 * 1,000 ticks, more in flight than there is room for, from senders that obey it as the replay tool does, and from some
 * that do not.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Batch } from '../../deploy/replay/batches.ts';
import { deliver } from '../../deploy/replay/delivery.ts';
import { type Attempt, createPusher } from '../../deploy/replay/pusher.ts';
import { scopedBatchId } from '../../pipeline/contract/identity.ts';
import { FaultyPod, type PodPicture } from '../support/faulty-pod-process.ts';
import { lines, trades } from '../support/pod-batch.ts';
import { StoredTicks } from '../support/stored-ticks.ts';

const BATCH_TICKS = 1_000;
const BATCHES = 72;
/** So that the queue is what fills, and not the sender what is slow, on any machine. */
const OBEYING = { inFlight: 16, writeMs: 25 };
/** More than queue and writer can hold together, 10,000 and twice 8,000. */
const HEEDLESS = { inFlight: 48, writeMs: 100 };

let pod: FaultyPod;

beforeAll(async () => {
  pod = await FaultyPod.start({ MDP_FUTURE_MAX_MS: String(365 * 86_400_000) });
});
afterAll(() => pod[Symbol.asyncDispose]());

interface Told {
  attempts: Attempt[];
  pictures: PodPicture[];
  end: string;
}

/** Delivers {@link BATCHES}, looking at the pod meanwhile; `hears` is what of an answer the sender lets count. */
async function push(
  provider: string,
  { inFlight, writeMs }: typeof OBEYING,
  hears: (attempt: Attempt) => Attempt,
): Promise<Told> {
  await pod.suffer({ delayMs: writeMs });
  const credential = { secret: pod.secret };
  const pusher = await createPusher({ to: pod.url, provider, credential, connections: inFlight });
  const told: Told = { attempts: [], pictures: [], end: '' };
  const delivered = deliver(batches(provider), {
    inFlightMax: inFlight,
    push: async (batch) => {
      const attempt = await pusher.push(batch);
      told.attempts.push(attempt);
      return hears(attempt);
    },
  });
  const over = new AbortController();
  void delivered.finally(() => over.abort());
  while (!over.signal.aborted) told.pictures.push(await pod.status());
  told.end = (await delivered).end.why;
  await pusher.close();
  return told;
}

async function* batches(provider: string): AsyncGenerator<Batch> {
  for (let at = 0; at < BATCHES; at += 1) {
    const body = new TextEncoder().encode(lines(trades(BATCH_TICKS, at * BATCH_TICKS)));
    yield { id: scopedBatchId(provider, `b${at}`), ticks: BATCH_TICKS, body, dueMs: 0 };
  }
}

function stored(provider: string): { trades: number; batches: number } {
  using store = new StoredTicks(pod.path);
  return { trades: store.counts(provider).trades, batches: store.batches(provider) };
}

const ALL = { trades: BATCHES * BATCH_TICKS, batches: BATCHES };

describe('senders of more ticks at once than a pod may hold, 10,000', () => {
  test('never make its level leave ok when they obey credit, are refused nothing, and keep its writer busy', async () => {
    // Seen failing: with credit told before the next group is begun, the level was soft at times.
    const { attempts, pictures, end } = await push('heeding', OBEYING, (attempt) => attempt);
    expect([end, stored('heeding')]).toEqual(['complete', ALL]);
    expect(new Set(attempts.map(({ outcome }) => outcome.kind))).toEqual(new Set(['stored']));
    expect(new Set(attempts.map(({ level }) => level))).toEqual(new Set(['ok']));
    expect(new Set(pictures.map(({ level }) => level))).toEqual(new Set(['ok']));
    expect(Math.max(...pictures.map(({ queue }) => queue.depthTicks))).toBeLessThan(5_000);
    // What is being written is room, too: the credit is more than half of a queue.
    expect(Math.max(...attempts.map(({ creditTicks }) => creditTicks ?? 0))).toBeGreaterThan(10_000);
  });

  test('lose nothing when they do not obey it, and are told', async () => {
    const { attempts, pictures, end } = await push('heedless', HEEDLESS, (attempt) => {
      return { ...attempt, creditTicks: undefined, level: undefined };
    });
    expect([end, stored('heedless')]).toEqual(['complete', ALL]);
    const refused = attempts.filter(({ outcome }) => outcome.kind === 'refused');
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.filter(({ level, creditTicks }) => level === 'ok' || creditTicks !== 0)).toEqual([]);
    expect(attempts.filter(({ outcome }) => outcome.kind !== 'stored' && outcome.kind !== 'refused')).toEqual([]);
    expect(refused.filter(({ outcome }) => !('retryAfterMs' in outcome && outcome.retryAfterMs! >= 1_000))).toEqual([]);
    expect(
      pictures.flatMap(({ providers }) => Object.values(providers)).filter(({ residue }) => residue !== 0),
    ).toEqual([]);
  });
});
