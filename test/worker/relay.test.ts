/** Signing and forwarding: attempts, deadline, and what counts as a pod's answer. Faults only; sockets are in runtime.test.ts. */

import { describe, expect, it } from 'vitest';
import { PROBLEM_CONTENT_TYPE } from '../../pipeline/contract/answer.ts';
import { ANSWER_MAX_BYTES, type Fetch, RELAY_TIMEOUT_MS, RETRY_WAITS_MS, retryWaitMs } from '../../worker/relay.ts';
import {
  byteStream,
  memoryEdge,
  type MemoryEdgeOptions,
  podAnswers,
  podHangs,
  podRefusesConnections,
  podStored,
} from '../support/edge-app.ts';
import { makeCredentials } from '../support/edge-credentials.ts';
import { POD_HEADERS } from '../support/edge-upstream.ts';

const bindings = makeCredentials().bindings();

async function pushed(cluster: Fetch, options: MemoryEdgeOptions = {}) {
  const edge = memoryEdge(bindings, cluster, options);
  const headers = { authorization: 'Bearer ibkr-token-new', 'idempotency-key': 'b1' };
  const response = await edge.request('/v1/ticks/ibkr', { method: 'POST', headers, body: '{}' });
  const text = await response.text();
  return { edge, response, text, detail: (JSON.parse(text) as { detail?: string }).detail };
}

describe('a refused connection', () => {
  it('is tried four times, after 50, 200 and 800 ms, and is then a 503 that says when to come back', async () => {
    const { edge, response, text } = await pushed(podRefusesConnections);
    expect(edge.waits).toEqual([50, 200, 800]);
    expect(edge.calls).toHaveLength(4);
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('5');
    expect(response.headers.get('mdp-level')).toBe('hard');
    expect(response.headers.get('mdp-rate-scale')).toBe('0');
    expect(JSON.parse(text)).toMatchObject({ type: '/problems/cluster-unreachable', batch: 'b1' });
    expect(text).not.toContain('ECONNREFUSED');
    expect(edge.logs).toMatchObject([{ level: 'warn', event: 'cluster-lost', why: 'unreachable' }]);
    expect(edge.logs[0]!['cause']).toContain('ECONNREFUSED');
  });

  it('is forgotten when a later attempt is answered', async () => {
    let attempts = 0;
    const { edge, response } = await pushed(() => (++attempts < 4 ? podRefusesConnections() : podStored()));
    expect(response.status).toBe(200);
    expect(edge.logs).toEqual([]);
  });

  it('is not tried again when the wait would outlast the deadline', async () => {
    const { edge, response } = await pushed(podRefusesConnections, { relayTimeoutMs: 100 });
    expect(edge.waits).toEqual([50]);
    expect(response.status).toBe(503);
  });

  it('is waited for by chance between half and one and a half times, and never more often than named', () => {
    expect([0, 0.5, 0.999].map((random) => retryWaitMs(1, random))).toEqual([100, 200, 300]);
    expect(retryWaitMs(RETRY_WAITS_MS.length, 0.5)).toBeUndefined();
  });

  it('leaves room for the last attempt inside the deadline, whatever chance says', () => {
    const longest = RETRY_WAITS_MS.reduce((sum, _, attempt) => sum + retryWaitMs(attempt, 1)!, 0);
    expect(longest).toBeLessThan(RELAY_TIMEOUT_MS / 2);
  });
});

describe('an answer that does not come', () => {
  it('ends at the deadline with one attempt', async () => {
    const { edge, response, detail } = await pushed(podHangs, { relayTimeoutMs: 30 });
    expect(edge.calls).toHaveLength(1);
    expect(response.status).toBe(503);
    expect(detail).toBe('the cluster did not answer within 30 ms');
  });

  it('or whose body does not end, ends at the deadline too', async () => {
    const cluster = podAnswers(byteStream(1, 'hang'), { headers: POD_HEADERS });
    const { response, detail } = await pushed(cluster, { relayTimeoutMs: 30 });
    expect(response.status).toBe(503);
    expect(detail).toBe('the cluster did not answer within 30 ms');
  });
});

describe('what is no answer of a pod', () => {
  it.each([
    ['a redirect', null, { status: 308, headers: { location: 'https://elsewhere.test/' } }],
    [
      'a friendly 200 of another server',
      '<h1>It works!</h1>',
      { status: 200, headers: { 'content-type': 'text/html' } },
    ],
    ['a 200 with a level that is none', '{}', { status: 200, headers: { 'mdp-level': 'fine' } }],
    ['a 201', '{}', { status: 201, headers: POD_HEADERS }],
    ['a 204', null, { status: 204, headers: POD_HEADERS }],
    ['the page of a proxy', '<h1>502</h1>', { status: 502, headers: { 'content-type': 'text/html' } }],
    ['a 404 of an ingress', 'default backend - 404', { status: 404, headers: { 'content-type': 'text/plain' } }],
    ['more than the limit', byteStream(ANSWER_MAX_BYTES / 65_536 + 1), { status: 200, headers: POD_HEADERS }],
  ])('is a 503 and is not asked for again: %s', async (_, body, init) => {
    const { edge, response, text } = await pushed(podAnswers(body, init));
    expect(response.status).toBe(503);
    expect(edge.calls).toHaveLength(1);
    expect(edge.calls[0]!.init.redirect).toBe('manual');
    expect(JSON.parse(text)).toMatchObject({ type: '/problems/cluster-unreachable' });
    expect(edge.logs).toMatchObject([{ level: 'error', why: 'not_a_pod' }]);
    expect(text).not.toContain('elsewhere');
  });

  it('includes a 401: the sender is told that its credentials are fine, the operator that the edge was refused', async () => {
    const { edge, response, detail } = await pushed(
      podAnswers('{}', { status: 401, headers: { 'content-type': PROBLEM_CONTENT_TYPE, 'mdp-level': 'ok' } }),
    );
    expect(response.status).toBe(503);
    expect(detail).toBe('the cluster refused the edge; your credentials are fine');
    expect(edge.logs).toMatchObject([{ level: 'error', event: 'cluster-refused-edge' }]);
  });
});

describe('an answer of a pod', () => {
  it('as large as the limit is passed on whole', async () => {
    const edge = memoryEdge(bindings, podAnswers(byteStream(ANSWER_MAX_BYTES / 65_536), { headers: POD_HEADERS }));
    const headers = { authorization: 'Bearer ibkr-token-new', 'idempotency-key': 'b1' };
    const response = await edge.request('/v1/ticks/ibkr', { method: 'POST', headers, body: '{}' });
    expect(response.status).toBe(200);
    expect((await response.arrayBuffer()).byteLength).toBe(ANSWER_MAX_BYTES);
  });

  it('without a level gets the last one known', async () => {
    const type = { 'content-type': PROBLEM_CONTENT_TYPE };
    const { response } = await pushed(podAnswers('{"detail":"x"}', { status: 413, headers: type }));
    expect(response.status).toBe(413);
    expect(response.headers.get('mdp-level')).toBe('ok');
    expect(response.headers.get('mdp-rate-scale')).toBe('1');
  });
});
