/**
 * "Did my data land?": the newest stored ticks of one symbol, in the form in which they could be pushed again.
 */

import type { IncomingMessage } from 'node:http';
import { problem } from '../contract/answer.ts';
import { isProvider, PROVIDER_RULE } from '../contract/identity.ts';
import {
  codesOf,
  formatDecimal,
  formatTs,
  type Instant,
  isPrintable,
  readTs,
  readTsNs,
  SYMBOL_MAX_CHARS,
} from '../contract/tick.ts';
import { type Answer, json, problemAnswer, storeAway } from './http.ts';

export const READ_LIMIT_DEFAULT = 100;
export const READ_LIMIT_MAX = 1_000;

const TS_MIN_NS = -(2n ** 63n);
const TS_MAX_NS = 2n ** 63n - 1n;

/** What this door asks of a store. */
export interface ReadQuery {
  provider: string;
  symbol: string;
  fromNs: bigint;
  toNs: bigint;
  limit: number;
}

interface StoredTick {
  symbol: string;
  tsNs: bigint;
  id: string;
  venue: string | null;
  conditions: string | null;
  storedAtMs: number;
  pod: string;
}

export interface StoredTrade extends StoredTick {
  price: number;
  size: number;
  side: string | null;
}

export interface StoredQuote extends StoredTick {
  bidPrice: number | null;
  bidSize: number | null;
  askPrice: number | null;
  askSize: number | null;
}

export interface TickReader {
  readSymbols(provider: string, limit: number): Promise<string[]>;
  readTrades(query: ReadQuery): Promise<StoredTrade[]>;
  readQuotes(query: ReadQuery): Promise<StoredQuote[]>;
}

/** `GET /v1/symbols/{provider}?limit=`: 200 with the provider's first `symbols`; 400; 503. */
export function readSymbols(
  reader: TickReader,
): (_: IncomingMessage, parts: readonly string[], url: URL) => Promise<Answer> {
  return async (_request, [provider = ''], url) => {
    if (!isProvider(provider)) return problemAnswer(problem('bad-request', `a provider name is ${PROVIDER_RULE}`));
    const limit = readLimit(url);
    if (limit === undefined) return problemAnswer(problem('bad-request', LIMIT_RULE));
    try {
      return json(200, { provider, symbols: await reader.readSymbols(provider, limit) });
    } catch {
      return storeAway();
    }
  };
}

/** `GET /v1/trades/{provider}/{symbol}?from=&to=&limit=`: 200 with `trades`, newest first; 400; 503. */
export function readTrades(
  reader: TickReader,
): (_: IncomingMessage, parts: readonly string[], url: URL) => Promise<Answer> {
  return (_request, parts, url) =>
    answerQuery(parts, url, async (query) => ({
      trades: (await reader.readTrades(query)).map((tick) => ({
        type: 'trade',
        ...common(tick),
        price: formatDecimal(tick.price),
        size: formatDecimal(tick.size),
        side: tick.side ?? undefined,
        ...origin(tick),
      })),
    }));
}

/** `GET /v1/quotes/{provider}/{symbol}?from=&to=&limit=`: 200 with `quotes`, newest first; 400; 503. */
export function readQuotes(
  reader: TickReader,
): (_: IncomingMessage, parts: readonly string[], url: URL) => Promise<Answer> {
  return (_request, parts, url) =>
    answerQuery(parts, url, async (query) => ({
      quotes: (await reader.readQuotes(query)).map((tick) => ({
        type: 'quote',
        ...common(tick),
        bidPrice: optionalDecimal(tick.bidPrice),
        bidSize: optionalDecimal(tick.bidSize),
        askPrice: optionalDecimal(tick.askPrice),
        askSize: optionalDecimal(tick.askSize),
        ...origin(tick),
      })),
    }));
}

function common(tick: StoredTick): Record<string, unknown> {
  return { symbol: tick.symbol, ts: formatTs(tick.tsNs), id: tick.id };
}

function origin(tick: StoredTick): Record<string, unknown> {
  return {
    venue: tick.venue ?? undefined,
    conditions: tick.conditions === null ? undefined : (JSON.parse(tick.conditions) as unknown),
    storedAt: new Date(tick.storedAtMs).toISOString(),
    pod: tick.pod,
  };
}

function optionalDecimal(value: number | null): string | undefined {
  return value === null ? undefined : formatDecimal(value);
}

async function answerQuery(
  parts: readonly string[],
  url: URL,
  read: (query: ReadQuery) => Promise<Record<string, unknown>>,
): Promise<Answer> {
  const query = readQuery(parts, url);
  if (typeof query === 'string') return problemAnswer(problem('bad-request', query));
  const { provider, symbol } = query;
  try {
    return json(200, { provider, symbol, ...(await read(query)) });
  } catch {
    return storeAway();
  }
}

/** The query, or what is wrong with it. */
function readQuery([provider = '', symbol = '']: readonly string[], url: URL): ReadQuery | string {
  if (!isProvider(provider)) return `a provider name is ${PROVIDER_RULE}`;
  if (!isPrintable(symbol, SYMBOL_MAX_CHARS)) {
    return `a symbol is 1 to ${SYMBOL_MAX_CHARS} printable characters without blanks`;
  }
  const fromNs = readInstant(url.searchParams.get('from'), TS_MIN_NS);
  const toNs = readInstant(url.searchParams.get('to'), TS_MAX_NS);
  if (fromNs === undefined || toNs === undefined) {
    return 'from and to must be RFC 3339 (with "+" as %2B) or epoch nanoseconds';
  }
  const limit = readLimit(url);
  return limit === undefined ? LIMIT_RULE : { provider, symbol, fromNs, toNs, limit };
}

const LIMIT_RULE = `limit must be 1 to ${READ_LIMIT_MAX}`;

function readLimit(url: URL): number | undefined {
  const limit = url.searchParams.get('limit') ?? String(READ_LIMIT_DEFAULT);
  const isGood = /^\d{1,9}$/.test(limit) && Number(limit) >= 1 && Number(limit) <= READ_LIMIT_MAX;
  return isGood ? Number(limit) : undefined;
}

function readInstant(text: string | null, fallback: bigint): bigint | undefined {
  if (text === null) return fallback;
  const instant: Instant = { seconds: 0, nanos: 0 };
  const read = /^-?\d+$/.test(text) ? readTsNs : readTs;
  if (!read(codesOf(text), 0, text.length, instant)) return undefined;
  return BigInt(instant.seconds) * 1_000_000_000n + BigInt(instant.nanos);
}
