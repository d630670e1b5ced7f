/**
 * Batches over a WebSocket, on real processes: real workerd with its objects on disk, a real pod and its store, a
 * client that sends again what was not answered.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { bundleWorker } from '../../deploy/local/workerd.ts';
import { BATCH_MAX_TICKS, BODY_MAX_BYTES } from '../../pipeline/contract/batch.ts';
import { CREDIT_DEFAULT_TICKS } from '../../worker/socket/session.ts';
import { signAsProvider } from '../support/edge-credentials.ts';
import { send } from '../support/edge-request.ts';
import { EdgeRig } from '../support/edge-rig.ts';
import { EdgeSocket, SocketProvider } from '../support/edge-socket.ts';
import { noProcessMemory } from '../support/process-memory.ts';
import { newSeed, randomFrom } from '../support/random.ts';

const TOKEN = { authorization: 'Bearer ibkr-token-new' };

let directory: string;
let bundlePath: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mdp-websocket-'));
  bundlePath = await bundleWorker(directory);
});

afterAll(() => rm(directory, { recursive: true, force: true }));

function ticks(batch: string, count: number): string {
  const line = (at: number): string =>
    `{"symbol":"AAPL","tsMs":1763908200123,"id":"${batch}-${at}","price":"187.23","size":"100"}\n`;
  return Array.from({ length: count }, (_, at) => line(at)).join('');
}

describe('10,000 batches over sockets', () => {
  const seed = newSeed();
  const TROUBLE_AT = [1_500, 4_000, 7_000];

  /** With a pod behind the edge; `trouble` comes while they are sent. Nothing may be lost, and nothing be there twice. */
  async function sendAll(
    trouble: (rig: EdgeRig, provider: SocketProvider) => Promise<void>,
  ): Promise<{ sockets: number }> {
    const random = randomFrom(seed);
    await using rig = await EdgeRig.start({ bundlePath });
    await rig.startPod();
    const batches = Array.from({ length: 10_000 }, (_, at) => {
      const count = random.between(1, 4);
      return { id: `b${at}`, body: ticks(`b${at}`, count), ticks: count };
    });
    const total = batches.reduce((sum, batch) => sum + batch.ticks, 0);
    const provider = new SocketProvider(batches, () => EdgeSocket.open(rig.edge.url, TOKEN));
    const running = provider.run();
    await trouble(rig, provider);
    await running;
    expect(provider.problems).toEqual([]);
    expect(provider.done.size).toBe(batches.length);
    using store = rig.openStore();
    // Some may have gone by way of the outbox.
    await expect.poll(() => store.batches('ibkr'), { timeout: 30_000, interval: 100 }).toBe(batches.length);
    expect(store.counts('ibkr')).toEqual({ trades: total, quotes: 0 });
    return provider;
  }

  test(`arrive once through three kills of the edge (seed ${seed})`, { timeout: 180_000 }, async () => {
    const { sockets } = await sendAll(async (rig, provider) => {
      for (const doneBefore of TROUBLE_AT) {
        await expect.poll(() => provider.done.size, { timeout: 60_000, interval: 10 }).toBeGreaterThan(doneBefore);
        rig.edge.kill();
        await rig.edge.exited;
        await rig.startEdge();
      }
    });
    expect(sockets).toBe(1 + TROUBLE_AT.length);
  });

  test.skipIf(noProcessMemory)(
    `arrive once, over one socket, through three evictions of its object (seed ${seed}; needs Linux)`,
    { timeout: 240_000 },
    async () => {
      const { sockets } = await sendAll(async (rig, provider) => {
        for (const sent of TROUBLE_AT) {
          provider.sendUpTo(sent);
          await expect.poll(() => provider.done.size, { timeout: 60_000, interval: 10 }).toBe(sent);
          expect(rig.isAwake('Sockets')).toBe(true);
          // The deadline of the last relay keeps it awake for ten seconds, and workerd waits for ten more.
          await expect.poll(() => rig.isAwake('Sockets'), { timeout: 60_000, interval: 200 }).toBe(false);
        }
        provider.sendUpTo(Number.POSITIVE_INFINITY);
      });
      expect(sockets).toBe(1);
    },
  );
});

