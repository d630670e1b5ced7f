import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createHttpServer, HEADERS_MAX_BYTES, json, type Route } from '../../pipeline/source/http.ts';
import { filler, type RawAnswer, send, sendRaw } from '../support/edge-request.ts';

let server: Server;
let url: string;
const thrown: unknown[] = [];

const routes: Route[] = [
  {
    method: 'GET',
    pattern: /^\/things\/([^/]+)$/,
    handle: async (_, parts, at) => json(200, { parts, at: at.search }),
  },
  { method: 'POST', pattern: /^\/things\/([^/]+)$/, handle: async () => json(201, {}, { 'x-made': 'yes' }) },
  { method: 'GET', pattern: /^\/throws$/, handle: () => Promise.reject(new Error('a secret reason')) },
  {
    method: 'GET',
    pattern: /^\/throws-at-once$/,
    handle: () => {
      throw new Error('at once');
    },
  },
];

beforeAll(async () => {
  server = createHttpServer(routes, (cause) => void thrown.push(cause));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(() => void thrown.splice(0));
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const get = (path: string): Promise<RawAnswer> => send(url + path, 'GET', {});
const port = (): number => Number(new URL(url).port);

function problemOf({ headers, text }: RawAnswer): string {
  expect(headers['content-type']).toBe('application/problem+json');
  return (JSON.parse(text) as { type: string }).type;
}

describe('the door', () => {
  it('gives a handler the decoded parts of the path and the query', async () => {
    const answer = await get('/things/a%2Fb%20%E6%A0%AA?from=1');
    expect([answer.status, JSON.parse(answer.text)]).toEqual([200, { parts: ['a/b 株'], at: '?from=1' }]);
    expect(answer.headers).toMatchObject({ 'content-type': 'application/json' });
  });

  it.each(['/', '/nothing', '/things', '/things/', '/things/a/b', '//things/a', '/THINGS/a'])(
    'answers 404 to %s',
    async (path) => {
      const answer = await get(path);
      expect([answer.status, problemOf(answer)]).toEqual([404, '/problems/not-found']);
    },
  );

  it('answers 405 with every method that the path allows', async () => {
    const answer = await send(`${url}/things/a`, 'DELETE', {});
    expect([answer.status, problemOf(answer)]).toEqual([405, '/problems/method-not-allowed']);
    expect(answer.headers.allow).toBe('GET, POST');
    expect((await send(`${url}/throws`, 'POST', {}, ['x'])).headers.allow).toBe('GET');
  });

  it.each(['%', '%zz', '%ff', 'a%E6%A0'])('answers 400 to a path with the broken encoding %s', async (part) => {
    // Seen failing: without the catch around decodeURIComponent this was a 500, "URI malformed", and logged.
    const answer = await get(`/things/${part}`);
    expect([answer.status, problemOf(answer), thrown]).toEqual([400, '/problems/bad-request', []]);
  });

  it('answers HEAD as GET, with the length and without the body', async () => {
    const [full, head] = [await get('/things/a'), await send(`${url}/things/a`, 'HEAD', {})];
    expect([head.status, head.text, head.headers['content-length']]).toEqual([200, '', full.headers['content-length']]);
  });

  it.each(['/throws', '/throws-at-once'])('answers 500 at %s without the reason, and reports it', async (path) => {
    const answer = await get(path);
    expect([answer.status, problemOf(answer)]).toEqual([500, '/problems/internal']);
    expect(answer.text).not.toContain('secret');
    expect(thrown).toEqual([expect.any(Error)]);
  });

  it('keeps a connection whose body was read and closes one whose body was not', async () => {
    const twice = 'GET /things/a HTTP/1.1\r\nhost: pod\r\n\r\n'.repeat(2);
    expect((await sendRaw(port(), twice)).match(/HTTP\/1.1 200/g)).toHaveLength(2);
    const unread = await sendRaw(port(), `POST /nothing HTTP/1.1\r\nhost: pod\r\ncontent-length: 90\r\n\r\n{"x":1}`);
    expect(unread).toMatch(/^HTTP\/1.1 404 .*connection: close/is);
    const large = await send(`${url}/nothing`, 'POST', {}, filler(1_000_000));
    expect([large.status, large.headers.connection]).toEqual([404, 'close']);
  });

  it('does not take what follows an unread body for a request', async () => {
    const smuggled = 'GET /things/smuggled HTTP/1.1\r\nhost: pod\r\n\r\n';
    const answer = await sendRaw(
      port(),
      `POST /nothing HTTP/1.1\r\nhost: pod\r\ncontent-length: 5000\r\n\r\n${smuggled}`,
    );
    expect(answer.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 404']);
  });

  it('refuses headers above their limit, and what is no HTTP', async () => {
    const long = await sendRaw(port(), `GET / HTTP/1.1\r\nhost: pod\r\nx: ${'y'.repeat(HEADERS_MAX_BYTES)}\r\n\r\n`);
    expect(long).toMatch(/^HTTP\/1.1 431/);
    expect(await sendRaw(port(), 'ticks please\r\n\r\n')).toMatch(/^HTTP\/1.1 400/);
    const both =
      'POST /things/a HTTP/1.1\r\nhost: pod\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n';
    expect(await sendRaw(port(), both)).toMatch(/^HTTP\/1.1 400/);
  });
});
