/** The engine against an edge that misbehaves on purpose. Waits run on a clock that the test owns. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { type Account, accountText, Durations, succeeded } from '../../deploy/replay/account.ts';
import type { Clock } from '../../deploy/replay/delivery.ts';
import { replay, type ReplayOptions } from '../../deploy/replay/replay.ts';
import { RETRY_JITTER_MAX_MS } from '../../deploy/replay/retry.ts';
import { captureFile, NEEDS, noCaptures, temporaryDirectory } from './captures.ts';
import { type FaultyEdge, type Received, type Reply, type Script, startFaultyEdge } from './faulty-edge.ts';

/** Sleeps pass at once and move the time, so that what a wait was for is told by `slept`. */
function ownClock(): Clock & { slept: number[]; passedMs: () => number } {
  let nowMs = 0;
  const slept: number[] = [];
  return {
    slept,
    passedMs: () => nowMs,
    nowMs: () => nowMs,
    sleep: async (ms, signal) => {
      await nextTurn();
      if (signal.aborted) return;
      nowMs += ms;
      slept.push(ms);
    },
  };
}

/** A Binance capture of `count` trades, 10 ms apart. */
function captureOf(count: number): string {
  return Array.from({ length: count }, (_, n) => {
    const receivedNs = 1_723_161_255_000_000_000n + BigInt(n) * 10_000_000n;
    return `${receivedNs} {"data":{"e":"trade","s":"X","t":${n + 1},"p":"1.5","q":"2","T":${1_723_161_256_000 + n},"m":true}}\n`;
  }).join('');
}

interface Run {
  account: Account;
  edge: FaultyEdge;
  clock: ReturnType<typeof ownClock>;
}

/** Replays `count` trades in batches of 10 against `script`. */
async function run(count: number, script: Script, options: Partial<ReplayOptions> = {}): Promise<Run> {
  using files = temporaryDirectory();
  await using edge = await startFaultyEdge(script);
  const clock = ownClock();
  const account = await replay({
    file: files.write('x.txt', captureOf(count)),
    to: edge.url,
    provider: 'ibkr',
    credential: { secret: edge.secret },
    batchTicks: 10,
    clock,
    random: () => 0.5,
    ...options,
  });
  return { account, edge, clock };
}

/** `reply` to a batch's first request, and a 200 to the next. */
function once(reply: Reply): Script {
  return ({ before }) => (before === 0 ? reply : { do: 'store' });
}

function idsOf(received: Received[]): string[] {
  return received.map(({ id }) => id);
}

function byId(a: { id: string }, b: { id: string }): number {
  return a.id.localeCompare(b.id);
}

/**
 * Answers `size` requests together, and none before the last of them has come: so a sender is seen with all that
 * it would ever have in flight. `total` requests are expected.
 */
function inGroupsOf(size: number, total: number, reply: () => Reply): Script {
  const waiting: (() => void)[] = [];
  let left = total;
  return async () => {
    const released = Promise.withResolvers<void>();
    waiting.push(released.resolve);
    if (waiting.length >= Math.min(size, left)) {
      // One too many would arrive now. A sender slower than this would get away with it; none is failed wrongly.
      await turns(50);
      left -= waiting.length;
      for (const release of waiting.splice(0)) release();
    }
    await released.promise;
    return reply();
  };
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await nextTurn();
}

/** Holds back all batches but the first until the first has been answered. */
function afterTheFirst(): Partial<ReplayOptions> {
  const clock = ownClock();
  const first = Promise.withResolvers<void>();
  return {
    speed: 1,
    clock: { ...clock, sleep: (ms, signal) => first.promise.then(() => clock.sleep(ms, signal)) },
    onAnswer: () => first.resolve(),
  };
}

