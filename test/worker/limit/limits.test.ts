/** What the edge refuses by itself: budgets that a pod has named, floods, copies of a signature, headers without end. */

import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { problem } from '../../../pipeline/contract/answer.ts';
import { BudgetMemory, OVER_BUDGET_MAX_SECONDS } from '../../../worker/limit/budget.ts';
import {
  ADDRESSES_MAX,
  addressOf,
  FAILED_COST,
  FloodGuard,
  REQUESTS_BURST,
  REQUESTS_PER_SECOND,
} from '../../../worker/limit/flood.ts';
import { PASSED_MAX_CHARS } from '../../../worker/app.ts';
import type { Fetch, PodAnswer } from '../../../worker/relay.ts';
import type { MeterCalls, ScalingReport } from '../../../worker/scaling/calls.ts';
import { memoryEdge, podStored, START_MS } from '../../support/edge-app.ts';
import { makeCredentials, signAsProvider } from '../../support/edge-credentials.ts';

const credentials = makeCredentials();
const TICK = '{"symbol":"AAPL","tsMs":1763908200123,"price":"187.23","size":"100"}\n';
const TOKENS = { ibkr: 'Bearer ibkr-token-new', acme: 'Bearer acme-token' } as const;

function overBudget(retryAfterSeconds: number, ticks = 1): Response {
  return new Response(JSON.stringify(problem('over-budget', 'too much')), {
    status: 429,
    headers: {
      'content-type': 'application/problem+json',
      'retry-after': String(retryAfterSeconds),
      'mdp-level': 'ok',
      'mdp-rate-scale': '1',
      'mdp-batch-ticks': String(ticks),
      ratelimit: '"ticks";r=0;t=1',
      'ratelimit-policy': '"ticks";q=100;w=1',
    },
  });
}

function limitedEdge(cluster: Fetch = podStored, more: Record<string, unknown> = {}) {
  const edge = memoryEdge({ ...credentials.bindings(), ...more }, cluster);
  const push = (batch: string, provider: keyof typeof TOKENS = 'ibkr', init: RequestInit = {}) =>
    edge.request(`/v1/ticks/${provider}`, {
      method: 'POST',
      body: TICK,
      ...init,
      headers: {
        authorization: TOKENS[provider],
        'content-type': 'application/x-ndjson',
        'idempotency-key': batch,
        ...(init.headers as Record<string, string> | undefined),
      },
    });
  return { ...edge, push };
}

function overBudgetCluster(): Promise<Response> {
  return Promise.resolve(overBudget(30, 7));
}

