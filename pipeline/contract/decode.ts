/**
 * One tick's JSON text to one row: scan.ts finds the members, the rules here read them, with the readers of tick.ts.
 */

import { SIDE_BUY, SIDE_NONE, SIDE_SELL, type TickRow } from './columns.ts';
import {
  ABSENT,
  charCodes,
  ASK_PRICE,
  ASK_SIZE,
  BID_PRICE,
  BID_SIZE,
  CONDITIONS,
  ends,
  FIELD_NAMES,
  ID,
  ignoredFields,
  KIND_NAMES,
  kinds,
  NULL,
  NUMBER,
  OTHER,
  PRICE,
  reject,
  scanFast,
  scanPlain,
  show,
  SIDE,
  SIZE,
  starts,
  STRING,
  SYMBOL,
  texts,
  TS,
  TS_MS,
  TS_NS,
  TYPE,
  VENUE,
} from './scan.ts';
import {
  codesOf,
  CONDITION_MAX_CHARS,
  CONDITIONS_MAX,
  type Fault,
  fault,
  FUTURE_MAX_MS,
  ID_MAX_CHARS,
  type Instant,
  isPrintable,
  readDecimal,
  readInteger,
  readTs,
  readTsMs,
  readTsNs,
  SYMBOL_MAX_CHARS,
  VENUE_MAX_CHARS,
} from './tick.ts';

/** Characters of one tick's JSON; a tick with every field at its own limit needs about 2,000. */
export const TICK_MAX_CHARS = 16_384;

export interface TickRules {
  /** The clock, for "too far in the future". */
  nowMs: number;
  /** Ticks later than `nowMs + futureMaxMs` are rejected. */
  futureMaxMs: number;
  /** For spreads and energy: prices of 0 and below are genuine. */
  negativePrices: boolean;
}

export function defaultRules(nowMs: number): TickRules {
  return { nowMs, futureMaxMs: FUTURE_MAX_MS, negativePrices: false };
}

export type DecodeOutcome = Fault | null;

/**
 * Decodes `text[start, end)` into `row`. Answers null when it is a valid tick, else the reason and a detail
 * that names field and limit. Adds the members it ignored to `ignored.count`. `codes` are the characters of `text`.
 * Source: SPEC.md P6; the contract, "The tick and the batch".
 */
export function decodeTick(
  text: string,
  start: number,
  end: number,
  rules: TickRules,
  row: TickRow,
  ignored: { count: number },
  codes: Uint8Array = codesOf(text),
): DecodeOutcome {
  if (end - start > TICK_MAX_CHARS)
    return reject('tick_too_large', `the tick is longer than ${TICK_MAX_CHARS} characters`);
  if (!scanFast(text, codes, start, end)) {
    const wrong = scanPlain(text.slice(start, end));
    if (wrong !== null) return wrong;
  }
  const outcome = readMembers(rules, row);
  if (outcome === null) ignored.count += ignoredFields;
  return outcome;
}

/** As {@link decodeTick}, without the fast scanner: the witness that a test holds it against. */
export function decodeTickPlain(
  text: string,
  rules: TickRules,
  row: TickRow,
  ignored: { count: number },
): DecodeOutcome {
  if (text.length > TICK_MAX_CHARS)
    return reject('tick_too_large', `the tick is longer than ${TICK_MAX_CHARS} characters`);
  const outcome = scanPlain(text) ?? readMembers(rules, row);
  if (outcome === null) ignored.count += ignoredFields;
  return outcome;
}

const instant: Instant = { seconds: 0, nanos: 0 };

/** Reads the members of the last scan into `row` by the rules of tick.ts. */
function readMembers(rules: TickRules, row: TickRow): DecodeOutcome {
  if (kinds[TYPE] === ABSENT) {
    row.isQuote = false;
  } else {
    if (kinds[TYPE] !== STRING) return wrongType(TYPE, 'a string');
    if (isWord(TYPE, 'trade')) row.isQuote = false;
    else if (isWord(TYPE, 'quote')) row.isQuote = true;
    else return reject('unknown_type', `type must be "trade" or "quote", not ${show(stringOf(TYPE))}`);
  }
  return readCommon(rules, row) ?? (row.isQuote ? readQuote(rules, row) : readTrade(rules, row));
}

function readCommon(rules: TickRules, row: TickRow): DecodeOutcome {
  if (kinds[SYMBOL] !== STRING) return missingOr(SYMBOL, 'a string');
  const symbol = printableOf(SYMBOL, SYMBOL_MAX_CHARS);
  if (symbol === null) {
    return reject('bad_symbol', `symbol must be 1 to ${SYMBOL_MAX_CHARS} printable characters without blanks`);
  }
  row.symbol = symbol;

  const wrongTime = readTime(rules);
  if (wrongTime !== null) return wrongTime;
  row.seconds = instant.seconds;
  row.nanos = instant.nanos;

  return readId(row) ?? readVenue(row) ?? readConditions(row);
}

