/** The answers of `POST /v1/ticks/{provider}`, from a whole pod over a real socket with a store that obeys the test. */

import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PROBLEMS, type ProblemName } from '../../pipeline/contract/answer.ts';
import { BATCH_MAX_TICKS } from '../../pipeline/contract/batch.ts';
import { unpackTicks } from '../../pipeline/contract/tick-bytes.ts';
import { lines, type LooseTick, NOW_MS, quote, trade, trades } from '../support/pod-batch.ts';
import { podStatus, processPod, type ProcessPod, timePasses } from '../support/pod-in-process.ts';
import { type PodAnswer, post } from '../support/pod-request.ts';
import { ControllableStore } from '../support/pod-store.ts';
import { newSeed, randomFrom } from '../support/random.ts';

const SETTINGS = {
  MDP_QUEUE_CAPACITY_TICKS: '100',
  MDP_PROVIDERS: JSON.stringify({
    ibkr: { ticksPerSecond: 100, burst: 120 },
    filler: { ticksPerSecond: 100, burst: 120 },
    spreads: { negativePrices: true },
  }),
};

let store: ControllableStore;
let pod: ProcessPod;

beforeEach(async () => {
  store = new ControllableStore();
  pod = await processPod(store, SETTINGS);
  await pod.start();
});
afterEach(async () => {
  store.releaseAll();
  await pod.drain();
});

const push = (ticks: readonly LooseTick[] | Uint8Array, headers?: Record<string, string>): Promise<PodAnswer> =>
  post(pod.url, 'ibkr', ticks, headers);
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Of one price, and of 20 KB. */
function longTicks(price: string): LooseTick[] {
  return Array.from({ length: 20 }, () => trade({ price, more: 'x'.repeat(1_000) }));
}

/** A write is held in the store, then the queue filled with one batch of so many ticks. */
async function fillQueue(ticks: number): Promise<Promise<PodAnswer>[]> {
  store.holding = true;
  const begun = store.nextWrite();
  const first = post(pod.url, 'filler', [trade()]);
  await begun;
  const filled = post(pod.url, 'filler', trades(ticks));
  while ((await podStatus(pod.url)).queue.depthTicks < ticks);
  return [first, filled];
}

function expectRefusal(answer: PodAnswer, name: ProblemName, level: string): void {
  expect([answer.status, answer.says]).toEqual([PROBLEMS[name].status, name]);
  expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(1);
  expect(Number(answer.headers['retry-after'])).toBeLessThanOrEqual(60);
  expect(answer.headers['mdp-level']).toBe(level);
}

describe('a batch that is stored', () => {
  it('is answered 200 with its counts, the level, the rate scale and the rest of the budget', async () => {
    const answer = await push([...trades(3), trade({ more: 1 })], { 'webhook-id': 'b1' });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      batch: 'b1',
      status: 'stored',
      stored: 4,
      duplicates: 0,
      rejected: [],
      ignoredFields: 1,
    });
    expect(answer.headers).toMatchObject({
      'content-type': 'application/json',
      'mdp-level': 'ok',
      'mdp-rate-scale': '1',
      ratelimit: '"ticks";r=116;t=1',
      'ratelimit-policy': '"ticks";q=100;w=1',
    });
  });

  it('is answered only after the commit', async () => {
    store.holding = true;
    const begun = store.nextWrite();
    let answered = false;
    const answer = push(trades(1)).finally(() => (answered = true));
    await begun;
    expect((await podStatus(pod.url)).providers['ibkr']).toMatchObject({ inFlight: 1, stored: 0, residue: 0 });
    expect(answered).toBe(false);
    store.releaseAll();
    expect((await answer).status).toBe(200);
  });

  it('names each rejected tick by its index and keeps its neighbours', async () => {
    const ticks = [
      trade(),
      trade({ price: '-1' }),
      quote(),
      trade({ symbol: '' }),
      trade({ tsMs: NOW_MS + 300_001 }),
      trade(),
    ];
    const { status, body } = await push(ticks, { 'webhook-id': 'b1' });
    expect([status, body['stored']]).toEqual([200, 3]);
    expect(body['rejected']).toMatchObject([
      { index: 1, reason: 'price_not_positive' },
      { index: 3, reason: 'bad_symbol' },
      { index: 4, reason: 'future_time' },
    ]);
  });

  it('may have prices below 0 where the provider is configured for them', async () => {
    expect((await post(pod.url, 'spreads', [trade({ price: '-1' })])).body['stored']).toBe(1);
  });

  it('comes as NDJSON or an array, gzipped or not, and is the same batch when its unpacked bytes are', async () => {
    const id = { 'webhook-id': 'b1' };
    const first = await push(trades(2), id);
    const packed = await push(gzipSync(lines(trades(2))), { ...id, 'content-encoding': 'gzip' });
    expect([packed.status, packed.body]).toEqual([200, first.body]);
    const array = { 'content-type': 'application/json; charset=utf-8' };
    expect((await push(utf8(JSON.stringify(trades(2))), array)).body['stored']).toBe(2);
  });

  it('that comes again gets the same answer, and its ticks count as duplicates', async () => {
    const ticks = [...trades(3), trade({ price: 'x' })];
    const first = await push(ticks, { 'webhook-id': 'b1' });
    const again = await push(ticks, { 'webhook-id': 'b1' });
    expect([again.status, again.body]).toEqual([200, first.body]);
    const books = { offered: 8, stored: 3, duplicate: 3, rejected: 2, refused: 0, inFlight: 0, residue: 0 };
    expect((await podStatus(pod.url)).providers['ibkr']).toEqual({ level: 'ok', deadLetters: 1, ...books });
  });
});