describe('a socket', () => {
  let rig: EdgeRig;

  beforeAll(async () => {
    rig = await EdgeRig.start({ bundlePath, settings: { SOCKET_IDLE_SECONDS: '4' } });
    await rig.startPod({ MDP_PROVIDERS: '{"ibkr":{},"acme":{"ticksPerSecond":100,"burst":100}}' });
  });

  afterAll(() => rig[Symbol.asyncDispose]());

  function open(headers: Record<string, string> = TOKEN, provider = 'ibkr'): Promise<EdgeSocket> {
    return EdgeSocket.open(rig.edge.url, headers, provider);
  }

  it('says at once what it takes, and answers each batch as HTTP would, with its credit', async () => {
    const socket = await open();
    await expect.poll(() => socket.answers.length).toBe(1);
    expect(socket.answers[0]).toEqual({
      status: 'open',
      messageMaxBytes: BODY_MAX_BYTES,
      unansweredMaxBatches: 1_000,
      credit: CREDIT_DEFAULT_TICKS,
    });
    socket.push('a1', ticks('a1', 3));
    const answer = await socket.answerTo('a1');
    expect(answer).toEqual({
      batch: 'a1',
      status: 'stored',
      stored: 3,
      duplicates: 0,
      rejected: [],
      ignoredFields: 0,
      credit: expect.any(Number) as number,
      level: 'ok',
      rateScale: 1,
    });
    expect(answer.credit).toBeGreaterThan(0);
    socket.push('a2', `${ticks('a2', 1)}no tick\n`);
    expect(await socket.answerTo('a2')).toMatchObject({ stored: 1, rejected: [{ index: 1, reason: 'not_json' }] });
    socket.push('a3', 'no tick\n');
    expect(await socket.answerTo('a3')).toMatchObject({ type: '/problems/all-rejected', status: 422 });
    socket.push('a1', ticks('other', 3));
    await expect.poll(() => socket.answers.filter(({ batch }) => batch === 'a1').length).toBe(2);
    expect(socket.answers.at(-1)).toMatchObject({ type: '/problems/batch-conflict', status: 409 });
    socket.close();
    expect((await socket.closed).code).toBeLessThan(1006);
  });

  it('is opened with a signature over nothing, and with each signature once', async () => {
    const signed = signAsProvider(rig.credentials.ibkr.secrets[0]!, 'open-1', '');
    (await open(signed)).close();
    await expect(open(signed)).rejects.toThrow(/./);
    (await open(signAsProvider(rig.credentials.ibkr.secrets[1]!, 'open-2', ''))).close();
  });

  it.each([
    ['without credentials', {}, 401, 'ibkr'],
    ['with a wrong token', { authorization: 'Bearer wrong' }, 401, 'ibkr'],
    ["with another provider's token", { authorization: 'Bearer acme-token' }, 403, 'ibkr'],
    ['under an impossible name', TOKEN, 400, 'NO'],
  ])('is not opened %s', async (_, headers, status, provider) => {
    const sent = { ...headers, upgrade: 'websocket', connection: 'Upgrade', 'sec-websocket-version': '13' };
    const answer = await send(`${rig.edge.url}/v1/ticks/${provider}/ws`, 'GET', {
      ...(sent as Record<string, string>),
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    });
    expect(answer.status).toBe(status);
    await expect(open(headers as Record<string, string>, provider)).rejects.toThrow(/./);
  });

  it('is not what a plain request gets', async () => {
    expect((await rig.get('/v1/ticks/ibkr/ws')).status).toBe(400);
    expect((await send(`${rig.edge.url}/v1/ticks/ibkr/ws`, 'POST', TOKEN)).status).toBe(405);
  });

  it('answers messages that are no batches by name, and goes on', async () => {
    const socket = await open();
    const longId = 'x'.repeat(129);
    const bad = [
      '',
      '\n',
      'null',
      '[]',
      '{"batch":1}\n',
      '{"batch":"a b"}\nx',
      `{"batch":"${longId}"}\n`,
      '{"batch":"m1"',
      ticks('m', 1),
    ];
    for (const message of bad) socket.send(message);
    await expect.poll(() => socket.answers.length).toBe(bad.length + 1);
    for (const answer of socket.answers.slice(1)) {
      expect(answer).toMatchObject({ type: '/problems/bad-request', status: 400 });
      expect(answer).not.toHaveProperty('batch');
    }
    socket.send(new Uint8Array([1, 2, 3]));
    await expect.poll(() => socket.answers.at(-1)!.type).toBe('/problems/unsupported-type');
    socket.send('{"batch":"m2"}');
    expect(await socket.answerTo('m2')).toMatchObject({ type: '/problems/unreadable', status: 400 });
    socket.send('{"batch":"m3"}\n \n\n');
    expect(await socket.answerTo('m3')).toMatchObject({ type: '/problems/unreadable', status: 400 });
    socket.push('m4', ticks('m4', BATCH_MAX_TICKS + 1));
    expect(await socket.answerTo('m4')).toMatchObject({ type: '/problems/too-large', status: 413 });
    socket.push('m5', ticks('m5', 2));
    expect(await socket.answerTo('m5')).toMatchObject({ status: 'stored', stored: 2 });
    socket.close();
  });

  it('takes messages of up to 1 MiB, and no longer ones', async () => {
    const socket = await open();
    const head = '{"batch":"l1"}\n';
    const body = ticks('l1', 2);
    socket.send(head + body + ' '.repeat(BODY_MAX_BYTES - head.length - body.length));
    expect(await socket.answerTo('l1')).toMatchObject({ status: 'stored', stored: 2 });
    socket.send(`{"batch":"l2"}\n${'x'.repeat(BODY_MAX_BYTES)}`);
    // A runtime may have a bound of its own there, and ends the socket.
    const end = await Promise.race([socket.closed, sleep(2_000).then(() => socket.answers.at(-1)!)]);
    expect('code' in end ? end.code : end.type).toBe('code' in end ? 1009 : '/problems/too-large');
  });

  it('tells a client that is over its credit, and ends when it goes on', { timeout: 40_000 }, async () => {
    const socket = await open();
    const body = ticks('o', 9_000);
    const beganMs = Date.now();
    const state: { ended?: { code: number; reason: string } } = {};
    void socket.closed.then((end) => (state.ended = end));
    for (let at = 0; state.ended === undefined && Date.now() - beganMs < 30_000; at += 1) {
      for (let more = 0; more < 6; more += 1) socket.push(`o${at}-${more}`, body);
      await sleep(200);
    }
    expect(state.ended).toEqual({ code: 1008, reason: 'over credit' });
    expect(Date.now() - beganMs).toBeGreaterThan(5_000);
    const told = socket.answers.filter(({ type }) => type === '/problems/over-credit');
    expect(told.length).toBeGreaterThan(2);
    expect(told[0]).toMatchObject({ status: 429, credit: expect.any(Number) as number });
    expect(socket.answers.some(({ status }) => status === 'stored')).toBe(true);
    // Nothing of what was refused for it is stored.
    const refused = new Set(told.map(({ batch }) => batch));
    for (const batch of [...refused].slice(0, 3)) expect(await rig.receipt(batch!)).toMatchObject({ status: 404 });
  });

  it('tells its budget and when to come back', async () => {
    const socket = await open({ authorization: 'Bearer acme-token' }, 'acme');
    for (const batch of ['c1', 'c2', 'c3']) socket.push(batch, ticks(batch, 90));
    await expect.poll(() => socket.answers.length).toBe(4);
    const refused = socket.answers.find(({ type }) => type === '/problems/over-budget')!;
    expect(refused).toMatchObject({ status: 429, retryAfterSeconds: expect.any(Number) as number });
    socket.close();
  });

  it('survives its silence when it pings, and is ended when it does not', { timeout: 30_000 }, async () => {
    const [silent, alive] = [await open(), await open()];
    // Plain workerd keeps the connection of a socket that it ended before its first message until it ends itself.
    silent.push('s1', ticks('s1', 1));
    const pings = setInterval(() => alive.send('ping'), 500);
    try {
      expect(await silent.closed).toEqual({ code: 1001, reason: 'idle for 4 s' });
      await sleep(3_000);
      expect(alive.isOpen).toBe(true);
      expect(alive.texts).toContain('pong');
      // Asleep between messages or not, it takes the next one.
      alive.push('i1', ticks('i1', 1));
      expect(await alive.answerTo('i1')).toMatchObject({ status: 'stored' });
    } finally {
      clearInterval(pings);
      alive.close();
    }
  });
});

