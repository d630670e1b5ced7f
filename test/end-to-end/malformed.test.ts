/**
 * The corpus of broken and hostile bodies against the real pod and through the real edge, and hostile framing on
 * raw sockets: every answer as it must be, neighbours stored, the pod alive, answering and small throughout.
 */

import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Problem, StoredAnswer } from '../../pipeline/contract/answer.ts';
import { BATCH_MAX_TICKS, BODY_MAX_BYTES, UNPACKED_MAX_BYTES } from '../../pipeline/contract/batch.ts';
import { HEADERS_MAX_BYTES, LINGER_MAX_BYTES, REQUEST_TIMEOUT_MS } from '../../pipeline/source/http.ts';
import { BODY_READ_TIMEOUT_MS } from '../../worker/app.ts';
import { signBytes } from '../support/edge-credentials.ts';
import { type RawAnswer, send, sendRaw } from '../support/edge-request.ts';
import { bodyOf, type CorpusEntry, JSON_ARRAY, MALFORMED_CORPUS, NDJSON, trade } from '../support/malformed-corpus.ts';
import { noProcessMemory, peakBytes } from '../support/process-memory.ts';
import { RunningSystem } from '../support/running-system.ts';

const HEALTH_TIMEOUT_MS = 1_000;
const HEALTH_INTERVAL_MS = 10;
const CORPUS_TIMEOUT_MS = 60_000;
const WARM_UP_BATCHES = 300;
/** The largest of legal batches come until so many in a row have not made the pod larger, … */
const WARM_UP_STILL_BATCHES = 16;
/** … and never more than this. */
const WARM_UP_LARGEST_MAX_BATCHES = 120;
/** Over what the largest of legal batches make of a pod. */
const MEMORY_GROWTH_MAX_BYTES = 2 * UNPACKED_MAX_BYTES;
/** Bodies that trickle in at once, at each door, one byte in each interval. */
const SLOW_BODIES = 10;
const SLOW_INTERVAL_MS = 500;

let system: RunningSystem;
/** Begun first, because they end by timeouts. */
let slow: Record<Door, Promise<SlowEnd>[]>;

beforeAll(async () => {
  system = await RunningSystem.start(['edge', 'direct', 'raw']);
  slow = { pod: trickles(system.pod.port), edge: trickles(system.edge.port) };
});
afterAll(async () => {
  await system?.[Symbol.asyncDispose]();
});

/** Where a body is posted, and who signs how. */
const DOORS = {
  pod: (batch: string) => ({
    url: `${system.pod.url}/v1/ticks/direct`,
    id: `direct/${batch}`,
    secret: system.edgeSecret,
  }),
  edge: (batch: string) => ({
    url: `${system.edge.url}/v1/ticks/edge`,
    id: batch,
    secret: system.providers['edge']!.secret,
  }),
};
type Door = keyof typeof DOORS;

async function post(door: Door, batch: string, body: Uint8Array, headers: Record<string, string>): Promise<RawAnswer> {
  const { url, id, secret } = DOORS[door](batch);
  const { 'content-type': _, ...signature } = await signBytes(secret, id, body);
  const all = { ...signature, ...headers, 'content-length': String(body.length) };
  return send(url, 'POST', all, [body]);
}

/**
 * workerd by itself answers 413 and resets the connection, and a client that is still writing may find only the
 * reset. (At Cloudflare's edge a proxy stands before it; the pod reads the rest of a refused body.)
 */
function mayBeCut(door: Door, entry: CorpusEntry): boolean {
  return door === 'edge' && bodyOf(entry).length > BODY_MAX_BYTES;
}

async function postEntry(door: Door, batch: string, entry: CorpusEntry): Promise<RawAnswer> {
  const headers: Record<string, string> = {};
  if (entry.contentType !== null) headers['content-type'] = entry.contentType;
  if (entry.contentEncoding !== undefined) headers['content-encoding'] = entry.contentEncoding;
  return post(door, batch, bodyOf(entry), headers);
}