const idOf = async (headers: Record<string, string>): Promise<unknown> =>
  (await push(trades(1), headers)).body['batch'];

describe('the batch id', () => {
  it('is the webhook-id, with or without this provider before it, or else the idempotency key, quoted or not', async () => {
    expect(await idOf({ 'webhook-id': 'w1', 'idempotency-key': 'k1' })).toBe('w1');
    expect(await idOf({ 'webhook-id': 'ibkr/w2' })).toBe('w2');
    expect(await idOf({ 'idempotency-key': 'k2' })).toBe('k2');
    expect(await idOf({ 'idempotency-key': '"k3"' })).toBe('k3');
  });

  it('is made when there is none, another each time, and the answer warns of it', async () => {
    const [one, two] = [await push(trades(1)), await push(trades(1))];
    expect(one.body['batch']).toMatch(/^~[\w-]{36}$/);
    expect(two.body['batch']).not.toBe(one.body['batch']);
    expect(one.body['warning']).toContain('will not be recognised');
    const made = await push(trades(1), { 'webhook-id': 'ibkr/~x', 'mdp-batch-id-made': '1' });
    expect(made.body).toMatchObject({ batch: '~x', warning: expect.stringContaining('will not') as string });
    expect((await push(trades(1), { 'webhook-id': 'b9' })).body).not.toHaveProperty('warning');
  });

  it('that breaks the rule is a 400, and that of another provider a 403', async () => {
    expect((await push(trades(1), { 'webhook-id': 'a b' })).says).toBe('bad-request');
    expect((await push(trades(1), { 'idempotency-key': 'x'.repeat(129) })).says).toBe('bad-request');
    expect((await push(trades(1), { 'webhook-id': 'acme/b1' })).says).toBe('forbidden');
    expect((await push(trades(1), { 'webhook-id': 'ibkr/a/b' })).says).toBe('bad-request');
  });
});

