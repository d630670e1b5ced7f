/** What a provider may look up at the edge, as routes in memory: receipts and dead letters, and who may not. */

import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { problem } from '../../../pipeline/contract/answer.ts';
import { importSecret, verifySignature } from '../../../pipeline/contract/signature.ts';
import type { Fetch } from '../../../worker/relay.ts';
import { memoryEdge, podHangs, podRefusesConnections, START_MS } from '../../support/edge-app.ts';
import { makeCredentials, signAsProvider } from '../../support/edge-credentials.ts';
import { memoryNamespace, nextOf, offered } from '../../support/edge-outbox.ts';

const credentials = makeCredentials();
const TOKEN = { authorization: 'Bearer ibkr-token-new' };
const DEAD = { reason: 'all-rejected', detail: 'none of 1 ticks is valid' };
const REJECTED = [{ index: 1, reason: 'bad_time' as const, detail: 'ts is missing' }];

function readingEdge(cluster: Fetch = podRefusesConnections, withOutbox = true) {
  const outboxes = memoryNamespace(() => START_MS);
  const outbox = withOutbox ? { OUTBOX: outboxes.namespace } : {};
  const edge = memoryEdge({ ...credentials.bindings(), ...outbox }, cluster, { askTimeoutMs: 30 });
  const held = outboxes.of('ibkr');
  const get = async (path: string, headers: Record<string, string> = TOKEN) => {
    const response = await edge.request(path, { headers });
    const text = await response.text();
    const isJson = /^application\/(problem\+)?json$/.test(response.headers.get('content-type')!);
    const json = isJson ? (JSON.parse(text) as unknown) : null;
    return { status: response.status, headers: response.headers, text, json };
  };
  return { ...edge, ...outboxes, held, get };
}

function podSays(status: number, body: unknown, type = 'application/json'): Fetch {
  return () => Promise.resolve(new Response(JSON.stringify(body), { status, headers: { 'content-type': type } }));
}

const podKnowsNot = podSays(404, problem('not-found', 'no such batch'), 'application/problem+json');

