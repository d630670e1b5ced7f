/** Dead letters and receipts of a whole pod over a real SQLite file: kept, listed, replayed, and for whom. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateSecret, importSecret, signatureHeaders } from '../../pipeline/contract/signature.ts';
import { lines, NOW_MS, quote, trade, trades } from '../support/pod-batch.ts';
import { podStatus, processPod, type ProcessPod } from '../support/pod-in-process.ts';
import { edgeSigned, post } from '../support/pod-request.ts';
import { type SqliteBench, sqliteBench } from '../support/pod-sqlite.ts';

const OPS_TOKEN = 'an-operators-own-token';

let bench: SqliteBench;
let pods: ProcessPod[];

beforeEach(async () => {
  bench = await sqliteBench();
  pods = [];
});
afterEach(async () => {
  for (const pod of pods) await pod.drain();
  await bench.remove();
});

async function start(settings: Record<string, string> = {}): Promise<ProcessPod> {
  const pod = await processPod(await bench.open(), settings);
  await pod.start();
  pods.push(pod);
  return pod;
}

interface Shown {
  batch: string;
  index: number;
  reason: string;
  tick?: string;
  tickBase64?: string;
  sizeBytes: number;
  cut?: boolean;
}

async function list(pod: ProcessPod, search = ''): Promise<{ deadLetters: Shown[]; next?: string }> {
  const answer = await fetch(`${pod.url}/v1/dead-letters/ibkr${search}`);
  expect(answer.status).toBe(200);
  return (await answer.json()) as { deadLetters: Shown[]; next?: string };
}

async function replay(pod: ProcessPod, search = ''): Promise<Record<string, unknown>> {
  const answer = await fetch(`${pod.url}/v1/dead-letters/ibkr/replay${search}`, { method: 'POST' });
  return { status: answer.status, ...((await answer.json()) as Record<string, unknown>) };
}

async function ask(pod: ProcessPod, path: string, headers: Record<string, string>, method = 'GET'): Promise<number> {
  return (await fetch(pod.url + path, { method, headers })).status;
}

/** Bytes of lines, one of them no UTF-8. */
const MIXED = new Uint8Array([
  ...new TextEncoder().encode(lines([trade({ id: '1' }), trade({ price: '0' }), quote()])),
  0x7b,
  0xff,
  0x7d,
  0x0a,
]);

describe('a rejected tick', () => {
  it('is kept with its own bytes, its place and its reason, once, however often its batch comes', async () => {
    const pod = await start();
    for (const _ of [1, 2]) expect((await post(pod.url, 'ibkr', MIXED, { 'webhook-id': 'b1' })).status).toBe(200);
    const { deadLetters, next } = await list(pod);
    expect(next).toBeUndefined();
    expect(deadLetters).toMatchObject([
      { batch: 'b1', index: 1, reason: 'price_not_positive', tick: JSON.stringify(trade({ price: '0' })) },
      { batch: 'b1', index: 3, reason: 'not_utf8', tickBase64: 'e/99', sizeBytes: 3 },
    ]);
    expect((await podStatus(pod.url)).providers['ibkr']).toMatchObject({ rejected: 4, deadLetters: 2, residue: 0 });
  });

  it('is kept also when all of its batch is rejected, and the answer is the same again', async () => {
    const pod = await start();
    const ticks = [trade({ price: 0 }), trade({ size: -1 })];
    const first = await post(pod.url, 'ibkr', ticks, { 'webhook-id': 'b1' });
    const again = await post(pod.url, 'ibkr', ticks, { 'webhook-id': 'b1' });
    expect([first.status, again.status, again.body]).toEqual([422, 422, first.body]);
    expect((await list(pod)).deadLetters.map(({ reason }) => reason)).toEqual(['price_not_positive', 'negative_size']);
  });

  it('that is longer than is kept is cut, and shows that it is', async () => {
    const pod = await start();
    const huge = new TextEncoder().encode(`{"symbol":"${'x'.repeat(70_000)}"}`);
    await post(pod.url, 'ibkr', huge, { 'webhook-id': 'b1' });
    const [letter] = (await list(pod)).deadLetters;
    expect([letter!.tick!.length, letter!.sizeBytes, letter!.cut]).toEqual([65_536, huge.length, true]);
  });
});

describe('the list of dead letters', () => {
  it('comes in pages, oldest first, and can be of one batch', async () => {
    const pod = await start();
    for (const at of [0, 1, 2]) {
      bench.clock.nowMs = NOW_MS + at * 1_000;
      await post(pod.url, 'ibkr', [trade({ price: 0 }), trade({ size: -1 })], { 'webhook-id': `b${at}` });
    }
    const seen: string[] = [];
    let next: string | undefined = '';
    for (let pages = 0; next !== undefined && pages < 10; pages += 1) {
      const page = await list(pod, `?limit=4${next === '' ? '' : `&after=${next}`}`);
      seen.push(...page.deadLetters.map(({ batch, index }) => `${batch}/${index}`));
      ({ next } = page);
    }
    expect(seen).toEqual(['b0/0', 'b0/1', 'b1/0', 'b1/1', 'b2/0', 'b2/1']);
    expect((await list(pod, '?batch=b1')).deadLetters.map(({ batch }) => batch)).toEqual(['b1', 'b1']);
  });

  it.each(['?limit=0', '?limit=1001', '?limit=x', '?after=1', '?after=1.2.a%20b', '?batch=a%2Fb'])(
    'refuses %s with a 400',
    async (search) => {
      const pod = await start();
      expect((await fetch(`${pod.url}/v1/dead-letters/ibkr${search}`)).status).toBe(400);
    },
  );
});

