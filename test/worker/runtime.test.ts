/** The edge as it runs in production: the wrangler bundle in real workerd, over real sockets, pods stood in for. */

import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { bundleWorker, type RunningWorkerd, startWorkerd } from '../../deploy/local/workerd.ts';
import { BODY_MAX_BYTES } from '../../pipeline/contract/batch.ts';
import { generateSecret, importSecret, verifySignature } from '../../pipeline/contract/signature.ts';
import { LOOK_INTERVAL_MS } from '../../worker/circuit.ts';
import { RELAY_TIMEOUT_MS } from '../../worker/relay.ts';
import { makeCredentials, signAsProvider, signBytes } from '../support/edge-credentials.ts';
import { filler, type RawAnswer, send, sendRaw } from '../support/edge-request.ts';
import {
  type RecordedRequest,
  replyStored,
  replyWith,
  startUpstream,
  STORED_BODY,
  type Upstream,
} from '../support/edge-upstream.ts';

const BUNDLE_MAX_BYTES = 150 * 1024;
const TICK = '{"symbol":"AAPL","tsMs":1763908200123,"price":"187.23","size":"100"}\n';

const credentials = makeCredentials();
const [OLD_SECRET, NEW_SECRET] = credentials.ibkr.secrets as [string, string];
let directory: string;
let bundlePath: string;
let upstream: Upstream;
let edge: RunningWorkerd;
/** Asked of a cluster that never answers; begun first, because its answer takes the whole deadline. */
let hanging: {
  upstream: Upstream;
  edge: RunningWorkerd;
  answer: Promise<RawAnswer & { tookMs: number }>;
  sentMs: number;
  /** When the edge asked: for the sender, and then for its outbox. */
  askedMs: number[];
};

async function start(name: string, clusterUrl: string, more: Record<string, string> = {}): Promise<RunningWorkerd> {
  const bindings = { ...credentials.bindings(clusterUrl), ...more };
  return startWorkerd({ bundlePath, port: 0, bindings, dataDir: join(directory, name), without: ['STATUS_BOARD'] });
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mdp-edge-'));
  bundlePath = await bundleWorker(join(directory, 'bundle'));
  const askedMs: number[] = [];
  const silent = await startUpstream(() => void askedMs.push(Date.now()));
  const waiting = await start('hanging', silent.url);
  const sentMs = Date.now();
  const answer = push(waiting, signAsProvider(NEW_SECRET, 'b-hang', TICK), [TICK]).then((answered) => {
    return { ...answered, tookMs: Date.now() - sentMs };
  });
  hanging = { upstream: silent, edge: waiting, answer, sentMs, askedMs };
  upstream = await startUpstream(replyStored);
  edge = await start('edge', upstream.url);
});

afterAll(async () => {
  await Promise.all([edge?.stop(), hanging?.edge.stop()]);
  await Promise.all([upstream?.close(), hanging?.upstream.close()]);
  if (directory !== undefined) await rm(directory, { recursive: true });
});

beforeEach(() => {
  upstream.requests.length = 0;
  upstream.reply = replyStored;
});

function push(
  to: RunningWorkerd,
  headers: Record<string, string>,
  chunks: readonly (string | Uint8Array)[],
  provider = 'ibkr',
): Promise<RawAnswer> {
  return send(`${to.url}/v1/ticks/${provider}`, 'POST', headers, chunks);
}

