/**
 * Promise 1 under SIGKILL: a pod dies ten times in the middle of a replay, with batches in every stage of their
 * way, and comes back on the same port and store. Points of death are counted in answers, never in time.
 *
 * Seen to fail: with a writer that settles its deliveries before the store's write, batches are lost at every second
 * kill (those with the store locked). Without the lock that writer passed: a commit is faster than its answer.
 *
 * What it cannot catch: a commit that was answered before its sync. SIGKILL leaves the page cache, a power cut does
 * not; `synchronous = FULL` is the store's own test.
 */

import { describe, expect, test } from 'vitest';
import { succeeded } from '../../deploy/replay/account.ts';
import { replay, type ReplayOptions } from '../../deploy/replay/replay.ts';
import { CLUSTER_RETRY_AFTER_SECONDS } from '../../worker/app.ts';
import { captureFile, NEEDS, noCaptures } from '../replay/captures.ts';
import { Acknowledged } from '../support/acknowledged.ts';
import { signAsProvider } from '../support/edge-credentials.ts';
import { send } from '../support/edge-request.ts';
import { EDGE_HOLDS_NOTHING, RunningSystem } from '../support/running-system.ts';
import type { WriteLock } from '../support/stored-ticks.ts';

const FUTURES = captureFile('binance-usdm-btcusdt-20240808.gz');
const ALL = { trades: 21_313, quotes: 66_089 };
const BATCH_TICKS = 150;
const BATCHES = Math.ceil((ALL.trades + ALL.quotes) / BATCH_TICKS);
const KILLS = 10;
/** Answers between two kills: the last one comes with an eighth of the replay still to go. */
const ANSWERS_PER_KILL = Math.floor((BATCHES * 7) / 8 / KILLS);
/** At this kill the pod stays away until the edge has given up on it; at the others the edge bridges the gap. */
const LONG_KILL = 5;
const TICK = '{"symbol":"AAPL","tsMs":1763908200123,"price":"187.23","size":"100"}\n';

describe.skipIf(noCaptures)(`a pod that is killed ten times in the middle of a replay${NEEDS}`, () => {
  test(
    'has stored every tick it acknowledged, and in the end every tick exactly once',
    { timeout: 90_000 },
    async () => {
      await using system = await RunningSystem.start(['ibkr', 'probe'], {}, EDGE_HOLDS_NOTHING);
      const acknowledged = new Acknowledged('ibkr');
      const options: ReplayOptions = {
        file: FUTURES,
        to: system.edge.url,
        provider: 'ibkr',
        credential: system.credential('ibkr'),
        batchTicks: BATCH_TICKS,
        inFlightMax: 8,
        onAnswer: (batch, attempt) => acknowledged.note(batch, attempt),
      };
      const replaying = replay(options);

      /** Committed, and killed before the answer: what only the ledger can put right. */
      let storedUnanswered = 0;
      for (let kill = 1; kill <= KILLS; kill += 1) {
        await Promise.race([acknowledged.reached(kill * ANSWERS_PER_KILL), endedEarly(replaying)]);
        using lock = kill % 2 === 0 ? await stuckInCommit(system) : undefined;
        expect(await system.pod.kill(), 'a killed process has no exit code').toBeNull();
        lock?.letGo();
        using store = system.openStore();
        expect(acknowledged.newlyLost(store), `acknowledged and lost at kill ${kill}`).toEqual([]);
        storedUnanswered += store.batchIds('ibkr').filter((id) => !acknowledged.has(id)).length;
        if (kill === LONG_KILL) await expectEdgeToRefuse(system);
        await system.startNextPod();
        expect(acknowledged.newlyLost(store), `acknowledged and lost after restart ${kill}`).toEqual([]);
      }

      const account = await replaying;
      expect(account, JSON.stringify(account)).toSatisfy(succeeded);
      expect(acknowledged.batches).toBe(BATCHES);
      // Each answer counts its ticks as new: a batch that was committed before a kill is answered from the ledger.
      expect(acknowledged.told()).toEqual({ stored: ALL.trades + ALL.quotes, duplicates: 0, rejected: 0 });
      using store = system.openStore();
      expect(store.counts()).toEqual(ALL);
      expect(acknowledged.lost(store)).toEqual([]);
      expect(acknowledged.others.get('cluster-unreachable')).toBeGreaterThan(0);
      expect(acknowledged.retryAfterMs).toEqual(new Set([CLUSTER_RETRY_AFTER_SECONDS * 1000]));

      // The oracle holds every second answer against the first.
      await replay(options);
      expect(acknowledged.repeated).toBe(BATCHES);
      expect(acknowledged.contradicted).toEqual([]);
      expect(store.counts()).toEqual(ALL);
      const { providers } = await system.status();
      expect(providers['ibkr']).toMatchObject({ residue: 0, inFlight: 0, refused: 0 });
      expect(system.complaints()).toEqual([]);
      console.log(
        `${KILLS} kills, ${acknowledged.ticks} ticks acknowledged, 0 lost; ${storedUnanswered} batches were committed ` +
          `and killed before their answer; other ends of attempts: ${JSON.stringify([...acknowledged.others])}`,
      );
    },
  );
});

/** A replay that ends before the last kill must fail the test, not hang it. */
async function endedEarly(replaying: ReturnType<typeof replay>): Promise<never> {
  throw new Error(`the replay ended before the last kill: ${JSON.stringify(await replaying)}`);
}

/**
 * Locks the store and waits until the pod has a transaction that cannot commit: a batch that is answered `stored`
 * from now on is a lie, however short the time between answer and commit would have been.
 */
async function stuckInCommit(system: RunningSystem): Promise<WriteLock> {
  const lock = system.lockStore();
  await expect.poll(async () => (await system.status()).queue.beingWrittenTicks).toBeGreaterThan(0);
  return lock;
}

/** While no pod is there the edge is healthy, says what it knows, and refuses with the time to come back. */
async function expectEdgeToRefuse({ edge, providers }: RunningSystem): Promise<void> {
  const headers = signAsProvider(providers['probe']!.secret, 'while-away', TICK);
  const refused = await send(`${edge.url}/v1/ticks/probe`, 'POST', headers, [TICK]);
  expect(refused).toMatchObject({
    status: 503,
    headers: { 'retry-after': String(CLUSTER_RETRY_AFTER_SECONDS), 'content-type': 'application/problem+json' },
  });
  expect(JSON.parse(refused.text)).toMatchObject({ type: '/problems/cluster-unreachable', batch: 'while-away' });
  expect((await send(`${edge.url}/health`, 'GET', {})).status).toBe(200);
  const status = await send(`${edge.url}/status`, 'GET', {});
  expect(status.status).toBe(200);
  expect(JSON.parse(status.text)).toMatchObject({ state: 'unreachable' });
}