/** Serializers write null for what they do not have. */
function isGiven(field: number): boolean {
  return kinds[field] !== ABSENT && kinds[field] !== NULL;
}

function readTime(rules: TickRules): DecodeOutcome {
  const given = Number(isGiven(TS)) + Number(isGiven(TS_MS)) + Number(isGiven(TS_NS));
  if (given === 0) return reject('missing_field', 'ts, tsMs or tsNs is missing');
  if (given > 1) return reject('bad_time', 'exactly one of ts, tsMs, tsNs may be there');
  let field = TS;
  let read: boolean;
  if (isGiven(TS)) {
    if (kinds[TS] !== STRING) return wrongType(TS, 'a string');
    read = readTs(charCodes[TS]!, starts[TS]!, ends[TS]!, instant);
  } else if (isGiven(TS_MS)) {
    field = TS_MS;
    if (kinds[TS_MS] !== NUMBER) return wrongType(TS_MS, 'an integer');
    read = readTsMs(charCodes[TS_MS]!, starts[TS_MS]!, ends[TS_MS]!, instant);
  } else {
    field = TS_NS;
    if (kinds[TS_NS] !== STRING) return wrongType(TS_NS, 'a string of decimal digits');
    read = readTsNs(charCodes[TS_NS]!, starts[TS_NS]!, ends[TS_NS]!, instant);
  }
  if (!read) return faultOf(field);
  if (instant.seconds * 1000 + instant.nanos / 1e6 > rules.nowMs + rules.futureMaxMs) {
    return reject('future_time', `${FIELD_NAMES[field]} is more than ${rules.futureMaxMs / 1000} s in the future`);
  }
  return null;
}

function readId(row: TickRow): DecodeOutcome {
  const kind = kinds[ID];
  if (kind === ABSENT || kind === NULL) {
    row.id = '';
    return null;
  }
  if (kind === NUMBER) {
    const value = readInteger(charCodes[ID]!, starts[ID]!, ends[ID]!);
    if (Number.isNaN(value) || value < 0) return reject('bad_id', 'id must be a string or an integer of 0 to 2^53 - 1');
    if (!Number.isSafeInteger(value)) {
      return reject(
        'unsafe_integer',
        'id is beyond 2^53 - 1, which JSON numbers do not carry safely: send it as a string',
      );
    }
    row.id = String(value);
    return null;
  }
  if (kind !== STRING) return wrongType(ID, 'a string or an integer');
  const id = stringOf(ID);
  if (!isPrintable(id, ID_MAX_CHARS)) {
    return reject('bad_id', `id must be 1 to ${ID_MAX_CHARS} printable characters without blanks`);
  }
  if (id.charCodeAt(0) === 126 /* ~ */)
    return reject('bad_id', 'id must not start with "~", which marks ids made here');
  row.id = id;
  return null;
}

function readVenue(row: TickRow): DecodeOutcome {
  const kind = kinds[VENUE];
  row.venue = null;
  if (kind === ABSENT || kind === NULL) return null;
  if (kind !== STRING) return wrongType(VENUE, 'a string');
  const venue = printableOf(VENUE, VENUE_MAX_CHARS);
  if (venue === null) {
    return reject('bad_venue', `venue must be 1 to ${VENUE_MAX_CHARS} printable characters without blanks`);
  }
  row.venue = venue;
  return null;
}

function readConditions(row: TickRow): DecodeOutcome {
  const kind = kinds[CONDITIONS];
  row.conditions = null;
  if (kind === ABSENT || kind === NULL) return null;
  const list: unknown = kind === OTHER ? JSON.parse(stringOf(CONDITIONS)) : undefined;
  if (!Array.isArray(list)) return wrongType(CONDITIONS, 'an array of strings');
  if (list.length > CONDITIONS_MAX)
    return reject('bad_conditions', `conditions holds more than ${CONDITIONS_MAX} strings`);
  for (const condition of list) {
    if (typeof condition !== 'string' || !isPrintable(condition, CONDITION_MAX_CHARS)) {
      return reject(
        'bad_conditions',
        `each of conditions must be 1 to ${CONDITION_MAX_CHARS} printable characters without blanks`,
      );
    }
  }
  if (list.length > 0) row.conditions = JSON.stringify(list);
  return null;
}

