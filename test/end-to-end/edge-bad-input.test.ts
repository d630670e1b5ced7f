/**
 * Bad input at every endpoint of the edge but the one for ticks, which has a corpus of its own (malformed.test.ts): paths,
 * queries, methods, headers and bodies that nobody should send. Real workerd with all its objects, a real pod. Nothing is
 * a 500, nothing hangs, and whatever is refused says why.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningPod, startPod } from '../../deploy/local/pod.ts';
import { bundleWorker, type RunningWorkerd, startWorkerd } from '../../deploy/local/workerd.ts';
import { makeCredentials } from '../support/edge-credentials.ts';
import { NDJSON } from '../support/edge-outbox.ts';
import { send } from '../support/edge-request.ts';

const ANSWERED_WITHIN_MS = 8_000;
const SCALING_TOKEN = 'scaling-token-of-the-test';
const PROVIDER = { authorization: 'Bearer ibkr-token-new' };
const OPERATOR = { authorization: `Bearer ${SCALING_TOKEN}` };
const TICK = '{"symbol":"AAPL","tsMs":1763908200123,"price":"187.23","size":"100"}\n';

const LONG = 'x'.repeat(5_000);
/** In the place of a name: as raw text of the request line. */
const SEGMENTS = [
  '..',
  '%2e%2e',
  '%2F',
  '%00',
  '%0d%0aset-cookie:x=1',
  '%ff%fe',
  '%',
  '%zz',
  '%F0%9F%92%A9',
  '~',
  '*',
  '-',
  '.',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'null',
  'undefined',
  'NaN',
  '-1',
  '0',
  '1e309',

  "'%20OR%201=1--",
  '%3Cscript%3E',
  '{}',
  '[]',
  ';x=y',
  'a%20b',
  'IBKR',
  'ibkr%2Facme',
  LONG,
  '%41'.repeat(2_000),
];
const QUERIES = [
  'limit=0',
  'limit=-1',
  'limit=1001',
  'limit=1e3',
  'limit=',
  'limit=NaN',
  'limit=9999999999999999999999',
  'limit=1&limit=2',
  'before=-5',
  'before=abc',
  'before=1.5',
  'before=%00',
  `before=${'9'.repeat(4_000)}`,
  'limit[]=1',
  '__proto__[x]=1',
  '%',
  '&&&===',
  'limit=%F0%28%8C%28',
  `q=${LONG}`,
];
const METHODS = ['PUT', 'PATCH', 'DELETE', 'OPTIONS', 'POST', 'PROPFIND'];
const HEADERS: Record<string, string>[] = [
  { authorization: 'Bearer' },
  { authorization: `Bearer ${'x'.repeat(8_000)}` },
  { authorization: 'Bearer ü' },
  { authorization: 'Basic aWJrcjppYmty' },
  { authorization: 'Bearer a b' },
  { 'webhook-signature': 'v1,', 'webhook-id': 'x', 'webhook-timestamp': '99999999999999' },
  { 'webhook-signature': `v1,${'A'.repeat(4_000)}`, 'webhook-id': LONG, 'webhook-timestamp': '-1' },
  { ...PROVIDER, accept: 'x/y;q=-1' },
  { ...PROVIDER, range: 'bytes=9-0' },
  { ...PROVIDER, 'if-none-match': '*', 'if-modified-since': 'never' },
  { ...PROVIDER, origin: 'null', cookie: LONG },
  { ...PROVIDER, upgrade: 'h2c', connection: 'Upgrade' },
  { ...PROVIDER, upgrade: 'websocket', connection: 'Upgrade', 'sec-websocket-version': '99' },
  { ...PROVIDER, 'x-forwarded-for': LONG, 'cf-connecting-ip': `::${LONG}` },
];

/** Each endpoint with an ordinary path, and with a place for a name where it has one. */
const ENDPOINTS = [
  '/v1/receipts/{}/b1',
  '/v1/receipts/ibkr/{}',
  '/v1/dead-letters/{}',
  '/v1/dead-letters/{}/b1',
  '/v1/dead-letters/ibkr/{}',
  '/v1/ticks/{}/ws',
  '/v1/scaling',
  '/metrics',
  '/health',
  '/status',
  '/api/v2/{}.json',
  '/api/v2/status.json',
  '/api/v2/summary.json',
  '/api/v2/components.json',
  '/api/v2/incidents.json',
  '/incidents.atom',
  '/badge.svg',
  '/badge/{}',
  '/problems/{}',
  '/{}',
  '/',
];
const ordinary = (endpoint: string): string => endpoint.replace('{}', 'ibkr');

interface Bad {
  method: string;
  path: string;
  headers: Record<string, string>;
  body?: string;
}

