/**
 * Requests that prove nothing, or prove somebody else, at the real edge and at the real pod: each is refused with
 * 401 or 403, in words that tell a forger nothing, and not one of their ticks is in the store afterwards.
 *
 * How long a refusal takes is not measured: on shared cores that would pass or fail by chance. That nothing is
 * compared by `===` is in the code (`subtle.verify`, `sameHash`) and in `test/worker/auth.test.ts`.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { generateSecret, importSecret, signatureHeaders } from '../../pipeline/contract/signature.ts';
import { type RawAnswer, send } from '../support/edge-request.ts';
import { trade } from '../support/malformed-corpus.ts';
import { RunningSystem } from '../support/running-system.ts';

type Headers = Record<string, string>;

const BODY = `${trade()}\n${trade({ symbol: '"MSFT"' })}\n`;
const CHANGED_BODY = BODY.replace('187.23', '187.24');
const TYPE = { 'content-type': 'application/x-ndjson' };
const TOLERANCE_MS = 300_000;

let system: RunningSystem;

beforeAll(async () => {
  system = await RunningSystem.start(['ibkr', 'acme']);
});
afterAll(async () => {
  await system?.[Symbol.asyncDispose]();
});

/** Three headers over `body` and the content type, `agoMs` old. */
async function signed(secret: string, id: string, agoMs = 0, body = BODY): Promise<Headers> {
  const key = (await importSecret(secret))!;
  return { ...TYPE, ...(await signatureHeaders(key, id, Date.now() - agoMs, Buffer.from(body))) };
}

async function push(base: string, provider: string, headers: Headers, body = BODY): Promise<RawAnswer> {
  return send(`${base}/v1/ticks/${provider}`, 'POST', headers, [body]);
}

const own = (): string => system.providers['ibkr']!.secret;
const other = (): string => system.providers['acme']!.secret;
const ownToken = (): string => system.providers['ibkr']!.token;
const otherToken = (): string => system.providers['acme']!.token;

interface Forgery {
  headers: () => Headers | Promise<Headers>;
  provider?: string;
  body?: string;
  status?: 401 | 403;
}

function changed(headers: Headers, name: string, change: (value: string) => string): Headers {
  return { ...headers, [name]: change(headers[name]!) };
}

/** The first character of the base64 is six bits of the MAC's first byte. */
function flipped(signature: string): string {
  return signature.replace(/^v1,(.)/, (_, first: string) => `v1,${first === 'A' ? 'B' : 'A'}`);
}