describe('a batch that is rejected', () => {
  it.each([
    ['no-json', 'unreadable', utf8('[{"symbol":'), { 'content-type': 'application/json' }],
    ['nothing at all', 'unreadable', utf8(''), {}],
    ['a broken gzip', 'unreadable', utf8('tick'), { 'content-encoding': 'gzip' }],
    ['another type', 'unsupported-type', utf8('a,b'), { 'content-type': 'text/csv' }],
    ['another encoding', 'unsupported-type', utf8('{}'), { 'content-encoding': 'br' }],
    ['more than 1 MiB', 'too-large', new Uint8Array(1_048_577).fill(32), {}],
    ['a bomb', 'too-large', gzipSync(Buffer.alloc(20_000_000, 32)), { 'content-encoding': 'gzip' }],
  ] as const)('for %s gets %s and the level', async (_, name, body, headers) => {
    const answer = await push(body, headers);
    expect([answer.status, answer.says]).toEqual([PROBLEMS[name].status, name]);
    expect(answer.headers).toMatchObject({
      'content-type': 'application/problem+json',
      'mdp-level': 'ok',
      'mdp-rate-scale': '1',
    });
    expect(store.groups).toEqual([]);
  });

  it('because none of its ticks is valid gets 422 with every reason, and only its dead letters are written', async () => {
    const answer = await push([trade({ price: 0 }), trade({ size: -1 })], { 'webhook-id': 'b1' });
    expect([answer.status, answer.says, answer.body['batch']]).toEqual([422, 'all-rejected', 'b1']);
    expect(answer.body['rejected']).toMatchObject([{ index: 0 }, { index: 1 }]);
    const { columns, rejectedBytes } = store.lastOf('b1')!;
    expect([columns.trades, columns.quotes]).toEqual([null, null]);
    expect(
      unpackTicks(rejectedBytes).map(({ bytes }) => JSON.parse(new TextDecoder().decode(bytes)) as unknown),
    ).toEqual([trade({ price: 0 }), trade({ size: -1 })]);
  });

  it('because its id was used for another body gets 409, and its ticks count as rejected', async () => {
    await push(trades(1), { 'webhook-id': 'b1' });
    const answer = await push(trades(2), { 'webhook-id': 'b1' });
    expect([answer.status, answer.says, answer.body['batch']]).toEqual([409, 'batch-conflict', 'b1']);
    expect((await podStatus(pod.url)).providers['ibkr']).toMatchObject({
      offered: 3,
      stored: 1,
      rejected: 2,
      residue: 0,
    });
  });

  it('because the provider name breaks the rule gets 400', async () => {
    expect((await post(pod.url, 'IBKR', trades(1))).says).toBe('bad-request');
    expect((await post(pod.url, '..%2Fx', trades(1))).says).toBe('bad-request');
  });

  it('because it is larger than the queue gets 413, for waiting would not help it', async () => {
    expect((await push(trades(101))).says).toBe('too-large');
    expect((await push(trades(100))).says).toBe('stored');
  });
});

