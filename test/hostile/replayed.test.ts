/**
 * A captured request, as an eavesdropper between edge and pods has it: sent again to the same pod, to another one on
 * the same store, and to every other path, method and provider. It is worth nothing: no tick more, no word more.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunningPod, startPod } from '../../deploy/local/pod.ts';
import { generateSecret } from '../../pipeline/contract/signature.ts';
import { Gate } from '../support/gate.ts';
import { type RawAnswer, send } from '../support/edge-request.ts';
import { lines, trades } from '../support/pod-batch.ts';
import { edgeSigned, post } from '../support/pod-request.ts';
import { StoredTicks } from '../support/stored-ticks.ts';

const TICKS = trades(50);
const PROVIDER = 'captured';

let directory: string;
let pods: RunningPod[];
/** What was said between edge and pod, as an eavesdropper heard it. */
let heard = '';
let first: RawAnswer;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mdp-replayed-'));
  const secret = generateSecret();
  const settings = {
    MDP_PORT: '0',
    MDP_STORE: `sqlite:${path()}`,
    MDP_EDGE_SECRETS: secret,
    MDP_FUTURE_MAX_MS: '31536000000',
  };
  pods = [];
  for (const name of ['pod-1', 'pod-2']) pods.push(await startPod({ settings: { ...settings, MDP_POD_NAME: name } }));
  await using gate = await Gate.before(pods[0]!.port);
  gate.onData = (text) => (heard += text);
  const headers = await edgeSigned(secret, `${PROVIDER}/b1`, Date.now(), TICKS);
  await post(gate.url, PROVIDER, TICKS, headers);
  first = await replay(0, 'POST', `/v1/ticks/${PROVIDER}`);
});
afterAll(async () => {
  for (const pod of pods) await pod.stop();
  await rm(directory, { recursive: true, force: true });
});

const path = (): string => join(directory, 'ticks.db');

/** The headers that prove something, and the body, of what was heard, on whatever path. */
function replay(pod: number, method: string, where: string): Promise<RawAnswer> {
  const [head = ''] = heard.split('\r\n\r\n', 1);
  const proof = [...head.matchAll(/^((?:webhook-|content-type)[^:]*): (.*)$/gim)].map(([, name, value]) => [
    name!,
    value!.trim(),
  ]);
  expect(proof).toHaveLength(4);
  const body = method === 'GET' ? [] : [Buffer.from(lines(TICKS))];
  const headers = { ...Object.fromEntries(proof), 'content-length': String(body[0]?.length ?? 0) };
  return send(`${pods[pod]!.url}${where}`, method, headers, body);
}

function stored(): { trades: number; batches: number; others: number } {
  using store = new StoredTicks(path());
  const { trades: own } = store.counts(PROVIDER);
  return { trades: own, batches: store.batches(), others: store.counts().trades - own };
}

describe('a captured request', () => {
  test.each([0, 1])('gets its first answer from pod %i, and stores nothing more', async (pod) => {
    const again = await replay(pod, 'POST', `/v1/ticks/${PROVIDER}`);
    expect([again.status, again.text]).toEqual([200, first.text]);
    expect(JSON.parse(first.text)).toMatchObject({ status: 'stored', stored: TICKS.length });
    expect(JSON.parse(first.text)).toMatchObject({ status: 'stored', stored: TICKS.length });
    expect(stored()).toEqual({ trades: TICKS.length, batches: 1, others: 0 });
  });

  test('is no good with a single byte of its body or of its id changed', async () => {
    const changed = heard;
    heard = heard.replace(`${PROVIDER}/b1`, `${PROVIDER}/b2`);
    expect((await replay(1, 'POST', `/v1/ticks/${PROVIDER}`)).status).toBe(401);
    heard = changed;
  });

  test.each([
    ['POST', '/v1/ticks/another', 403],
    ['POST', `/v1/ticks/${PROVIDER}%2Fb1`, 400],
    ['POST', `/v1/ticks/${PROVIDER.toUpperCase()}`, 400],
    ['POST', `/v1/dead-letters/${PROVIDER}/replay`, 401],
    ['POST', '/feedback', 401],
    ['GET', `/v1/dead-letters/${PROVIDER}`, 401],
    ['GET', `/v1/receipts/${PROVIDER}/b1`, 401],
    ['DELETE', `/v1/ticks/${PROVIDER}`, 405],
    ['PUT', `/v1/ticks/${PROVIDER}`, 405],
  ])('%s %s is answered %i', async (method, where, status) => {
    for (const pod of [0, 1]) expect((await replay(pod, method, where)).status).toBe(status);
    expect(stored()).toEqual({ trades: TICKS.length, batches: 1, others: 0 });
  });
});
