/**
 * Least rights of every credential: each opens the doors it is for, and no other. All of them at all doors, at a real
 * pod and a real edge.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateSecret, importSecret, signatureHeaders } from '../../pipeline/contract/signature.ts';
import { send } from '../support/edge-request.ts';
import { trade } from '../support/malformed-corpus.ts';
import { RunningSystem } from '../support/running-system.ts';

const OPS = `ops-${generateSecret()}`;
const FEEDBACK = `feedback-${generateSecret().replaceAll(/\W/g, 'x')}`;
const BODY = `${trade()}\n`;
const WORD = JSON.stringify({ coordinator_id: 'c', queue_size: 0, capacity: 1, level: 'ok' });

let system: RunningSystem;
let batches = 0;

beforeAll(async () => {
  system = await RunningSystem.start(['ibkr', 'acme'], { MDP_OPS_TOKEN: OPS, MDP_FEEDBACK_TOKEN: FEEDBACK });
});
afterAll(() => system?.[Symbol.asyncDispose]());

/** Headers, and what goes into the URL, of whoever has one credential. `body` is what a signature is over. */
type Credential = (door: 'pod' | 'edge', body: string) => Promise<{ headers: Record<string, string>; query?: string }>;

const bearer =
  (token: () => string): Credential =>
  async () => ({ headers: { authorization: `Bearer ${token()}` }, query: `token=${encodeURIComponent(token())}` });

const signed =
  (secret: () => string, scope = ''): Credential =>
  async (_, body) => {
    batches += 1;
    const key = (await importSecret(secret()))!;
    return { headers: { ...(await signatureHeaders(key, `${scope}b${batches}`, Date.now(), Buffer.from(body))) } };
  };

const CREDENTIALS = {
  nothing: async () => ({ headers: {}, query: '' }),
  'its token': bearer(() => system.providers['ibkr']!.token),
  'its secret': signed(() => system.providers['ibkr']!.secret),
  'the token of another': bearer(() => system.providers['acme']!.token),
  'the secret of another': signed(() => system.providers['acme']!.secret),
  'the secret between edge and pod': signed(() => system.edgeSecret, 'ibkr/'),
  'the operator’s token': bearer(() => OPS),
  'the feedback token': bearer(() => FEEDBACK),
} satisfies Record<string, Credential>;
type CredentialName = keyof typeof CREDENTIALS;

interface Door {
  at: 'pod' | 'edge';
  method: 'GET' | 'POST';
  path: string;
  body?: string;
  opensTo: CredentialName[];
}

const DOORS: Door[] = [
  { at: 'edge', method: 'POST', path: '/v1/ticks/ibkr', body: BODY, opensTo: ['its token', 'its secret'] },
  { at: 'edge', method: 'GET', path: '/v1/receipts/ibkr/b', opensTo: ['its token', 'its secret'] },
  { at: 'edge', method: 'GET', path: '/v1/dead-letters/ibkr', opensTo: ['its token', 'its secret'] },
  { at: 'edge', method: 'GET', path: '/v1/scaling', opensTo: [] },
  { at: 'edge', method: 'GET', path: '/metrics', opensTo: [] },
  { at: 'pod', method: 'POST', path: '/v1/ticks/ibkr', body: BODY, opensTo: ['the secret between edge and pod'] },
  {
    at: 'pod',
    method: 'GET',
    path: '/v1/receipts/ibkr/b',
    opensTo: ['the secret between edge and pod', 'the operator’s token'],
  },
  {
    at: 'pod',
    method: 'GET',
    path: '/v1/dead-letters/ibkr',
    opensTo: ['the secret between edge and pod', 'the operator’s token'],
  },
  { at: 'pod', method: 'POST', path: '/v1/dead-letters/ibkr/replay', opensTo: ['the operator’s token'] },
  { at: 'pod', method: 'POST', path: '/feedback', body: WORD, opensTo: ['the feedback token'] },
];

describe.each(DOORS)('$method $path at the $at', ({ at, method, path, body = '', opensTo }) => {
  it.each(Object.keys(CREDENTIALS) as CredentialName[])('with %s', async (name) => {
    const { headers, query = '' } = await CREDENTIALS[name](at, body);
    const type = { 'content-type': 'application/x-ndjson' };
    const { status } = await send(
      `${system[at].url}${path}?${query}`,
      method,
      { ...type, ...headers },
      body === '' ? [] : [body],
    );
    // 404 where the door opens: there is no such receipt; where it does not: there is no such door.
    const opened = status < 300 || (status === 404 && path.includes('receipts'));
    expect([opened, opened || [401, 403, 404].includes(status)], `${status}`).toEqual([opensTo.includes(name), true]);
  });
});
