/** The routes in memory: the order of the checks on a push, and every answer that needs no pod. */

import { describe, expect, it } from 'vitest';
import { PROBLEMS } from '../../pipeline/contract/answer.ts';
import { BODY_MAX_BYTES } from '../../pipeline/contract/batch.ts';
import { BATCH_ID_RULE, PROVIDER_RULE } from '../../pipeline/contract/identity.ts';
import { sentBatchId } from '../../worker/app.ts';
import { FAILURE_LOG_INTERVAL_MS } from '../../worker/cluster.ts';
import { byteStream, memoryEdge, podAnswers, podRefusesConnections, podStored } from '../support/edge-app.ts';
import { makeCredentials, signAsProvider } from '../support/edge-credentials.ts';

const credentials = makeCredentials();
const bindings = credentials.bindings();
const TOKEN = { authorization: 'Bearer ibkr-token-new' };

async function json(response: Response): Promise<Record<string, unknown>> {
  return (await response.json()) as Record<string, unknown>;
}

describe('a push', () => {
  it('on a path that names no provider is a 400 that gives the rule', async () => {
    for (const name of ['IBKR', 'a%2Fb', '-a', 'a'.repeat(64), '%00', '..%5c']) {
      const edge = memoryEdge(bindings);
      const response = await edge.request(`/v1/ticks/${name}`, { method: 'POST', headers: TOKEN, body: '{}' });
      expect(response.status).toBe(400);
      expect((await json(response))['detail']).toContain(PROVIDER_RULE);
      expect(edge.calls).toEqual([]);
    }
  });

  it('without credentials is refused before its length is looked at', async () => {
    const headers = { 'content-length': String(BODY_MAX_BYTES + 1) };
    const response = await memoryEdge(bindings).request('/v1/ticks/ibkr', { method: 'POST', headers, body: '{}' });
    expect(response.status).toBe(401);
  });

  it('that claims too much is refused before its credentials are checked', async () => {
    const headers = { authorization: 'Bearer wrong', 'content-length': String(BODY_MAX_BYTES + 1) };
    const response = await memoryEdge(bindings).request('/v1/ticks/ibkr', { method: 'POST', headers, body: '{}' });
    expect(response.status).toBe(413);
    expect((await json(response))['detail']).toContain(String(BODY_MAX_BYTES));
  });

  it('that does not arrive in time is a 408', async () => {
    const edge = memoryEdge(bindings, podStored, { bodyReadTimeoutMs: 20 });
    const body = byteStream(1, 'hang');
    const response = await edge.request('/v1/ticks/ibkr', {
      method: 'POST',
      headers: TOKEN,
      body,
      duplex: 'half',
    });
    expect(response.status).toBe(408);
    expect(edge.calls).toEqual([]);
  });

  it.each([
    ['with a dot', 'a.b'],
    ['with a slash', 'acme/b1'],
    ['that is empty', ''],
    ['that is too long', 'a'.repeat(129)],
    ['that is two', 'a, b'],
    ['with half a quote', '"a'],
  ])('with a batch id %s is a 400 that gives the rule', async (_, id) => {
    const edge = memoryEdge(bindings);
    const headers = { ...TOKEN, 'idempotency-key': id };
    const response = await edge.request('/v1/ticks/ibkr', { method: 'POST', headers, body: '{}' });
    expect(response.status).toBe(400);
    expect((await json(response))['detail']).toContain(BATCH_ID_RULE);
    expect(edge.calls).toEqual([]);
  });

  it('with a good signature over a batch id with a dot is refused all the same', async () => {
    const edge = memoryEdge(bindings);
    const headers = signAsProvider(credentials.ibkr.secrets[0]!, 'a.b', '{}', new Date(edge.clock.nowMs));
    const response = await edge.request('/v1/ticks/ibkr', { method: 'POST', headers, body: '{}' });
    expect(response.status).toBe(400);
  });

  it('sends the pod what the sender said of type and packing, and nothing else of its headers', async () => {
    const edge = memoryEdge(bindings);
    const given = {
      ...TOKEN,
      'idempotency-key': 'b1',
      'content-type': 'application/json',
      cookie: 'a=b',
      'x-own': '1',
    };
    await edge.request('/v1/ticks/ibkr', { method: 'POST', headers: given, body: '[]' });
    expect(edge.calls[0]!.url).toBe('http://cluster.test/v1/ticks/ibkr');
    const names = Object.keys(edge.calls[0]!.init.headers as Record<string, string>);
    expect(names.sort()).toEqual([
      'accept-encoding',
      'content-type',
      'mdp-edge-counted',
      'webhook-id',
      'webhook-signature',
      'webhook-timestamp',
    ]);
  });

  it('carries a level whatever the answer', async () => {
    const edge = memoryEdge(bindings, podAnswers('{}', { headers: { 'mdp-level': 'soft', 'mdp-rate-scale': '0.5' } }));
    await edge.request('/v1/ticks/ibkr', { method: 'POST', headers: TOKEN, body: '{}' });
    const refused = await edge.request('/v1/ticks/ibkr', { method: 'POST', body: '{}' });
    expect(refused.status).toBe(401);
    expect(refused.headers.get('mdp-level')).toBe('soft');
    expect(refused.headers.get('mdp-rate-scale')).toBe('0.5');
  });
});

