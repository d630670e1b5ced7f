/**
 * What obeying `mdp-credit` costs: 16 requests of 1,000 ticks in flight into a pod of the default capacity and into one
 * twenty times as large, turn by turn in one run; and the same senders without regard for credit and level.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningPod, startPod } from '../../deploy/local/pod.ts';
import type { Batch } from '../../deploy/replay/batches.ts';
import { deliver } from '../../deploy/replay/delivery.ts';
import { createPusher } from '../../deploy/replay/pusher.ts';
import { scopedBatchId } from '../../pipeline/contract/identity.ts';
import { median } from './push.ts';
import { BENCH_PROVIDER, BENCH_SECRET, benchPodSettings } from './targets.ts';
import { benchBodies, benchTrades } from './ticks.ts';

const BATCH_TICKS = 1_000;
const IN_FLIGHT = 16;
const SMALL_CAPACITY_TICKS = 10_000;
const LARGE_CAPACITY_TICKS = 200_000;
/** In each round every sender has so many turns, so that a slow second of the machine is everybody's. */
const TURNS = 5;

interface Figures {
  seconds: number;
  stored: number;
  answers: number;
  /** Answers at another level than ok. */
  notOk: number;
  refused: number;
}

/** Throws when a tick is not stored, or when obeying does not keep the level at ok. */
export async function benchCredit(
  ticks: number,
  warmUpTicks: number,
  rounds: number,
): Promise<Record<string, string>[]> {
  const dir = await mkdtemp(join(tmpdir(), 'mdp-bench-'));
  const small = await startCapacity(SMALL_CAPACITY_TICKS, join(dir, 'small.db'));
  const large = await startCapacity(LARGE_CAPACITY_TICKS, join(dir, 'large.db'));
  const obeyingSmall: Figures[] = [];
  const obeyingLarge: Figures[] = [];
  const heedless: Figures[] = [];
  try {
    for (const pod of [small, large]) await push(pod, warmUpTicks, 0, true);
    for (let round = 0; round < rounds; round += 1) {
      const all = [obeyingSmall, obeyingLarge, heedless];
      for (const figures of all) figures.push({ seconds: 0, stored: 0, answers: 0, notOk: 0, refused: 0 });
      for (let turn = 1; turn <= TURNS; turn += 1) {
        const seed = (round * TURNS + turn) * 2;
        add(obeyingSmall[round]!, await push(small, ticks / TURNS, seed, true));
        add(obeyingLarge[round]!, await push(large, ticks / TURNS, seed, true));
        add(heedless[round]!, await push(small, ticks / TURNS, seed + 1, false));
      }
    }
  } finally {
    await small.stop();
    await large.stop();
    await rm(dir, { recursive: true });
  }
  const left = [...obeyingSmall, ...obeyingLarge].filter(({ notOk, refused }) => notOk + refused > 0);
  if (left.length > 0) throw new Error(`the level left ok: ${JSON.stringify(left)}`);
  const beside = (figures: readonly Figures[]): string =>
    median(figures.map((one, at) => ticksPerSecond(one) / ticksPerSecond(obeyingLarge[at]!))).toFixed(2);
  return [
    row('obeys credit', LARGE_CAPACITY_TICKS, obeyingLarge, '1'),
    row('obeys credit', SMALL_CAPACITY_TICKS, obeyingSmall, beside(obeyingSmall)),
    row('ignores credit and level', SMALL_CAPACITY_TICKS, heedless, beside(heedless)),
  ];
}

function row(
  sender: string,
  capacityTicks: number,
  figures: readonly Figures[],
  ratio: string,
): Record<string, string> {
  const of = (read: (one: Figures) => number): number => median(figures.map(read));
  return {
    sender,
    'capacity ticks': String(capacityTicks),
    'ticks/s': of(ticksPerSecond).toFixed(0),
    ratio,
    answers: String(of(({ answers }) => answers)),
    'not at ok': String(of(({ notOk }) => notOk)),
    refused: String(of(({ refused }) => refused)),
  };
}

function ticksPerSecond({ stored, seconds }: Figures): number {
  return stored / seconds;
}

function add(sum: Figures, one: Figures): void {
  for (const name of ['seconds', 'stored', 'answers', 'notOk', 'refused'] as const) sum[name] += one[name];
}

function startCapacity(capacityTicks: number, path: string): Promise<RunningPod> {
  return startPod({ settings: { ...benchPodSettings(path), MDP_QUEUE_CAPACITY_TICKS: String(capacityTicks) } });
}

/** As the replay tool delivers; who is heedless is not told of credit and level. */
async function push(pod: RunningPod, ticks: number, seed: number, isObeying: boolean): Promise<Figures> {
  const batches: Batch[] = benchBodies(benchTrades(ticks, seed), BATCH_TICKS).map((body, at) => ({
    id: scopedBatchId(BENCH_PROVIDER, `credit-${seed}-${at}`),
    ticks: BATCH_TICKS,
    body: new Uint8Array(body),
    dueMs: 0,
  }));
  const pusher = await createPusher({
    to: pod.url,
    provider: BENCH_PROVIDER,
    credential: { secret: BENCH_SECRET },
    connections: IN_FLIGHT,
  });
  const figures: Figures = { seconds: 0, stored: 0, answers: 0, notOk: 0, refused: 0 };
  const startMs = performance.now();
  const { end } = await deliver(inOrder(batches), {
    inFlightMax: IN_FLIGHT,
    push: async (batch) => {
      const attempt = await pusher.push(batch);
      const { outcome, level } = attempt;
      figures.answers += 1;
      if (level !== 'ok') figures.notOk += 1;
      if (outcome.kind === 'refused') figures.refused += 1;
      if (outcome.kind === 'stored') figures.stored += outcome.answer.stored;
      return isObeying ? attempt : { ...attempt, level: undefined, creditTicks: undefined };
    },
  });
  figures.seconds = (performance.now() - startMs) / 1_000;
  await pusher.close();
  if (end.why !== 'complete' || figures.stored !== ticks) {
    throw new Error(`${end.why}: ${figures.stored} of ${ticks} were stored`);
  }
  return figures;
}

async function* inOrder(batches: readonly Batch[]): AsyncGenerator<Batch> {
  for (const batch of batches) yield batch;
}
