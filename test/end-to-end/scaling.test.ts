/**
 * What scaling needs, on real processes: real workerd with its meter and outboxes, a real pod. What the edge says is
 * held against what the test itself has offered.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bundleWorker } from '../../deploy/local/workerd.ts';
import { DEMAND_WINDOW_SECONDS, SETTLE_SECONDS } from '../../worker/scaling/demand.ts';
import { EdgeRig } from '../support/edge-rig.ts';
import { type RawAnswer, send } from '../support/edge-request.ts';
import { EdgeSocket } from '../support/edge-socket.ts';
import type { WriteLock } from '../support/stored-ticks.ts';
import { type Family, parseExposition, sampleOf } from '../../deploy/mdp/exposition.ts';

/** Of one provider over sockets: `worker/sockets.ts`, which only workerd can load. */
const IN_FLIGHT_MAX = 32;
const TOKEN = 'a-scaling-token-of-some-length';
const SETTINGS = { SCALING_TOKEN: TOKEN };
const IBKR = { provider: 'ibkr' };
/** A report every two seconds, the seconds that it has, and what a busy machine adds. */
const KNOWN = { timeout: 15_000, interval: 100 };

let directory: string;
let bundlePath: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mdp-scaling-'));
  bundlePath = await bundleWorker(directory);
});

afterAll(() => rm(directory, { recursive: true, force: true }));

function ticks(batch: string, count: number): string {
  const line = (at: number): string =>
    `{"symbol":"AAPL","tsMs":1763908200123,"id":"${batch}-${at}","price":"187.23","size":"100"}\n`;
  return Array.from({ length: count }, (_, at) => line(at)).join('');
}

function read(rig: EdgeRig, path: string): Promise<RawAnswer> {
  return send(`${rig.edge.url}${path}`, 'GET', { authorization: `Bearer ${TOKEN}` });
}

async function metrics(rig: EdgeRig): Promise<Map<string, Family>> {
  const answer = await read(rig, '/metrics');
  expect(answer.status, answer.text).toBe(200);
  return parseExposition(answer.text);
}

async function gauge(rig: EdgeRig, name: string): Promise<number | undefined> {
  return (await metrics(rig)).get(name)!.samples.find(({ labels }) => labels['provider'] === 'ibkr')?.value;
}

interface Totals {
  demandTicksPerSecond?: number;
  outstandingTicks?: number;
  oldestOutstandingSeconds?: number;
}

async function totals(rig: EdgeRig): Promise<Totals> {
  return (JSON.parse((await read(rig, '/v1/scaling')).text) as { total: Totals }).total;
}

test('ticks are counted once, whatever becomes of them and however often they come', { timeout: 60_000 }, async () => {
  await using rig = await EdgeRig.start({ bundlePath, settings: SETTINGS });
  const first = await metrics(rig);
  for (const provider of ['ibkr', 'acme']) {
    expect(sampleOf(first, 'edge_ticks_offered_total', { provider })).toBe(0);
    expect(sampleOf(first, 'edge_outstanding_ticks', { provider })).toBe(0);
  }
  // A meter that has just begun does not know the demand, and does not say 0.
  expect(first.get('edge_demand_ticks_per_second')!.samples).toEqual([]);
  await expect.poll(() => gauge(rig, 'edge_demand_ticks_per_second'), KNOWN).toBe(0);

  // Away: into the outbox, each batch twice.
  for (const batch of ['h1', 'h1', 'h2', 'h2']) expect((await rig.push(batch, ticks(batch, 50))).status).toBe(202);
  await expect.poll(() => gauge(rig, 'edge_outstanding_ticks'), KNOWN).toBe(100);
  expect(await gauge(rig, 'edge_oldest_outstanding_seconds')).toBeGreaterThan(0);

  await rig.startPod({ MDP_PROVIDERS: '{"ibkr":{"ticksPerSecond":100,"burst":1000}}' });
  await expect.poll(() => gauge(rig, 'edge_outstanding_ticks'), { ...KNOWN, timeout: 30_000 }).toBe(0);
  expect(await gauge(rig, 'edge_oldest_outstanding_seconds')).toBe(0);
  // Stored and stored again; rejected; refused for its own budget again and again.
  for (const batch of ['s1', 's1']) expect((await rig.push(batch, ticks(batch, 300))).status).toBe(200);
  expect((await rig.push('r1', '{"symbol":"AAPL"}\n')).status).toBe(422);
  for (let again = 0; again < 5; again += 1) expect((await rig.push('o1', ticks('o1', 900))).status).toBe(429);

  const offered = 2 * 50 + 300 + 1 + 900;
  await expect.poll(async () => sampleOf(await metrics(rig), 'edge_ticks_offered_total', IBKR), KNOWN).toBe(offered);
  const last = await metrics(rig);
  const batches = (outcome: string): number => sampleOf(last, 'edge_batches_total', { ...IBKR, outcome });
  expect(['stored', 'buffered', 'over_budget', 'refused', 'rejected'].map(batches)).toEqual([2, 4, 5, 0, 1]);
  expect(sampleOf(last, 'edge_demand_ticks_per_second', { provider: 'acme' })).toBe(0);
});

