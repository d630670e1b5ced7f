/**
 * Finds the members of one tick's JSON text. Two scanners fill the same registers:
 * - the fast one walks the text once and knows only what feeds send nearly always: a flat object, no escapes,
 *   each known member at most once;
 * - the plain one, for everything else, first lets `JSON.parse` judge the text and then walks its members.
 * They must agree on every text; a test compares them. What the values mean is decode.ts's to say.
 */

import type { RejectReason } from './answer.ts';
import { codesOf, type Fault } from './tick.ts';

export const FIELD_NAMES = [
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
export const TYPE = 0;
export const SYMBOL = 1;
export const TS = 2;
export const TS_MS = 3;
export const TS_NS = 4;
export const ID = 5;
export const PRICE = 6;
export const SIZE = 7;
export const SIDE = 8;
export const VENUE = 9;
export const CONDITIONS = 10;
export const BID_PRICE = 11;
export const BID_SIZE = 12;
export const ASK_PRICE = 13;
export const ASK_SIZE = 14;
const FIELDS = FIELD_NAMES.length;
const UNKNOWN = -1;

const FIELD_CODES = FIELD_NAMES.map((name) => Uint8Array.from(name, (char) => char.charCodeAt(0)));
/** Fields by length of name: at most five to compare. */
const FIELDS_BY_LENGTH: number[][] = Array.from({ length: 11 }, (_, length) =>
  FIELD_NAMES.flatMap((name, field) => (name.length === length ? [field] : [])),
);

export const ABSENT = 0;
export const STRING = 1;
export const NUMBER = 2;
export const NULL = 3;
export const OTHER = 4;
export const KIND_NAMES = ['nothing', 'a string', 'a number', 'null', 'true, false, an array or an object'];

/** The members found by the last scan: what kind of value, and where its text is (strings without quotes). */
export const kinds = new Uint8Array(FIELDS);
export const starts = new Int32Array(FIELDS);
export const ends = new Int32Array(FIELDS);
export const texts: string[] = Array.from({ length: FIELDS }, () => '');
/** The characters of `texts`. */
export const charCodes: Uint8Array[] = Array.from({ length: FIELDS }, () => new Uint8Array());
/** The characters that all of `charCodes` are; undefined when each member has its own. */
let source: Uint8Array | undefined;
/** Unknown members of the last scan. */
export let ignoredFields = 0;
/**
 * The fields of the last tick, in their order: feeds send one shape over and over, and a guess that is right
 * spares looking the name up. One place more than fields, for the member too many of a tick that repeats one.
 */
const shape = new Uint8Array(FIELDS + 1);

function isBlank(code: number): boolean {
  return code === 32 || code === 10 || code === 13 || code === 9;
}

/**
 * Finds the members of a flat object in `text[start, end)`, whose characters are `codes`. False is no verdict, only "not one of the usual": the plain scanner
 * decides. So every doubt may end here, but nothing malformed may pass.
 */
export function scanFast(text: string, codes: Uint8Array, start: number, end: number): boolean {
  kinds.fill(ABSENT);
  ignoredFields = 0;
  if (source !== codes) {
    source = codes;
    texts.fill(text);
    charCodes.fill(codes);
  }
  let at = start;
  let member = 0;
  while (at < end && isBlank(codes[at]!)) at += 1;
  if (at >= end || codes[at] !== 123 /* { */) return false;
  at += 1;
  for (;;) {
    while (at < end && isBlank(codes[at]!)) at += 1;
    if (at >= end || codes[at] !== 34 /* " */) return false;
    const keyStart = at + 1;
    let field = shape[member]!;
    let keyEnd = keyStart + FIELD_CODES[field]!.length;
    if (keyEnd >= end || codes[keyEnd] !== 34 || !isFieldAt(field, codes, keyStart)) {
      keyEnd = endOfPlainString(codes, keyStart, end);
      if (keyEnd < 0) return false;
      field = fieldAt(codes, keyStart, keyEnd);
      // An unknown member may be there twice; only the plain scanner looks.
      if (field === UNKNOWN) return false;
      shape[member] = field;
    }
    if (kinds[field] !== ABSENT) return false;
    member += 1;
    at = keyEnd + 1;
    while (at < end && isBlank(codes[at]!)) at += 1;
    if (at >= end || codes[at] !== 58 /* : */) return false;
    at += 1;
    while (at < end && isBlank(codes[at]!)) at += 1;
    if (at >= end) return false;
    const first = codes[at]!;
    if (first === 34 /* " */) {
      const valueEnd = endOfPlainString(codes, at + 1, end);
      if (valueEnd < 0) return false;
      setMember(field, STRING, at + 1, valueEnd);
      at = valueEnd + 1;
    } else if (first === 45 /* - */ || (first >= 48 && first <= 57)) {
      const valueEnd = endOfNumber(codes, at, end);
      if (valueEnd < 0) return false;
      setMember(field, NUMBER, at, valueEnd);
      at = valueEnd;
    } else if (text.startsWith('null', at) && at + 4 <= end) {
      setMember(field, NULL, at, at + 4);
      at += 4;
    } else {
      return false;
    }
    while (at < end && isBlank(codes[at]!)) at += 1;
    if (at >= end) return false;
    const next = codes[at]!;
    at += 1;
    if (next === 44 /* , */) continue;
    if (next !== 125 /* } */) return false;
    while (at < end && isBlank(codes[at]!)) at += 1;
    return at === end;
  }
}

function setMember(field: number, kind: number, start: number, end: number): void {
  kinds[field] = kind;
  starts[field] = start;
  ends[field] = end;
}

/** The place of the closing quote of a string without escapes and controls, or -1. */
function endOfPlainString(codes: Uint8Array, start: number, end: number): number {
  for (let at = start; at < end; at += 1) {
    const code = codes[at]!;
    if (code === 34) return at;
    if (code === 92 || code < 32) return -1;
  }
  return -1;
}

/** The place after a number of the JSON grammar without exponent, or -1. Source: RFC 8259, section 6. */
function endOfNumber(codes: Uint8Array, start: number, end: number): number {
  let at = start;
  if (codes[at] === 45) at += 1;
  const firstDigit = at;
  at = skipDigits(codes, at, end);
  if (at === firstDigit || (at - firstDigit > 1 && codes[firstDigit] === 48)) return -1;
  if (at < end && codes[at] === 46) {
    const fraction = at + 1;
    at = skipDigits(codes, fraction, end);
    if (at === fraction) return -1;
  }
  const next = at < end ? codes[at]! | 32 : 0;
  return next === 101 /* e */ ? -1 : at;
}

function skipDigits(codes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end) {
    const code = codes[at]!;
    if (code < 48 || code > 57) break;
    at += 1;
  }
  return at;
}