describe('a provider that a pod sent back for its budget', () => {
  it('is sent back here until the time that the pod named, and others are not', async () => {
    let answers = 0;
    const edge = limitedEdge((url) => {
      answers += 1;
      return url.endsWith('/ibkr') && answers === 1 ? Promise.resolve(overBudget(3)) : podStored();
    });
    expect((await edge.push('b1')).status).toBe(429);
    edge.clock.nowMs += 1_500;
    const again = await edge.push('b2');
    expect(again.status).toBe(429);
    expect(again.headers.get('retry-after')).toBe('2');
    expect(again.headers.get('ratelimit-policy')).toBe('"ticks";q=100;w=1');
    expect(again.headers.get('mdp-level')).toBe('ok');
    expect(await again.json()).toMatchObject({ type: '/problems/over-budget', batch: 'b2' });
    expect((await edge.push('c1', 'acme')).status).toBe(200);
    expect(edge.calls).toHaveLength(2);
    edge.clock.nowMs += 1_500;
    expect((await edge.push('b1')).status).toBe(200);
  });

  it('is not forgotten by demand: each of its batches counts once, packed or not', async () => {
    const reports: ScalingReport[] = [];
    const meter = { report: async (one: ScalingReport) => void reports.push(one) } as MeterCalls;
    // The clock of this edge moves with each report that waits its turn.
    const edge = limitedEdge(overBudgetCluster, { METER: { getByName: () => meter } });
    const packed = { body: gzipSync(TICK.repeat(20)), headers: { 'content-encoding': 'gzip' } };
    for (const again of [1, 2]) {
      expect((await edge.push('b1')).status, `time ${again}`).toBe(429);
      expect((await edge.push('b2', 'ibkr', { body: TICK.repeat(3) })).status).toBe(429);
      expect((await edge.push('b3', 'ibkr', packed)).status).toBe(429);
    }
    expect(edge.calls).toHaveLength(1);
    await expect
      .poll(() => reports.flatMap(({ batches }) => batches).reduce((sum, { count }) => sum + count, 0))
      .toBe(6);
    const refused = reports.flatMap((one) => one.refused).map(({ batch, ticks }) => `${batch} ${ticks}`);
    expect(refused).toEqual(['ibkr/b1 7', 'ibkr/b2 3', 'ibkr/b3 20']);
    expect(reports.flatMap((one) => one.arrivals)).toEqual([]);
  });

  it('is not kept out for longer than half a minute, nor by a clock that was set back', () => {
    const budgets = new BudgetMemory();
    budgets.note('ibkr', 3_600, { headers: {} } as PodAnswer, START_MS);
    expect(budgets.overBudget('ibkr', START_MS)).toEqual({ retryAfterSeconds: OVER_BUDGET_MAX_SECONDS, headers: {} });
    expect(budgets.overBudget('ibkr', START_MS + OVER_BUDGET_MAX_SECONDS * 1000)).toBeUndefined();
    budgets.note('ibkr', 10, { headers: {} } as PodAnswer, START_MS);
    expect(budgets.overBudget('ibkr', START_MS - 60_000)).toBeUndefined();
  });
});

describe('an address', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2::9', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::1', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['', undefined],
    ['x'.repeat(46), undefined],
  ])('%s counts as %s', (given, counted) => {
    expect(addressOf(new Headers({ 'cf-connecting-ip': given }))).toBe(counted);
  });

  it('may make a burst, then so many requests a second, and is told when to come again', () => {
    const guard = new FloodGuard();
    let admitted = 0;
    for (let ms = 0; ms < 2_000; ms += 1) {
      for (let more = 0; more < 20; more += 1) if (guard.admit('a', START_MS + ms).ok) admitted += 1;
    }
    expect(admitted).toBeGreaterThanOrEqual(REQUESTS_BURST + REQUESTS_PER_SECOND * 2 - 20);
    expect(admitted).toBeLessThanOrEqual(REQUESTS_BURST + REQUESTS_PER_SECOND * 2);
    expect(guard.admit('a', START_MS + 1_999)).toEqual({ ok: false, retryAfterSeconds: 1 });
    expect(guard.admit('b', START_MS + 1_999)).toEqual({ ok: true });
  });

  it('that guesses at credentials has far fewer, and is let in again after a few seconds', () => {
    const guard = new FloodGuard();
    let tried = 0;
    while (tried < REQUESTS_BURST && guard.admit('a', START_MS).ok) {
      tried += 1;
      guard.failed('a', START_MS);
    }
    expect(tried).toBe(Math.ceil(REQUESTS_BURST / (FAILED_COST + 1)));
    for (let at = 0; at < 1_000; at += 1) guard.failed('a', START_MS);
    expect(guard.admit('a', START_MS)).toEqual({ ok: false, retryAfterSeconds: 6 });
    expect(guard.admit('a', START_MS + 6_000).ok).toBe(true);
  });

  it('is forgotten when it is the longest unused of too many', () => {
    const guard = new FloodGuard();
    for (let at = 0; at < 200; at += 1) {
      guard.failed('bad', START_MS);
      guard.failed('old', START_MS);
    }
    for (let at = 0; at < ADDRESSES_MAX - 2; at += 1) guard.admit(`a${at}`, START_MS);
    expect(guard.admit('bad', START_MS + 1).ok).toBe(false);
    guard.admit('one more', START_MS + 1);
    expect(guard.admit('bad', START_MS + 1).ok).toBe(false);
    expect(guard.admit('old', START_MS + 1).ok).toBe(true);
  });
});

