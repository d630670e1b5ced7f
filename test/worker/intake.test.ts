/** Which batches reach the outbox and what their senders are told: routes in memory, outbox on real SQLite. */

import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { problem, type ProblemName, PROBLEMS } from '../../pipeline/contract/answer.ts';
import { LOOK_INTERVAL_MS } from '../../worker/circuit.ts';
import { FULL_LOG_INTERVAL_MS } from '../../worker/intake.ts';
import { RETRY_WAITS_MS, type Fetch } from '../../worker/relay.ts';
import {
  memoryEdge,
  type MemoryEdgeOptions,
  podAnswers,
  podHangs,
  podRefusesConnections,
  podStored,
  START_MS,
} from '../support/edge-app.ts';
import { makeCredentials } from '../support/edge-credentials.ts';
import { memoryNamespace, NDJSON, nextOf } from '../support/edge-outbox.ts';

const bindings = makeCredentials().bindings();
const TICK = '{"symbol":"AAPL","tsMs":1763908200123,"price":"187.23","size":"100"}\n';
const STORED = { stored: 1, duplicates: 0, rejected: [], ignoredFields: 3 };

interface HoldingOptions extends MemoryEdgeOptions {
  maxBytes?: number;
  more?: Record<string, unknown>;
}

function holdingEdge(cluster: Fetch, { maxBytes, more = {}, ...options }: HoldingOptions = {}) {
  const clock = { nowMs: START_MS };
  const outboxes = memoryNamespace(() => clock.nowMs, maxBytes === undefined ? {} : { maxBytes });
  const edge = memoryEdge({ ...bindings, OUTBOX: outboxes.namespace, ...more }, cluster, options);
  const push = async (batch: string | undefined, body: string | Uint8Array<ArrayBuffer> = TICK, headers = {}) => {
    const id: Record<string, string> = batch === undefined ? {} : { 'idempotency-key': batch };
    const response = await edge.request('/v1/ticks/ibkr', {
      method: 'POST',
      headers: { authorization: 'Bearer ibkr-token-new', 'content-type': NDJSON, ...id, ...headers },
      body,
    });
    return { response, json: (await response.json()) as Record<string, unknown> };
  };
  const held = outboxes.of('ibkr');
  return { ...edge, ...outboxes, held, push };
}

function podProblem(name: ProblemName, headers: Record<string, string> = {}): Fetch {
  const init = { 'content-type': 'application/problem+json', 'mdp-level': 'soft', 'mdp-rate-scale': '0.5', ...headers };
  return () =>
    Promise.resolve(
      new Response(JSON.stringify(problem(name, 'why')), { status: PROBLEMS[name].status, headers: init }),
    );
}

describe('while the cluster is well', () => {
  it('no batch costs a call of the outbox, whatever its answer', async () => {
    for (const cluster of [
      podStored,
      podProblem('over-budget'),
      podProblem('all-rejected'),
      podProblem('batch-conflict'),
    ]) {
      const edge = holdingEdge(cluster);
      await edge.push('b1');
      expect(edge.control.calls).toBe(0);
    }
  });
});

