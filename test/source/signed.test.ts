/** Who may push to a pod: what the edge signed for this provider and this path, and nobody else. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateSecret } from '../../pipeline/contract/signature.ts';
import { type LooseTick, NOW_MS, trades } from '../support/pod-batch.ts';
import { podStatus, processPod, type ProcessPod } from '../support/pod-in-process.ts';
import { edgeSigned, type PodAnswer, post } from '../support/pod-request.ts';
import { ControllableStore } from '../support/pod-store.ts';

const OLD_SECRET = generateSecret();
const NEW_SECRET = generateSecret();
const TICKS: readonly LooseTick[] = trades(2);

let pod: ProcessPod;
let dev: ProcessPod;

beforeAll(async () => {
  pod = await processPod(new ControllableStore(), { MDP_DEV: '0', MDP_EDGE_SECRETS: `${OLD_SECRET} ${NEW_SECRET}` });
  dev = await processPod(new ControllableStore(), { MDP_DEV: '1' });
  await pod.start();
  await dev.start();
});
afterAll(async () => {
  await pod.drain();
  await dev.drain();
});

interface Change {
  secret?: string;
  id?: string;
  atMs?: number;
  provider?: string;
  headers?: Record<string, string>;
  ticks?: readonly LooseTick[];
}

/** Signed by the edge for TICKS, then changed on the way. */
async function push({ secret = NEW_SECRET, id = 'ibkr/b1', atMs = NOW_MS, ...change }: Change): Promise<PodAnswer> {
  const headers = { ...(await edgeSigned(secret, id, atMs, TICKS)), ...change.headers };
  return post(pod.url, change.provider ?? 'ibkr', change.ticks ?? TICKS, headers);
}

const SECRETS = { old: OLD_SECRET, new: NEW_SECRET };

describe('a pod with secrets', () => {
  it.each(['old', 'new'] as const)('takes what the %s secret signed', async (which) => {
    const answer = await push({ secret: SECRETS[which] });
    expect([answer.status, answer.body['batch']]).toEqual([200, 'b1']);
  });

  it.each<[string, Change]>([
    ['signed with another key', { secret: generateSecret() }],
    ['with another body', { ticks: trades(3) }],
    ['with another id', { headers: { 'webhook-id': 'ibkr/b2' } }],
    ['with another time', { headers: { 'webhook-timestamp': String(NOW_MS / 1000 + 1) } }],
    ['signed more than five minutes ago', { atMs: NOW_MS - 301_000 }],
    ['signed more than five minutes ahead', { atMs: NOW_MS + 301_000 }],
    ['whose time is no number', { headers: { 'webhook-timestamp': 'now' } }],
    ['whose signature is no base64', { headers: { 'webhook-signature': 'v1,%%%' } }],
    ['whose signature is of another version', { headers: { 'webhook-signature': `v2,${'A'.repeat(43)}=` } }],
    ['whose signature is empty', { headers: { 'webhook-signature': '' } }],
    ['whose id names no provider', { id: 'b1' }],
  ])('answers 401 to a request %s', async (_, change) => {
    // Seen failing: with the scope not asked for, the last row was 200; with the tolerance left out, two rows.
    const answer = await push(change);
    expect([answer.status, answer.says]).toEqual([401, 'unauthenticated']);
  });

  it('answers 401 to a request without any signature, with or without an id', async () => {
    expect((await post(pod.url, 'ibkr', TICKS)).status).toBe(401);
    expect((await post(pod.url, 'ibkr', TICKS, { 'webhook-id': 'ibkr/b1' })).status).toBe(401);
  });

  it('answers 403 to a request that was signed for another provider and replayed on this path', async () => {
    expect((await push({ id: 'acme/b1' })).says).toBe('forbidden');
    expect((await push({ provider: 'acme' })).says).toBe('forbidden');
    expect((await push({ id: '/b1' })).says).toBe('forbidden');
  });

  it('answers a request that is replayed on its own path as the first time, and stores nothing twice', async () => {
    const before = (await podStatus(pod.url)).providers['ibkr']!;
    const answers = [await push({ id: 'ibkr/r1' }), await push({ id: 'ibkr/r1' })];
    expect(answers[1]!.body).toEqual(answers[0]!.body);
    const after = (await podStatus(pod.url)).providers['ibkr']!;
    expect([after.stored - before.stored, after.duplicate - before.duplicate]).toEqual([2, 2]);
  });

  it('counts nothing for ticks of nobody', async () => {
    const before = (await podStatus(pod.url)).providers;
    await post(pod.url, 'stranger', TICKS);
    expect((await podStatus(pod.url)).providers).toEqual(before);
  });
});

describe('a development pod', () => {
  it('takes unsigned requests, says so in its log, and still refuses a wrong signature', async () => {
    expect((await post(dev.url, 'ibkr', TICKS)).status).toBe(200);
    expect(dev.logged.map(({ event }) => event)).toContain('unsigned_requests_accepted');
    const forged = await edgeSigned(NEW_SECRET, 'ibkr/b1', NOW_MS, TICKS);
    expect((await post(dev.url, 'ibkr', TICKS, forged)).status).toBe(401);
  });

  it('is the only one that says so', () => {
    expect(pod.logged.map(({ event }) => event)).not.toContain('unsigned_requests_accepted');
  });
});