describe('a batch that is refused', () => {
  it('because the queue has no room gets 503 no-room, and the queue is unchanged', async () => {
    // Seen failing: with the result of queue.offer ignored the sender waited for ever.
    // With the budget not given back the batch that fits was called over-budget, so that our fault became the
    // sender's, and the queue never filled.
    const waiting = await fillQueue(30);
    expectRefusal(await push(trades(71), { 'webhook-id': 'b1' }), 'no-room', 'ok');
    expect((await podStatus(pod.url)).queue.depthTicks).toBe(30);
    const fits = push(trades(70), { 'webhook-id': 'b1' });
    while ((await podStatus(pod.url)).queue.depthTicks < 100);
    store.releaseAll();
    expect((await Promise.all([...waiting, fits])).map(({ says }) => says)).toEqual(['stored', 'stored', 'stored']);
  });

  it('because it is over its own budget at full scale gets 429 over-budget and the seconds to wait', async () => {
    expect((await push(trades(100))).status).toBe(200);
    const answer = await push(trades(100));
    expectRefusal(answer, 'over-budget', 'ok');
    expect([answer.headers['retry-after'], answer.headers['ratelimit']]).toEqual(['1', '"ticks";r=20;t=1']);
    pod.clock.nowMs += 1_000;
    expect((await push(trades(100))).status).toBe(200);
  });

  it('because of the level gets 429 backpressure: half of the budget at soft, nothing at hard', async () => {
    const soft = await fillQueue(50);
    const within = post(pod.url, 'filler', trades(35));
    while ((await podStatus(pod.url)).queue.depthTicks < 85);
    // 25 are left of half of the burst, 34 of all of it.
    const slowed = await post(pod.url, 'filler', trades(30));
    expectRefusal(slowed, 'backpressure', 'soft');
    expect(slowed.headers).toMatchObject({
      'mdp-rate-scale': '0.5',
      'ratelimit-policy': '"ticks";q=50;w=1',
      'mdp-credit': '0',
    });
    expectRefusal(await post(pod.url, 'filler', trades(35)), 'over-budget', 'soft');
    store.releaseAll();
    await Promise.all([...soft, within]);
    pod.clock.nowMs += 2_000;
    const hard = await fillQueue(90);
    const answer = await post(pod.url, 'filler', [trade()]);
    expectRefusal(answer, 'backpressure', 'hard');
    expect(answer.headers).toMatchObject({
      'mdp-rate-scale': '0',
      ratelimit: '"ticks";r=0;t=1',
      'ratelimit-policy': '"ticks";q=0;w=1',
    });
    store.releaseAll();
    await Promise.all(hard);
    expect((await post(pod.url, 'filler', [trade()])).headers['mdp-level']).toBe('ok');
  });

  it('is not one of a provider whose ticks are not those that fill the queue', async () => {
    const waiting = await fillQueue(60);
    const other = push(trades(5));
    while ((await podStatus(pod.url)).queue.depthTicks < 65);
    store.releaseAll();
    expect((await other).status).toBe(200);
    await Promise.all(waiting);
  });

  it('because the store is not open gets 503 store-unavailable at level hard', async () => {
    store.isOpen = false;
    expectRefusal(await push(trades(1)), 'store-unavailable', 'hard');
    expect(store.groups).toEqual([]);
    store.isOpen = true;
    expect((await push(trades(1))).headers['mdp-level']).toBe('ok');
  });

  it('because the queue is full is told when to come back by the speed the store had, however often that was looked at', async () => {
    // Seen failing: each look at a store that stood still halved its speed; after these five it was told 4 s.
    const look = (): Promise<unknown> => fetch(`${pod.url}/metrics`).then((answer) => answer.text());
    await look();
    expect((await post(pod.url, 'filler', trades(100))).status).toBe(200);
    await pod.clock.advance(1_000);
    await look();
    const waiting = await fillQueue(95);
    for (let second = 0; second < 5; second += 1) {
      await pod.clock.advance(1_000);
      await look();
    }
    const answer = await push(trades(10));
    expect(answer.status).toBe(503);
    expect(Number(answer.headers['retry-after'])).toBe(1);
    store.releaseAll();
    await Promise.all(waiting);
  });

  it('because the store could not commit gets 503 store-unavailable without its reason', async () => {
    store.outcome = () => ({ ok: false, kind: 'unavailable', detail: 'disk full at /secret/path' });
    const sinceMs = pod.clock.nowMs;
    const answer = await timePasses(pod, push(trades(1)));
    expectRefusal(answer, 'store-unavailable', 'hard');
    expect(JSON.stringify(answer.body)).not.toContain('secret');
    expect(pod.clock.nowMs - sinceMs).toBeGreaterThanOrEqual(8_000);
    expect(pod.clock.nowMs - sinceMs).toBeLessThan(9_000);
    // The circuit is open by now: the next one is told at once, and when to come back.
    expectRefusal(await push(trades(1)), 'store-unavailable', 'hard');
  });

  it('because the store did not commit in time hears so in that time, although the clock was set back by an hour', async () => {
    // Seen failing: with writer and deadline on the wall clock it came so late that the circuit was open by then.
    store.holding = true;
    const sinceMs = pod.clock.nowMs;
    const held = push(trades(1));
    while ((await podStatus(pod.url)).queue.beingWrittenTicks === 0);
    pod.wall.aheadMs = -3_600_000;
    expectRefusal(await timePasses(pod, held), 'store-unavailable', 'ok');
    expect(pod.clock.nowMs - sinceMs).toBeLessThan(9_000);
    pod.wall.aheadMs = 0;
    store.releaseAll();
  });

  // Seen failing: with its memory given back, the dead letters held the ticks of the batch that came after it.
  it('because time was up keeps its bytes while the writer is still at work on it', async () => {
    store.holding = true;
    const late = push(longTicks('1.25'), { 'webhook-id': 'late' });
    await store.nextWrite();
    await timePasses(pod, pod.clock.advance(4_000));
    // A second try, which is on its way when the sender's time is up.
    store.held[0]!.release({ ok: false, kind: 'unavailable', detail: 'not now' });
    await timePasses(pod, store.nextWrite());
    expectRefusal(await timePasses(pod, late), 'store-unavailable', 'ok');
    const others = ['9.75', '9.75'].map((price) => push(longTicks(price)));
    await timePasses(pod, Promise.race([...others, pod.clock.advance(500)]));
    store.outcome = (batches) => {
      const isBad = batches.some(({ batchId, columns }) => batchId === 'late' && columns.trades !== null);
      return isBad ? { ok: false, kind: 'data', detail: 'no' } : store.committed(batches);
    };
    store.held.at(-1)!.release({ ok: false, kind: 'data', detail: 'no' });
    while (store.lastOf('late')!.rejected.length === 0) await pod.clock.advance(20);
    const dead = unpackTicks(store.lastOf('late')!.rejectedBytes).map(({ bytes }) => Buffer.from(bytes).toString());
    expect(dead.map((tick) => (JSON.parse(tick) as { price: string }).price)).toEqual(
      longTicks('1.25').map(() => '1.25'),
    );
    store.releaseAll();
    await timePasses(pod, Promise.all(others));
  });

  it('because the pod drains gets 503 draining, and what is held is stored', async () => {
    const waiting = await fillQueue(50);
    const drained = pod.drain();
    expectRefusal(await post(pod.url, 'filler', trades(1)), 'draining', 'soft');
    store.releaseAll();
    expect((await Promise.all(waiting)).map(({ says }) => says)).toEqual(['stored', 'stored']);
    expect(await drained).toBe(true);
  });
});

