/** The outbox in real workerd, before a stand-in that refuses as a pod would: what goes in, when it comes out. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleWorker } from '../../../deploy/local/workerd.ts';
import { problem, PROBLEMS } from '../../../pipeline/contract/answer.ts';
import { splitScopedBatchId } from '../../../pipeline/contract/identity.ts';
import { importSecret, verifySignature } from '../../../pipeline/contract/signature.ts';
import { EdgeRig } from '../../support/edge-rig.ts';
import { POD_HEADERS, type RecordedRequest, startUpstream, type UpstreamReply } from '../../support/edge-upstream.ts';

const TICK = '{"symbol":"AAPL","tsMs":1763908200123,"price":"187.23","size":"100"}\n';
const SOON = { timeout: 15_000, interval: 50 };

let directory: string;
let bundlePath: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mdp-outbox-'));
  bundlePath = await bundleWorker(directory);
});

afterAll(() => rm(directory, { recursive: true, force: true }));

function batchOf({ headers }: RecordedRequest): string {
  return splitScopedBatchId(String(headers['webhook-id'])).batchId;
}

/** A pod that stores whatever comes, and tells its credit. */
function stores(creditTicks: number): UpstreamReply {
  return (request, response) => {
    const body = {
      batch: batchOf(request),
      status: 'stored',
      stored: 1,
      duplicates: 0,
      rejected: [],
      ignoredFields: 0,
    };
    response.writeHead(200, { ...POD_HEADERS, 'mdp-credit': String(creditTicks) }).end(JSON.stringify(body));
  };
}

function refuses(name: keyof typeof PROBLEMS, retryAfterSeconds: number): UpstreamReply {
  return (_, response) => {
    const headers = {
      ...POD_HEADERS,
      'content-type': 'application/problem+json',
      'retry-after': String(retryAfterSeconds),
    };
    response.writeHead(PROBLEMS[name].status, headers).end(JSON.stringify(problem(name, 'why')));
  };
}

async function rigBefore(reply: UpstreamReply) {
  const upstream = await startUpstream(reply);
  const rig = await EdgeRig.start({ bundlePath, clusterUrl: upstream.url });
  return {
    upstream,
    rig,
    async [Symbol.asyncDispose](): Promise<void> {
      await rig[Symbol.asyncDispose]();
      await upstream.close();
    },
  };
}

describe('a batch that a pod refuses', () => {
  it.each(['backpressure', 'draining', 'store-unavailable', 'no-room'] as const)(
    'because of %s is held, left alone for Retry-After, and delivered signed and once',
    async (name) => {
      await using world = await rigBefore(refuses(name, 2));
      const { upstream, rig } = world;
      const answer = await rig.push('b1', TICK.repeat(20));
      expect(answer.status).toBe(202);
      const refusedMs = Date.now();
      upstream.reply = stores(9_000);
      expect(await rig.receipt('b1')).toMatchObject({ status: 'buffered', position: 0 });
      await expect.poll(() => upstream.requests.length, SOON).toBe(2);
      expect(Date.now() - refusedMs).toBeGreaterThan(1_500);
      const delivered = upstream.requests[1]!;
      expect(delivered.headers).toMatchObject({ 'webhook-id': 'ibkr/b1', 'content-encoding': 'gzip' });
      const parts = {
        id: 'ibkr/b1',
        timestamp: String(delivered.headers['webhook-timestamp']),
        body: delivered.body,
      };
      const key = (await importSecret(rig.credentials.edgeSecret))!;
      expect((await verifySignature([key], parts, String(delivered.headers['webhook-signature']), Date.now())).ok).toBe(
        true,
      );
      await expect.poll(async () => (await rig.receipt('b1'))['status'], SOON).toBe('stored');
      expect(upstream.requests).toHaveLength(2);
    },
  );

  it("for its own fault is its sender's, and nothing is held", async () => {
    await using world = await rigBefore(refuses('over-budget', 7));
    const answer = await world.rig.push('b1', TICK);
    expect(answer).toMatchObject({ status: 429, headers: { 'retry-after': '7' } });
    expect(JSON.parse((await world.rig.get('/v1/receipts/ibkr/b1')).text)).toMatchObject({ status: 503 });
  });
});

