/**
 * Promise 1 under SIGTERM, which is every rollout and scale-in: a pod drains in the middle of a replay, ends with
 * exit 0, and the next one takes its place on the same port and store.
 */

import { describe, expect, test } from 'vitest';
import { succeeded } from '../../deploy/replay/account.ts';
import { replay } from '../../deploy/replay/replay.ts';
import { captureFile, NEEDS, noCaptures } from '../replay/captures.ts';
import { Acknowledged } from '../support/acknowledged.ts';
import { EDGE_HOLDS_NOTHING, RunningSystem } from '../support/running-system.ts';

const FUTURES = captureFile('binance-usdm-btcusdt-20240808.gz');
const ALL = { trades: 21_313, quotes: 66_089 };
const BATCH_TICKS = 200;
const BATCHES = Math.ceil((ALL.trades + ALL.quotes) / BATCH_TICKS);
const DRAIN_AT_ANSWERS = [60, 150, 240];
/** Answers by which a sender may be told no; anything else in a drain would be a broken promise. */
const HONEST_REFUSALS = new Set(['draining', 'cluster-unreachable']);

describe.skipIf(noCaptures)(`a pod that is told to stop in the middle of a replay${NEEDS}`, () => {
  test(
    'ends with exit 0, has stored all it acknowledged, and its successor the rest',
    { timeout: 90_000 },
    async () => {
      await using system = await RunningSystem.start(['ibkr'], {}, EDGE_HOLDS_NOTHING);
      const acknowledged = new Acknowledged('ibkr');
      const replaying = replay({
        file: FUTURES,
        to: system.edge.url,
        provider: 'ibkr',
        credential: system.credential('ibkr'),
        batchTicks: BATCH_TICKS,
        inFlightMax: 8,
        onAnswer: (batch, attempt) => acknowledged.note(batch, attempt),
      });

      for (const answers of DRAIN_AT_ANSWERS) {
        await acknowledged.reached(answers);
        const stopped = system.pod.stop();
        await expect
          .poll(() => readiness(system.pod.url), { interval: 5 })
          .toEqual({
            status: 503,
            body: { status: 'not ready', reason: 'draining' },
          });
        expect(await stopped).toBe(0);
        using store = system.openStore();
        expect(acknowledged.newlyLost(store), `acknowledged and lost by the drain at ${answers} answers`).toEqual([]);
        // Whoever was held when the signal came was answered: what is in the ledger, its sender knows.
        await expect.poll(() => store.batchIds('ibkr').filter((id) => !acknowledged.has(id))).toEqual([]);
        expect(JSON.parse(system.log.at(-1)!)).toMatchObject({ event: 'drained', settled: true, depthTicks: 0 });
        await system.startNextPod();
      }

      const account = await replaying;
      expect(account, JSON.stringify(account)).toSatisfy(succeeded);
      expect(acknowledged.batches).toBe(BATCHES);
      expect(acknowledged.told()).toEqual({ stored: ALL.trades + ALL.quotes, duplicates: 0, rejected: 0 });
      expect([...acknowledged.others.keys()].filter((what) => !HONEST_REFUSALS.has(what))).toEqual([]);
      expect([...acknowledged.retryAfterMs].every((ms) => ms >= 1_000)).toBe(true);
      using store = system.openStore();
      expect(store.counts()).toEqual(ALL);
      expect(acknowledged.lost(store)).toEqual([]);
      expect((await system.status()).providers['ibkr']).toMatchObject({ residue: 0, inFlight: 0 });
      expect(system.complaints()).toEqual([]);
    },
  );
});

async function readiness(podUrl: string): Promise<{ status: number; body: unknown }> {
  const answer = await fetch(`${podUrl}/ready`);
  return { status: answer.status, body: await answer.json() };
}