describe('a batch that the system refuses', () => {
  it.each(['backpressure', 'draining', 'store-unavailable', 'no-room', 'internal'] as const)(
    'because of %s is held, packed, and answered 202 with its receipt and the level of the pod',
    async (name) => {
      const edge = holdingEdge(podProblem(name, { 'retry-after': '3' }));
      const { response, json } = await edge.push('b1', TICK.repeat(9));
      expect(response.status).toBe(202);
      expect(json).toEqual({ batch: 'b1', status: 'buffered', receipt: '/v1/receipts/ibkr/b1' });
      expect(response.headers.get('location')).toBe('/v1/receipts/ibkr/b1');
      expect(response.headers.get('mdp-level')).toBe('soft');
      const next = nextOf(edge.held);
      expect(next).toMatchObject({ batch: 'b1', ticks: 9, encoding: 'gzip', contentType: NDJSON, batchIdMade: false });
      expect(gunzipSync(edge.held.shelf.body(next.seq)!).toString()).toBe(TICK.repeat(9));
      expect(edge.held.shelf.totals().oldestMs).toBe(START_MS);
    },
  );

  it.each(['over-budget', 'unreadable', 'batch-conflict', 'too-large', 'unsupported-type', 'all-rejected'] as const)(
    'for its own fault goes back to its sender as it is: %s',
    async (name) => {
      const edge = holdingEdge(podProblem(name, { 'retry-after': '3' }));
      const { response, json } = await edge.push('b1');
      expect(response.status).toBe(PROBLEMS[name].status);
      expect(response.headers.get('retry-after')).toBe('3');
      expect(json).toMatchObject({ type: `/problems/${name}` });
    },
  );
});

describe('a batch that nobody answers', () => {
  it.each<[string, Fetch]>([
    ['since no pod is there', podRefusesConnections],
    ['within the deadline', podHangs],
    ['but a proxy', podAnswers('<h1>502</h1>', { status: 502, headers: { 'content-type': 'text/html' } })],
    ['but a pod that does not know the edge', podProblem('unauthenticated')],
    ['but a pod without this path', podProblem('not-found')],
  ])('%s is held', async (_, cluster) => {
    const edge = holdingEdge(cluster, { relayTimeoutMs: 50 });
    expect((await edge.push('b1')).response.status).toBe(202);
    expect(edge.held.shelf.totals()).toMatchObject({ batches: 1, ticks: 1 });
  });

  it('is held under the id that the edge made, and its sender is warned', async () => {
    const edge = holdingEdge(podRefusesConnections);
    const { response, json } = await edge.push(undefined);
    expect(response.status).toBe(202);
    expect(json['receipt']).toBe(`/v1/receipts/ibkr/${encodeURIComponent(String(json['batch']))}`);
    expect(json['warning']).toContain('will not be recognised');
    expect(nextOf(edge.held)).toMatchObject({ batch: json['batch'], batchIdMade: true });
  });

  it('is not sent to the cluster at all a moment later, and then one looks with one attempt', async () => {
    let away = true;
    const edge = holdingEdge(() => (away ? podRefusesConnections() : podStored()));
    await edge.push('b1');
    expect(edge.calls).toHaveLength(RETRY_WAITS_MS.length + 1);
    edge.calls.length = 0;
    for (const id of ['b2', 'b3']) expect((await edge.push(id)).response.status).toBe(202);
    expect(edge.calls).toHaveLength(0);
    edge.clock.nowMs += LOOK_INTERVAL_MS;
    expect((await edge.push('b4')).response.headers.get('mdp-level')).toBe('hard');
    expect(edge.calls).toHaveLength(1);
    expect(edge.held.shelf.totals().batches).toBe(4);
    away = false;
    edge.clock.nowMs += LOOK_INTERVAL_MS;
    expect((await edge.push('b5')).response.status).toBe(200);
    expect((await edge.push('b6')).response.status).toBe(200);
  });
});