/** A clock on which no wait ends before it is given up. */
function patientClock(): Clock {
  return {
    nowMs: () => 0,
    sleep: (_, signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
  };
}

/** Every tick that was read has exactly one end. */
function expectBalance(account: Account): void {
  const { tradesRead, quotesRead, stored, duplicates, buffered, rejected, failed, ticksUnsettled } = account;
  expect(stored + duplicates + buffered + rejected + failed + ticksUnsettled).toBe(tradesRead + quotesRead);
}

describe('a replay', () => {
  test('posts signed NDJSON to the provider, and accounts for every tick', async () => {
    const { account, edge } = await run(95, () => ({ do: 'store' }));
    expect(account).toMatchObject({
      ticksSent: 95,
      batchesSent: 10,
      stored: 95,
      duplicates: 0,
      resends: 0,
      end: 'complete',
    });
    expect(succeeded(account)).toBe(true);
    expectBalance(account);
    expect(edge.committed.size).toBe(10);
    expect(edge.received[0]).toMatchObject({
      path: '/v1/ticks/ibkr',
      headers: { 'content-type': 'application/x-ndjson' },
    });
    expect(edge.received[0]!.body.split('\n')[0]).toBe(
      '{"type":"trade","symbol":"X","tsMs":1723161256000,"id":"1","price":"1.5","size":"2","side":"sell"}',
    );
  });

  test('sends the same ids and bodies a second time, which the edge answers as duplicates', async () => {
    using files = temporaryDirectory();
    await using edge = await startFaultyEdge();
    const options = { to: edge.url, provider: 'ibkr', credential: { secret: edge.secret }, batchTicks: 10 };
    await replay({ ...options, file: files.write('x.txt', captureOf(95)) });
    const first = edge.received.splice(0).map(({ id, body }) => ({ id, body }));
    const again = await replay({ ...options, file: files.write('renamed.txt', captureOf(95)) });
    expect(edge.received.map(({ id, body }) => ({ id, body })).toSorted(byId)).toEqual(first.toSorted(byId));
    expect(again).toMatchObject({ stored: 0, duplicates: 95 });
  });

  test('with another batch size or prefix sends other ids', async () => {
    const ids = new Set([
      ...idsOf((await run(20, () => ({ do: 'store' }))).edge.received),
      ...idsOf((await run(20, () => ({ do: 'store' }), { batchTicks: 20 })).edge.received),
      ...idsOf((await run(20, () => ({ do: 'store' }), { batchPrefix: 'mine' })).edge.received),
    ]);
    expect(ids.size).toBe(2 + 1 + 2);
    expect(ids.has('mine-1')).toBe(true);
  });

  test('shuffled sends every batch once, in the order of the seed', async () => {
    const options = { inFlightMax: 1, shuffleSeed: 'seed' };
    const plain = await run(200, () => ({ do: 'store' }), { inFlightMax: 1 });
    const one = await run(200, () => ({ do: 'store' }), options);
    const two = await run(200, () => ({ do: 'store' }), options);
    expect(idsOf(one.edge.received)).not.toEqual(idsOf(plain.edge.received));
    expect(idsOf(one.edge.received)).toEqual(idsOf(two.edge.received));
    expect(one.edge.committed).toEqual(plain.edge.committed);
    expect(one.account.seed).toBe('seed');
  });

  test('gzips bodies when told to, and signs what it sends', async () => {
    const { account, edge } = await run(30, () => ({ do: 'store' }), { gzip: true });
    expect(account.stored).toBe(30);
    expect(edge.received.every(({ headers }) => headers['content-encoding'] === 'gzip')).toBe(true);
  });

  test('with a token names its batches and itself, unsigned', async () => {
    const { account, edge } = await run(30, () => ({ do: 'store' }), { credential: { token: 'test-token' } });
    expect(account.stored).toBe(30);
    expect(edge.received[0]!.headers).not.toHaveProperty('webhook-signature');
  });

  test('tells its observer of every attempt, answered or not', async () => {
    const seen: string[] = [];
    await run(
      10,
      ({ number }) =>
        ([
          { do: 'hang-up', stored: false },
          { do: 'problem', name: 'no-room' },
        ][number] as Reply) ?? { do: 'store' },
      {
        onAnswer: (batch, { outcome }) => seen.push(`${batch.ticks} ${outcome.kind}`),
      },
    );
    expect(seen).toEqual(['10 unclear', '10 refused', '10 stored']);
  });
});

describe('a batch without a final answer', () => {
  test.each<[string, Reply, Partial<Account>]>([
    [
      '503',
      { do: 'problem', name: 'store-unavailable', retryAfter: '2' },
      { refusalsByProblem: { '503 store-unavailable': 5 } },
    ],
    ['429', { do: 'problem', name: 'over-budget', retryAfter: '2' }, { refusalsByProblem: { '429 over-budget': 5 } }],
    ['500', { do: 'problem', name: 'internal' }, { unclearByReason: { internal: 5 } }],
    ['408', { do: 'problem', name: 'request-timeout' }, { unclearByReason: { 'request-timeout': 5 } }],
    ['a 502 of some proxy', { do: 'answer', status: 502, body: '<html>' }, { unclearByReason: { 'status 502': 5 } }],
    [
      'a 200 that is not readable',
      { do: 'answer', status: 200, body: '{"stored":' },
      { unclearByReason: { 'unreadable 200': 5 } },
    ],
  ])('because of %s is sent again with the same id and body, and stored once', async (_, reply, told) => {
    const { account, edge } = await run(50, once(reply));
    expect(account).toMatchObject({ ...told, stored: 50, duplicates: 0, resends: 5, end: 'complete' });
    expectBalance(account);
    expect(edge.received).toHaveLength(10);
    for (const [id, body] of edge.committed) {
      expect(edge.received.filter((one) => one.id === id).map((one) => one.body)).toEqual([body, body]);
    }
  });

  test('because the connection broke after the commit comes back as duplicates, not as a second copy', async () => {
    const { account, edge } = await run(50, once({ do: 'hang-up', stored: true }));
    expect(account).toMatchObject({ stored: 0, duplicates: 50, resends: 5, end: 'complete' });
    expect(edge.committed.size).toBe(5);
  });

  test('because nothing came in time is sent again', async () => {
    const { account } = await run(10, once({ do: 'silence' }), { requestTimeoutMs: 50 });
    expect(account).toMatchObject({ stored: 10, unclearByReason: { timeout: 1 }, end: 'complete' });
  });

  test('waits for as long as Retry-After says, and by chance a little longer', async () => {
    const { clock } = await run(10, once({ do: 'problem', name: 'draining', retryAfter: '7' }), { inFlightMax: 1 });
    expect(clock.slept).toEqual([7000 + RETRY_JITTER_MAX_MS / 2]);
  });

  test('without Retry-After waits longer each time', async () => {
    const { clock } = await run(
      10,
      ({ before }) => (before < 4 ? { do: 'problem', name: 'internal' } : { do: 'store' }),
      {
        inFlightMax: 1,
      },
    );
    // Three quarters of 200, 400, 800, 1600: the chance is 0.5 of the upper half.
    expect(clock.slept).toEqual([150, 300, 600, 1200]);
  });

  // Without the hold of the window, this saw 10 received while the wait lasted.
  test('over the budget of its provider holds up all the others, too', async () => {
    const clock = ownClock();
    const refusal = Promise.withResolvers<void>();
    const waited = Promise.withResolvers<void>();
    let received = 0;
    let answered = 0;
    let receivedWhileWaiting = 0;
    const { account } = await run(
      100,
      async ({ number }) => {
        received += 1;
        if (number === 0) return { do: 'problem', name: 'over-budget', retryAfter: '5' };
        // The three that were on their way already are answered when the sender knows of the refusal.
        await refusal.promise;
        return { do: 'store' };
      },
      {
        clock: { ...clock, sleep: (ms, signal) => waited.promise.then(() => clock.sleep(ms, signal)) },
        onAnswer: (_, { outcome }) => {
          if (outcome.kind === 'refused') refusal.resolve();
          answered += 1;
          if (answered === 4) {
            void turns(200).then(() => {
              receivedWhileWaiting = received;
              waited.resolve();
            });
          }
        },
      },
    );
    expect(receivedWhileWaiting).toBe(4);
    expect(account).toMatchObject({ stored: 100, resends: 1 });
  });

  test('that never gets one makes it give up, and say how much is unsent', async () => {
    const { account, clock } = await run(100, () => ({ do: 'problem', name: 'no-room', retryAfter: '10' }), {
      giveUpAfterMs: 60_000,
      inFlightMax: 2,
    });
    expect(account).toMatchObject({
      end: 'gave_up',
      stored: 0,
      ticksUnsettled: 100,
      batchesUnsettled: 10,
      readToEnd: true,
    });
    expect(account.trouble).toContain('60 s');
    expect(succeeded(account)).toBe(false);
    expect(clock.passedMs()).toBeGreaterThanOrEqual(60_000);
    expectBalance(account);
    expect(accountText(account)).toContain('unsent          100 ticks in 10 batches');
  });

  test('does not make it give up while others get theirs', async () => {
    const { account } = await run(
      200,
      ({ id, before }) =>
        id.endsWith('-0') && before < 12 ? { do: 'problem', name: 'no-room', retryAfter: '1' } : { do: 'store' },
      { giveUpAfterMs: 100_000, inFlightMax: 4 },
    );
    expect(account).toMatchObject({ end: 'complete', stored: 200 });
  });
});

describe('a final answer that is not 200', () => {
  test('202 is counted as buffered', async () => {
    const { account } = await run(30, () => ({ do: 'buffer' }));
    expect(account).toMatchObject({ buffered: 30, stored: 0 });
    expect(succeeded(account)).toBe(true);
  });

  test('422 is counted by the reasons of its ticks, and is not sent again', async () => {
    const rejected = Array.from({ length: 10 }, (_, index) => ({ index, reason: 'future_time' as const, detail: '' }));
    const { account, edge } = await run(20, () => ({ do: 'problem', name: 'all-rejected', rejected }));
    expect(account).toMatchObject({ rejected: 20, rejectedByReason: { future_time: 20 }, failed: 0 });
    expect(edge.received).toHaveLength(2);
    expect(succeeded(account)).toBe(true);
    expectBalance(account);
  });

  test('rejected ticks of a 200 are counted by reason beside the stored ones', async () => {
    const rejected = [{ index: 3, reason: 'precision' as const, detail: '' }];
    const { account } = await run(20, () => ({ do: 'store', rejected }));
    expect(account).toMatchObject({ stored: 18, rejected: 2, rejectedByReason: { precision: 2 } });
    expect(succeeded(account)).toBe(true);
    expectBalance(account);
  });

  test('409 fails its batch alone, is not sent again, and is told in its own words', async () => {
    const { account, edge } = await run(30, ({ id }) =>
      id.endsWith('-1') ? { do: 'problem', name: 'batch-conflict' } : { do: 'store' },
    );
    expect(account).toMatchObject({
      stored: 20,
      failed: 10,
      failedBatchesByProblem: { 'batch-conflict': 1 },
      end: 'complete',
    });
    expect(account.failure).toContain('409 batch-conflict: as the test wants it');
    expect(edge.received).toHaveLength(3);
    expect(succeeded(account)).toBe(false);
    expectBalance(account);
  });

  test('wrong credentials end it after the first answer instead of trying every batch', async () => {
    const { account, edge } = await run(100, () => ({ do: 'store' }), {
      credential: { token: 'wrong' },
      inFlightMax: 1,
    });
    expect(edge.received).toHaveLength(1);
    expect(account).toMatchObject({ end: 'refused_outright', failed: 10, ticksUnsettled: 90 });
    expect(succeeded(account)).toBe(false);
    expectBalance(account);
  });
});

describe('in flight', () => {
  test.each([1, 4, 7])(
    'are exactly %i requests when so many are allowed and there is enough to send',
    async (inFlightMax) => {
      const group = inGroupsOf(inFlightMax, 29, () => ({ do: 'store' }));
      // The first one goes alone, to learn what there is room for.
      const script: Script = (received) => (received.number === 0 ? { do: 'store' } : group(received));
      const { edge, account } = await run(300, script, { inFlightMax });
      expect(edge.peak.requests).toBe(inFlightMax);
      expect(account.stored).toBe(300);
    },
  );

  // With `#requestsAllowed` always giving the bound, this saw 8 in place of 4 and of 1.
  test.each([
    ['soft', 4],
    ['hard', 1],
  ])('are, once an answer said %s, exactly %i of 8 requests', async (level, allowed) => {
    const group = inGroupsOf(allowed, 39, () => ({ do: 'store' }));
    const { account, edge } = await run(
      400,
      (received) => (received.number === 0 ? { do: 'store', headers: { 'mdp-level': level } } : group(received)),
      { inFlightMax: 8, ...afterTheFirst() },
    );
    expect(account.stored).toBe(400);
    expect(edge.peak.requests).toBe(allowed);
  });

  // Without the question for credit in `Window.ask`, this saw 80.
  test('are never more ticks than the credit last told', async () => {
    const headers = { 'mdp-credit': '35' };
    const group = inGroupsOf(3, 39, () => ({ do: 'store', headers }));
    const { account, edge } = await run(
      400,
      (received) => (received.number === 0 ? { do: 'store', headers } : group(received)),
      { inFlightMax: 8, ...afterTheFirst() },
    );
    expect(account.stored).toBe(400);
    expect(edge.peak.ticks).toBe(30);
  });
});

describe('pace', () => {
  test('at speed 4 sends a batch when four times the captured time has passed', async () => {
    // 50 trades 10 ms apart in batches of 10: their last ticks are 100 ms apart, at speed 4 25 ms.
    const { clock } = await run(50, () => ({ do: 'store' }), { speed: 4, inFlightMax: 1 });
    expect(clock.slept.map(Math.round)).toEqual([25, 25, 25, 25]);
  });
});

describe('a stop', () => {
  test('takes no new batch, waits for what is in flight, and accounts for it', async () => {
    const stop = new AbortController();
    const { account, edge } = await run(
      100,
      ({ number }) => {
        if (number === 2) stop.abort();
        return { do: 'store' };
      },
      { inFlightMax: 1, stop: stop.signal, clock: patientClock() },
    );
    expect(edge.received).toHaveLength(3);
    expect(account).toMatchObject({ end: 'interrupted', stored: 30, batchesUnsettled: 0, readToEnd: false });
    expect(succeeded(account)).toBe(false);
  });

  test('leaves what is not answered in time, and says so', async () => {
    const stop = new AbortController();
    const { account } = await run(
      100,
      () => {
        stop.abort();
        return { do: 'silence' };
      },
      { inFlightMax: 1, stop: stop.signal },
    );
    expect(account).toMatchObject({ end: 'interrupted', stored: 0, ticksUnsettled: 10, batchesUnsettled: 1 });
  });
});

describe('trouble with the file or the options', () => {
  const options = { to: 'http://127.0.0.1:9', provider: 'ibkr', credential: { token: 'x' } };

  test('a file that cannot be read is told in the account', async () => {
    const account = await replay({ ...options, file: '/nowhere/at-all.gz' });
    expect(account).toMatchObject({ end: 'broken_off', ticksSent: 0 });
    expect(account.trouble).toContain('cannot be read');
    expect(succeeded(account)).toBe(false);
  });

  test.each<[string, Partial<ReplayOptions>]>([
    ['no tick in a batch', { batchTicks: 0 }],
    ['more ticks in a batch than the contract allows', { batchTicks: 10_001 }],
    ['nothing in flight', { inFlightMax: 0 }],
    ['a speed of 0', { speed: 0 }],
    ['a pace for shuffled batches', { speed: 1, shuffleSeed: 'x' }],
    ['a prefix with a dot', { batchPrefix: 'a.b' }],
    ['an address that is none', { to: 'edge' }],
    ['a secret that is none', { credential: { secret: 'hunter2' } }],
  ])('%s is refused as an option, before anything is sent', async (_, wrong) => {
    await expect(replay({ ...options, file: 'x', ...wrong })).rejects.toMatchObject({
      name: 'OptionError',
      message: expect.not.stringContaining('hunter2'),
    });
  });
});

describe('durations', () => {
  test('have percentiles within 1 % and an exact maximum', () => {
    const durations = new Durations();
    for (let ms = 1; ms <= 1000; ms += 1) durations.add(ms);
    const { p50, p99, max } = durations.summary();
    expect(Math.abs(p50 / 500 - 1)).toBeLessThan(0.01);
    expect(Math.abs(p99 / 990 - 1)).toBeLessThan(0.01);
    expect(max).toBe(1000);
    expect(new Durations().summary()).toEqual({ p50: 0, p99: 0, max: 0 });
  });
});

describe.skipIf(noCaptures)(`a real capture${NEEDS}`, () => {
  test('through an edge that refuses, fails and hangs up arrives whole and once', async () => {
    await using edge = await startFaultyEdge(({ number, before }) => {
      if (before > 2) return { do: 'store' };
      const faults: Reply[] = [
        { do: 'store' },
        { do: 'problem', name: 'no-room', retryAfter: '1' },
        { do: 'store' },
        { do: 'hang-up', stored: true },
        { do: 'problem', name: 'backpressure', retryAfter: '1', headers: { 'mdp-level': 'soft' } },
        { do: 'store', headers: { 'mdp-level': 'ok' } },
        { do: 'hang-up', stored: false },
      ];
      return faults[number % faults.length]!;
    });
    const account = await replay({
      file: captureFile('binance-usdm-btcusdt-20240808.gz'),
      to: edge.url,
      provider: 'ibkr',
      credential: { secret: edge.secret },
      clock: ownClock(),
    });
    expect(account).toMatchObject({ end: 'complete', tradesRead: 21_313, quotesRead: 66_089, batchesSent: 88 });
    expect(account.stored + account.duplicates).toBe(87_402);
    const lines = [...edge.committed.values()].flatMap((body) => body.trimEnd().split('\n'));
    expect(lines).toHaveLength(87_402);
    expect(new Set(lines).size).toBe(87_402);
    expectBalance(account);
  });
});