describe('a receipt', () => {
  it('of a held batch is the answer of the outbox alone', async () => {
    const edge = readingEdge();
    edge.held.shelf.offer(offered('b1', 'x', { arrivedMs: START_MS - 5_000 }));
    expect(await edge.get('/v1/receipts/ibkr/b1')).toMatchObject({
      status: 200,
      json: { batch: 'b1', status: 'buffered', position: 0, ageSeconds: 5, attempts: 0 },
    });
    expect(edge.calls).toEqual([]);
  });

  it('of a delivered batch is answered while the cluster is away', async () => {
    const edge = readingEdge();
    for (const id of ['whole', 'partly', 'dead']) edge.held.shelf.offer(offered(id));
    edge.held.shelf.settle(nextOf(edge.held), { stored: 1, duplicates: 0, rejected: [] }, START_MS);
    edge.held.shelf.settle(nextOf(edge.held), { stored: 1, duplicates: 1, rejected: REJECTED }, START_MS);
    edge.held.shelf.bury(nextOf(edge.held), DEAD, START_MS);
    const at = new Date(START_MS).toISOString();
    const expected = {
      whole: { batch: 'whole', status: 'stored', stored: 1, duplicates: 0, rejected: [] },
      partly: { batch: 'partly', status: 'partly_rejected', stored: 1, duplicates: 1, rejected: REJECTED },
      dead: { batch: 'dead', status: 'dead', ...DEAD, at },
    };
    for (const [id, json] of Object.entries(expected)) {
      expect(await edge.get(`/v1/receipts/ibkr/${id}`)).toMatchObject({ status: 200, json });
    }
  });

  it('of a batch that never was here is the one of the ledger, asked for with the signature of the edge', async () => {
    const said = { batch: 'b1', status: 'stored', stored: 2, duplicates: 0, rejected: REJECTED };
    const edge = readingEdge(podSays(200, said));
    expect(await edge.get('/v1/receipts/ibkr/b1')).toMatchObject({
      status: 200,
      json: { ...said, status: 'partly_rejected' },
    });
    const { url, init } = edge.calls[0]!;
    expect(url).toBe('http://cluster.test/v1/receipts/ibkr/b1');
    expect(init.method ?? 'GET').toBe('GET');
    const headers = init.headers as Record<string, string>;
    expect(headers['webhook-id']).toBe('ibkr/b1');
    const parts = { id: 'ibkr/b1', timestamp: headers['webhook-timestamp'], body: new Uint8Array(0) };
    const key = (await importSecret(credentials.edgeSecret))!;
    expect((await verifySignature([key], parts, headers['webhook-signature'], START_MS)).ok).toBe(true);
  });

  it('is a 404 only when outbox and ledger have both looked', async () => {
    expect(await readingEdge(podKnowsNot).get('/v1/receipts/ibkr/b1')).toMatchObject({
      status: 404,
      json: { type: '/problems/not-found' },
    });
    expect((await readingEdge(podKnowsNot, false).get('/v1/receipts/ibkr/b1')).status).toBe(404);
    const broken = readingEdge(podKnowsNot);
    broken.control.broken = () => Promise.reject(new Error('overloaded'));
    expect((await broken.get('/v1/receipts/ibkr/b1')).status).toBe(503);
  });

  it.each<[string, Fetch]>([
    ['is away', podRefusesConnections],
    ['does not answer', podHangs],
    ['refuses the edge', podSays(401, problem('unauthenticated', ''), 'application/problem+json')],
    ['is a proxy with a 404 of its own', podSays(404, 'default backend', 'text/plain')],
    ['is a friendly stranger', podSays(200, { status: 'stored' })],
    [
      'speaks of another batch',
      podSays(200, { batch: 'b2', status: 'stored', stored: 1, duplicates: 0, rejected: [] }),
    ],
    ['has lost its store', podSays(503, problem('store-unavailable', ''), 'application/problem+json')],
  ])('is a 503 that says when to ask again while the cluster %s', async (_, cluster) => {
    const answer = await readingEdge(cluster).get('/v1/receipts/ibkr/b1');
    expect(answer).toMatchObject({ status: 503, json: { type: '/problems/cluster-unreachable', batch: 'b1' } });
    expect(answer.headers.get('retry-after')).toBe('5');
  });

  it('of a dead batch gives way to what the ledger has stored since, but not when another body is what is stored', async () => {
    const said = { batch: 'b1', status: 'stored', stored: 1, duplicates: 0, rejected: [] };
    const edge = readingEdge(podSays(200, said));
    edge.held.shelf.offer(offered('b1'));
    edge.held.shelf.bury(nextOf(edge.held), { reason: 'expired', detail: '' }, START_MS);
    expect((await edge.get('/v1/receipts/ibkr/b1')).json).toEqual(said);
    edge.held.shelf.offer(offered('b1'));
    edge.held.shelf.bury(nextOf(edge.held), { reason: 'batch-conflict', detail: '' }, START_MS);
    expect((await edge.get('/v1/receipts/ibkr/b1')).json).toMatchObject({ status: 'dead', reason: 'batch-conflict' });
  });
});