function fieldAt(codes: Uint8Array, start: number, end: number): number {
  const candidates = FIELDS_BY_LENGTH[end - start];
  if (candidates === undefined) return UNKNOWN;
  for (const field of candidates) if (isFieldAt(field, codes, start)) return field;
  return UNKNOWN;
}

function isFieldAt(field: number, codes: Uint8Array, start: number): boolean {
  const name = FIELD_CODES[field]!;
  for (let at = 0; at < name.length; at += 1) if (codes[start + at] !== name[at]) return false;
  return true;
}

/** Judges any text; null when its members were found, else why not. */
export function scanPlain(text: string): Fault | null {
  kinds.fill(ABSENT);
  ignoredFields = 0;
  source = undefined;
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
    if (typeof found === 'string') setPlain(field, STRING, found);
    else if (typeof found === 'number') setPlain(field, NUMBER, member.source);
    else if (found === null) setPlain(field, NULL, '');
    else setPlain(field, OTHER, member.source);
  }
  return null;
}

/** A value with a text of its own. */
function setPlain(field: number, kind: number, text: string): void {
  setMember(field, kind, 0, text.length);
  texts[field] = text;
  charCodes[field] = codesOf(text);
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

export function reject(reason: RejectReason, detail: string): Fault {
  return { reason, detail };
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return `a ${typeof value}`;
}

const SHOWN_MAX_CHARS = 40;

/** A hostile text made fit to quote: short, one line, printable. */
export function show(text: string): string {
  return JSON.stringify(
    text
      .slice(0, SHOWN_MAX_CHARS)
      .toWellFormed()
      .replaceAll(/[\p{C}\p{Z}]/gu, '?'),
  );
}