/** A signature header that cannot be right whoever checks it. */
const GARBAGE: [string, string][] = [
  ['a word', 'garbage'],
  ['a version alone', 'v1,'],
  ['a MAC without its version', 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='],
  ['a MAC of another version', 'v1a,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='],
  ['32 zero bytes', 'v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='],
  ['a MAC of 31 bytes', 'v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=='],
  ['what is no base64', 'v1,!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!='],
  ['a hundred entries', Array(100).fill('v1,AAAA').join(' ')],
];

/** The same forgeries for both doors; `sign` makes what the door would accept. */
function commonForgeries(
  sign: (secret?: string, agoMs?: number, body?: string) => Promise<Headers>,
): [string, Forgery][] {
  const without = (name: string) => async () => {
    const { [name]: _, ...rest } = await sign();
    return rest;
  };
  return [
    ['unsigned', { headers: () => TYPE }],
    ['unsigned, with a batch id', { headers: () => ({ ...TYPE, 'webhook-id': 'ibkr/b' }) }],
    ['signed with a secret that nobody has', { headers: () => sign(generateSecret()) }],
    ['five minutes and a second old', { headers: () => sign(undefined, TOLERANCE_MS + 1_500) }],
    ['five minutes and some seconds ahead', { headers: () => sign(undefined, -TOLERANCE_MS - 5_000) }],
    ['with another body', { headers: () => sign(), body: CHANGED_BODY }],
    ['with a body cut short', { headers: () => sign(), body: BODY.slice(0, -1) }],
    ['with no body', { headers: () => sign(), body: '' }],
    ['with another batch id', { headers: async () => changed(await sign(), 'webhook-id', (id) => `${id}2`) }],
    [
      'with a later timestamp',
      { headers: async () => changed(await sign(), 'webhook-timestamp', (s) => String(Number(s) + 1)) },
    ],
    ['with a timestamp that is none', { headers: async () => changed(await sign(), 'webhook-timestamp', () => '1e9') }],
    [
      'with one bit of the signature changed',
      { headers: async () => changed(await sign(), 'webhook-signature', flipped) },
    ],
    [
      'with half a signature',
      { headers: async () => changed(await sign(), 'webhook-signature', (s) => s.slice(0, 20)) },
    ],
    ['without its signature', { headers: without('webhook-signature') }],
    ['without its timestamp', { headers: without('webhook-timestamp') }],
    ['without its id', { headers: without('webhook-id') }],
    ['on the path of another provider', { headers: () => sign(), provider: 'acme' }],
    ['on the path of a provider that does not exist', { headers: () => sign(), provider: 'nobody' }],
    ...GARBAGE.map(([what, signature]): [string, Forgery] => [
      `whose signature is ${what}`,
      { headers: async () => changed(await sign(), 'webhook-signature', () => signature) },
    ]),
  ];
}

const AT_EDGE: [string, Forgery][] = [
  ...commonForgeries((secret = own(), agoMs, body) => signed(secret, 'b', agoMs, body)),
  ['signed with another provider’s secret', { headers: () => signed(other(), 'b') }],
  ['signed with the secret of the edge', { headers: () => signed(system.edgeSecret, 'b') }],
  ['signed with the secret of the edge, as the edge does', { headers: () => signed(system.edgeSecret, 'ibkr/b') }],
  [
    'with another provider’s token',
    { headers: () => ({ ...TYPE, authorization: `Bearer ${otherToken()}` }), status: 403 },
  ],
  ['with a token that nobody has', { headers: () => ({ ...TYPE, authorization: 'Bearer nobody-has-it' }) }],
  ['with a token cut short', { headers: () => ({ ...TYPE, authorization: `Bearer ${ownToken().slice(0, -1)}` }) }],
  ['with no token after Bearer', { headers: () => ({ ...TYPE, authorization: 'Bearer ' }) }],
  [
    'with its token as a password',
    { headers: () => ({ ...TYPE, authorization: `Basic ${btoa(`ibkr:${ownToken()}`)}` }) },
  ],
  ['with a secret as a token', { headers: () => ({ ...TYPE, authorization: `Bearer ${own()}` }) }],
  [
    'with a good token beside a forged signature',
    { headers: async () => ({ ...(await signed(generateSecret(), 'b')), authorization: `Bearer ${ownToken()}` }) },
  ],
];

const AT_POD: [string, Forgery][] = [
  ...commonForgeries((secret = system.edgeSecret, agoMs, body) => signed(secret, 'ibkr/b', agoMs, body)).map(
    // Here the signature is good, and names another provider.
    ([name, forgery]): [string, Forgery] =>
      name.startsWith('on the path') ? [name, { ...forgery, status: 403 }] : [name, forgery],
  ),
  ['signed by its provider, as for the edge', { headers: () => signed(own(), 'b') }],
  ['signed by its provider, with the id of the edge', { headers: () => signed(own(), 'ibkr/b') }],
  ['signed by the edge for no provider', { headers: () => signed(system.edgeSecret, 'b') }],
  ['signed by the edge for an empty provider', { headers: () => signed(system.edgeSecret, '/b'), status: 403 }],
  ['signed by the edge for another provider', { headers: () => signed(system.edgeSecret, 'acme/b'), status: 403 }],
  ['with its token', { headers: () => ({ ...TYPE, authorization: `Bearer ${ownToken()}` }) }],
];

describe.each([
  ['edge', AT_EDGE, () => system.edge.url],
  ['pod', AT_POD, () => system.pod.url],
] as const)('at the %s a batch', (door, forgeries, url) => {
  test.each(forgeries)('%s is refused', async (_, { headers, provider = 'ibkr', body = BODY, status = 401 }) => {
    const answer = await push(url(), provider, await headers(), body);
    expect(answer.status, answer.text).toBe(status);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(answer.headers['mdp-level']).toBe('ok');
    const problem = status === 401 ? 'unauthenticated' : 'forbidden';
    expect(JSON.parse(answer.text)).toMatchObject({ type: `/problems/${problem}`, status });
    for (const secret of [own(), other(), system.edgeSecret, ownToken(), otherToken()]) {
      expect(answer.text, `the ${door} quotes a secret`).not.toContain(secret);
    }
  });
});

describe('after all of them', () => {
  test('the store is empty and the pod has counted no tick', async () => {
    using store = system.openStore();
    expect(store.counts()).toEqual({ trades: 0, quotes: 0 });
    expect(store.batches()).toBe(0);
    expect((await system.status()).providers['ibkr']).toMatchObject({ offered: 0, stored: 0, residue: 0 });
  });

  test('the genuine batch, from which they were made, is stored at either door: it was the forgery that was refused', async () => {
    const atEdge = await push(system.edge.url, 'ibkr', await signed(own(), 'genuine-edge'));
    const atPod = await push(system.pod.url, 'ibkr', await signed(system.edgeSecret, 'ibkr/genuine-pod'));
    const byToken = await push(system.edge.url, 'ibkr', {
      ...TYPE,
      authorization: `Bearer ${ownToken()}`,
      'idempotency-key': 'genuine-token',
    });
    const old = await push(system.edge.url, 'ibkr', await signed(own(), 'genuine-old', TOLERANCE_MS - 60_000));
    expect([atEdge, atPod, byToken, old].map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    using store = system.openStore();
    expect(store.batchIds('ibkr').sort()).toEqual(['genuine-edge', 'genuine-old', 'genuine-pod', 'genuine-token']);
    expect(store.counts('ibkr')).toEqual({ trades: 8, quotes: 0 });
  });

  test('a captured request, replayed unchanged, gets its first answer and stores nothing more', async () => {
    const headers = await signed(own(), 'captured');
    const first = await push(system.edge.url, 'ibkr', headers);
    const again = await push(system.edge.url, 'ibkr', headers);
    expect(again.text).toBe(first.text);
    using store = system.openStore();
    expect(store.counts('ibkr')).toEqual({ trades: 10, quotes: 0 });
  });
});