describe('a replay', () => {
  it('stores what is valid by the rules of today, under the identity it would have had, and keeps the rest', async () => {
    const strict = await start();
    const ticks = [trade({ price: '-1' }), trade({ price: 'x' }), trade({ price: '-2', id: '7' })];
    await post(strict.url, 'ibkr', ticks, { 'webhook-id': 'b1' });
    const pod = await start({ MDP_PROVIDERS: '{"ibkr":{"negativePrices":true}}' });
    expect(await replay(pod)).toMatchObject({
      status: 200,
      replayed: 3,
      stored: 2,
      duplicates: 0,
      rejected: [{ batch: 'b1', index: 1, reason: 'bad_decimal' }],
    });
    expect((await list(pod)).deadLetters.map(({ index }) => index)).toEqual([1]);
    const { trades: stored } = (await (await fetch(`${pod.url}/v1/trades/ibkr/AAPL`)).json()) as {
      trades: { id: string; price: string }[];
    };
    expect(Object.fromEntries(stored.map(({ id, price }) => [id, price]))).toEqual({ 7: '-2', '~b1/0': '-1' });
    expect((await podStatus(pod.url)).providers['ibkr']).toMatchObject({ stored: 2, residue: 0 });
    expect(await replay(pod)).toMatchObject({ replayed: 1, stored: 0 });
  });

  it('of a tick that the store would not have stores it once the store will', async () => {
    const pod = await start();
    const db = bench.connect();
    db.exec(
      "CREATE TRIGGER rule BEFORE INSERT ON trades WHEN NEW.price = 13 BEGIN SELECT RAISE(ABORT, 'unlucky'); END",
    );
    const ticks = [...trades(5), trade({ id: 'bad', price: '13' }), ...trades(5, 5)];
    const answer = await post(pod.url, 'ibkr', ticks, { 'webhook-id': 'b1' });
    expect([answer.status, answer.body]).toMatchObject([
      200,
      { stored: 10, duplicates: 0, rejected: [{ index: 5, reason: 'unstorable' }] },
    ]);
    expect(JSON.stringify(answer.body)).not.toContain('unlucky');
    expect(await replay(pod)).toMatchObject({ stored: 0, rejected: [{ index: 5, reason: 'unstorable' }] });
    db.exec('DROP TRIGGER rule');
    expect(await replay(pod)).toMatchObject({ replayed: 1, stored: 1, rejected: [] });
    expect([bench.count('trades'), bench.count('dead_letters')]).toEqual([11, 0]);
  });
});

describe('a receipt', () => {
  it('says what the ledger says, and 404 of a batch that it does not hold', async () => {
    const pod = await start();
    await post(pod.url, 'ibkr', MIXED, { 'webhook-id': 'b1' });
    const answer = await fetch(`${pod.url}/v1/receipts/ibkr/b1`);
    expect([answer.status, await answer.json()]).toMatchObject([
      200,
      { batch: 'b1', status: 'stored', stored: 2, duplicates: 0, rejected: [{ index: 1 }, { index: 3 }] },
    ]);
    expect((await fetch(`${pod.url}/v1/receipts/ibkr/b2`)).status).toBe(404);
    expect((await fetch(`${pod.url}/v1/receipts/other/b1`)).status).toBe(404);
  });
});

describe('receipts and dead letters', () => {
  const SECRET = generateSecret();
  const paths = ['/v1/receipts/ibkr/b1', '/v1/dead-letters/ibkr'];

  async function guarded(): Promise<ProcessPod> {
    const pod = await start({ MDP_DEV: '0', MDP_EDGE_SECRETS: SECRET, MDP_OPS_TOKEN: OPS_TOKEN });
    const ticks = [trade({ price: 0 }), trade()];
    await post(pod.url, 'ibkr', ticks, await edgeSigned(SECRET, 'ibkr/b1', NOW_MS, ticks));
    return pod;
  }

  async function signed(id: string, nowMs = NOW_MS, secret = SECRET): Promise<Record<string, string>> {
    return signatureHeaders((await importSecret(secret))!, id, nowMs, new Uint8Array(0));
  }

  it("are shown to the edge, which signs for this provider, and to the operator's token", async () => {
    const pod = await guarded();
    for (const path of paths) {
      expect(await ask(pod, path, await signed('ibkr/b1'))).toBe(200);
      expect(await ask(pod, path, { authorization: `Bearer ${OPS_TOKEN}` })).toBe(200);
    }
  });

  it('are shown to nobody else', async () => {
    // Seen failing: with the provider left out of the check, the edge's question about one was good for all.
    const pod = await guarded();
    for (const path of paths) {
      for (const headers of [
        {},
        { authorization: 'Bearer wrong-token-of-some-length' },
        { authorization: `Basic ${OPS_TOKEN}` },
        await signed('other/b1'),
        await signed('b1'),
        await signed('ibkr/b1', NOW_MS - 301_000),
        await signed('ibkr/b1', NOW_MS, generateSecret()),
      ]) {
        expect(await ask(pod, path, headers), path).toBe(401);
      }
    }
  });

  it("are replayed by the operator's token alone", async () => {
    const pod = await guarded();
    const path = '/v1/dead-letters/ibkr/replay';
    expect(await ask(pod, path, await signed('ibkr/b1'), 'POST')).toBe(401);
    expect(await ask(pod, path, {}, 'POST')).toBe(401);
    expect(await ask(pod, path, { authorization: `Bearer ${OPS_TOKEN}` }, 'POST')).toBe(200);
  });
});
