/**
 * Requests that mean two things at once, or more than fits: framing by which a second request is smuggled past whoever
 * reads the first, and everything that can be larger than it should be.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signBytes } from '../support/edge-credentials.ts';
import { trade } from '../support/malformed-corpus.ts';
import { HostileSocket, UNHARMED, UnderAttack } from '../support/under-attack.ts';

/** Nobody waits longer for the rest of an answer. */
const EXCHANGE_TIMEOUT_MS = 3_000;

type Door = 'pod' | 'edge';

let attacked: UnderAttack;

beforeAll(async () => {
  attacked = await UnderAttack.start(['raw', 'smuggled']);
});
afterAll(() => attacked?.[Symbol.asyncDispose]());

const portOf = (door: Door): number => attacked.system[door].port;

/** The lines of a request of `provider` with a good signature, without its framing. */
async function signedLines(door: Door, provider: string, batch: string, body: string): Promise<string[]> {
  const { edgeSecret, providers } = attacked.system;
  const [secret, id] = door === 'pod' ? [edgeSecret, `${provider}/${batch}`] : [providers[provider]!.secret, batch];
  const headers = await signBytes(secret, id, Buffer.from(body));
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return [`POST /v1/ticks/${provider} HTTP/1.1`, 'host: x', ...fields];
}

/** Writes it and reads until the other side has closed, or has had its time. */
async function exchange(door: Door, text: string): Promise<string> {
  const socket = new HostileSocket(portOf(door));
  socket.socket.write(Buffer.from(text, 'latin1'));
  const timer = setTimeout(() => socket.end(), EXCHANGE_TIMEOUT_MS);
  const answer = await socket.closed;
  clearTimeout(timer);
  return answer;
}

const TICK = `${trade()}\n`;

interface Smuggle {
  /** How the first request says where it ends; `{length}` is that of what follows, `{hex}` the same in hexadecimal. */
  framing: string[];
  /** What stands between its headers and the smuggled request. */
  before?: string;
  lineEnd?: string;
  /** May be read as one whole request, which then ends where it says. */
  mayBeRead?: true;
}

/** Each is read in one way by a careless front and in another by a careless back. */
const SMUGGLES: [string, Smuggle][] = [
  [
    'both Content-Length and Transfer-Encoding',
    { framing: ['content-length: {length}', 'transfer-encoding: chunked'], before: '0\r\n\r\n' },
  ],
  [
    'the same the other way round',
    { framing: ['transfer-encoding: chunked', 'content-length: 4'], before: '0\r\n\r\n' },
  ],
  [
    'a Transfer-Encoding with a blank before its colon',
    { framing: ['content-length: {length}', 'transfer-encoding : chunked'], before: '0\r\n\r\n' },
  ],
  [
    'a Transfer-Encoding in a folded line',
    { framing: ['content-length: {length}', 'x: y\r\n transfer-encoding: chunked'], before: '0\r\n\r\n' },
  ],
  [
    'a Transfer-Encoding behind a tab',
    { framing: ['content-length: {length}', 'transfer-encoding:\tchunked'], before: '0\r\n\r\n' },
  ],
  [
    'a Transfer-Encoding behind a vertical tab',
    { framing: ['content-length: {length}', 'transfer-encoding: \u000bchunked'], before: '0\r\n\r\n' },
  ],
  [
    'two Transfer-Encodings',
    { framing: ['transfer-encoding: chunked', 'transfer-encoding: identity'], before: '0\r\n\r\n' },
  ],
  ['chunked, identity', { framing: ['transfer-encoding: chunked, identity'], before: '0\r\n\r\n' }],
  ['xchunked', { framing: ['content-length: {length}', 'transfer-encoding: xchunked'], before: '0\r\n\r\n' }],
  ['two Content-Lengths', { framing: ['content-length: 0', 'content-length: {length}'] }],
  ['a list of Content-Lengths', { framing: ['content-length: 0, {length}'] }],
  ['a Content-Length with a blank in it', { framing: ['content-length: 0 {length}'] }],
  ['an empty Content-Length', { framing: ['content-length:'] }],
  ['a Content-Length behind a NUL', { framing: ['content-length: \u0000{length}'] }],
  [
    'lines that end with a line feed alone',
    { framing: ['content-length: 0', 'x: y\ntransfer-encoding: chunked'], before: '0\n\n' },
  ],
  [
    'lines that end with a carriage return alone',
    { framing: ['content-length: 0\rtransfer-encoding: chunked'], before: '0\r\n\r\n' },
  ],
  ['a chunk size that overflows', { framing: ['transfer-encoding: chunked'], before: '10000000000000000\r\n' }],
  ['a negative chunk size', { framing: ['transfer-encoding: chunked'], before: '-1\r\n' }],
  ['a chunk size with a prefix', { framing: ['transfer-encoding: chunked'], before: '0x0\r\n\r\n' }],
  [
    'a chunk that is longer than its size',
    { framing: ['transfer-encoding: chunked'], before: '1\r\nabc\r\n0\r\n\r\n' },
  ],
  ['a header without a name', { framing: [': y', 'content-length: 0'] }],
];