describe('the batch id', () => {
  it.each([
    [{ 'webhook-id': 'w', 'idempotency-key': 'k' }, 'w'],
    [{ 'idempotency-key': 'k' }, 'k'],
    [{ 'idempotency-key': '"k"' }, 'k'],
    [{ 'webhook-id': '"w"' }, '"w"'],
    [{}, undefined],
  ])('of %j is %s', (headers, id) => {
    expect(sentBatchId(new Headers(headers as Record<string, string>))).toBe(id);
  });
});

describe('the log', () => {
  it('has one line for a cluster that is away, however many batches find out, and one for its return', async () => {
    let away = true;
    const edge = memoryEdge(bindings, () => (away ? podRefusesConnections() : podStored()));
    const push = () => edge.request('/v1/ticks/ibkr', { method: 'POST', headers: TOKEN, body: '{}' });
    for (let count = 0; count < 5; count += 1) await push();
    expect(edge.logs.map((line) => line.event)).toEqual(['cluster-lost']);
    edge.clock.nowMs += FAILURE_LOG_INTERVAL_MS;
    await push();
    away = false;
    await push();
    await push();
    expect(edge.logs.map((line) => line.event)).toEqual(['cluster-lost', 'cluster-lost', 'cluster-back']);
  });
});

describe('health', () => {
  it('is healthy whatever the cluster does, also for HEAD', async () => {
    const edge = memoryEdge(bindings, podRefusesConnections);
    const response = await edge.request('/health');
    expect(response.status).toBe(200);
    expect(await json(response)).toEqual({ status: 'healthy', service: 'market-data-pipeline-edge' });
    const head = await edge.request('/health', { method: 'HEAD' });
    expect(head.status).toBe(200);
    expect(await head.text()).toBe('');
    expect(edge.calls).toEqual([]);
  });

  it('names wrong settings and nothing of their values', async () => {
    const edge = memoryEdge({ ...bindings, EDGE_SECRET: 'hunter2' });
    const response = await edge.request('/health');
    expect(response.status).toBe(503);
    expect(await json(response)).toMatchObject({ status: 'misconfigured', problems: ['EDGE_SECRET'] });
    const refused = await edge.request('/v1/ticks/ibkr', { method: 'POST', headers: TOKEN, body: '{}' });
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toBe('60');
    expect(edge.logs).toHaveLength(1);
    expect(JSON.stringify(edge.logs)).not.toContain('hunter2');
  });
});

describe('the other paths', () => {
  it.each(Object.keys(PROBLEMS))('explain the problem %s', async (name) => {
    const response = await memoryEdge(bindings).request(`/problems/${name}`);
    const { title, status, todo } = PROBLEMS[name as keyof typeof PROBLEMS];
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(await response.text()).toBe(`${title}\n\nStatus: ${status}\n\n${todo}\n`);
  });

  it.each(['/problems/none', '/problems/toString', '/problems/a%2Fno-room', '/v1/ticks', '/v1/ticks/a/b', '/health/'])(
    'are a 404 problem: %s',
    async (path) => {
      const response = await memoryEdge(bindings).request(path);
      expect(response.status).toBe(404);
      expect(response.headers.get('content-type')).toBe('application/problem+json');
      expect(await json(response)).toMatchObject({ type: '/problems/not-found', status: 404 });
    },
  );

  it.each([
    ['GET', '/v1/ticks/ibkr', 'POST'],
    ['PUT', '/v1/ticks/ibkr', 'POST'],
    ['OPTIONS', '/v1/ticks/ibkr', 'POST'],
    ['POST', '/health', 'GET, HEAD'],
    ['DELETE', '/status', 'GET, HEAD'],
    ['POST', '/problems/no-room', 'GET, HEAD'],
  ])('are a 405 that says what is allowed: %s %s', async (method, path, allow) => {
    const response = await memoryEdge(bindings).request(path, { method });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe(allow);
    expect(await json(response)).toMatchObject({ type: '/problems/method-not-allowed' });
  });
});

describe('a bug', () => {
  it('is a 500 problem whose message only the log sees', async () => {
    const broken = new Proxy(bindings, {
      ownKeys() {
        throw new Error('hunter2');
      },
    });
    const edge = memoryEdge(broken);
    const response = await edge.request('/health');
    expect(response.status).toBe(500);
    const text = await response.text();
    expect(JSON.parse(text)).toMatchObject({ type: '/problems/internal', status: 500 });
    expect(text).not.toMatch(/hunter2|\.ts|stack/);
    expect(edge.logs).toMatchObject([{ level: 'error', event: 'internal-error', message: 'hunter2' }]);
  });
});