/** Pushes one batch, and tells of what status its answer was. */
type Door = (batch: string, body: string) => Promise<string | number | undefined>;

const DOORS: [string, unknown, (rig: EdgeRig) => Promise<Door>][] = [
  ['HTTP', 200, async (rig) => async (batch, body) => (await rig.push(batch, body)).status],
  [
    'a WebSocket',
    'stored',
    async (rig) => {
      const socket = await EdgeSocket.open(rig.edge.url, { authorization: 'Bearer ibkr-token-new' });
      return async (batch, body) => {
        socket.push(batch, body);
        return (await socket.answerTo(batch)).status;
      };
    },
  ],
];

test.concurrent.each(DOORS)(
  'the demand over %s is exact within ten seconds, also when a store hangs, and is gone when the ticks are',
  { timeout: 120_000 },
  async (_, stored, open) => {
    await using rig = await EdgeRig.start({ bundlePath, settings: SETTINGS });
    await rig.startPod();
    const pushOne = await open(rig);
    expect(await totals(rig)).not.toHaveProperty('demandTicksPerSecond');
    const perBatch = 40;
    const perSecond = 20;
    // Answers are kept back for so long, which is more batches than a socket relays at once: were they counted when
    // they are answered, or when their turn comes, they would be of a few seconds.
    const hangs = { fromSecond: 4, toSecond: 9 };
    expect((hangs.toSecond - hangs.fromSecond) * perSecond).toBeGreaterThan(2 * IN_FLIGHT_MAX);
    const seconds = hangs.toSecond + DEMAND_WINDOW_SECONDS + SETTLE_SECONDS + 4;
    const beganMs = Date.now();
    const after = (): number => (Date.now() - beganMs) / 1000;
    const seen: { afterSeconds: number; demand: number }[] = [];
    const answers: Promise<{ status: unknown; tookMs: number }>[] = [];
    using locks = new DisposableStack();
    let lock: WriteLock | undefined;
    for (let at = 0; at < seconds * perSecond; at += 1) {
      await sleep(Math.max(0, beganMs + (at * 1000) / perSecond - Date.now()));
      if (at === hangs.fromSecond * perSecond) lock = locks.use(rig.lockStore());
      if (at === hangs.toSecond * perSecond) lock!.letGo();
      const pushedMs = performance.now();
      const push = pushOne(`b${at}`, ticks(`b${at}`, perBatch));
      answers.push(push.then((status) => ({ status, tookMs: performance.now() - pushedMs })));
      if (at % perSecond !== 0) continue;
      const { demandTicksPerSecond: demand } = await totals(rig);
      if (demand !== undefined) seen.push({ afterSeconds: after(), demand });
    }
    const answered = await Promise.all(answers);
    expect(new Set(answered.map(({ status }) => status))).toEqual(new Set([stored]));
    expect(Math.max(...answered.map(({ tookMs }) => tookMs))).toBeGreaterThan(3_000);
    const rate = perBatch * perSecond;
    const settled = seen.filter(({ afterSeconds }) => afterSeconds > hangs.toSecond + 10);
    expect(settled.length).toBeGreaterThan(10);
    for (const { demand } of settled) expect(Math.abs(demand - rate) / rate).toBeLessThan(0.1);
    expect(Math.abs(settled.at(-1)!.demand - rate) / rate).toBeLessThan(0.03);
    const silentMs = (DEMAND_WINDOW_SECONDS + SETTLE_SECONDS + 10) * 1000;
    await expect
      .poll(async () => (await totals(rig)).demandTicksPerSecond, { timeout: silentMs, interval: 500 })
      .toBe(0);
  },
);

test(
  'an edge that was killed does not know the demand at first, and knows what it holds',
  { timeout: 60_000 },
  async () => {
    await using rig = await EdgeRig.start({ bundlePath, settings: SETTINGS });
    for (const batch of ['b1', 'b2', 'b3']) expect((await rig.push(batch, ticks(batch, 10))).status).toBe(202);
    await expect.poll(async () => (await totals(rig)).outstandingTicks, KNOWN).toBe(30);
    await rig.killEdge();
    await rig.startEdge();
    const after = await totals(rig);
    expect(after).not.toHaveProperty('demandTicksPerSecond');
    expect(after.outstandingTicks).toBe(30);
    await expect.poll(async () => (await totals(rig)).demandTicksPerSecond, KNOWN).toBe(0);
  },
);