describe('the books', () => {
  const seed = newSeed();
  it(`balance after 300 batches of every fate (MDP_TEST_SEED=${seed})`, async () => {
    // Seen failing: with `offered.refused` left out the residue was 0, but 977 ticks stayed in flight for ever.
    const random = randomFrom(seed);
    const sent = new Map([['filler', 0]]);
    const one = async (): Promise<void> => {
      const provider = random.pick(['ibkr', 'spreads', 'x1', 'x2']);
      const bad = random.chance(0.2) ? [trade({ price: 0 })] : [];
      const id = random.below(40);
      const ticks = [...trades(random.chance(0.7) ? id + 1 : random.between(1, 60)), ...bad];
      sent.set(provider, (sent.get(provider) ?? 0) + ticks.length);
      await post(pod.url, provider, ticks, random.chance(0.5) ? { 'webhook-id': `b${id}` } : {});
    };
    // Chance alone leaves out a fate now and then.
    for (const _ of [1, 2]) await post(pod.url, 'x1', [trade(), trade({ price: 0 })], { 'webhook-id': 'twice' });
    sent.set('x1', 4);
    for (let round = 0; round < 30; round += 1) {
      store.holding = random.chance(0.5);
      store.isOpen = random.chance(0.9);
      pod.clock.nowMs += random.below(500);
      const fate = random.below(5);
      if (fate === 0) store.outcome = () => ({ ok: false, kind: 'unavailable', detail: 'no' });
      else if (fate === 1) store.outcome = () => ({ ok: true, results: [] });
      else store.outcome = (batches) => store.committed(batches);
      const round = Promise.all(Array.from({ length: 10 }, one));
      if (store.holding) {
        await timePasses(pod, Promise.race([store.nextWrite(), round]));
        store.releaseAll();
      }
      await timePasses(pod, round);
    }
    const { providers, queue } = await podStatus(pod.url);
    expect(queue).toMatchObject({ depthTicks: 0, depthBytes: 0, beingWrittenTicks: 0 });
    const shown = Object.entries(providers).map(([name, { offered, inFlight, residue }]) => [
      name,
      { offered, inFlight, residue },
    ]);
    const expected = [...sent].map(([name, offered]) => [name, { offered, inFlight: 0, residue: 0 }]);
    expect(Object.fromEntries(shown)).toEqual(Object.fromEntries(expected));
    const all = Object.values(providers);
    for (const fate of ['stored', 'duplicate', 'rejected', 'refused'] as const) {
      expect(
        all.reduce((sum, books) => sum + books[fate], 0),
        fate,
      ).toBeGreaterThan(0);
    }
  });
});

it('the largest queue takes the largest batch', async () => {
  const large = await processPod(store, {});
  await large.start();
  expect((await post(large.url, 'ibkr', trades(BATCH_MAX_TICKS))).body['stored']).toBe(BATCH_MAX_TICKS);
  expect((await post(large.url, 'ibkr', trades(BATCH_MAX_TICKS + 1))).says).toBe('too-large');
  await large.drain();
});