describe.each(['pod', 'edge'] as const)('at the %s a second request', (door) => {
  test.each(SMUGGLES)('is not smuggled in by %s', async (what, { framing, before = '' }) => {
    const batch = what.replaceAll(/\W+/g, '-').slice(0, 60);
    // Whoever reads on behind the first finds a request that is good in every way.
    const inner = await signedLines(door, 'smuggled', `${door}-${batch}`, TICK);
    const second = [...inner, `content-length: ${TICK.length}`, 'connection: close', '', TICK].join('\r\n');
    const outer = await signedLines(door, 'raw', `${door}-${batch}`, before + second);
    const length = String(before.length + second.length);
    const lines = framing.map((line) => line.replace('{length}', length));
    const answer = await exchange(door, `${[...outer, ...lines].join('\r\n')}\r\n\r\n${before}${second}`);
    // One answer at most, and not a good one: an unreadable frame is the end of its connection.
    expect(answer.match(/HTTP\/1\.1 \d+/g)?.length ?? 0, answer).toBeLessThanOrEqual(1);
    expect(answer).not.toMatch(/HTTP\/1\.1 2/);
    using store = attacked.system.openStore();
    expect(store.counts('smuggled')).toEqual({ trades: 0, quotes: 0 });
  });

  test('is taken when it comes behind a first one that is whole: it was the framing that was refused', async () => {
    const whole = async (batch: string, ...more: string[]): Promise<string> => {
      const lines = await signedLines(door, 'raw', `${door}-${batch}`, TICK);
      return [...lines, `content-length: ${TICK.length}`, ...more, '', TICK].join('\r\n');
    };
    const answer = await exchange(door, (await whole('first')) + (await whole('second', 'connection: close')));
    expect(answer.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
  });
});

/** What is too large is refused, or said nothing to; `{tick}` is a good body. */
const OVERSIZED: [string, (lines: readonly string[]) => string][] = [
  ['a path', ([, ...lines]) => [`POST /v1/ticks/${'p'.repeat(100_000)} HTTP/1.1`, ...lines].join('\r\n')],
  ['a query', ([, ...lines]) => [`POST /v1/ticks/raw?${'q'.repeat(100_000)} HTTP/1.1`, ...lines].join('\r\n')],
  ['a method', ([, ...lines]) => [`${'M'.repeat(100_000)} /v1/ticks/raw HTTP/1.1`, ...lines].join('\r\n')],
  ['a version', ([, ...lines]) => [`POST /v1/ticks/raw HTTP/1.1${'1'.repeat(100_000)}`, ...lines].join('\r\n')],
  ['a header’s name', (lines) => [...lines, `${'n'.repeat(1_000_000)}: x`].join('\r\n')],
  [
    'a batch id',
    (lines) => lines.map((line) => line.replace(/^(webhook-id: .*)/, `$1${'b'.repeat(200)}`)).join('\r\n'),
  ],
  [
    'a signature',
    (lines) =>
      lines
        .map((line) => line.replace(/^(webhook-signature: .*)/, `$1${' v1,AAAA'.repeat(1_500)}`))
        .join('\r\n')
        .replace('v1,', 'v2,'),
  ],
  [
    'a number of headers',
    (lines) =>
      [
        ...Array.from({ length: 20_000 }, (_, at) => `x-${at}: y`).toSpliced(0, 0, ...lines.slice(0, 2)),
        ...lines.slice(2),
      ].join('\r\n'),
  ],
  [
    'a host',
    (lines) => lines.map((line) => (line === 'host: x' ? `host: ${'h'.repeat(1_000_000)}` : line)).join('\r\n'),
  ],
  [
    'a content type',
    (lines) =>
      lines.map((line) => line.replace(/^content-type: .*/, `content-type: ${'t'.repeat(100_000)}`)).join('\r\n'),
  ],
];

describe.each(['pod', 'edge'] as const)('at the %s', (door) => {
  test.each(OVERSIZED)('%s that is too large is refused, and nothing of its batch is stored', async (what, change) => {
    using store = attacked.system.openStore();
    const before = store.counts('raw').trades;
    const lines = await signedLines(door, 'raw', `${door}-large-${what.length}`, TICK);
    const head = change([...lines, `content-length: ${TICK.length}`, 'connection: close']);
    expect(await exchange(door, `${head}\r\n\r\n${TICK}`)).toMatch(/^(HTTP\/1\.1 (4|501)|$)/);
    expect(store.counts('raw').trades).toBe(before);
  });

  test('chunks whose extensions and trailers have no end are cut off', { timeout: 30_000 }, async () => {
    const lines = await signedLines(door, 'raw', `${door}-extensions`, TICK);
    const head = `${[...lines, 'transfer-encoding: chunked'].join('\r\n')}\r\n\r\n`;
    for (const endless of ['1;', '0\r\nx: ']) {
      const { harm } = await attacked.suffers(
        `an endless ${endless === '1;' ? 'chunk extension' : 'trailer'} to the ${door}`,
        async () => {
          const hostile = new HostileSocket(portOf(door));
          hostile.socket.write(head + endless);
          for (let written = 0; written < 64 && hostile.isOpen; written += 1) {
            if (hostile.socket.write('x'.repeat(262_144))) continue;
            await Promise.race([hostile.closed, new Promise((resolve) => hostile.socket.once('drain', resolve))]);
          }
          hostile.socket.end();
          await hostile.closed;
        },
      );
      expect(harm).toEqual(UNHARMED);
    }
  });
});