describe('a batch that is held', () => {
  it('and sent again is 202 again and held once, also packed; with another body it is 409', async () => {
    const edge = holdingEdge(podRefusesConnections);
    const packed = new Uint8Array(gzipSync(TICK));
    expect((await edge.push('b1')).response.status).toBe(202);
    expect((await edge.push('b1')).response.status).toBe(202);
    expect((await edge.push('b1', packed, { 'content-encoding': 'gzip' })).response.status).toBe(202);
    const other = await edge.push('b1', `${TICK}${TICK}`);
    expect(other.response.status).toBe(409);
    expect(other.json).toEqual({
      type: '/problems/batch-conflict',
      title: PROBLEMS['batch-conflict'].title,
      status: 409,
      detail: 'the outbox holds this batch id with another body',
      batch: 'b1',
    });
    expect(edge.held.shelf.totals().batches).toBe(1);
  });

  it('of another provider has nothing to do with it', async () => {
    const edge = holdingEdge(podRefusesConnections);
    await edge.push('b1');
    const init = {
      method: 'POST',
      headers: { authorization: 'Bearer acme-token', 'content-type': NDJSON, 'idempotency-key': 'b1' },
    };
    expect((await edge.request('/v1/ticks/acme', { ...init, body: `${TICK}${TICK}` })).status).toBe(202);
  });

  it('and was stored meanwhile is answered as the pod answered', async () => {
    const edge = holdingEdge(podRefusesConnections);
    await edge.push('b1');
    edge.held.shelf.settle(nextOf(edge.held), STORED, START_MS);
    const { response, json } = await edge.push('b1');
    expect(response.status).toBe(200);
    expect(json).toEqual({ batch: 'b1', status: 'stored', ...STORED });
  });
});

describe('a batch that breaks the contract', () => {
  it.each([
    ['type', TICK, { 'content-type': 'text/csv' }, 415],
    ['encoding', TICK, { 'content-encoding': 'br' }, 415],
    ['emptiness', '\n', {}, 400],
    ['number of ticks', '1\n'.repeat(10_001), {}, 413],
  ])('by its %s is rejected at once, not held', async (_, body, headers, status) => {
    const edge = holdingEdge(podRefusesConnections);
    const { response } = await edge.push('b1', body, headers);
    expect(response.status).toBe(status);
    expect(edge.held.shelf.isEmpty).toBe(true);
  });
});

describe('an outbox that cannot', () => {
  it('since it is full leaves a batch with its sender: the answer of the pod, or an honest 503', async () => {
    const refused = holdingEdge(podProblem('backpressure', { 'retry-after': '9' }), { maxBytes: 10 });
    const { response, json } = await refused.push('b1');
    expect(response.status).toBe(429);
    expect(response.headers.get('retry-after')).toBe('9');
    expect(json).toMatchObject({ type: '/problems/backpressure' });

    const away = holdingEdge(podRefusesConnections, { maxBytes: 10 });
    for (const id of ['b1', 'b2']) {
      const answer = await away.push(id);
      expect(answer.response.status).toBe(503);
      expect(answer.response.headers.get('retry-after')).toBe('5');
      expect(answer.json).toMatchObject({ type: '/problems/cluster-unreachable', batch: id });
    }
    expect(away.logs.filter(({ event }) => event === 'outbox-full')).toHaveLength(1);
    away.clock.nowMs += FULL_LOG_INTERVAL_MS;
    await away.push('b3');
    expect(away.logs.filter(({ event }) => event === 'outbox-full')).toHaveLength(2);
  });

  it('since it is broken is tried a second time where that may help, and else leaves the batch with its sender', async () => {
    const edge = holdingEdge(podRefusesConnections);
    edge.control.broken = () => {
      edge.control.broken = undefined;
      return Promise.reject(Object.assign(new Error('moved'), { retryable: true }));
    };
    expect((await edge.push('b1')).response.status).toBe(202);
    edge.control.broken = () =>
      Promise.reject(Object.assign(new Error('hunter2'), { retryable: true, overloaded: true }));
    edge.control.calls = 0;
    const { response, json } = await edge.push('b2');
    expect(response.status).toBe(503);
    expect(JSON.stringify(json)).not.toContain('hunter2');
    expect(edge.control.calls).toBe(1);
    expect(edge.logs.at(-1)).toMatchObject({ event: 'outbox-full', cause: 'Error: hunter2' });
  });

  it('since it does not answer is waited for no longer than its deadline', async () => {
    const edge = holdingEdge(podRefusesConnections, { offerTimeoutMs: 20 });
    edge.control.broken = () => new Promise(() => undefined);
    expect((await edge.push('b1')).response.status).toBe(503);
  });
});
