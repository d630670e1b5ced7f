import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { constants, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BODY_MAX_BYTES, UNPACKED_MAX_BYTES } from '../../pipeline/contract/batch.ts';
import { BodyRoom, type BodyOutcome, readBody, unpackBody } from '../../pipeline/source/body.ts';
import { BodyMemory } from '../../pipeline/source/body-memory.ts';
import { filler, send, sendRaw } from '../support/edge-request.ts';
import { newSeed, randomFrom } from '../support/random.ts';

describe('room for bodies', () => {
  it('is taken to the last byte and not beyond, and a refusal takes nothing', () => {
    const room = new BodyRoom(10);
    expect([room.take(6), room.take(5), room.take(4), room.take(1)]).toEqual([true, false, true, false]);
    room.give(6);
    expect([room.heldBytes, room.take(6), room.heldBytes]).toEqual([4, true, 10]);
  });
});

describe('a body as sent', () => {
  let server: Server;
  let url: string;
  let room: BodyRoom;
  const memory = new BodyMemory();
  /** Outcomes in the order in which they came about. */
  let outcomes: Promise<BodyOutcome>[];

  beforeEach(async () => {
    room = new BodyRoom();
    outcomes = [];
    server = createServer((request, response) => {
      const reading = readBody(request, room, memory);
      outcomes.push(reading);
      void reading.then((outcome) => {
        const text = outcome.ok ? `${outcome.body.length} bytes, ${room.heldBytes} held` : outcome.problem;
        if (outcome.ok) room.give(outcome.body.length);
        response.setHeader('connection', 'close');
        response.end(text);
        request.resume();
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  it('is read whole, in one piece or in many, and holds exactly its length', async () => {
    expect((await send(url, 'POST', {}, ['12345'])).text).toBe('5 bytes, 5 held');
    expect((await send(url, 'POST', {}, filler(300_000))).text).toBe('300000 bytes, 300000 held');
    expect((await send(url, 'POST', { 'content-length': '0' })).text).toBe('0 bytes, 0 held');
    expect(room.heldBytes).toBe(0);
  });

  it('may have exactly the limit, and not a byte more, declared or not', async () => {
    expect((await send(url, 'POST', {}, filler(BODY_MAX_BYTES))).text).toContain(`${BODY_MAX_BYTES} bytes`);
    expect((await send(url, 'POST', {}, filler(BODY_MAX_BYTES + 1))).text).toBe('too-large');
    const declared = { 'content-length': String(BODY_MAX_BYTES + 1) };
    expect((await send(url, 'POST', declared, filler(BODY_MAX_BYTES + 1))).text).toBe('too-large');
    expect(room.heldBytes).toBe(0);
  });

  it('is refused by its declared length before a byte of it is read', async () => {
    // A sender that waits before it sends the body: the answer comes all the same.
    const head = `POST / HTTP/1.1\r\nhost: pod\r\ncontent-length: ${BODY_MAX_BYTES + 1}\r\n\r\n`;
    expect(await sendRaw(Number(new URL(url).port), head)).toContain('too-large');
    expect(room.heldBytes).toBe(0);
  });

  it('that ends before its declared length is unreadable and holds nothing', async () => {
    // Seen failing: without give() on this way out 3 bytes stayed held, and 161,296 in the random test below.
    const arrived = once(server, 'request');
    const sending = sendRaw(
      Number(new URL(url).port),
      'POST / HTTP/1.1\r\nhost: pod\r\ncontent-length: 100\r\n\r\nabc',
    );
    await arrived;
    expect(await outcomes[0]).toMatchObject({ ok: false, problem: 'unreadable' });
    await sending;
    expect(room.heldBytes).toBe(0);
  });

  it('that finds no room is refused, and gives back what it held', async () => {
    room = new BodyRoom(100_000);
    room.take(50_000);
    expect((await send(url, 'POST', {}, filler(65_536))).text).toBe('no-room');
    expect(room.heldBytes).toBe(50_000);
    expect((await send(url, 'POST', {}, filler(50_000))).text).toBe('50000 bytes, 100000 held');
    expect(room.heldBytes).toBe(50_000);
  });

  const seed = newSeed();
  it(`leaves nothing held after 100 requests of every fate at once (MDP_TEST_SEED=${seed})`, async () => {
    const random = randomFrom(seed);
    room = new BodyRoom(3 * 1024 * 1024);
    const port = Number(new URL(url).port);
    const one = (): Promise<unknown> => {
      const fate = random.below(3);
      if (fate === 0) return send(url, 'POST', {}, filler(random.between(0, 600_000)));
      if (fate === 1) return send(url, 'POST', {}, filler(BODY_MAX_BYTES + random.between(1, 100_000))).catch(() => 0);
      return sendRaw(
        port,
        `POST / HTTP/1.1\r\nhost: pod\r\ncontent-length: 9000\r\n\r\n${'x'.repeat(random.below(9_000))}`,
      );
    };
    for (let round = 0; round < 10; round += 1) await Promise.all(Array.from({ length: 10 }, one));
    const problems = (await Promise.all(outcomes)).map((outcome) => (outcome.ok ? 'ok' : outcome.problem));
    expect(new Set(problems)).toContain('ok');
    expect(problems).toHaveLength(100);
    expect(room.heldBytes).toBe(0);
  });
});

const bytes = (text: string): Buffer => Buffer.from(text);

const outcome = async (body: Uint8Array, encoding: string | undefined): Promise<string> => {
  const unpacked = await unpackBody(body, encoding);
  return unpacked.ok ? Buffer.from(unpacked.body).toString() : unpacked.problem;
};

describe('unpacking', () => {
  it.each([undefined, '', 'identity', ' Identity '])(
    'leaves a body with the encoding %j as it is',
    async (encoding) => {
      expect(await outcome(bytes('tick'), encoding)).toBe('tick');
    },
  );

  it.each(['gzip', 'GZIP', 'x-gzip', ' gzip '])('undoes %j', async (encoding) => {
    expect(await outcome(gzipSync('tick'), encoding)).toBe('tick');
  });

  it.each(['br', 'deflate', 'gzip, gzip', 'zstd', '*'])('does not support %j', async (encoding) => {
    expect(await outcome(gzipSync('tick'), encoding)).toBe('unsupported-type');
  });

  it('goes exactly to the limit and stops one byte after it', async () => {
    // Seen failing: without maxOutputLength one byte above the limit came back as a body.
    const exact = await unpackBody(gzipSync(Buffer.alloc(UNPACKED_MAX_BYTES)), 'gzip');
    expect(exact.ok && exact.body.length).toBe(UNPACKED_MAX_BYTES);
    expect(await outcome(gzipSync(Buffer.alloc(UNPACKED_MAX_BYTES + 1)), 'gzip')).toBe('too-large');
    expect(await outcome(gzipSync(Buffer.alloc(64 * 1024 * 1024)), 'gzip')).toBe('too-large');
  });

  it.each([
    ['that is cut off', gzipSync('tick'.repeat(100)).subarray(0, -4)],
    ['that has only a header', gzipSync('tick').subarray(0, 10)],
    ['with a wrong checksum', Buffer.concat([gzipSync('tick').subarray(0, -8), Buffer.alloc(8)])],
    ['that was flushed but not finished', gzipSync('tick', { finishFlush: constants.Z_SYNC_FLUSH })],
    ['that is none', bytes('{"symbol":"AAPL"}')],
    ['of no bytes', bytes('')],
  ])('calls a gzip %s unreadable', async (_, body) => {
    expect(await outcome(body, 'gzip')).toBe('unreadable');
  });
});