test('a batch id is one for HTTP and sockets, and for one body', { timeout: 40_000 }, async () => {
  await using rig = await EdgeRig.start({ bundlePath });
  await rig.startPod();
  const signed = (body: string) => {
    const headers = signAsProvider(rig.credentials.ibkr.secrets[0]!, 'x1', body);
    return send(`${rig.edge.url}/v1/ticks/ibkr`, 'POST', headers, [body]);
  };
  expect((await signed(ticks('x1', 2))).status).toBe(200);
  const socket = await EdgeSocket.open(rig.edge.url, TOKEN);
  socket.push('x1', ticks('x1', 2));
  expect(await socket.answerTo('x1')).toMatchObject({ status: 'stored' });
  // Signed anew by its owner: the signature is good, the id is not.
  expect((await signed(ticks('other', 2))).status).toBe(409);
  using store = rig.openStore();
  expect(store.counts('ibkr')).toEqual({ trades: 2, quotes: 0 });
  socket.close();
});

test('a socket goes on by way of the outbox while the cluster is away', { timeout: 60_000 }, async () => {
  await using rig = await EdgeRig.start({ bundlePath });
  const socket = await EdgeSocket.open(rig.edge.url, TOKEN);
  socket.push('w1', ticks('w1', 5));
  expect(await socket.answerTo('w1')).toMatchObject({
    status: 'buffered',
    receipt: '/v1/receipts/ibkr/w1',
    credit: CREDIT_DEFAULT_TICKS,
  });
  await rig.startPod();
  await expect.poll(async () => (await rig.receipt('w1'))['status'], { timeout: 30_000 }).toBe('stored');
  socket.push('w1', ticks('w1', 5));
  await expect.poll(() => socket.answers.length, { timeout: 5_000 }).toBe(3);
  socket.close();
});