const CORPUS: Bad[] = ENDPOINTS.flatMap((endpoint) => {
  const isOperators = endpoint === '/metrics' || endpoint === '/v1/scaling';
  const headers = isOperators ? OPERATOR : PROVIDER;
  const path = ordinary(endpoint);
  return [
    ...(endpoint.includes('{}') ? SEGMENTS : []).map((name) => ({
      method: 'GET',
      path: endpoint.replace('{}', () => name),
      headers,
    })),
    ...QUERIES.map((query) => ({ method: 'GET', path: `${path}?${query}`, headers })),
    ...METHODS.map((method) => ({ method, path, headers, body: '{"a":' })),
    ...HEADERS.map((given) => ({ method: 'GET', path, headers: given })),
    { method: 'GET', path, headers: { ...headers, 'content-type': 'application/json' }, body: '\u0000'.repeat(70_000) },
    { method: 'HEAD', path, headers },
  ];
});

interface Answer {
  status: number;
  type: string;
  text: string;
}

let directory: string;
let pod: RunningPod;
let edge: RunningWorkerd;
const log: string[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mdp-bad-input-'));
  const credentials = makeCredentials();
  pod = await startPod({
    settings: {
      MDP_PORT: '0',
      MDP_STORE: `sqlite:${join(directory, 'ticks.db')}`,
      MDP_EDGE_SECRETS: credentials.edgeSecret,
    },
  });
  edge = await startWorkerd({
    bundlePath: await bundleWorker(join(directory, 'bundle')),
    port: 0,
    bindings: { ...credentials.bindings(pod.url), SCALING_TOKEN, STATUS_PROVIDERS: '"*"' },
    dataDir: join(directory, 'edge'),
    onLine: (line) => log.push(line),
  });
});

afterAll(async () => {
  await edge?.stop();
  await pod?.stop();
  await rm(directory, { recursive: true, force: true });
});

/** Over a socket of its own, exactly as given; rejects when nothing whole comes in time. */
function ask({ method, path, headers, body }: Bad): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    const latin = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, Buffer.from(value).toString('latin1')]),
    );
    const options = {
      host: '127.0.0.1',
      port: edge.port,
      method,
      path,
      headers: { ...latin, ...length },
      agent: false,
    };
    const sent = request({ ...options, timeout: ANSWERED_WITHIN_MS }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'] ?? '', text });
      });
      response.on('error', reject);
    });
    sent.on('upgrade', (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode ?? 0, type: '', text: '' });
    });
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${ANSWERED_WITHIN_MS} ms`)));
    sent.on('error', reject);
    sent.end(body);
  });
}

/** What is wrong with an answer; undefined when nothing is. */
function complaintOf({ method, path }: Bad, { status, type, text }: Answer): string | undefined {
  const about = `${method} ${path.slice(0, 80)}: ${status} ${type} ${text.slice(0, 120)}`;
  if (status >= 500 && status !== 503) return about;
  if (status < 400) return undefined;
  // The platform's own, before the Worker hears of it: a request line or headers that are no HTTP.
  if (status === 400 && type === '' && text === '') return undefined;
  if (type !== 'application/problem+json') return about;
  if (method === 'HEAD') return undefined;
  const problem = JSON.parse(text) as { type: string; title: string; status: number; detail: string };
  const isProblem = problem.type.startsWith('/problems/') && problem.status === status && problem.detail !== '';
  return isProblem ? undefined : about;
}

describe(`bad input of ${CORPUS.length} kinds`, () => {
  it('is answered at every endpoint, never with a 500, and each refusal says why', { timeout: 120_000 }, async () => {
    expect(CORPUS.length).toBeGreaterThan(900);
    const complaints: string[] = [];
    const statuses = new Map<number, number>();
    let next = 0;
    const asker = async (): Promise<void> => {
      while (next < CORPUS.length) {
        const bad = CORPUS[next]!;
        next += 1;
        const answer = await ask(bad).catch((cause: unknown) => String(cause));
        if (typeof answer === 'string') {
          complaints.push(`${bad.method} ${bad.path.slice(0, 80)}: ${answer}`);
          continue;
        }
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
        const complaint = complaintOf(bad, answer);
        if (complaint !== undefined) complaints.push(complaint);
      }
    };
    await Promise.all(Array.from({ length: 8 }, asker));
    expect(complaints).toEqual([]);
    expect([...statuses.keys()]).toEqual(expect.arrayContaining([200, 400, 401, 403, 404, 405]));
  });

  it('leaves the edge as it was: nothing broke, and the next batch is stored', async () => {
    expect(log.filter((line) => line.includes('internal-error') || line.includes('Uncaught'))).toEqual([]);
    const headers = { ...PROVIDER, 'content-type': NDJSON, 'idempotency-key': 'after' };
    expect((await send(`${edge.url}/v1/ticks/ibkr`, 'POST', headers, [TICK])).status).toBe(200);
    expect((await send(`${edge.url}/v1/receipts/ibkr/after`, 'GET', PROVIDER)).status).toBe(200);
    expect((await send(`${edge.url}/metrics`, 'GET', OPERATOR)).status).toBe(200);
  });
});
