/**
 * One tick's JSON text to one row. Two scanners find the members, one set of rules reads them:
 * - the fast one walks the text once and knows only what feeds send nearly always: a flat object, no escapes,
 *   each known member at most once;
 * - the plain one, for everything else, first lets `JSON.parse` judge the text and then walks its members.
 * They must agree on every text; a test compares them.
 */

import type { RejectReason } from './answer.ts';
import { SIDE_BUY, SIDE_NONE, SIDE_SELL, type TickRow } from './columns.ts';
import {
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

const FIELD_NAMES = [
  'type',
  'symbol',
  'ts',
  'tsMs',
  'tsNs',
  'id',
  'price',
  'size',
  'side',
  'venue',
  'conditions',
  'bidPrice',
  'bidSize',
  'askPrice',
  'askSize',
] as const;
const TYPE = 0;
const SYMBOL = 1;
const TS = 2;
const TS_MS = 3;
const TS_NS = 4;
const ID = 5;
const PRICE = 6;
const SIZE = 7;
const SIDE = 8;
const VENUE = 9;
const CONDITIONS = 10;
const BID_PRICE = 11;
const BID_SIZE = 12;
const ASK_PRICE = 13;
const ASK_SIZE = 14;
const FIELDS = FIELD_NAMES.length;
const UNKNOWN = -1;

const FIELD_CODES = FIELD_NAMES.map((name) => Uint8Array.from(name, (char) => char.charCodeAt(0)));
/** Fields by length of name: at most five to compare. */
const FIELDS_BY_LENGTH: number[][] = Array.from({ length: 11 }, (_, length) =>
  FIELD_NAMES.flatMap((name, field) => (name.length === length ? [field] : [])),
);

const ABSENT = 0;
const STRING = 1;
const NUMBER = 2;
const NULL = 3;
const OTHER = 4;
const KIND_NAMES = ['nothing', 'a string', 'a number', 'null', 'true, false, an array or an object'];

/** The members found by the last scan: what kind of value, and where its text is (strings without quotes). */
const kinds = new Uint8Array(FIELDS);
const starts = new Int32Array(FIELDS);
const ends = new Int32Array(FIELDS);
const texts: string[] = Array.from({ length: FIELDS }, () => '');
let ignoredFields = 0;
/**
 * The fields of the last tick, in their order: feeds send one shape over and over, and a guess that is right
 * spares looking the name up. One place more than fields, for the member too many of a tick that repeats one.
 */
const shape = new Uint8Array(FIELDS + 1);

export type DecodeOutcome = Fault | null;

/**
 * Decodes `text[start, end)` into `row`. Answers null when it is a valid tick, else the reason and a detail
 * that names field and limit. Adds the members it ignored to `ignored.count`.
 * Source: SPEC.md P6; the contract, "The tick and the batch".
 */
export function decodeTick(
  text: string,
  start: number,
  end: number,
  rules: TickRules,
  row: TickRow,
  ignored: { count: number },
): DecodeOutcome {
  if (end - start > TICK_MAX_CHARS)
    return reject('tick_too_large', `the tick is longer than ${TICK_MAX_CHARS} characters`);
  if (!scanFast(text, start, end)) {
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

function reject(reason: RejectReason, detail: string): Fault {
  return { reason, detail };
}

function isBlank(code: number): boolean {
  return code === 32 || code === 10 || code === 13 || code === 9;
}

/**
 * Finds the members of a flat object. False is no verdict, only "not one of the usual": the plain scanner
 * decides. So every doubt may end here, but nothing malformed may pass.
 */
function scanFast(text: string, start: number, end: number): boolean {
  kinds.fill(ABSENT);
  ignoredFields = 0;
  let at = start;
  let member = 0;
  while (at < end && isBlank(text.charCodeAt(at))) at += 1;
  if (at >= end || text.charCodeAt(at) !== 123 /* { */) return false;
  at += 1;
  for (;;) {
    while (at < end && isBlank(text.charCodeAt(at))) at += 1;
    if (at >= end || text.charCodeAt(at) !== 34 /* " */) return false;
    const keyStart = at + 1;
    let field = shape[member]!;
    let keyEnd = keyStart + FIELD_CODES[field]!.length;
    if (keyEnd >= end || text.charCodeAt(keyEnd) !== 34 || !isFieldAt(field, text, keyStart)) {
      keyEnd = endOfPlainString(text, keyStart, end);
      if (keyEnd < 0) return false;
      field = fieldAt(text, keyStart, keyEnd);
      // An unknown member may be there twice; only the plain scanner looks.
      if (field === UNKNOWN) return false;
      shape[member] = field;
    }
    if (kinds[field] !== ABSENT) return false;
    member += 1;
    at = keyEnd + 1;
    while (at < end && isBlank(text.charCodeAt(at))) at += 1;
    if (at >= end || text.charCodeAt(at) !== 58 /* : */) return false;
    at += 1;
    while (at < end && isBlank(text.charCodeAt(at))) at += 1;
    if (at >= end) return false;
    const first = text.charCodeAt(at);
    if (first === 34 /* " */) {
      const valueEnd = endOfPlainString(text, at + 1, end);
      if (valueEnd < 0) return false;
      setMember(field, STRING, text, at + 1, valueEnd);
      at = valueEnd + 1;
    } else if (first === 45 /* - */ || (first >= 48 && first <= 57)) {
      const valueEnd = endOfNumber(text, at, end);
      if (valueEnd < 0) return false;
      setMember(field, NUMBER, text, at, valueEnd);
      at = valueEnd;
    } else if (text.startsWith('null', at) && at + 4 <= end) {
      setMember(field, NULL, text, at, at + 4);
      at += 4;
    } else {
      return false;
    }
    while (at < end && isBlank(text.charCodeAt(at))) at += 1;
    if (at >= end) return false;
    const next = text.charCodeAt(at);
    at += 1;
    if (next === 44 /* , */) continue;
    if (next !== 125 /* } */) return false;
    while (at < end && isBlank(text.charCodeAt(at))) at += 1;
    return at === end;
  }
}

function setMember(field: number, kind: number, text: string, start: number, end: number): void {
  kinds[field] = kind;
  starts[field] = start;
  ends[field] = end;
  texts[field] = text;
}

/** The place of the closing quote of a string without escapes and controls, or -1. */
function endOfPlainString(text: string, start: number, end: number): number {
  for (let at = start; at < end; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 34) return at;
    if (code === 92 || code < 32) return -1;
  }
  return -1;
}

/** The place after a number of the JSON grammar without exponent, or -1. Source: RFC 8259, section 6. */
function endOfNumber(text: string, start: number, end: number): number {
  let at = start;
  if (text.charCodeAt(at) === 45) at += 1;
  const firstDigit = at;
  at = skipDigits(text, at, end);
  if (at === firstDigit || (at - firstDigit > 1 && text.charCodeAt(firstDigit) === 48)) return -1;
  if (at < end && text.charCodeAt(at) === 46) {
    const fraction = at + 1;
    at = skipDigits(text, fraction, end);
    if (at === fraction) return -1;
  }
  const next = at < end ? text.charCodeAt(at) | 32 : 0;
  return next === 101 /* e */ ? -1 : at;
}

function skipDigits(text: string, start: number, end: number): number {
  let at = start;
  while (at < end) {
    const code = text.charCodeAt(at);
    if (code < 48 || code > 57) break;
    at += 1;
  }
  return at;
}

function fieldAt(text: string, start: number, end: number): number {
  const candidates = FIELDS_BY_LENGTH[end - start];
  if (candidates === undefined) return UNKNOWN;
  for (const field of candidates) if (isFieldAt(field, text, start)) return field;
  return UNKNOWN;
}

function isFieldAt(field: number, text: string, start: number): boolean {
  const codes = FIELD_CODES[field]!;
  for (let at = 0; at < codes.length; at += 1) if (text.charCodeAt(start + at) !== codes[at]) return false;
  return true;
}

/** Judges any text; null when its members were found, else why not. */
function scanPlain(text: string): DecodeOutcome {
  kinds.fill(ABSENT);
  ignoredFields = 0;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return reject('not_json', 'the tick is not valid JSON');
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    return reject('not_object', `the tick must be a JSON object, not ${kindOf(value)}`);
  }
  const object = value as Record<string, unknown>;
  const seen = new Set<string>();
  for (const member of members(text)) {
    if (seen.has(member.name)) return reject('duplicate_field', `${show(member.name)} stands there more than once`);
    seen.add(member.name);
    const field = (FIELD_NAMES as readonly string[]).indexOf(member.name);
    if (field < 0) {
      ignoredFields += 1;
      continue;
    }
    const found = object[member.name];
    if (typeof found === 'string') setMember(field, STRING, found, 0, found.length);
    else if (typeof found === 'number') setMember(field, NUMBER, member.source, 0, member.source.length);
    else if (found === null) setMember(field, NULL, '', 0, 0);
    else setMember(field, OTHER, member.source, 0, member.source.length);
  }
  return null;
}

/** The members of a text that `JSON.parse` has found to be an object: names unescaped, values as written. */
function* members(text: string): Generator<{ name: string; source: string }> {
  let at = text.indexOf('{') + 1;
  for (;;) {
    while (isBlank(text.charCodeAt(at))) at += 1;
    if (text.charCodeAt(at) !== 34) return; // "}": the object was empty
    const nameEnd = endOfValue(text, at);
    const name = JSON.parse(text.slice(at, nameEnd)) as string;
    at = nameEnd;
    while (isBlank(text.charCodeAt(at))) at += 1;
    at += 1; // ":"
    while (isBlank(text.charCodeAt(at))) at += 1;
    const valueEnd = endOfValue(text, at);
    yield { name, source: text.slice(at, valueEnd) };
    at = valueEnd;
    while (isBlank(text.charCodeAt(at))) at += 1;
    if (text.charCodeAt(at) !== 44) return; // "}"
    at += 1;
  }
}

/** The place after the value that starts at `start`, in valid JSON. */
function endOfValue(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 34) {
      at = endOfQuoted(text, at);
      if (depth === 0) return at + 1;
    } else if (code === 123 || code === 91) {
      depth += 1;
    } else if (code === 125 || code === 93) {
      if (depth === 0) return at;
      depth -= 1;
      if (depth === 0) return at + 1;
    } else if (depth === 0 && (code === 44 || isBlank(code))) {
      return at;
    }
  }
  return text.length;
}

