/**
 * The queue behind a full outbox, in the runtime that wrangler runs locally: a batch that the outbox has no room for goes
 * through a queue and back into the outbox, and from there to a real pod, before which another one refuses at first. That queue is in memory; what it shows is the
 * way of a message, its encoding and its acknowledgement. That it is durable is the platform's promise.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestHarness, type TestHarness } from 'wrangler';
import { startPod, type RunningPod } from '../../deploy/local/pod.ts';
import { problem } from '../../pipeline/contract/answer.ts';
import { makeCredentials } from '../support/edge-credentials.ts';
import { NDJSON } from '../support/edge-outbox.ts';
import { send } from '../support/edge-request.ts';
import { POD_HEADERS, startUpstream, type Upstream, type UpstreamReply } from '../support/edge-upstream.ts';
import { StoredTicks } from '../support/stored-ticks.ts';

/** The queue hands its message over this long after it came: by then the outbox has room again. */
const QUEUE_WAIT_SECONDS = 5;
const STORED = { timeout: 40_000, interval: 100 };
const credentials = makeCredentials();

let directory: string;
let pod: RunningPod;
let upstream: Upstream;
let runtime: TestHarness;
let edgeUrl: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mdp-overflow-'));
  pod = await startPod({
    settings: {
      MDP_PORT: '0',
      MDP_STORE: `sqlite:${join(directory, 'ticks.db')}`,
      MDP_EDGE_SECRETS: credentials.edgeSecret,
    },
  });
  upstream = await startUpstream(refuses);
  runtime = createTestHarness({
    workers: [
      {
        config: {
          name: 'edge',
          main: fileURLToPath(new URL('../../worker/index.ts', import.meta.url)),
          compatibility_date: '2026-10-23',
          compatibility_flags: ['nodejs_zlib'],
          vars: { ...credentials.bindings(upstream.url), OUTBOX_MAX_BYTES: '250' },
          exports: { Outbox: { type: 'durable-object', storage: 'sqlite' } },
          durable_objects: { bindings: [{ name: 'OUTBOX', class_name: 'Outbox' }] },
          queues: {
            producers: [{ binding: 'OVERFLOW', queue: 'overflow' }],
            consumers: [{ queue: 'overflow', max_batch_timeout: QUEUE_WAIT_SECONDS }],
          },
        },
      },
    ],
  });
  edgeUrl = (await runtime.listen()).url.origin;
});

afterAll(async () => {
  await runtime?.close();
  await upstream?.close();
  await pod?.stop();
  await rm(directory, { recursive: true, force: true });
});

/** What stands before the pod: another one that has no room, … */
const refuses: UpstreamReply = (_, response) => {
  const headers = { ...POD_HEADERS, 'content-type': 'application/problem+json', 'retry-after': '1' };
  response.writeHead(503, headers).end(JSON.stringify(problem('no-room', 'full')));
};

/** … and later a way through. */
const handsOn: UpstreamReply = ({ method, path, headers, body }, response) => {
  const sent = { method, path, headers, host: '127.0.0.1', port: pod.port };
  httpRequest(sent, (answer) => answer.pipe(response.writeHead(answer.statusCode!, answer.headers))).end(body);
};

const TOKEN = { authorization: 'Bearer ibkr-token-new' };

function push(batch: string, body: string): Promise<{ status: number; text: string }> {
  const headers = { ...TOKEN, 'content-type': NDJSON, 'idempotency-key': batch };
  return send(`${edgeUrl}/v1/ticks/ibkr`, 'POST', headers, [body]);
}

async function receiptStatus(batch: string): Promise<unknown> {
  const { text } = await send(`${edgeUrl}/v1/receipts/ibkr/${batch}`, 'GET', TOKEN);
  return (JSON.parse(text) as { status: unknown }).status;
}

function ticks(batch: string): string {
  const line = (at: number): string =>
    `{"symbol":"AAPL","tsMs":1763908200123,"id":"${batch}-${at}","price":"187.23","size":"100"}\n`;
  return Array.from({ length: 20 }, (_, at) => line(at)).join('');
}

test('a batch that finds the outbox full arrives by way of the queue, once', { timeout: 60_000 }, async () => {
  expect((await push('b1', ticks('b1'))).status).toBe(202);
  const second = await push('b2', ticks('b2'));
  expect(second.status).toBe(202);
  expect(JSON.parse(second.text)).toMatchObject({ status: 'buffered', receipt: '/v1/receipts/ibkr/b2' });
  // It is in the queue, and so not yet to be seen in the outbox.
  expect(await receiptStatus('b1')).toBe('buffered');
  expect(await receiptStatus('b2')).toBe(503);
  upstream.reply = handsOn;
  await expect.poll(() => receiptStatus('b1'), STORED).toBe('stored');
  await expect.poll(() => receiptStatus('b2'), STORED).toBe('stored');
  using store = new StoredTicks(join(directory, 'ticks.db'));
  expect(store.counts('ibkr')).toEqual({ trades: 40, quotes: 0 });
  expect(store.batches('ibkr')).toBe(2);
});