describe('a drain', () => {
  it('goes oldest first, in parallel no further than the credit', async () => {
    let onTheirWay = 0;
    let most = 0;
    const order: string[] = [];
    await using world = await rigBefore(refuses('no-room', 1));
    const { upstream, rig } = world;
    // So few that nobody's refusal is over before the last one is held.
    for (let batch = 0; batch < 20; batch += 1) expect((await rig.push(`b${batch}`, TICK.repeat(10))).status).toBe(202);
    const reply = stores(35);
    upstream.requests.length = 0;
    upstream.reply = (request, response) => {
      order.push(batchOf(request));
      onTheirWay += 1;
      most = Math.max(most, onTheirWay);
      setTimeout(() => {
        onTheirWay -= 1;
        reply(request, response);
      }, 30);
    };
    await expect.poll(async () => (await rig.receipt('b19'))['status'], SOON).toBe('stored');
    expect(new Set(order).size).toBe(20);
    expect(most).toBe(3);
    // Three at once may overtake each other by two places.
    const late = [...new Set(order)].map((id, at) => Math.abs(Number(id.slice(1)) - at));
    expect(Math.max(...late)).toBeLessThanOrEqual(3);
  });

  it('goes on after the edge is killed, with nobody asking, and again and again', async () => {
    await using world = await rigBefore(refuses('store-unavailable', 1));
    const { upstream, rig } = world;
    expect((await rig.push('b1', TICK)).status).toBe(202);
    for (let kill = 0; kill < 3; kill += 1) {
      await rig.killEdge();
      const before = upstream.requests.length;
      await rig.startEdge();
      await expect.poll(() => upstream.requests.length, SOON).toBeGreaterThan(before);
    }
    upstream.reply = stores(9_000);
    await expect.poll(async () => (await rig.receipt('b1'))['status'], SOON).toBe('stored');
  });

  it('keeps a batch that breaks every pod it meets from holding up the others', async () => {
    await using world = await rigBefore(refuses('draining', 1));
    const { upstream, rig } = world;
    for (const batch of ['poison', 'b1', 'b2']) expect((await rig.push(batch, TICK)).status).toBe(202);
    const reply = stores(9_000);
    upstream.reply = (request, response) => {
      if (batchOf(request) === 'poison') response.destroy();
      else reply(request, response);
    };
    for (const batch of ['b1', 'b2']) {
      await expect.poll(async () => (await rig.receipt(batch))['status'], SOON).toBe('stored');
    }
    expect(await rig.receipt('poison')).toMatchObject({ status: 'buffered' });
    expect((await rig.receipt('poison'))['attempts']).toBeGreaterThanOrEqual(1);
  });
});

describe('the receipt of a batch that never was held', () => {
  it('is asked of the cluster, signed', async () => {
    await using world = await rigBefore((request, response) => {
      const said = { batch: 'b1', status: 'stored', stored: 4, duplicates: 1, rejected: [] };
      if (request.path === '/v1/receipts/ibkr/b1') response.writeHead(200, POD_HEADERS).end(JSON.stringify(said));
      else refuses('not-found', 1)(request, response);
    });
    const { upstream, rig } = world;
    expect(await rig.receipt('b1')).toEqual({ batch: 'b1', status: 'stored', stored: 4, duplicates: 1, rejected: [] });
    const [asked] = upstream.requests;
    const parts = { id: 'ibkr/b1', timestamp: String(asked!.headers['webhook-timestamp']), body: new Uint8Array(0) };
    const key = (await importSecret(rig.credentials.edgeSecret))!;
    expect((await verifySignature([key], parts, String(asked!.headers['webhook-signature']), Date.now())).ok).toBe(
      true,
    );
    expect(asked!.method).toBe('GET');
    expect((await rig.get('/v1/receipts/ibkr/b2')).status).toBe(404);
    await upstream.close();
    expect((await rig.get('/v1/receipts/ibkr/b1')).status).toBe(503);
  });
});
