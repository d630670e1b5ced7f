/** `POST /feedback` as an unmodified broadcaster uses it. */

import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LEVEL_NUMBER } from '../../pipeline/contract/level.ts';
import { FEEDBACK_BODY_MAX_BYTES } from '../../pipeline/contract/feedback.ts';
import { parseExposition, sampleOf } from '../../deploy/mdp/exposition.ts';
import { podStatus, processPod, type ProcessPod } from '../support/pod-in-process.ts';
import { ControllableStore } from '../support/pod-store.ts';

const TOKEN = 'feedback-token-of-the-tests';
const SOFT =
  '{"coordinator_id":"bars-coord","queue_size":5001,"capacity":10000,"level":"soft","reason":null,"utilization":0.5001}';
const HARD =
  '{"coordinator_id":"bars-coord","queue_size":8000,"capacity":10000,"level":"hard","reason":null,"utilization":0.8}';
const OK =
  '{"coordinator_id":"bars-coord","queue_size":5000,"capacity":10000,"level":"ok","reason":"queue_recovered","utilization":0.5}';

let pod: ProcessPod;
beforeAll(async () => {
  pod = await processPod(new ControllableStore(), { MDP_FEEDBACK_TOKEN: TOKEN });
  await pod.start();
});
afterAll(() => pod.drain());

async function send(body: string, query = `?token=${TOKEN}`, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${pod.url}/feedback${query}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'user-agent': 'python-httpx/0.28.1', ...headers },
    body,
  });
}

const basic = (password: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`store:${password}`).toString('base64')}`,
});

async function shown(): Promise<unknown> {
  const families = parseExposition(await (await fetch(`${pod.url}/metrics`)).text());
  return {
    state: sampleOf(families, 'pipeline_backpressure_state', { provider: 'ibkr' }),
    depth: sampleOf(families, 'pipeline_feedback_queue_depth', { source: 'feedback:bars-coord' }),
    own: sampleOf(families, 'pipeline_feedback_queue_depth', { source: 'store_coordinator' }),
  };
}

describe('feedback', () => {
  it.each([
    ['soft', SOFT, 5001],
    ['hard', HARD, 8000],
    ['ok', OK, 5000],
  ] as const)(
    'of level %s is the level of the pod from then on, by Basic and by ?token=',
    async (level, body, depth) => {
      for (const answer of [await send(body), await send(body, '', basic(TOKEN))]) {
        expect([answer.status, await answer.json()]).toEqual([200, { status: 'ok', level }]);
      }
      expect(await shown()).toEqual({ state: LEVEL_NUMBER[level], depth, own: 0 });
      expect(await podStatus(pod.url)).toMatchObject({ level, reasons: { queue: 'ok', store: 'ok', feedback: level } });
    },
  );

  it('as httpx writes it, byte for byte, is taken and answered in under 50 ms', async () => {
    // Every body, by Basic and by ?token=, over one connection as its client keeps it. One answer may be
    // late by what else this machine does.
    const socket = connect(pod.port, '127.0.0.1');
    await once(socket, 'connect');
    const tookMs: number[] = [];
    for (let round = 0; round < 20; round += 1) {
      for (const body of [SOFT, HARD, OK]) {
        for (const [path, credentials] of [
          [`/feedback?token=${TOKEN}`, ''],
          ['/feedback', `Authorization: ${basic(TOKEN)['authorization']}\r\n`],
        ] as const) {
          const startedMs = performance.now();
          socket.write(
            `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${pod.port}\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n` +
              `Connection: keep-alive\r\nUser-Agent: python-httpx/0.28.1\r\nContent-Length: ${body.length}\r\n` +
              `Content-Type: application/json\r\n${credentials}\r\n${body}`,
          );
          const [answer] = (await once(socket, 'data')) as [Buffer];
          tookMs.push(performance.now() - startedMs);
          expect(answer.toString('latin1')).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
        }
      }
    }
    socket.destroy();
    expect(tookMs.sort((left, right) => left - right).at(-2)).toBeLessThan(50);
    expect(await podStatus(pod.url)).toMatchObject({ level: 'ok' });
  });

  it.each([
    ['no credentials', '', {}],
    ['a wrong token', '?token=feedback-token-of-the-testz', {}],
    ['a wrong password', '', basic('nope')],
    ['the token as user', '', { authorization: `Basic ${Buffer.from(`${TOKEN}:`).toString('base64')}` }],
  ])('with %s is refused with 401 and changes nothing', async (_what, query, headers) => {
    expect((await send(HARD, query, headers)).status).toBe(401);
    expect(await podStatus(pod.url)).toMatchObject({ level: 'ok' });
  });

  it('that is none is a 400 by name, and one that is too large a 413', async () => {
    const wrong = await send(HARD.replace('hard', 'harder'));
    expect([wrong.status, await wrong.json()]).toMatchObject([400, { detail: 'level must be ok, soft or hard' }]);
    expect((await send(' '.repeat(FEEDBACK_BODY_MAX_BYTES + 1))).status).toBe(413);
  });
});

describe('a pod without MDP_FEEDBACK_TOKEN', () => {
  it('accepts no feedback, whatever token comes with it', async () => {
    const bare = await processPod(new ControllableStore(), {});
    await bare.start();
    try {
      for (const query of ['', '?token=', '?token=undefined']) {
        expect((await fetch(`${bare.url}/feedback${query}`, { method: 'POST', body: HARD })).status).toBe(401);
      }
    } finally {
      await bare.drain();
    }
  });
});