/** What is wrong with an answer, in words; a corpus is read best when all of its faults are listed at once. */
function faults({ status, headers, text }: RawAnswer, { expect: wanted }: CorpusEntry): string[] {
  const wrong: string[] = [];
  const check = (what: string, is: unknown, should: unknown): void => {
    if (JSON.stringify(is) !== JSON.stringify(should))
      wrong.push(`${what} is ${JSON.stringify(is)}, not ${JSON.stringify(should)}`);
  };
  check('status', status, wanted.status);
  check('mdp-level', headers['mdp-level'], 'ok');
  check(
    'content-type',
    headers['content-type'],
    wanted.status === 200 ? 'application/json' : 'application/problem+json',
  );
  const body = JSON.parse(text) as Partial<Omit<StoredAnswer, 'status'> & Omit<Problem, 'status'>> & {
    status?: unknown;
  };
  if (wanted.status === 200) {
    check('the body’s status', body.status, 'stored');
    // Some entries hold the same identified ticks as others: those are there already.
    check('stored', (body.stored ?? 0) + (body.duplicates ?? 0), wanted.stored ?? 0);
  } else {
    check('type', body.type, `/problems/${wanted.problem}`);
    check('the body’s status', body.status, wanted.status);
    if (!body.title || !body.detail) wrong.push('title or detail is missing');
  }
  if (wanted.status === 200 || wanted.rejected !== undefined) {
    const rejected = body.rejected?.map(({ index, reason }) => ({ index, reason }));
    check('rejected', rejected, wanted.rejected ?? []);
  }
  for (const { index, detail } of body.rejected ?? []) {
    if (typeof detail !== 'string' || detail.length < 3 || detail.length > 200)
      wrong.push(`detail of ${index} is ${detail}`);
  }
  return wrong;
}

async function isHealthy(): Promise<boolean> {
  const answer = await fetch(`${system.pod.url}/health`, { signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS) });
  return answer.ok;
}

/** Asks for health all the time until `work` is done, and answers the slowest in milliseconds; rejects when one was too slow. */
async function slowestHealth(work: Promise<unknown>): Promise<number> {
  let slowestMs = 0;
  const end = new AbortController();
  void work.finally(() => end.abort()).catch(() => undefined);
  while (!end.signal.aborted) {
    const sinceMs = performance.now();
    if (!(await isHealthy())) throw new Error('the pod is not healthy');
    slowestMs = Math.max(slowestMs, performance.now() - sinceMs);
    await delay(HEALTH_INTERVAL_MS);
  }
  await work;
  return slowestMs;
}

describe(`each of ${MALFORMED_CORPUS.length} malformed bodies`, { timeout: CORPUS_TIMEOUT_MS }, () => {
  test('there are at least 170 of, each with a name of its own', () => {
    expect(MALFORMED_CORPUS.length).toBeGreaterThanOrEqual(170);
    expect(new Set(MALFORMED_CORPUS.map(({ name }) => name)).size).toBe(MALFORMED_CORPUS.length);
  });

  test.each(['pod', 'edge'] as const)('gets its answer from the %s, which stays healthy and small', async (door) => {
    await warmUp(door);
    const { pid } = system.pod;
    const before = peakBytesOf(pid);
    const wrong: string[] = [];
    let stored = 0;
    const posting = (async () => {
      for (const [number, entry] of MALFORMED_CORPUS.entries()) {
        const answer = await postEntry(door, `corpus-${number}`, entry).catch((cause: Error) => cause);
        if (answer instanceof Error) {
          if (!mayBeCut(door, entry)) wrong.push(`${entry.name}: no answer, ${answer.message}`);
        } else {
          wrong.push(...faults(answer, entry).map((fault) => `${entry.name}: ${fault}`));
          if (answer.status === 200) stored += (JSON.parse(answer.text) as StoredAnswer).stored;
        }
        if (!(await isHealthy())) wrong.push(`${entry.name}: the pod is not healthy after it`);
      }
    })();
    const slowestMs = await slowestHealth(posting);
    const grownBytes = peakBytesOf(pid) - before;
    console.log(
      `${door}: ${MALFORMED_CORPUS.length} bodies, ${stored} ticks stored, slowest /health ${slowestMs.toFixed(0)} ms, ` +
        `pod memory ${(before / 2 ** 20).toFixed(0)} MiB + ${(grownBytes / 2 ** 20).toFixed(1)} MiB`,
    );
    expect(wrong).toEqual([]);
    expect(slowestMs).toBeLessThan(HEALTH_TIMEOUT_MS);
    expect(grownBytes).toBeLessThanOrEqual(MEMORY_GROWTH_MAX_BYTES);
  });

  test('left in the store what was answered as stored, and the books in balance', async () => {
    const { providers } = await system.status();
    using store = system.openStore();
    for (const name of ['edge', 'direct']) {
      const { trades, quotes } = store.counts(name);
      expect(providers[name], name).toMatchObject({ stored: trades + quotes, residue: 0, inFlight: 0 });
    }
    expect(system.complaints()).toEqual([]);
  });
});

