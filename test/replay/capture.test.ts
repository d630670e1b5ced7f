/** Captures to ticks: real files against the facts known about them, and lines computed by hand. */

import { gzipSync } from 'node:zlib';
import { strToU8, zipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { cutBatches, type TimedTick } from '../../deploy/replay/batches.ts';
import { RECEIVE_TIME_NOTE, binance } from '../../deploy/replay/capture/binance.ts';
import {
  type CaptureEvent,
  captureFingerprint,
  CUT_OFF_NOTE,
  LINE_MAX_BYTES,
} from '../../deploy/replay/capture/capture.ts';
import { coinbase, SIZELESS_TICKER_NOTE } from '../../deploy/replay/capture/coinbase.ts';
import { dollars, lean, newYorkClock } from '../../deploy/replay/capture/lean.ts';
import { BATCH_MAX_TICKS, decodeBatch } from '../../pipeline/contract/batch.ts';
import { defaultRules } from '../../pipeline/contract/decode.ts';
import type { TickInput } from '../../pipeline/contract/tick.ts';
import { captureFile, eventsOf, NEEDS, noCaptures, temporaryDirectory } from './captures.ts';

interface Facts {
  trades: TickInput[];
  quotes: TickInput[];
  notUnderstood: Record<string, number>;
  notes: Record<string, number>;
  unreadable: number;
  frames: number;
}

function factsOf(events: CaptureEvent[]): Facts {
  const facts: Facts = { trades: [], quotes: [], notUnderstood: {}, notes: {}, unreadable: 0, frames: 0 };
  for (const event of events) {
    if (event.kind === 'tick') (event.tick.type === 'quote' ? facts.quotes : facts.trades).push(event.tick);
    if (event.kind === 'unreadable') facts.unreadable += 1;
    if (event.kind === 'frame') facts.frames += 1;
    if (event.kind === 'not_understood') facts.notUnderstood[event.name] = (facts.notUnderstood[event.name] ?? 0) + 1;
    const note = event.kind === 'tick' || event.kind === 'note' ? event.note : undefined;
    if (note !== undefined) facts.notes[note] = (facts.notes[note] ?? 0) + 1;
  }
  return facts;
}

/** How many ticks a pod would accept, and every rejection. */
async function decoded(
  events: CaptureEvent[],
): Promise<{ accepted: number; rejected: unknown[]; ignoredFields: number }> {
  const ticks = events.filter((event) => event.kind === 'tick');
  const total = { accepted: 0, rejected: [] as unknown[], ignoredFields: 0 };
  for await (const batch of cutBatches(inOneChunk(ticks), 'x', 1000)) {
    const outcome = decodeBatch(batch.body, 'ndjson', BATCH_MAX_TICKS, defaultRules(Date.now()));
    if (!outcome.ok) throw new Error(outcome.detail);
    total.accepted += outcome.batch.accepted;
    total.rejected.push(...outcome.batch.rejected);
    total.ignoredFields += outcome.batch.ignoredFields;
  }
  return total;
}

async function* inOneChunk(ticks: TimedTick[]): AsyncGenerator<TimedTick[]> {
  yield ticks;
}

/** A time of day in New York as an instant. */
function at(day: string, time: string): string {
  return new Date(newYorkClock(Date.parse(`${day}T00:00Z`))(Date.parse(`1970-01-01T${time}Z`))).toISOString();
}

function identities(ticks: TickInput[]): number {
  return new Set(ticks.map((tick) => `${tick.symbol} ${tick.ts ?? tick.tsMs ?? tick.tsNs} ${tick.id}`)).size;
}

describe.skipIf(noCaptures)(`real captures${NEEDS}`, () => {
  test('the Binance futures capture holds 21,313 trades and 66,089 quotes, all acceptable and each with an identity of its own', async () => {
    const events = await eventsOf(captureFile('binance-usdm-btcusdt-20240808.gz'));
    const facts = factsOf(events);
    expect(facts.trades).toHaveLength(21_313);
    expect(facts.quotes).toHaveLength(66_089);
    expect(facts.notUnderstood).toEqual({ depthUpdate: 6551, 'depth snapshot': 1 });
    expect(facts).toMatchObject({ unreadable: 0, notes: {} });
    expect(await decoded(events)).toEqual({ accepted: 87_402, rejected: [], ignoredFields: 0 });
    expect(identities(facts.trades)).toBe(21_313);
    expect(identities(facts.quotes)).toBe(66_089);
    // {"e":"trade",…,"T":1723161256322,…,"t":5266583935,"p":"61800.30","q":"0.006","X":"MARKET","m":false}
    expect(facts.trades[0]).toEqual({
      type: 'trade',
      symbol: 'BTCUSDT',
      tsMs: 1_723_161_256_322,
      id: '5266583935',
      price: '61800.30',
      size: '0.006',
      side: 'buy',
    });
    // {"e":"bookTicker","u":5123107839020,…,"b":"61800.20","B":"2.507","a":"61800.30","A":"2.510","T":1723161256313,…}
    expect(facts.quotes[0]).toEqual({
      type: 'quote',
      symbol: 'BTCUSDT',
      tsMs: 1_723_161_256_313,
      id: '5123107839020',
      bidPrice: '61800.20',
      bidSize: '2.507',
      askPrice: '61800.30',
      askSize: '2.510',
    });
  });

  test('the Binance spot capture holds 9,757 trades with consecutive ids, and its quotes carry the receive time and say so', async () => {
    const events = await eventsOf(captureFile('binance-spot-btcusdt-20240808.gz'));
    const { trades, quotes, notes, notUnderstood, unreadable } = factsOf(events);
    const ids = trades.map((trade) => Number(trade.id));
    expect(ids).toEqual(Array.from({ length: 9757 }, (_, n) => ids[0]! + n));
    expect(quotes).toHaveLength(28_040);
    expect(notes).toEqual({ [RECEIVE_TIME_NOTE]: 28_040 });
    expect({ notUnderstood, unreadable }).toEqual({
      notUnderstood: { depthUpdate: 3451, 'depth snapshot': 1 },
      unreadable: 0,
    });
    expect(await decoded(events)).toEqual({ accepted: 37_797, rejected: [], ignoredFields: 0 });
    // 1723161254087891268 {"stream":"btcusdt@bookTicker","data":{"u":50093239212,…}}
    expect(quotes[0]).toMatchObject({ tsNs: '1723161254087891268', id: '50093239212', bidSize: '3.78826000' });
    expect(trades[0]).toMatchObject({ id: '3735683259', tsMs: 1_723_161_255_342, side: 'sell' });
  });

  test('the Coinbase capture holds 97 matches and 10 last matches, and every ticker reports one of these 107 trades exactly', async () => {
    const events = await eventsOf(captureFile('coinbase-ws-20210417.gz'));
    const { trades, quotes, notes, notUnderstood, unreadable, frames } = factsOf(events);
    expect(quotes).toEqual([]);
    expect(trades).toHaveLength(97 + 10 + 107);
    expect(notes).toEqual({ [SIZELESS_TICKER_NOTE]: 107 });
    // As whole ticks, side included: a match's side is the maker's and a ticker's the taker's, or these would be 214.
    expect(new Set(trades.map((trade) => JSON.stringify(trade))).size).toBe(107);
    expect(identities(trades)).toBe(107);
    expect(notUnderstood).toEqual({ subscriptions: 3, snapshot: 10, l2update: 9719 });
    expect({ unreadable, frames }).toEqual({ unreadable: 0, frames: 4 + 2 });
    expect(await decoded(events)).toEqual({ accepted: 214, rejected: [], ignoredFields: 0 });
    expect(trades).toContainEqual({
      type: 'trade',
      symbol: 'SKL-BTC',
      ts: '2021-04-17T16:43:37.089723Z',
      id: '280232',
      price: '0.00001305',
      size: '985',
      side: 'buy', // the maker sold
    });
  });

  test('the Kraken capture holds nothing that is understood, is counted by kind, and is no error', async () => {
    const { trades, quotes, notUnderstood, unreadable } = factsOf(await eventsOf(captureFile('kraken-ws-20210417.gz')));
    expect([...trades, ...quotes]).toEqual([]);
    expect(notUnderstood).toEqual({ systemStatus: 1, subscriptionStatus: 10, heartbeat: 31, 'book-1000': 4279 });
    expect(unreadable).toBe(0);
  });

  test('the AIG day holds 25,351 trades without ids, at New York times and exact prices', async () => {
    const events = await eventsOf(captureFile('us-equity-aig-20131007-trade.zip'));
    const { trades, unreadable } = factsOf(events);
    expect(trades).toHaveLength(25_351);
    expect(unreadable).toBe(0);
    expect(trades.every((trade) => trade.id === undefined)).toBe(true);
    expect(await decoded(events)).toEqual({ accepted: 25_351, rejected: [], ignoredFields: 0 });
    // 14400688,491800,300,P,2000,0 : 04:00:00.688 in New York, in summer time 08:00:00.688 UTC
    expect(trades[0]).toEqual({
      type: 'trade',
      symbol: 'AIG',
      tsMs: Date.parse('2013-10-07T08:00:00.688Z'),
      price: '49.18',
      size: '300',
      venue: 'P',
      conditions: ['0x2000'],
    });
  });

  test('the IBM day holds 109,067 quotes, every one of them with one side only', async () => {
    const events = await eventsOf(captureFile('us-equity-ibm-20131007-quote.zip'));
    const { quotes, unreadable } = factsOf(events);
    expect(quotes).toHaveLength(109_067);
    expect(unreadable).toBe(0);
    expect(quotes.filter((quote) => (quote.bidPrice === undefined) === (quote.askPrice === undefined))).toEqual([]);
    expect(await decoded(events)).toEqual({ accepted: 109_067, rejected: [], ignoredFields: 0 });
    // 14400054,0,0,1836300,100,Q,1,0
    expect(quotes[0]).toEqual({
      type: 'quote',
      symbol: 'IBM',
      tsMs: Date.parse('2013-10-07T08:00:00.054Z'),
      askPrice: '183.63',
      askSize: '100',
      venue: 'Q',
      conditions: ['0x1'],
    });
    expect(quotes.filter((quote) => quote.conditions?.includes('suspicious'))).toHaveLength(1);
  });
});

describe('lines', () => {
  const readBinance = binance.reader('x');
  const readCoinbase = coinbase.reader('x');

  test.each([
    ['a line without a receive time', '{"stream":"btcusdt@trade","data":{"e":"trade"}}'],
    ['a message cut off', '1723161255088176367 {"stream":"btcusdt@trade","data":{"e":"tra'],
    ['a trade without a price', '1723161255088176367 {"data":{"e":"trade","s":"X","t":1,"q":"1","T":1,"m":true}}'],
    [
      'a trade id beyond 2^53, which JSON.parse has already mangled',
      '1723161255088176367 {"data":{"e":"trade","s":"X","t":9007199254740993,"p":"1","q":"1","T":1,"m":true}}',
    ],
  ])('Binance: %s is unreadable', (_, line) => {
    expect(readBinance(line)).toEqual({ kind: 'unreadable' });
  });

  test('Binance: a futures trade that was not made in the market says so in its conditions', () => {
    const line =
      '1723161255088176367 {"data":{"e":"trade","s":"X","t":1,"p":"1","q":"2","T":3,"X":"INSURANCE_FUND","m":true}}';
    expect(readBinance(line)).toMatchObject({ tick: { conditions: ['INSURANCE_FUND'], side: 'sell' } });
  });

  test('Binance: an empty side of the book, a price of 0, is absent from the quote', () => {
    const line = '1723161255088176367 {"data":{"u":1,"s":"X","b":"0.00","B":"0.00","a":"2","A":"3"}}';
    expect(readBinance(line)).toMatchObject({
      tick: { type: 'quote', symbol: 'X', tsNs: '1723161255088176367', id: '1', askPrice: '2', askSize: '3' },
    });
    expect(readBinance(line)).not.toHaveProperty('tick.bidPrice');
  });

  test('Coinbase: a ticker with sizes is a quote whose id is its sequence', () => {
    const line =
      '1618677817.5: {"type":"ticker","sequence":7,"product_id":"A-B","price":"1","best_bid":"0.9","best_bid_size":"5",' +
      '"best_ask":"1.1","best_ask_size":"6","side":"buy","time":"2023-01-01T00:00:00.000001Z","trade_id":1,"last_size":"2"}';
    expect(readCoinbase(line)).toEqual({
      kind: 'tick',
      atMs: 1_618_677_817_500,
      tick: {
        type: 'quote',
        symbol: 'A-B',
        ts: '2023-01-01T00:00:00.000001Z',
        id: '7',
        bidPrice: '0.9',
        bidSize: '5',
        askPrice: '1.1',
        askSize: '6',
      },
    });
  });

  test('Coinbase: a ticker without time or sequence is not understood, and named', () => {
    expect(readCoinbase('1618677817.5: {"type":"ticker","product_id":"A-B","price":"1"}')).toEqual({
      kind: 'not_understood',
      name: 'ticker without time or sequence',
    });
  });

  test('LEAN: prices are moved four places as text, whatever their length', () => {
    expect(['491800', '1', '10000', '10050', '123456789012', '0'].map(dollars)).toEqual([
      '49.18',
      '0.0001',
      '1',
      '1.005',
      '12345678.9012',
      '0',
    ]);
  });

  test('LEAN: a quote with neither side, and a row of another shape, are not ticks', () => {
    const read = lean.reader('20131007_ibm_Quote_Tick.csv');
    expect(read('14400054,0,0,0,0,Q,1,0')).toEqual({ kind: 'not_understood', name: 'quote with neither side' });
    expect(read('14400054,491800,300,P,2000,0')).toEqual({ kind: 'unreadable' });
  });

  test('LEAN: New York is four hours behind UTC in summer, five in winter, and changes at 2:00 on two Sundays', () => {
    expect(at('2013-10-07', '09:30:00')).toBe('2013-10-07T13:30:00.000Z');
    expect(at('2013-12-02', '09:30:00')).toBe('2013-12-02T14:30:00.000Z');
    expect(at('2013-12-02', '23:59:59.999')).toBe('2013-12-03T04:59:59.999Z');
    // 10 March: 01:59:59 is still winter time, 03:00 is summer time.
    expect(at('2013-03-10', '00:00:00')).toBe('2013-03-10T05:00:00.000Z');
    expect(at('2013-03-10', '01:59:59')).toBe('2013-03-10T06:59:59.000Z');
    expect(at('2013-03-10', '03:00:00')).toBe('2013-03-10T07:00:00.000Z');
    // 3 November: 01:30 comes twice, and the first is meant.
    expect(at('2013-11-03', '00:30:00')).toBe('2013-11-03T04:30:00.000Z');
    expect(at('2013-11-03', '01:30:00')).toBe('2013-11-03T05:30:00.000Z');
    expect(at('2013-11-03', '02:00:00')).toBe('2013-11-03T07:00:00.000Z');
  });
});

describe('files', () => {
  const CSV = '14400688,491800,300,P,2000,0\n14581540,488700,2000,Q,20002020,0\n';
  const NAME = '20131007_aig_Trade_Tick.csv';

  test('a capture reads the same plain, gzipped and zipped, with LF or CRLF, with or without a last line end', async () => {
    using files = temporaryDirectory();
    const plain = await eventsOf(files.write(NAME, CSV));
    expect(plain.filter((event) => event.kind === 'tick')).toHaveLength(2);
    expect(await eventsOf(files.write(`${NAME}.gz`, gzipSync(CSV)))).toEqual(plain);
    expect(await eventsOf(files.write('any.zip', zipSync({ [NAME]: strToU8(CSV) })))).toEqual(plain);
    expect(await eventsOf(files.write(NAME, CSV.replaceAll('\n', '\r\n').trimEnd()))).toEqual(plain);
  });

  test('every file in a zip is read by its own name and format', async () => {
    using files = temporaryDirectory();
    const quotes = '14400054,0,0,1836300,100,Q,1,0\n';
    const zip = zipSync({ [NAME]: strToU8(CSV), 'a/20131008_ibm_Quote_Tick.csv': strToU8(quotes) });
    const ticks = (await eventsOf(files.write('two.zip', zip))).filter((event) => event.kind === 'tick');
    expect(ticks.map(({ tick }) => `${tick.type} ${tick.symbol}`)).toEqual(['trade AIG', 'trade AIG', 'quote IBM']);
  });

  test('a gzip file that is cut off gives what it holds and a note', async () => {
    using files = temporaryDirectory();
    const lines = Array.from({ length: 5000 }, (_, n) => `${14_400_000 + n},491800,${(n * 7919) % 1009},P,0,0\n`);
    const whole = gzipSync(lines.join(''));
    const events = await eventsOf(files.write(`${NAME}.gz`, whole.subarray(0, whole.length - 2000)));
    expect(events.at(-2)).toEqual({ kind: 'note', note: CUT_OFF_NOTE });
    const ticks = events.filter((event) => event.kind === 'tick').length;
    expect(ticks).toBeGreaterThan(1000);
    expect(ticks).toBeLessThan(5000);
  });

  test('a line longer than the limit costs only itself', async () => {
    using files = temporaryDirectory();
    const [first, second] = CSV.trimEnd().split('\n');
    const events = await eventsOf(files.write(NAME, `${first}\n${'9'.repeat(LINE_MAX_BYTES + 1)}\n${second}\n`));
    expect(events.map((event) => event.kind)).toEqual(['format', 'tick', 'unreadable', 'tick']);
  });

  test.each([
    ['of no known format', 'notes.txt', 'hello\nworld\n'],
    ['with LEAN rows under a name that tells no symbol and day', 'ticks.csv', CSV],
  ])('a file %s is refused, and the error says what replay knows', async (_, name, content) => {
    using files = temporaryDirectory();
    await expect(eventsOf(files.write(name, content))).rejects.toMatchObject({
      name: 'CaptureError',
      message: expect.stringContaining('is of no format that replay knows'),
    });
  });

  test('an empty file holds nothing and is no error', async () => {
    using files = temporaryDirectory();
    expect(await eventsOf(files.write('empty.gz', ''))).toEqual([]);
  });

  test('the fingerprint follows the content, and the name only where the format reads it', async () => {
    using files = temporaryDirectory();
    const line = '1723161255088176367 {"data":{"u":1,"s":"X","b":"1","B":"1","a":"2","A":"3"}}\n';
    const print = (name: string, content: string): Promise<string> => captureFingerprint(files.write(name, content));
    expect(await print('a.txt', line)).toBe(await print('b.txt', line));
    expect(await print('a.txt', line)).not.toBe(await print('a.txt', `${line}${line}`));
    expect(await print(NAME, CSV)).not.toBe(await print('20131007_ibm_Trade_Tick.csv', CSV));
  });
});