/** As the sender sent it: the outbox packs what gets shorter. */
function unpacked({ headers, body }: RecordedRequest): string {
  return (headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString();
}

async function verifiesAsEdge(request: RecordedRequest, secret: string): Promise<boolean> {
  const parts = {
    id: request.headers['webhook-id'] as string,
    timestamp: request.headers['webhook-timestamp'] as string,
    body: request.body,
  };
  const header = request.headers['webhook-signature'] as string;
  return (await verifySignature([(await importSecret(secret))!], parts, header, Date.now())).ok;
}

describe('the bundle', () => {
  it('is smaller than 150 KiB', async () => {
    expect((await stat(bundlePath)).size).toBeLessThan(BUNDLE_MAX_BYTES);
  });

  it.skipIf(process.platform !== 'linux')(
    'runs without any secret in the process arguments or in a file of its directory',
    () => {
      const command = readFileSync(`/proc/${edge.pid}/cmdline`, 'utf8');
      const config = readFileSync(join(directory, 'edge', 'workerd.capnp'), 'utf8');
      for (const secret of [credentials.edgeSecret, ...credentials.ibkr.secrets]) {
        expect(command).not.toContain(secret);
        expect(config).not.toContain(secret);
      }
    },
  );
});

describe('a signed batch', () => {
  it('reaches the pod byte for byte, signed by the edge for this provider and batch', async () => {
    const answer = await push(edge, signAsProvider(NEW_SECRET, 'b1', TICK), [TICK]);
    expect(answer.status).toBe(200);
    const [request] = upstream.requests;
    expect(upstream.requests).toHaveLength(1);
    expect(request!.method).toBe('POST');
    expect(request!.path).toBe('/v1/ticks/ibkr');
    expect(request!.headers['webhook-id']).toBe('ibkr/b1');
    expect(request!.headers['content-type']).toBe('application/x-ndjson');
    expect(request!.headers).not.toHaveProperty('mdp-batch-id-made');
    expect(request!.headers).not.toHaveProperty('authorization');
    expect(request!.body.toString()).toBe(TICK);
    expect(await verifiesAsEdge(request!, credentials.edgeSecret)).toBe(true);
    expect(await verifiesAsEdge(request!, NEW_SECRET)).toBe(false);
  });

  it('gets the answer of the pod unchanged, with its level and budget and none of its other headers', async () => {
    const answer = await push(edge, signAsProvider(NEW_SECRET, 'b1', TICK), [TICK]);
    expect(answer.text).toBe(STORED_BODY);
    expect(answer.headers).toMatchObject({
      'content-type': 'application/json',
      'mdp-level': 'ok',
      'mdp-rate-scale': '1',
      'mdp-credit': '9000',
      ratelimit: '"ticks";r=100;t=1',
      'ratelimit-policy': '"ticks";q=50000;w=1',
    });
    expect(answer.headers).not.toHaveProperty('x-inside');
    expect(answer.headers).not.toHaveProperty('set-cookie');
  });

  it('is accepted with either of two active secrets', async () => {
    for (const secret of [OLD_SECRET, NEW_SECRET]) {
      expect((await push(edge, signAsProvider(secret, 'b-rotate', TICK), [TICK])).status).toBe(200);
    }
  });

  it('stays gzipped as it was sent, to the byte', async () => {
    const packed = gzipSync(TICK.repeat(500));
    const headers = { ...(await signBytes(NEW_SECRET, 'b-gzip', packed)), 'content-encoding': 'gzip' };
    const answer = await push(edge, { ...headers, 'content-length': String(packed.length) }, [packed]);
    expect(answer.status).toBe(200);
    const [request] = upstream.requests;
    expect(request!.headers['content-encoding']).toBe('gzip');
    expect(request!.body.equals(packed)).toBe(true);
    expect(await verifiesAsEdge(request!, credentials.edgeSecret)).toBe(true);
  });

  it('may come in chunks and without a length', async () => {
    const chunks = [TICK.slice(0, 10), TICK.slice(10)];
    const answer = await push(
      edge,
      { ...signAsProvider(NEW_SECRET, 'b-chunks', TICK), 'transfer-encoding': 'chunked' },
      chunks,
    );
    expect(answer.status).toBe(200);
    expect(upstream.requests[0]!.body.toString()).toBe(TICK);
  });

  it.each([
    [429, 'over-budget', '7'],
    [422, 'all-rejected', undefined],
    [409, 'batch-conflict', undefined],
  ])('gets a pod’s %i %s unchanged and is not sent again by the edge', async (status, name, retryAfter) => {
    const text = JSON.stringify({ type: `/problems/${name}`, title: 't', status, detail: 'd' });
    const headers = { 'content-type': 'application/problem+json', 'mdp-level': 'soft', 'mdp-rate-scale': '0.5' };
    upstream.reply = replyWith(
      status,
      retryAfter === undefined ? headers : { ...headers, 'retry-after': retryAfter },
      text,
    );
    // One of its own: an edge remembers who is over budget.
    const asked = await start(`refused-${status}`, upstream.url);
    try {
      const answer = await push(asked, signAsProvider(NEW_SECRET, 'b-refused', TICK), [TICK]);
      expect(answer).toMatchObject({ status, text, headers });
      expect(answer.headers['retry-after']).toBe(retryAfter);
      expect(upstream.requests).toHaveLength(1);
    } finally {
      await asked.stop();
    }
  });
});

function secondsAway(seconds: number): Date {
  return new Date(Date.now() + seconds * 1000);
}

describe('a request that proves nothing', () => {
  const good = (): Record<string, string> => signAsProvider(NEW_SECRET, 'b1', TICK);
  const cases: [string, () => Record<string, string>, string, string][] = [
    ['unsigned', () => ({ 'content-type': 'application/x-ndjson' }), TICK, 'ibkr'],
    ['with a changed body', good, TICK.replace('187', '188'), 'ibkr'],
    ['with a changed batch id', () => ({ ...good(), 'webhook-id': 'b2' }), TICK, 'ibkr'],
    [
      'with a changed timestamp',
      () => ({ ...good(), 'webhook-timestamp': String(Math.floor(Date.now() / 1000) - 9) }),
      TICK,
      'ibkr',
    ],
    ['expired', () => signAsProvider(NEW_SECRET, 'b1', TICK, secondsAway(-301)), TICK, 'ibkr'],
    ['from the future', () => signAsProvider(NEW_SECRET, 'b1', TICK, secondsAway(310)), TICK, 'ibkr'],
    ['signed with a secret nobody has', () => signAsProvider(generateSecret(), 'b1', TICK), TICK, 'ibkr'],
    ['signed with the secret of the edge', () => signAsProvider(credentials.edgeSecret, 'b1', TICK), TICK, 'ibkr'],
    ['on the path of another provider', good, TICK, 'acme'],
    ['on the path of nobody', good, TICK, 'nobody'],
    [
      'with half a signature',
      () => ({ ...good(), 'webhook-signature': good()['webhook-signature']!.slice(0, 20) }),
      TICK,
      'ibkr',
    ],
    ['with a wrong token', () => ({ authorization: 'Bearer ibkr-token-olD' }), TICK, 'ibkr'],
    ['with the hash of a token as the token', () => ({ authorization: 'Bearer sha256:00' }), TICK, 'ibkr'],
    ['with basic credentials', () => ({ authorization: 'Basic aWJrcjppYmty' }), TICK, 'ibkr'],
  ];

  it.each(cases)('is refused with 401 and reaches no pod: %s', async (_, headers, body, provider) => {
    const answer = await push(edge, headers(), [body], provider);
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toBe('Bearer');
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(answer.headers['mdp-level']).toMatch(/^(ok|soft)$/);
    expect(JSON.parse(answer.text)).toMatchObject({ type: '/problems/unauthenticated', status: 401 });
    expect(upstream.requests).toHaveLength(0);
  });

  it('is told the same for a provider that does not exist as for a wrong secret or token', async () => {
    const forged = signAsProvider(generateSecret(), 'b1', TICK);
    for (const headers of [forged, { authorization: 'Bearer no-such-token' }, {}]) {
      const known = await push(edge, headers, [TICK], 'ibkr');
      const unknown = await push(edge, headers, [TICK], 'nobody');
      expect(known.status).toBe(401);
      expect(unknown.text).toBe(known.text);
      expect({ ...unknown.headers, date: '' }).toEqual({ ...known.headers, date: '' });
    }
  });
});

describe('a bearer token', () => {
  it('of the provider in the path is accepted, the old and the new one', async () => {
    for (const token of credentials.ibkr.tokens) {
      const headers = {
        authorization: `Bearer ${token}`,
        'idempotency-key': '"b-token"',
        'content-type': 'application/json',
      };
      expect((await push(edge, headers, [TICK])).status).toBe(200);
    }
    expect(upstream.requests.map((request) => request.headers['webhook-id'])).toEqual(['ibkr/b-token', 'ibkr/b-token']);
  });

  it('of another provider is refused with 403', async () => {
    const answer = await push(edge, { authorization: 'Bearer acme-token' }, [TICK]);
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.text)).toMatchObject({ type: '/problems/forbidden' });
    expect(upstream.requests).toHaveLength(0);
  });

  it('without a batch id makes the edge choose one and tell the pod so', async () => {
    await push(edge, { authorization: 'Bearer acme-token' }, [TICK], 'acme');
    const { headers } = upstream.requests[0]!;
    expect(headers['mdp-batch-id-made']).toBe('1');
    expect(headers['webhook-id']).toMatch(/^acme\/~[0-9a-f-]{36}$/);
    expect(await verifiesAsEdge(upstream.requests[0]!, credentials.edgeSecret)).toBe(true);
  });
});