function peakBytesOf(pid: number): number {
  return noProcessMemory ? 0 : peakBytes(pid);
}

/** What a pod has had anyway: ordinary batches, and the largest of legal ones in each format. */
async function warmUp(door: Door): Promise<void> {
  const ordinary = Buffer.from(`${trade()}\n`.repeat(500));
  for (let number = 0; number < WARM_UP_BATCHES; number += 1) {
    expectStored(await post(door, `warm-${number}`, ordinary, { 'content-type': NDJSON }));
  }
  let peak = 0;
  let still = 0;
  for (let number = 0; number < WARM_UP_LARGEST_MAX_BATCHES && still < WARM_UP_STILL_BATCHES; number += 1) {
    const [contentType, body] =
      number % 2 === 0 ? [NDJSON, largest('', '\n', '')] : [JSON_ARRAY, largest('[', ',', ']')];
    const headers = { 'content-type': contentType, 'content-encoding': 'gzip' };
    expectStored(await post(door, `largest-${number}`, body, headers));
    still = peakBytesOf(system.pod.pid) > peak ? 0 : still + 1;
    peak = peakBytesOf(system.pod.pid);
  }
}

/** As many ticks and as many bytes as a batch may have, in characters that take two bytes each in memory. */
function largest(open: string, between: string, close: string): Uint8Array {
  const bytesPerTick = Math.floor((UNPACKED_MAX_BYTES - 2) / BATCH_MAX_TICKS) - between.length;
  const characters = Math.floor((bytesPerTick - trade({ note: '""' }).length) / Buffer.byteLength('贵'));
  const tick = trade({ note: `"${'贵'.repeat(characters)}"` });
  return gzipSync(open + Array(BATCH_MAX_TICKS).fill(tick).join(between) + close);
}

function expectStored(answer: RawAnswer): void {
  expect(answer.status, answer.text.slice(0, 500)).toBe(200);
}

interface Framing {
  /** Header lines that say where the body ends. */
  lines: string[];
  /** What is signed. */
  body: string;
  /** What is written after the headers; the signed body unless told otherwise. */
  written?: string;
  /** Without more, the other side would wait for it: ours is closed. */
  unfinished?: true;
}

const TICK = `${trade()}\n`;

async function signedRequest(
  door: Door,
  batch: string,
  body: string,
): Promise<{ url: string; headers: Record<string, string> }> {
  const provider = 'raw';
  const id = door === 'pod' ? `${provider}/${batch}` : batch;
  const secret = door === 'pod' ? system.edgeSecret : system.providers[provider]!.secret;
  return {
    url: `http://127.0.0.1:${portOf(door)}/v1/ticks/${provider}`,
    headers: await signBytes(secret, id, Buffer.from(body)),
  };
}

