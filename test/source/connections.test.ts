/** The bounds of connections, each on real sockets; how a whole pod fares under them is in test/hostile. */

import { once } from 'node:events';
import type { Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import {
  ANSWERS_MAX_BYTES,
  CONNECTIONS_MAX,
  connectionsMaxOf,
  FILES_RESERVED,
  PIPELINED_MAX,
} from '../../pipeline/source/connections.ts';
import { createHttpServer, json, type Route } from '../../pipeline/source/http.ts';
import { until } from '../support/postgres-stores.ts';

const PLACES = 3;
const LARGE_CHARS = 8 * 1024 * 1024;

/** Requests that wait to be let go. */
let held: (() => void)[] = [];
const routes: Route[] = [
  { method: 'GET', pattern: /^\/quick$/, handle: async () => json(200, 'quick') },
  { method: 'GET', pattern: /^\/large$/, handle: async () => json(200, 'x'.repeat(LARGE_CHARS)) },
  {
    method: 'GET',
    pattern: /^\/held$/,
    handle: () => new Promise((resolve) => held.push(() => resolve(json(200, 'held')))),
  },
  {
    method: 'POST',
    pattern: /^\/body$/,
    handle: async (request) => json(200, await once(request, 'end').catch(() => 'cut off')),
  },
];

let server: Server;
let clients: Client[] = [];
const unforeseen: unknown[] = [];

async function listen(connectionsMax = PLACES): Promise<void> {
  server = createHttpServer(routes, (cause) => void unforeseen.push(cause), {
    connectionsMax,
    onCuts: () => undefined,
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
}

afterEach(async () => {
  for (const { socket } of clients) socket.destroy();
  clients = [];
  held = [];
  server?.closeAllConnections();
  await new Promise((resolve) => server?.close(resolve));
  if (unforeseen.length > 0) throw new Error('unforeseen', { cause: unforeseen });
});

/** A connection that the server knows of, and what came over it. */
class Client {
  readonly socket: Socket;
  received = '';
  isOpen = true;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('latin1').on('data', (text: string) => (this.received += text));
    socket.on('error', () => undefined);
    socket.once('close', () => (this.isOpen = false));
  }

  static async open(): Promise<Client> {
    const accepted = once(server, 'connection');
    const client = new Client(connect((server.address() as AddressInfo).port, '127.0.0.1'));
    clients.push(client);
    await accepted;
    return client;
  }

  /** Resolves once so many answers have come. */
  async get(path: string, answers = 1): Promise<void> {
    this.socket.write(request(path));
    await until(`${answers} answers to ${path}`, () => this.answers >= answers);
  }

  get answers(): number {
    return this.received.match(/HTTP\/1\.1 200/g)?.length ?? 0;
  }
}

function request(path: string): string {
  return `GET ${path} HTTP/1.1\r\nhost: pod\r\n\r\n`;
}

async function heldClient(): Promise<Client> {
  const client = await Client.open();
  const before = held.length;
  client.socket.write(request('/held'));
  await until('the request is there', () => held.length > before);
  return client;
}

describe('a server all of whose places are taken', () => {
  it('gives that of the connection that has been quiet longest to a new one, who is served', async () => {
    await listen();
    const [first, second, third] = [await Client.open(), await Client.open(), await Client.open()];
    await first.get('/quick');
    const newcomer = await Client.open();
    await newcomer.get('/quick');
    await until('the second is closed', () => !second.isOpen);
    expect([first.isOpen, third.isOpen, second.received]).toEqual([true, true, '']);
    await (await Client.open()).get('/quick');
    await until('the third is closed', () => !third.isOpen);
    expect([first.isOpen, newcomer.isOpen]).toEqual([true, true]);
  });

  it('else that of the one whose request is not all there, who is told so', async () => {
    await listen();
    const waiting = [await heldClient(), await heldClient()];
    const slow = await Client.open();
    slow.socket.write('POST /body HTTP/1.1\r\nhost: pod\r\ncontent-length: 10\r\n\r\nx');
    await once(server, 'request');
    const newcomer = await Client.open();
    await newcomer.get('/quick');
    await until('the slow one is closed', () => !slow.isOpen);
    expect(slow.received).toMatch(/^HTTP\/1\.1 503 .*retry-after: 1\r\n.*no-room/s);
    for (const answer of held) answer();
    await until('those who waited have their answers', () => waiting.every(({ answers }) => answers === 1));
  });

  it('refuses a new one with 503 and Retry-After when all others wait for their answers, and then has room again', async () => {
    await listen();
    const waiting = [await heldClient(), await heldClient(), await heldClient()];
    const refused = await Client.open();
    refused.socket.write(request('/quick'));
    await until('it is closed', () => !refused.isOpen);
    // Over what it had written, its connection may have been reset before it could read.
    expect(refused.received).toMatch(/^(HTTP\/1\.1 503 .*retry-after: 1\r\n.*no-room.*)?$/s);
    const silent = await Client.open();
    await until('it is closed', () => !silent.isOpen);
    expect(silent.received).toMatch(/^HTTP\/1\.1 503 .*retry-after: 1\r\n.*no-room/s);
    for (const answer of held) answer();
    await until('they have their answers', () => waiting.every(({ answers }) => answers === 1));
    await (await Client.open()).get('/quick');
  });
});

describe('a connection', () => {
  it(`may have ${PIPELINED_MAX} requests that wait for their answers, and is cut with one more`, async () => {
    await listen();
    const client = await Client.open();
    client.socket.write(request('/held').repeat(PIPELINED_MAX));
    await until('they are there', () => held.length === PIPELINED_MAX);
    for (const answer of held) answer();
    await until('they are answered', () => client.answers === PIPELINED_MAX);
    held = [];
    client.socket.write(request('/held').repeat(1_000));
    await until('it is cut', () => !client.isOpen);
    expect([client.answers, held.length]).toEqual([PIPELINED_MAX, PIPELINED_MAX]);
  });

  it('may have a hundred requests, one after the other', async () => {
    await listen();
    const client = await Client.open();
    for (let number = 1; number <= 100; number += 1) await client.get('/quick', number);
    expect(client.isOpen).toBe(true);
  });

  it('that leaves its answers unread is cut when all together are too many, and a reader has his', async () => {
    await listen(100);
    const unread: Client[] = [];
    // Enough for what the buffers of sockets take on top, 6 MB each at most.
    for (let number = 0; number < (4 * ANSWERS_MAX_BYTES) / LARGE_CHARS; number += 1) {
      const client = await Client.open();
      client.socket.pause();
      client.socket.write(request('/large'));
      unread.push(client);
    }
    const reader = await Client.open();
    await reader.get('/large');
    await until('all of it has come', () => reader.received.length > LARGE_CHARS);
    for (const { socket } of unread) socket.resume();
    await until('some were cut', () => unread.some(({ isOpen }) => !isOpen));
    expect(reader.isOpen).toBe(true);
  });
});

describe('the number of connections', () => {
  it('is bounded, and leaves descriptors for what else a pod opens', () => {
    expect(connectionsMaxOf(undefined)).toBe(CONNECTIONS_MAX);
    expect(connectionsMaxOf(1_048_576)).toBe(CONNECTIONS_MAX);
    expect(connectionsMaxOf(1_024)).toBe(1_024 - FILES_RESERVED);
    expect(connectionsMaxOf(64)).toBe(1);
  });
});