/** The place of the quote that closes the one at `start`; the text's length when none does. */
export function endOfQuoted(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 92) at += 1;
    else if (code === 34) return at;
  }
  return text.length;
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
    read = readTs(texts[TS]!, starts[TS]!, ends[TS]!, instant);
  } else if (isGiven(TS_MS)) {
    field = TS_MS;
    if (kinds[TS_MS] !== NUMBER) return wrongType(TS_MS, 'an integer');
    read = readTsMs(texts[TS_MS]!, starts[TS_MS]!, ends[TS_MS]!, instant);
  } else {
    field = TS_NS;
    if (kinds[TS_NS] !== STRING) return wrongType(TS_NS, 'a string of decimal digits');
    read = readTsNs(texts[TS_NS]!, starts[TS_NS]!, ends[TS_NS]!, instant);
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
    const value = readInteger(texts[ID]!, starts[ID]!, ends[ID]!);
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
  decimal = readDecimal(texts[field]!, starts[field]!, ends[field]!, kind === NUMBER);
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
  return ends[field]! - starts[field]! === word.length && texts[field]!.startsWith(word, starts[field]);
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

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return `a ${typeof value}`;
}

const SHOWN_MAX_CHARS = 40;

/** A hostile text made fit to quote: short, one line, printable. */
function show(text: string): string {
  return JSON.stringify(
    text
      .slice(0, SHOWN_MAX_CHARS)
      .toWellFormed()
      .replaceAll(/[\p{C}\p{Z}]/gu, '?'),
  );
}