const from = (address: string) => ({ headers: { 'cf-connecting-ip': address, authorization: 'Bearer wrong' } });

describe('a flood', () => {
  it('of wrong credentials ends before anything is read, and leaves other addresses alone', async () => {
    const edge = limitedEdge();
    const statuses = new Map<number, number>();
    let last: Response | undefined;
    for (let at = 0; at < 150; at += 1) {
      last = await edge.push(`b${at}`, 'ibkr', from('192.0.2.1'));
      statuses.set(last.status, (statuses.get(last.status) ?? 0) + 1);
    }
    expect(statuses.get(401)).toBe(100);
    expect(statuses.get(429)).toBe(50);
    expect(Number(last!.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await last!.json()).toMatchObject({ type: '/problems/too-many-requests', status: 429 });
    expect((await edge.request('/v1/receipts/ibkr/b1', from('192.0.2.1'))).status).toBe(429);
    expect((await edge.request('/metrics', from('192.0.2.1'))).status).toBe(429);
    const good = { headers: { 'cf-connecting-ip': '192.0.2.2' } };
    expect((await edge.push('g1', 'ibkr', good)).status).toBe(200);
    expect((await edge.request('/problems/too-many-requests')).status).toBe(200);
    expect((await edge.request('/problems/over-credit')).status).toBe(200);
  });
});

const sign = (body: string, at: Date) => signAsProvider(credentials.ibkr.secrets[0]!, 'b1', body, at);

describe('a signature', () => {
  it('is good for one body and five minutes', async () => {
    const edge = limitedEdge();
    const push = (headers: Record<string, string>, body = TICK) =>
      edge.request('/v1/ticks/ibkr', { method: 'POST', headers, body });
    const signed = sign(TICK, new Date(START_MS));
    expect((await push(signed)).status).toBe(200);
    expect((await push(signed, TICK + TICK)).status).toBe(401);
    expect((await push({ ...signed, 'webhook-id': 'b2' })).status).toBe(401);
    edge.clock.nowMs += 300_000;
    expect((await push(signed)).status).toBe(200);
    edge.clock.nowMs += 1_000;
    expect((await push(signed)).status).toBe(401);
    edge.clock.nowMs = START_MS - 301_000;
    expect((await push(signed)).status).toBe(401);
  });
});

describe('headers', () => {
  it.each(['content-type', 'content-encoding'])('that are passed on have a bound: %s', async (name) => {
    const edge = limitedEdge();
    const long = (chars: number) => ({ headers: { [name]: 'x'.repeat(chars) } });
    const answer = await edge.push('b1', 'ibkr', long(PASSED_MAX_CHARS + 1));
    expect(answer.status).toBe(415);
    expect(edge.calls).toHaveLength(0);
    expect((await edge.push('b1', 'ibkr', long(PASSED_MAX_CHARS))).status).toBe(200);
  });

  it('without end are nothing that the edge looks at', async () => {
    const edge = limitedEdge();
    const many = Object.fromEntries(Array.from({ length: 2_000 }, (_, at) => [`x-${at}`, 'y'.repeat(50)]));
    expect((await edge.push('b1', 'ibkr', { headers: many })).status).toBe(200);
    expect(Object.keys(edge.calls[0]!.init.headers as object).length).toBeLessThan(10);
    const signed = { 'webhook-signature': 'v1,AAAA '.repeat(10_000), 'webhook-id': 'b1', 'webhook-timestamp': '1' };
    expect((await edge.push('b1', 'ibkr', { headers: signed })).status).toBe(401);
  });
});
