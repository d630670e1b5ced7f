/** Looking at a foreign store's /metrics over a real connection; the time is the test's. */

import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FeedbackBoard } from '../../pipeline/backpressure/feedback.ts';
import { FeedbackPoller, POLL_BODY_MAX_BYTES } from '../../pipeline/source/feedback-poller.ts';

const EXPIRY_MS = 60_000;
const INTERVAL_MS = 5_000;
const TIMEOUT_MS = 2_000;

/** Timers that the test sets off. */
class Timers {
  #waiting: { ms: number; run: () => void }[] = [];
  #whenPlanned: (() => void)[] = [];

  readonly after = (ms: number, run: () => void): (() => void) => {
    const timer = { ms, run };
    this.#waiting.push(timer);
    for (const resolve of this.#whenPlanned.splice(0)) resolve();
    return () => void (this.#waiting = this.#waiting.filter((one) => one !== timer));
  };

  get waiting(): number[] {
    return this.#waiting.map(({ ms }) => ms);
  }

  fire(ms: number): void {
    const at = this.#waiting.findIndex((timer) => timer.ms === ms);
    if (at === -1) throw new Error(`no timer of ${ms} ms among ${this.waiting.join()}`);
    this.#waiting.splice(at, 1)[0]!.run();
  }

  /** Until the next look is planned, and with it the last one over. */
  async planned(): Promise<void> {
    while (this.waiting.length === 0 || this.waiting.includes(TIMEOUT_MS)) {
      await new Promise<void>((resolve) => this.#whenPlanned.push(resolve));
    }
  }
}

let server: Server;
let answer: RequestListener;
let requests: { url: string | undefined; authorization: string | undefined }[];
let board: FeedbackBoard;
let timers: Timers;
let nowMs: number;
let logged: { level: string; event: string; why: unknown }[];
let poller: FeedbackPoller;

function depth(items: number, coordinator = 'bars-coord'): string {
  return `# TYPE mds_coord_queue_depth gauge\nmds_coord_queue_depth{coord_id="${coordinator}"} ${items}.0\n`;
}

const page =
  (text: string): RequestListener =>
  (_request, response) =>
    void response.setHeader('content-type', 'text/plain').end(text);

beforeEach(async () => {
  requests = [];
  logged = [];
  nowMs = 0;
  answer = page(depth(0));
  server = createServer((request, response) => {
    requests.push({ url: request.url, authorization: request.headers.authorization });
    answer(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  board = new FeedbackBoard(EXPIRY_MS);
  timers = new Timers();
  poller = polling(`http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics?of=store`);
});
afterEach(async () => {
  await poller.stop();
  server.closeAllConnections();
  server.close();
});

function polling(url: string): FeedbackPoller {
  return new FeedbackPoller({
    board,
    url,
    intervalMs: INTERVAL_MS,
    timeoutMs: TIMEOUT_MS,
    capacity: 10_000,
    fetch,
    after: timers.after,
    nowMs: () => nowMs,
    log: (level, event, { why }) => void logged.push({ level, event, why }),
  });
}

/** The next look, from its plan to its end. */
async function look(): Promise<void> {
  const [waitMs] = timers.waiting;
  if (waitMs === undefined) poller.start();
  else {
    nowMs += waitMs;
    timers.fire(waitMs);
  }
  await timers.planned();
}

async function see(listener: RequestListener): Promise<void> {
  answer = listener;
  await look();
}

describe('a look at a foreign store', () => {
  it('sets the level by watermarks of its queue, with hysteresis, and the depth', async () => {
    const seen: unknown[] = [];
    for (const items of [0, 4_999, 5_000, 4_000, 3_999, 8_000, 5_000, 4_999, 12_000, 0]) {
      await see(page(depth(items)));
      const { level, queueSize, capacity } = board.coordinators(nowMs).get('bars-coord')!;
      expect([queueSize, capacity]).toEqual([items, 10_000]);
      seen.push(level);
    }
    expect(seen.join(' ')).toBe('ok ok soft soft ok hard hard soft hard ok');
    expect([requests[0]!.url, requests[0]!.authorization]).toEqual(['/metrics?of=store', undefined]);
    expect(logged).toEqual([]);
  });

  it('speaks of the same coordinator as its own words do, and the later of the two counts', async () => {
    await see(page(depth(9_000) + depth(0, 'ticks')));
    expect([...board.coordinators(nowMs).keys()]).toEqual(['bars-coord', 'ticks']);
    const pushed = {
      coordinatorId: 'bars-coord',
      queueSize: 5_000,
      capacity: 10_000,
      level: 'ok',
      sentMs: undefined,
    } as const;
    board.hear(pushed, nowMs);
    expect(board.level(nowMs)).toBe('ok');
    // A late "hard" of the push, which carries no time, is mended by the next look.
    board.hear({ ...pushed, level: 'hard' }, nowMs);
    await see(page(depth(100)));
    expect(board.level(nowMs)).toBe('ok');
  });

  it('sends the user and password of the URL as Basic, and not in the URL', async () => {
    const { port } = server.address() as AddressInfo;
    poller = polling(`http://store:p%40ss@127.0.0.1:${port}/metrics`);
    await look();
    const authorization = `Basic ${Buffer.from('store:p@ss').toString('base64')}`;
    expect(requests).toEqual([{ url: '/metrics', authorization }]);
  });

  it('is planned from start to start, one at a time, also by a clock that is set back', async () => {
    await see((_request, response) => {
      nowMs += 1_200;
      page(depth(0))(_request, response);
    });
    expect(timers.waiting).toEqual([INTERVAL_MS - 1_200]);
    await see((_request, response) => {
      nowMs -= 3_600_000;
      page(depth(0))(_request, response);
    });
    expect(timers.waiting).toEqual([INTERVAL_MS]);
    await see((_request, response) => {
      nowMs += 60_000;
      page(depth(0))(_request, response);
    });
    expect(timers.waiting).toEqual([0]);
    expect(requests).toHaveLength(3);
  });
});

describe('a look that fails', () => {
  const gzipped = gzipSync(Buffer.alloc(POLL_BODY_MAX_BYTES + 1, '\n'));

  it.each<[string, RequestListener]>([
    ['bad_status', (_request, response) => void response.writeHead(503).end(depth(0))],
    [
      'unreachable',
      (request, response) =>
        request.url === '/other'
          ? page(depth(0))(request, response)
          : void response.writeHead(302, { location: '/other' }).end(),
    ],
    ['unreachable', (request) => void request.socket.destroy()],
    [
      'unreachable',
      (_request, response) =>
        void response.writeHead(200, { 'content-length': '99' }).write('x', () => response.destroy()),
    ],
    [
      'unreachable',
      (_request, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end('no gzip'),
    ],
    ['too_large', (_request, response) => void response.end('\n'.repeat(POLL_BODY_MAX_BYTES + 1))],
    ['too_large', (_request, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipped)],
    ['no_series', page('')],
    ['no_series', page('<html>')],
  ])('as %s changes nothing, lets the state expire and is logged once per change', async (why, failing) => {
    await see(page(depth(9_000)));
    for (let at = 0; at < 3; at += 1) await see(failing);
    expect(logged).toEqual([{ level: 'warn', event: 'feedback_poll_failed', why }]);
    expect([board.level(nowMs), board.level(EXPIRY_MS - 1), board.level(EXPIRY_MS)]).toEqual(['hard', 'hard', 'ok']);
    await see(page(depth(0)));
    await see(page(depth(0)));
    expect(logged.slice(1)).toEqual([{ level: 'info', event: 'feedback_poll_recovered', why: undefined }]);
    expect(board.level(nowMs)).toBe('ok');
  });

  it.each<[string, RequestListener]>([
    ['never answers', () => undefined],
    ['sends a line and then nothing', (_request, response) => void response.write(depth(9_000))],
  ])('because the store %s ends at its time limit', async (_what, hanging) => {
    answer = hanging;
    const arrived = once(server, 'request');
    poller.start();
    await arrived;
    nowMs += TIMEOUT_MS;
    timers.fire(TIMEOUT_MS);
    await timers.planned();
    expect(logged).toEqual([{ level: 'warn', event: 'feedback_poll_failed', why: 'timeout' }]);
    expect([timers.waiting, board.coordinators(nowMs).size]).toEqual([[INTERVAL_MS - TIMEOUT_MS], 0]);
  });

  it('because nothing listens is unreachable, and works again when something does', async () => {
    const { port } = server.address() as AddressInfo;
    server.close();
    await look();
    expect(logged).toEqual([{ level: 'warn', event: 'feedback_poll_failed', why: 'unreachable' }]);
    server = createServer((request, response) => page(depth(6_000))(request, response)).listen(port, '127.0.0.1');
    await once(server, 'listening');
    await look();
    expect(board.level(nowMs)).toBe('soft');
  });
});

describe('a poller that is stopped', () => {
  it('plans no other look', async () => {
    await look();
    await poller.stop();
    expect(timers.waiting).toEqual([]);
  });

  it('ends the look under way, without a word in the log', async () => {
    answer = () => undefined;
    const arrived = once(server, 'request');
    poller.start();
    await arrived;
    await poller.stop();
    expect([timers.waiting, logged]).toEqual([[], []]);
  });
});