describe('dead letters', () => {
  it('are listed newest first, in pages', async () => {
    const edge = readingEdge();
    for (const id of ['a', 'b', 'c']) {
      edge.held.shelf.offer(offered(id, 'body', { arrivedMs: START_MS - 1_000 }));
      edge.held.shelf.bury(nextOf(edge.held), DEAD, START_MS);
    }
    const first = (await edge.get('/v1/dead-letters/ibkr?limit=2')).json as { deadLetters: unknown[]; next: number };
    const times = { at: new Date(START_MS).toISOString(), arrivedAt: new Date(START_MS - 1_000).toISOString() };
    expect(first.deadLetters).toEqual(['c', 'b'].map((batch) => ({ batch, ...DEAD, ...times, bytes: 4, ticks: 1 })));
    const second = await edge.get(`/v1/dead-letters/ibkr?limit=2&before=${first.next}`);
    expect(second.json).toMatchObject({ provider: 'ibkr', deadLetters: [{ batch: 'a' }], next: null });
    for (const query of ['limit=0', 'limit=1001', 'limit=x', 'before=-1', 'before=1e3']) {
      expect((await edge.get(`/v1/dead-letters/ibkr?${query}`)).status).toBe(400);
    }
  });

  it('are given back as they were sent, unpacked where that can be done', async () => {
    const edge = readingEdge();
    const packed = new Uint8Array(gzipSync('{"symbol":"A"}\n'));
    edge.held.shelf.offer(offered('packed', '', { body: packed, encoding: 'gzip' }));
    edge.held.shelf.offer(offered('broken', 'no gzip', { encoding: 'gzip' }));
    edge.held.shelf.offer(offered('plain', '["<script>"]', { contentType: 'application/json' }));
    for (let left = 3; left > 0; left -= 1) edge.held.shelf.bury(nextOf(edge.held), DEAD, START_MS);
    const unpacked = await edge.get('/v1/dead-letters/ibkr/packed');
    expect(unpacked).toMatchObject({ status: 200, text: '{"symbol":"A"}\n' });
    expect(unpacked.headers.get('content-type')).toBe('application/x-ndjson');
    expect(unpacked.headers.get('x-content-type-options')).toBe('nosniff');
    const broken = await edge.get('/v1/dead-letters/ibkr/broken');
    expect(broken).toMatchObject({ status: 200, text: 'no gzip' });
    expect(broken.headers.get('content-type')).toBe('application/gzip');
    expect((await edge.get('/v1/dead-letters/ibkr/plain')).text).toBe('["<script>"]');
    expect((await edge.get('/v1/dead-letters/ibkr/none')).status).toBe(404);
  });

  it('are none at an edge without an outbox', async () => {
    const edge = readingEdge(podRefusesConnections, false);
    expect((await edge.get('/v1/dead-letters/ibkr')).json).toEqual({ provider: 'ibkr', deadLetters: [], next: null });
    expect((await edge.get('/v1/dead-letters/ibkr/b1')).status).toBe(404);
  });
});

describe('looking up', () => {
  const paths = ['/v1/receipts/ibkr/b1', '/v1/dead-letters/ibkr', '/v1/dead-letters/ibkr/b1'];

  it.each(paths)('needs credentials of this provider: %s', async (path) => {
    const edge = readingEdge(podKnowsNot);
    edge.held.shelf.offer(offered('b1'));
    const now = new Date(START_MS);
    const answers: [Record<string, string>, number][] = [
      [{}, 401],
      [{ authorization: 'Bearer wrong' }, 401],
      [{ authorization: 'Bearer acme-token' }, 403],
      [signAsProvider(credentials.acme.secrets[0]!, 'any', '', now), 401],
      [signAsProvider(credentials.ibkr.secrets[0]!, 'any', 'a body', now), 401],
      [signAsProvider(credentials.ibkr.secrets[0]!, 'any', '', new Date(START_MS - 400_000)), 401],
    ];
    for (const [headers, status] of answers) expect((await edge.get(path, headers)).status).toBe(status);
    const signed = await edge.get(path, signAsProvider(credentials.ibkr.secrets[1]!, 'any-id', '', now));
    expect([200, 404]).toContain(signed.status);
    expect(edge.calls).toEqual([]);
  });

  it.each(['/v1/receipts/IBKR/b1', '/v1/receipts/ibkr/a.b', '/v1/dead-letters/-', '/v1/dead-letters/ibkr/%00'])(
    'with a wrong name is a 400: %s',
    async (path) => {
      expect((await readingEdge().get(path)).status).toBe(400);
    },
  );

  it('for a batch id with special characters finds it', async () => {
    const edge = readingEdge();
    edge.held.shelf.offer(offered('~a:b@c+d=e'));
    expect(await edge.get('/v1/receipts/ibkr/~a:b@c+d=e')).toMatchObject({ json: { batch: '~a:b@c+d=e' } });
    expect(await edge.get(`/v1/receipts/ibkr/${encodeURIComponent('~a:b@c+d=e')}`)).toMatchObject({ status: 200 });
  });
});