/** A request with a good signature over `body`, framed in whatever way. */
async function framed(door: Door, batch: string, { lines, body, written = body }: Framing): Promise<string> {
  const { url, headers } = await signedRequest(door, batch, body);
  const fields = ['host: x', ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`), ...lines];
  return `POST ${new URL(url).pathname} HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n${written}`;
}

/** All that comes back. Node gives up on a request whose sender has closed its side; workerd closes only then. */
async function exchange(door: Door, text: string, unfinished = false): Promise<string> {
  if (unfinished || door === 'edge') return sendRaw(portOf(door), text);
  const { socket, ended } = open(portOf(door));
  socket.write(text);
  return ended;
}

function portOf(door: Door): number {
  return door === 'pod' ? system.pod.port : system.edge.port;
}

function rawRows(): number {
  using store = system.openStore();
  return store.counts('raw').trades;
}

describe.each(['pod', 'edge'] as const)('on a raw socket to the %s', (door) => {
  test('a body that is longer than its Content-Length ends there, and the rest is no second batch', async () => {
    const before = rawRows();
    const framing = { lines: [`content-length: ${TICK.length}`], body: TICK };
    const answer = await exchange(door, await framed(door, `${door}-longer`, { ...framing, written: TICK + TICK }));
    // Node's parser may be at the rest, and give up on the connection, before the batch has been committed.
    expect(answer).toMatch(door === 'pod' ? /^HTTP\/1\.1 (200|400) / : /^HTTP\/1\.1 200 /);
    expect(answer.match(/HTTP\/1\.1 2/g)?.length ?? 0).toBeLessThanOrEqual(1);
    // Sent again as it should have been, it is the same batch.
    const { url, headers } = await signedRequest(door, `${door}-longer`, TICK);
    const again = await send(url, 'POST', { ...headers, 'content-length': String(TICK.length) }, [TICK]);
    expect(JSON.parse(again.text)).toMatchObject({ status: 'stored', stored: 1 });
    expect(rawRows()).toBe(before + 1);
  });

  const HALF = TICK.slice(0, 50);
  test.each<[string, Framing]>([
    [
      'shorter than its Content-Length',
      { lines: [`content-length: ${TICK.length + 100}`], body: TICK, unfinished: true },
    ],
    [
      'signed whole and cut off',
      { lines: [`content-length: ${TICK.length}`], body: TICK, written: HALF, unfinished: true },
    ],
    ['of a negative Content-Length', { lines: [`content-length: -${TICK.length}`], body: TICK }],
    ['of a Content-Length with a sign', { lines: [`content-length: +${TICK.length}`], body: TICK }],
    ['of a hexadecimal Content-Length', { lines: [`content-length: 0x${TICK.length.toString(16)}`], body: TICK }],
    ['of a Content-Length beyond all numbers', { lines: [`content-length: ${'9'.repeat(40)}`], body: TICK }],
    ['of two Content-Lengths', { lines: [`content-length: ${TICK.length}`, 'content-length: 5'], body: TICK }],
    [
      'in chunks without the last one',
      {
        lines: ['transfer-encoding: chunked'],
        body: TICK,
        written: `${TICK.length.toString(16)}\r\n${TICK}\r\n`,
        unfinished: true,
      },
    ],
    [
      'in chunks of no size',
      { lines: ['transfer-encoding: chunked'], body: TICK, written: `zz\r\n${TICK}\r\n0\r\n\r\n` },
    ],
    ['of a transfer encoding that nobody knows', { lines: ['transfer-encoding: rot13'], body: TICK }],
  ])('a body %s is not stored', async (what, framing) => {
    const before = rawRows();
    const text = await framed(door, `${door}-${what.replaceAll(' ', '-')}`, framing);
    const answer = await exchange(door, text, framing.unfinished);
    // Whoever has closed their side may hear nothing.
    expect(answer).toMatch(framing.unfinished || door === 'edge' ? /^(HTTP\/1\.1 [45]|$)/ : /^HTTP\/1\.1 [45]/);
    expect(rawRows()).toBe(before);
    expect(await isHealthy()).toBe(true);
  });

  test('an endless chunked body is answered 413 and cut', async () => {
    const head = await framed(door, `${door}-endless`, {
      lines: ['transfer-encoding: chunked'],
      body: TICK,
      written: '',
    });
    const { answer, writtenBytes } = await writeForever(portOf(door), head);
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer).toContain('/problems/too-large');
    // Buffers of both sockets come on top; they are not the pod's.
    expect(writtenBytes).toBeLessThan(BODY_MAX_BYTES + LINGER_MAX_BYTES + 24 * 1024 * 1024);
    expect(await isHealthy()).toBe(true);
  });

  test('headers that are too large are refused and do no harm', async () => {
    const before = rawRows();
    const padding = `x-padding: ${'x'.repeat(door === 'pod' ? HEADERS_MAX_BYTES : 1024 * 1024)}`;
    const lines = [padding, `content-length: ${TICK.length}`];
    const answer = await exchange(door, await framed(door, `${door}-headers`, { lines, body: TICK }));
    // workerd closes the connection without a word.
    expect(answer).toMatch(door === 'pod' ? /^HTTP\/1\.1 431 / : /^(HTTP\/1\.1 4|$)/);
    expect(rawRows()).toBe(before);
    expect(await isHealthy()).toBe(true);
  });
});

describe('bodies that come a byte at a time', () => {
  const PATIENCE_MS = { pod: REQUEST_TIMEOUT_MS, edge: BODY_READ_TIMEOUT_MS };
  /** Between the timeout and the check that finds it, on a busy machine. */
  const SLACK_MS = 5_000;

  test.each(['pod', 'edge'] as const)(
    'are cut off by the %s when its time for a request is over',
    { timeout: 60_000 },
    async (door) => {
      for (const { afterMs, answer } of await Promise.all(slow[door])) {
        expect(answer).toMatch(/^HTTP\/1\.1 408 /);
        expect(afterMs).toBeGreaterThan(PATIENCE_MS[door] - SLACK_MS);
        expect(afterMs).toBeLessThan(PATIENCE_MS[door] + SLACK_MS);
      }
      expect(await isHealthy()).toBe(true);
    },
  );
});

interface SlowEnd {
  answer: string;
  afterMs: number;
}

function trickles(port: number): Promise<SlowEnd>[] {
  return Array.from({ length: SLOW_BODIES }, () => trickle(port));
}

/** Announces a body and sends a byte of it in each interval, until the other side has enough. */
function trickle(port: number): Promise<SlowEnd> {
  const sinceMs = performance.now();
  const { socket, ended } = open(port);
  const fields = 'host: x\r\nauthorization: Bearer slow\r\ncontent-type: application/x-ndjson\r\ncontent-length: 10000';
  socket.write(`POST /v1/ticks/raw HTTP/1.1\r\n${fields}\r\n\r\n`);
  const timer = setInterval(() => socket.write(' '), SLOW_INTERVAL_MS);
  return ended.then((answer) => {
    clearInterval(timer);
    return { answer, afterMs: performance.now() - sinceMs };
  });
}

/** Chunks until the connection ends. */
async function writeForever(port: number, head: string): Promise<{ answer: string; writtenBytes: number }> {
  const { socket, ended } = open(port);
  const chunk = Buffer.from(`10000\r\n${' '.repeat(0x10000)}\r\n`);
  socket.write(head);
  while (!socket.destroyed) {
    if (!socket.write(chunk)) await Promise.race([ended, new Promise((resolve) => socket.once('drain', resolve))]);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { answer: await ended, writtenBytes: socket.bytesWritten };
}

/** A connection, and all that came back over it once the other side has closed it. */
function open(port: number): { socket: Socket; ended: Promise<string> } {
  const socket = connect({ port, host: '127.0.0.1' });
  let answer = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
  socket.on('error', () => undefined); // a reset; what came before it counts
  return { socket, ended: new Promise((resolve) => socket.once('close', () => resolve(answer))) };
}
