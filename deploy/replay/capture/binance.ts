/**
 * Binance raw WebSocket captures, spot and USD-M futures. Each line is the receive time in epoch nanoseconds,
 * a blank, and the JSON message. Reads `trade` and `bookTicker`; never rounds or recomputes a field.
 * Source: Binance API documentation, "Trade Streams" and "Individual Symbol Book Ticker Streams".
 */

import type { TickInput } from '../../../pipeline/contract/tick.ts';
import { type CaptureFormat, FRAME, isObject, parseObject, type Reading, UNREADABLE } from './reading.ts';

const LINE = /^(\d{16,19}) (\{.*)$/s;

export const RECEIVE_TIME_NOTE = 'quotes without an event time: the receive time was used';

export const binance: CaptureFormat = {
  name: 'binance',
  recognises: (line) => LINE.test(line),
  reader: () => readLine,
};

function readLine(line: string): Reading {
  if (line === '') return FRAME;
  const parts = LINE.exec(line);
  const message = parts === null ? undefined : parseObject(parts[2]!);
  if (parts === null || message === undefined) return UNREADABLE;
  const receivedNs = parts[1]!;
  const atMs = Number(receivedNs) / 1e6; // only paces the replay: microseconds are lost, and not missed
  // Combined streams wrap the event; a single stream sends it bare.
  const data = isObject(message['data']) ? message['data'] : message;
  const kind = kindOf(data, message['stream']);
  if (kind === 'trade') return tickOr(readTrade(data), atMs);
  if (kind !== 'bookTicker') return { kind: 'not_understood', name: kind };
  if (typeof data['T'] === 'number') return tickOr(readQuote(data, { tsMs: data['T'] }), atMs);
  return tickOr(readQuote(data, { tsNs: receivedNs }), atMs, RECEIVE_TIME_NOTE);
}

/** Spot's bookTicker has no `e`: the stream's name, or its five members, say what it is. */
function kindOf(data: Record<string, unknown>, stream: unknown): string {
  if (typeof data['e'] === 'string') return data['e'];
  if (typeof stream === 'string' && stream.endsWith('@bookTicker')) return 'bookTicker';
  if ('u' in data && 'b' in data && 'B' in data && 'a' in data && 'A' in data) return 'bookTicker';
  if ('lastUpdateId' in data) return 'depth snapshot';
  return 'message without a type';
}

function tickOr(tick: TickInput | undefined, atMs: number, note?: string): Reading {
  if (tick === undefined) return UNREADABLE;
  return note === undefined ? { kind: 'tick', tick, atMs } : { kind: 'tick', tick, atMs, note };
}

/** The time is `T`, when the trade was made; `E` is when the message about it was. */
function readTrade(data: Record<string, unknown>): TickInput | undefined {
  const { s: symbol, t: id, p: price, q: size, T: tsMs, m: buyerIsMaker, X: made } = data;
  if (typeof symbol !== 'string' || typeof price !== 'string' || typeof size !== 'string') return undefined;
  if (!Number.isSafeInteger(id) || !Number.isSafeInteger(tsMs) || typeof buyerIsMaker !== 'boolean') return undefined;
  const tick: TickInput = {
    type: 'trade',
    symbol,
    tsMs: tsMs as number,
    id: String(id),
    price,
    size,
    // The buyer's order was resting, so it was the seller who came and took it.
    side: buyerIsMaker ? 'sell' : 'buy',
  };
  // Futures only: trades of the insurance fund or of a liquidation (ADL) are not made in the market.
  if (typeof made === 'string' && made !== 'MARKET') tick.conditions = [made];
  return tick;
}

function readQuote(data: Record<string, unknown>, time: { tsMs: number } | { tsNs: string }): TickInput | undefined {
  const { s: symbol, u: id, b: bidPrice, B: bidSize, a: askPrice, A: askSize } = data;
  if (typeof symbol !== 'string' || !Number.isSafeInteger(id)) return undefined;
  if (typeof bidPrice !== 'string' || typeof bidSize !== 'string') return undefined;
  if (typeof askPrice !== 'string' || typeof askSize !== 'string') return undefined;
  const tick: TickInput = { type: 'quote', symbol, ...time, id: String(id) };
  // An empty side of the book comes as a price of 0.
  if (Number(bidPrice) !== 0) Object.assign(tick, { bidPrice, bidSize });
  if (Number(askPrice) !== 0) Object.assign(tick, { askPrice, askSize });
  return tick;
}