function readTrade(rules: TickRules, row: TickRow): DecodeOutcome {
  const wrongPrice = readPrice(PRICE, rules);
  if (wrongPrice !== null) return wrongPrice;
  row.price = decimal;
  const wrongSize = readSize(SIZE);
  if (wrongSize !== null) return wrongSize;
  row.size = decimal;
  const kind = kinds[SIDE];
  row.side = SIDE_NONE;
  if (kind === ABSENT || kind === NULL) return null;
  if (kind !== STRING) return wrongType(SIDE, 'a string');
  if (isWord(SIDE, 'buy')) row.side = SIDE_BUY;
  else if (isWord(SIDE, 'sell')) row.side = SIDE_SELL;
  else return reject('bad_side', `side must be "buy" or "sell", not ${show(stringOf(SIDE))}`);
  return null;
}

function readQuote(rules: TickRules, row: TickRow): DecodeOutcome {
  const bid = readQuoteSide(BID_PRICE, BID_SIZE, rules);
  if (bid !== null) return bid;
  row.bidPrice = sidePrice;
  row.bidSize = sideSize;
  const ask = readQuoteSide(ASK_PRICE, ASK_SIZE, rules);
  if (ask !== null) return ask;
  row.askPrice = sidePrice;
  row.askSize = sideSize;
  if (Number.isNaN(row.bidPrice) && Number.isNaN(row.askPrice)) {
    return reject('missing_field', 'bidPrice and askPrice are both missing');
  }
  return null;
}

let sidePrice = 0;
let sideSize = 0;

/** One side of a quote; absent or null on both fields is legal and NaN. */
function readQuoteSide(priceField: number, sizeField: number, rules: TickRules): DecodeOutcome {
  const noPrice = !isGiven(priceField);
  const noSize = !isGiven(sizeField);
  sidePrice = Number.NaN;
  sideSize = Number.NaN;
  if (noPrice && noSize) return null;
  const wrong = readPrice(priceField, rules);
  if (wrong !== null) return wrong;
  sidePrice = decimal;
  const wrongSize = readSize(sizeField);
  sideSize = decimal;
  return wrongSize;
}

let decimal = 0;

function readPrice(field: number, rules: TickRules): DecodeOutcome {
  const wrong = readDecimalField(field);
  if (wrong !== null) return wrong;
  if (decimal <= 0 && !rules.negativePrices) {
    return reject(
      'price_not_positive',
      `${FIELD_NAMES[field]} must be above 0 for this provider; an absent side is null`,
    );
  }
  return null;
}

function readSize(field: number): DecodeOutcome {
  const wrong = readDecimalField(field);
  if (wrong !== null) return wrong;
  if (decimal < 0) return reject('negative_size', `${FIELD_NAMES[field]} must be 0 or more`);
  return null;
}

function readDecimalField(field: number): DecodeOutcome {
  const kind = kinds[field];
  if (kind !== STRING && kind !== NUMBER) return missingOr(field, 'a decimal string or a number');
  decimal = readDecimal(charCodes[field]!, starts[field]!, ends[field]!, kind === NUMBER);
  return Number.isNaN(decimal) ? faultOf(field) : null;
}

/**
 * Short strings that were found printable, by a few of their characters: feeds repeat symbols and venues without
 * end, and the same string object again costs neither a copy, nor a check, nor a new hash in the dictionary. Short
 * only, for a longer slice would keep its whole body in memory.
 */
const RECURRING_MAX_CHARS = 12;
const recurring: string[] = Array.from({ length: 64 }, () => '');

/** The field's string when it is 1 to `maxChars` printable characters, else null. */
function printableOf(field: number, maxChars: number): string | null {
  const text = texts[field]!;
  const start = starts[field]!;
  const end = ends[field]!;
  const length = end - start;
  if (length === 0 || length > RECURRING_MAX_CHARS) {
    const long = text.slice(start, end);
    return isPrintable(long, maxChars) ? long : null;
  }
  const slot = (text.charCodeAt(start) * 31 + text.charCodeAt(end - 1) * 7 + length) & 63;
  const known = recurring[slot]!;
  if (known.length === length && text.startsWith(known, start)) return known;
  const found = text.slice(start, end);
  if (!isPrintable(found, maxChars)) return null;
  recurring[slot] = found;
  return found;
}

function isWord(field: number, word: string): boolean {
  const start = starts[field]!;
  return ends[field] === start + word.length && texts[field]!.startsWith(word, start);
}

function stringOf(field: number): string {
  return texts[field]!.slice(starts[field], ends[field]);
}

function faultOf(field: number): Fault {
  return reject(fault.reason, `${FIELD_NAMES[field]} ${fault.detail}`);
}

function missingOr(field: number, wanted: string): Fault {
  const kind = kinds[field];
  if (kind === ABSENT) return reject('missing_field', `${FIELD_NAMES[field]} is missing`);
  return wrongType(field, wanted);
}

function wrongType(field: number, wanted: string): Fault {
  return reject('wrong_type', `${FIELD_NAMES[field]} must be ${wanted}, not ${KIND_NAMES[kinds[field]!]}`);
}
