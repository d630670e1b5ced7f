/**
 * Coinbase raw WebSocket captures in the recorder's line format: `epochSeconds: json`, where lines that begin
 * with an address hold the recorder's own frames. Reads `match`, `last_match` and `ticker`. Captures of other
 * exchanges in the same line format are gone through and their messages named, never taken for an error.
 *
 * - A match's `side` is the side of the maker's order, so the tick's side, the aggressor's, is the opposite.
 *   A ticker's `side` is the taker's already. (In the captures at hand, all 107 tickers say the opposite of the
 *   match with the same trade id.)
 * - A ticker that gives sizes for best bid and best ask is a quote, its `sequence` the id. Older ones give none,
 *   and a quote's side without a size would have to be invented. Such a ticker is read as the trade it reports:
 *   the same trade id, time, price and size as its match, so the store keeps it once.
 *
 * Source: Coinbase Exchange documentation, "WebSocket Channels", matches and ticker.
 */

import type { TickInput } from '../../../pipeline/contract/tick.ts';
import { type CaptureFormat, FRAME, isObject, parseJson, type Reading, UNREADABLE } from './reading.ts';

const LINE = /^(\d{9,11}(?:\.\d+)?): ([[{].*)$/s;
const OWN_FRAME = /^wss?:\/\/\S+ <->? /;

export const SIZELESS_TICKER_NOTE =
  'tickers without sizes, which a quote needs: the trade each one reports was sent, its best prices were not';

export const coinbase: CaptureFormat = {
  name: 'recorder',
  recognises: (line) => LINE.test(line) || OWN_FRAME.test(line),
  reader: () => readLine,
};

function readLine(line: string): Reading {
  if (line === '' || OWN_FRAME.test(line)) return FRAME;
  const parts = LINE.exec(line);
  const message = parts === null ? undefined : parseJson(parts[2]!);
  if (parts === null || message === undefined) return UNREADABLE;
  const atMs = Number(parts[1]) * 1000;
  if (Array.isArray(message)) return { kind: 'not_understood', name: channelOf(message) };
  if (!isObject(message)) return UNREADABLE;
  const kind = message['type'] ?? message['event'];
  switch (kind) {
    case 'match':
    case 'last_match':
      return tickOr(readTrade(message, message['size'], opposite(message['side'])), atMs);
    case 'ticker':
      return readTicker(message, atMs);
    default:
      return { kind: 'not_understood', name: typeof kind === 'string' ? kind : 'message without a type' };
  }
}

/** Kraken's messages are arrays that end with the channel's name and the pair. */
function channelOf(message: unknown[]): string {
  const name = message.at(-2);
  return typeof name === 'string' ? name : 'array';
}

function tickOr(tick: TickInput | undefined, atMs: number, note?: string): Reading {
  if (tick === undefined) return UNREADABLE;
  return note === undefined ? { kind: 'tick', tick, atMs } : { kind: 'tick', tick, atMs, note };
}

function readTicker(message: Record<string, unknown>, atMs: number): Reading {
  // The first ticker after subscribing to a market that has never traded has neither.
  if (message['time'] === undefined || message['sequence'] === undefined) {
    return { kind: 'not_understood', name: 'ticker without time or sequence' };
  }
  if (message['best_bid_size'] === undefined && message['best_ask_size'] === undefined) {
    return tickOr(readTrade(message, message['last_size'], message['side']), atMs, SIZELESS_TICKER_NOTE);
  }
  return tickOr(readQuote(message), atMs);
}

function readTrade(message: Record<string, unknown>, size: unknown, side: unknown): TickInput | undefined {
  const { product_id: symbol, trade_id: id, price, time: ts } = message;
  if (typeof symbol !== 'string' || !Number.isSafeInteger(id) || typeof ts !== 'string') return undefined;
  if (typeof price !== 'string' || typeof size !== 'string' || (side !== 'buy' && side !== 'sell')) return undefined;
  return { type: 'trade', symbol, ts, id: String(id), price, size, side };
}

function readQuote(message: Record<string, unknown>): TickInput | undefined {
  const { product_id: symbol, sequence, time: ts } = message;
  if (typeof symbol !== 'string' || !Number.isSafeInteger(sequence) || typeof ts !== 'string') return undefined;
  const tick: TickInput = { type: 'quote', symbol, ts, id: String(sequence) };
  const { best_bid: bidPrice, best_bid_size: bidSize, best_ask: askPrice, best_ask_size: askSize } = message;
  // An empty side of the book comes as a price of 0 or of "".
  if (typeof bidPrice === 'string' && typeof bidSize === 'string' && Number(bidPrice) !== 0) {
    Object.assign(tick, { bidPrice, bidSize });
  }
  if (typeof askPrice === 'string' && typeof askSize === 'string' && Number(askPrice) !== 0) {
    Object.assign(tick, { askPrice, askSize });
  }
  return tick.bidPrice === undefined && tick.askPrice === undefined ? undefined : tick;
}

function opposite(side: unknown): unknown {
  if (side === 'buy') return 'sell';
  return side === 'sell' ? 'buy' : side;
}