describe('a body', () => {
  const token = { authorization: 'Bearer ibkr-token-new', 'idempotency-key': 'b-large' };

  it('of exactly the limit passes', async () => {
    const answer = await push(edge, { ...token, 'content-length': String(BODY_MAX_BYTES) }, filler(BODY_MAX_BYTES));
    expect(answer.status).toBe(200);
    expect(upstream.requests[0]!.body).toHaveLength(BODY_MAX_BYTES);
  });

  it('that says it is longer than the limit is refused before it is sent', async () => {
    const answer = await push(
      edge,
      { ...token, 'content-length': String(BODY_MAX_BYTES + 1) },
      filler(BODY_MAX_BYTES + 1),
    );
    expect(answer.status).toBe(413);
    expect(JSON.parse(answer.text)).toMatchObject({ type: '/problems/too-large' });
    expect(upstream.requests).toHaveLength(0);
  });

  it('of twice the limit gets its answer, and its sender, who writes all before it reads, no reset', async () => {
    // Seen failing: the connection was closed after 64 KiB, and the next write was an EPIPE.
    const socket = connect(edge.port, '127.0.0.1');
    const errors: Error[] = [];
    socket.on('error', (error) => errors.push(error));
    socket.write(head(`content-length: ${2 * BODY_MAX_BYTES}`));
    for (const piece of filler(2 * BODY_MAX_BYTES)) {
      socket.write(piece);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(String(answer)).toMatch(/^HTTP\/1\.1 413 /);
    expect(errors).toEqual([]);
    socket.destroy();
    expect(upstream.requests).toHaveLength(0);
  });

  it('that says nothing of its length is refused when it passes the limit', async () => {
    const answer = await push(edge, { ...token, 'transfer-encoding': 'chunked' }, filler(BODY_MAX_BYTES + 1));
    expect(answer.status).toBe(413);
    expect(upstream.requests).toHaveLength(0);
  });
});

/** The head of a request with a good token and whatever framing a test wants to lie with. */
function head(framing: string): string {
  const fields = ['host: edge', 'authorization: Bearer ibkr-token-new', 'idempotency-key: b-lie', framing];
  return ['POST /v1/ticks/ibkr HTTP/1.1', ...fields, '', ''].join('\r\n');
}

describe('a body whose length lies', () => {
  it('is refused when a small claim goes with a long chunked body', async () => {
    const chunk = `10000\r\n${' '.repeat(0x10000)}\r\n`;
    const lie = `${head('content-length: 5\r\ntransfer-encoding: chunked')}${chunk.repeat(17)}0\r\n\r\n`;
    expect(await sendRaw(edge.port, lie)).toMatch(/^HTTP\/1\.1 413 /);
    expect(upstream.requests).toHaveLength(0);
  });

  it('is never forwarded when it ends before its claim', async () => {
    const answer = await sendRaw(edge.port, `${head('content-length: 100')}${TICK.slice(0, 50)}`);
    expect(answer).not.toMatch(/^HTTP\/1\.1 2/);
    expect(upstream.requests).toHaveLength(0);
  });

  it('is forwarded up to its claim, and the rest of it is no second batch', async () => {
    const answer = await sendRaw(edge.port, `${head('content-length: 10')}0123456789${'x'.repeat(50)}`);
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(upstream.requests.map((request) => request.body.toString())).toEqual(['0123456789']);
  });
});

describe('when the cluster does not do its part', () => {
  it('a batch is held with 202 at once when nothing listens, and is delivered as it was signed when something does', async () => {
    const gone = await startUpstream(replyStored);
    const port = Number(new URL(gone.url).port);
    await gone.close();
    const lonely = await start('lonely', gone.url);
    try {
      const status = await send(`${lonely.url}/status`, 'GET', {});
      expect(status.status).toBe(200);
      expect(JSON.parse(status.text)).toMatchObject({ state: 'unreachable', cluster: null, ageSeconds: 0 });

      const sentMs = Date.now();
      const held = await push(lonely, signAsProvider(NEW_SECRET, 'b-away', TICK), [TICK]);
      expect(Date.now() - sentMs).toBeLessThan(RELAY_TIMEOUT_MS);
      expect(held.status).toBe(202);
      expect(held.headers).toMatchObject({ 'mdp-level': 'hard', 'mdp-rate-scale': '0' });
      expect(JSON.parse(held.text)).toEqual({
        batch: 'b-away',
        status: 'buffered',
        receipt: '/v1/receipts/ibkr/b-away',
      });
      expect((await send(`${lonely.url}/health`, 'GET', {})).status).toBe(200);

      const back = await startUpstream(replyStored, port);
      try {
        await expect.poll(() => back.requests.length, { timeout: 15_000 }).toBe(1);
        const [delivered] = back.requests;
        expect(delivered).toMatchObject({ method: 'POST', path: '/v1/ticks/ibkr' });
        expect(delivered!.headers).toMatchObject({
          'webhook-id': 'ibkr/b-away',
          'content-type': 'application/x-ndjson',
        });
        expect(unpacked(delivered!)).toBe(TICK);
        expect(await verifiesAsEdge(delivered!, credentials.edgeSecret)).toBe(true);
        // The way to the cluster is open again with the first batch that finds it.
        await expect
          .poll(async () => (await push(lonely, signAsProvider(NEW_SECRET, 'b-back', TICK), [TICK])).status, {
            timeout: 2 * LOOK_INTERVAL_MS,
          })
          .toBe(200);
      } finally {
        await back.close();
      }
    } finally {
      await lonely.stop();
    }
  });

  it("an answer that is no pod's, or a 401 of a pod, is the operator's: the batch is held, no redirect is followed", async () => {
    const problem = { 'content-type': 'application/problem+json', 'mdp-level': 'ok' };
    const own = await startUpstream(replyWith(401, problem, '{"type":"/problems/unauthenticated"}'));
    const refused = await start('refused', own.url);
    try {
      expect((await push(refused, signAsProvider(NEW_SECRET, 'b401', TICK), [TICK])).status).toBe(202);
      await expect.poll(() => refused.stdout() + refused.stderr()).toContain('"event":"cluster-refused-edge"');
      await expect
        .poll(() => refused.stdout() + refused.stderr(), { timeout: 5_000 })
        .toContain('"event":"outbox-stuck"');
      own.reply = replyWith(307, { location: `${own.url}/elsewhere` }, '');
      expect((await push(refused, signAsProvider(NEW_SECRET, 'b307', TICK), [TICK])).status).toBe(202);
      expect(new Set(own.requests.map((request) => request.path))).toEqual(new Set(['/v1/ticks/ibkr']));
    } finally {
      await refused.stop();
      await own.close();
    }
  });

  it('a connection that breaks before the answer is tried again', async () => {
    upstream.reply = (request, response) => {
      if (upstream.requests.length < 3) response.destroy();
      else replyStored(request, response);
    };
    const answer = await push(edge, signAsProvider(NEW_SECRET, 'b-broken', TICK), [TICK]);
    expect(answer.status).toBe(200);
    expect(upstream.requests.map((request) => request.headers['webhook-id'])).toEqual(Array(3).fill('ibkr/b-broken'));
  });

  it('an answer that breaks off is asked for again, not passed on', async () => {
    upstream.reply = (request, response) => {
      if (upstream.requests.length > 1) return replyStored(request, response);
      response.writeHead(200, { 'content-type': 'application/json', 'mdp-level': 'ok', 'content-length': '500' });
      response.write('{"batch":', () => response.destroy());
    };
    const answer = await push(edge, signAsProvider(NEW_SECRET, 'b-cut', TICK), [TICK]);
    expect(answer).toMatchObject({ status: 200, text: STORED_BODY });
    expect(upstream.requests).toHaveLength(2);
  });
});

describe('the other routes', () => {
  it('show the status of a pod, cleaned of credentials, and when it was seen', async () => {
    const text = JSON.stringify({ level: 'soft', depth: 6000, store: 'postgres://user:hunter2@db/ticks' });
    upstream.reply = replyWith(200, { 'content-type': 'application/json' }, text);
    const fresh = await start('status', upstream.url);
    try {
      const answer = await send(`${fresh.url}/status`, 'GET', {});
      expect(JSON.parse(answer.text)).toMatchObject({
        service: 'market-data-pipeline-edge',
        state: 'soft',
        ageSeconds: 0,
        cluster: { level: 'soft', depth: 6000, store: 'postgres://***@db/ticks' },
      });
      expect(upstream.requests.map((request) => request.path)).toEqual(['/status']);
    } finally {
      await fresh.stop();
    }
  });

  it('say that the settings are wrong, by name only, and refuse ticks', async () => {
    const misconfigured = await start('misconfigured', 'not a url', {
      EDGE_SECRET: 'whsec_tooshort',
      CLUSTER_ULR: 'x',
    });
    try {
      const health = await send(`${misconfigured.url}/health`, 'GET', {});
      expect(health.status).toBe(503);
      expect(JSON.parse(health.text)).toMatchObject({
        status: 'misconfigured',
        problems: ['CLUSTER_ULR', 'CLUSTER_URL', 'EDGE_SECRET'],
      });
      const ticks = await push(misconfigured, signAsProvider(NEW_SECRET, 'b1', TICK), [TICK]);
      expect(ticks.status).toBe(503);
      expect(ticks.text).not.toMatch(/CLUSTER|SECRET/);
      expect((await send(`${misconfigured.url}/status`, 'GET', {})).status).toBe(200);
      const logged = (): string[] => {
        return (misconfigured.stdout() + misconfigured.stderr()).match(/.*setting-wrong.*/g) ?? [];
      };
      await expect.poll(() => logged().length).toBe(3);
      expect(logged().join()).not.toContain('tooshort');
    } finally {
      await misconfigured.stop();
    }
  });
});

describe('a pod that never answers', () => {
  it('costs its sender the deadline and no more, and the batch is held', async () => {
    const answer = await hanging.answer;
    expect(answer.status).toBe(202);
    expect(JSON.parse(answer.text)).toMatchObject({ batch: 'b-hang', status: 'buffered' });
    expect(hanging.askedMs.filter((ms) => ms - hanging.sentMs < RELAY_TIMEOUT_MS)).toHaveLength(1);
    expect(answer.tookMs).toBeGreaterThanOrEqual(RELAY_TIMEOUT_MS);
    expect(answer.tookMs).toBeLessThan(2 * RELAY_TIMEOUT_MS);
  });
});
