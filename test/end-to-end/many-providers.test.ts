/**
 * 64 providers that push at once to one pod: nobody is slowed, and what Prometheus sees of them is bounded. How long it
 * takes is the benchmark's to say.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunningPod, startPod } from '../../deploy/local/pod.ts';
import { type Attempt, createPusher } from '../../deploy/replay/pusher.ts';
import { scopedBatchId } from '../../pipeline/contract/identity.ts';
import { generateSecret } from '../../pipeline/contract/signature.ts';
import { type Family, parseExposition, sampleOf } from '../../deploy/mdp/exposition.ts';
import { lines, type LooseTick, quote, trade, trades } from '../support/pod-batch.ts';
import { StoredTicks } from '../support/stored-ticks.ts';

const PROVIDERS = Array.from({ length: 64 }, (_, at) => `provider-${at}`);
/** Providers with series of their own; the rest share one. */
const LABELS_MAX = 20;
const BATCHES = 8;
const BATCH_TICKS = 100;
const SERIES_MAX = 5_000;
/** A tick for each of many reasons: each is a series of its own. */
const BAD: LooseTick[] = [
  trade({ type: 'bar' }),
  trade({ price: undefined }),
  trade({ price: true }),
  trade({ tsMs: 'noon' }),
  trade({ ts: '2026-13-01T00:00:00Z', tsMs: undefined }),
  trade({ id: 2 ** 60 }),
  trade({ price: '1.2.3' }),
  trade({ price: '1.2345678901234567' }),
  trade({ price: '0' }),
  trade({ size: '-1' }),
  trade({ symbol: '' }),
  trade({ id: {} }),
  trade({ side: 'both' }),
  trade({ venue: '' }),
  trade({ conditions: 'X' }),
  quote({ bidPrice: 'one' }),
];

let directory: string;
let pod: RunningPod;
const attempts: Attempt[] = [];
let families: Map<string, Family>;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mdp-many-providers-'));
  const secret = generateSecret();
  pod = await startPod({
    settings: {
      MDP_PORT: '0',
      MDP_STORE: `sqlite:${join(directory, 'ticks.db')}`,
      MDP_EDGE_SECRETS: secret,
      MDP_FUTURE_MAX_MS: String(365 * 86_400_000),
    },
  });
  await Promise.all(PROVIDERS.map((provider) => pushAs(provider, secret)));
  families = parseExposition(await (await fetch(`${pod.url}/metrics`)).text());
});
afterAll(async () => {
  await pod.stop();
  await rm(directory, { recursive: true, force: true });
});

/** One batch after the other, and one of bad ticks. */
async function pushAs(provider: string, secret: string): Promise<void> {
  const pusher = await createPusher({ to: pod.url, provider, credential: { secret }, connections: 1 });
  for (let at = 0; at <= BATCHES; at += 1) {
    const ticks = at === BATCHES ? [...BAD, trade({ id: 'good' })] : trades(BATCH_TICKS, at * BATCH_TICKS);
    const body = new TextEncoder().encode(lines(ticks));
    attempts.push(await pusher.push({ id: scopedBatchId(provider, `b${at}`), ticks: ticks.length, body, dueMs: 0 }));
  }
  await pusher.close();
}

describe('64 providers that push 100-tick batches at once', () => {
  test('have everything stored at level ok, and the books balance', () => {
    expect(attempts).toHaveLength(PROVIDERS.length * (BATCHES + 1));
    expect(attempts.filter(({ outcome, level }) => outcome.kind !== 'stored' || level !== 'ok')).toEqual([]);
    using store = new StoredTicks(join(directory, 'ticks.db'));
    for (const provider of PROVIDERS) expect(store.counts(provider).trades).toBe(BATCHES * BATCH_TICKS + 1);
    const residues = families.get('pipeline_balance_residue_ticks')!.samples.map(({ value }) => value);
    expect(new Set(residues)).toEqual(new Set([0]));
  });

  test('have series of their own as far as the cap, and share one beyond it', () => {
    const offered = families.get('pipeline_ticks_offered_total')!.samples;
    expect(offered).toHaveLength(LABELS_MAX + 1);
    const each = BATCHES * BATCH_TICKS + BAD.length + 1;
    // The one that is listed, ibkr, has pushed nothing.
    expect(offered.filter(({ value }) => value === each)).toHaveLength(LABELS_MAX - 1);
    const shared = sampleOf(families, 'pipeline_ticks_offered_total', { provider: 'other' });
    expect(shared).toBe((PROVIDERS.length - LABELS_MAX + 1) * each);
    const labels = [...families.values()].flatMap(({ samples }) => samples.map((one) => one.labels['provider']));
    expect(new Set(labels.filter((label) => label !== undefined)).size).toBe(LABELS_MAX + 1);
  });

  test('leave the exposition small, although each has ticks rejected for many reasons', () => {
    const reasons = families.get('pipeline_ticks_rejected_total')!.samples.map(({ labels }) => labels['reason']);
    expect(new Set(reasons).size).toBeGreaterThanOrEqual(12);
    const series = [...families.values()].reduce((count, { samples }) => count + samples.length, 0);
    console.log(`${series} series with ${new Set(reasons).size} reasons of rejection for each of ${LABELS_MAX} labels`);
    expect(series).toBeLessThan(SERIES_MAX);
  });
});
