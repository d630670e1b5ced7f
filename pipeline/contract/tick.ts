/**
 * The rules of one tick's fields: what a time, a decimal, a symbol or an id may look like.
 * Each reader takes a slice of characters and either returns the value or throws nothing and reports a reason
 * through {@link Fault}. No reader rounds, guesses or mangles.
 */

import type { RejectReason } from './answer.ts';

export type TickType = 'trade' | 'quote';

/** A tick as a sender writes it (one line of NDJSON). Exactly one of `ts`, `tsMs`, `tsNs`. */
export interface TickInput {
  type?: TickType;
  symbol: string;
  /** RFC 3339, up to nine fraction digits. */
  ts?: string;
  tsMs?: number;
  /** Epoch nanoseconds as decimal digits. */
  tsNs?: string;
  id?: string | number | null;
  price?: string | number;
  size?: string | number;
  bidPrice?: string | number | null;
  bidSize?: string | number | null;
  askPrice?: string | number | null;
  askSize?: string | number | null;
  side?: 'buy' | 'sell' | null;
  venue?: string | null;
  conditions?: string[] | null;
}

export const SYMBOL_MAX_CHARS = 64;
export const ID_MAX_CHARS = 128;
export const VENUE_MAX_CHARS = 32;
export const CONDITIONS_MAX = 16;
export const CONDITION_MAX_CHARS = 32;
/** A double carries any decimal of 15 significant digits exactly (DBL_DIG). */
export const SIGNIFICANT_DIGITS_MAX = 15;
export const DECIMAL_MAX_CHARS = 48;
export const FUTURE_MAX_MS = 5 * 60 * 1000;
/** What a signed 64-bit count of nanoseconds holds: 1677-09-21 to 2262-04-11. */
export const TS_MIN_SECONDS = -9_223_372_036;
export const TS_MAX_SECONDS = 9_223_372_035;

/** What made a tick unacceptable. */
export interface Fault {
  reason: RejectReason;
  detail: string;
}

/** An instant as the two halves that a double and an integer carry exactly. */
export interface Instant {
  /** Whole epoch seconds, rounded down. */
  seconds: number;
  /** 0 to 999,999,999. */
  nanos: number;
}

const DIGIT_0 = 48;
const DIGIT_9 = 57;
const MINUS = 45;
const DOT = 46;

/**
 * Exact powers of ten: 10^22 is the last that a double holds, so mantissa / POWERS_OF_TEN[n] is correctly
 * rounded by one division (Clinger's fast path).
 */
const POWERS_OF_TEN = Array.from({ length: 23 }, (_, n) => 10 ** n);
const MANTISSA_FAST_MAX = 10 ** SIGNIFICANT_DIGITS_MAX;

/** Readers' verdict on a decimal that has no value; NaN is free because no JSON number is NaN. */
export const NOT_A_DECIMAL: Fault = {
  reason: 'bad_decimal',
  detail: 'must be a decimal such as "187.23" or -0.5: digits, one dot at most, no exponent in a string',
};
const TOO_PRECISE: Fault = {
  reason: 'precision',
  detail: `has more than ${SIGNIFICANT_DIGITS_MAX} significant digits, which a double cannot carry exactly`,
};
const TOO_LONG_DECIMAL: Fault = { reason: 'number_range', detail: `is longer than ${DECIMAL_MAX_CHARS} characters` };
const OUT_OF_RANGE: Fault = {
  reason: 'number_range',
  detail: 'is not 0 and its magnitude is outside 1e-300 to 1e300',
};

/** The fault of the last reader that answered "no value". Read it at once; readers do not clear it. */
export let fault: Fault = NOT_A_DECIMAL;

/**
 * A text's characters as scanners and readers take them: a byte array is read three times as fast as a string. What
 * is not ASCII is one value, for it means nothing to JSON's grammar outside of strings, nor to numbers and times.
 */
export function codesOf(text: string): Uint8Array {
  const codes = new Uint8Array(text.length);
  for (let at = 0; at < codes.length; at += 1) codes[at] = Math.min(text.charCodeAt(at), NOT_ASCII);
  return codes;
}

const NOT_ASCII = 0x80;

/**
 * Reads `codes[start, end)` as a decimal of at most 15 significant digits. NaN means no: see {@link fault}
 * (`bad_decimal`, `precision`, `number_range`). `exponent` admits the JSON number form 1.5e3.
 */
export function readDecimal(codes: Uint8Array, start: number, end: number, exponent: boolean): number {
  if (end - start > DECIMAL_MAX_CHARS) return no(TOO_LONG_DECIMAL);
  let at = start;
  const negative = codes[at] === MINUS && at < end;
  if (negative) at += 1;
  const firstDigit = at;
  let mantissa = 0;
  let significant = 0; // digits from the first that is not 0 up to here
  let kept = 0; // the same, up to the last digit that is not 0
  let scale = 0; // place of the last digit kept: n-th after the dot, or minus n-th of the integer part
  let seenDot = false;
  let fraction = 0; // fraction digits read
  let integerDigits = 0;
  for (; at < end; at += 1) {
    const code = codes[at]!;
    if (code >= DIGIT_0 && code <= DIGIT_9) {
      if (seenDot) fraction += 1;
      else integerDigits += 1;
      if (code !== DIGIT_0) {
        // Zeros between are only now known to count; fold them in with this digit.
        const zeros = kept === 0 ? 0 : significant - kept;
        significant = kept === 0 ? 1 : significant + 1;
        kept = significant;
        if (kept > SIGNIFICANT_DIGITS_MAX) return no(TOO_PRECISE);
        mantissa = mantissa * POWERS_OF_TEN[zeros + 1]! + (code - DIGIT_0);
        scale = seenDot ? fraction : -integerDigits;
      } else if (kept > 0) {
        significant += 1;
      }
    } else if (code === DOT && !seenDot && integerDigits > 0) {
      seenDot = true;
    } else {
      break;
    }
  }
  if (integerDigits === 0 || (seenDot && fraction === 0)) return no(NOT_A_DECIMAL);
  if (integerDigits > 1 && codes[firstDigit] === DIGIT_0) return no(NOT_A_DECIMAL);
  // Where the last digit that counts stands: after the dot, or before it with integer zeros following.
  let power = scale > 0 ? -scale : integerDigits + scale;
  if (at < end) {
    if (!exponent) return no(NOT_A_DECIMAL);
    const given = readExponent(codes, at, end);
    if (Number.isNaN(given)) return no(NOT_A_DECIMAL);
    power += given;
  }
  if (mantissa === 0) return 0;
  const value =
    power >= 0 && power <= 22 && mantissa < MANTISSA_FAST_MAX
      ? mantissa * POWERS_OF_TEN[power]!
      : power < 0 && power >= -22
        ? mantissa / POWERS_OF_TEN[-power]!
        : Number(`${mantissa}e${power}`);
  if (!(value >= 1e-300 && value <= 1e300)) return no(OUT_OF_RANGE);
  return negative ? -value : value;
}

function readExponent(codes: Uint8Array, start: number, end: number): number {
  const match = /^[eE]([+-]?\d+)$/.exec(String.fromCharCode(...codes.subarray(start, end)));
  return match === null ? Number.NaN : Number(match[1]);
}

function no(why: Fault): number {
  fault = why;
  return Number.NaN;
}

const BAD_TS: Fault = {
  reason: 'bad_time',
  detail: 'must be RFC 3339 with at most nine fraction digits, such as "2026-11-23T14:30:00.123456789Z"',
};
const BAD_TS_NS: Fault = { reason: 'bad_time', detail: 'must be epoch nanoseconds in decimal digits' };
const BAD_TS_MS: Fault = { reason: 'bad_time', detail: 'must be an integer of epoch milliseconds' };
const UNSAFE: Fault = {
  reason: 'unsafe_integer',
  detail: 'is beyond 2^53 - 1, which JSON numbers do not carry safely: send it as a string',
};
const OUT_OF_TIME: Fault = {
  reason: 'time_range',
  detail: 'is outside 1677-09-21 to 2262-04-11, what 64 bits of nanoseconds hold',
};

const DATE_CHARS = 'YYYY-MM-DD'.length;
/**
 * The day last read: feeds send thousands of ticks of one day, and the calendar arithmetic is most of the cost.
 */
/** At first what no character is, not NULs, which a hostile text may hold. */
const cachedDate = new Uint8Array(DATE_CHARS).fill(0xff);
let cachedDateSeconds = 0;

const DAYS_BEFORE_MONTH = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/** Reads RFC 3339 into `into`. False means no: see {@link fault} (`bad_time`, `time_range`). */
export function readTs(codes: Uint8Array, start: number, end: number, into: Instant): boolean {
  // 2026-11-23T14:30:00 then [.fraction] then Z or +hh:mm
  if (end - start < 20 || end - start > 35) return noTime(BAD_TS);
  const separator = codes[start + 10]! | 32;
  if (separator !== 116 /* t */ || codes[start + 13] !== 58 || codes[start + 16] !== 58) {
    return noTime(BAD_TS);
  }
  const daySeconds = readDate(codes, start);
  const hour = twoDigits(codes, start + 11);
  const minute = twoDigits(codes, start + 14);
  const second = twoDigits(codes, start + 17);
  if (Number.isNaN(daySeconds) || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) {
    return noTime(BAD_TS);
  }
  let at = start + 19;
  let nanos = 0;
  if (codes[at] === DOT) {
    at += 1;
    let digits = 0;
    for (; at < end; at += 1, digits += 1) {
      const code = codes[at]!;
      if (code < DIGIT_0 || code > DIGIT_9) break;
      nanos = nanos * 10 + (code - DIGIT_0);
    }
    if (digits === 0 || digits > 9) return noTime(BAD_TS);
    nanos *= POWERS_OF_TEN[9 - digits]!;
  }
  const zone = codes[at]!;
  let offsetSeconds = 0;
  if ((zone | 32) === 122 /* z */) {
    if (at + 1 !== end) return noTime(BAD_TS);
  } else {
    const zoneHour = twoDigits(codes, at + 1);
    const zoneMinute = twoDigits(codes, at + 4);
    const signed = zone === MINUS || zone === 43; /* + */
    if (!signed || at + 6 !== end || codes[at + 3] !== 58) return noTime(BAD_TS);
    if (zoneHour < 0 || zoneHour > 23 || zoneMinute < 0 || zoneMinute > 59) return noTime(BAD_TS);
    offsetSeconds = (zone === MINUS ? -1 : 1) * (zoneHour * 3600 + zoneMinute * 60);
  }
  return setInstant(into, daySeconds + hour * 3600 + minute * 60 + second - offsetSeconds, nanos);
}

/** Epoch seconds of the day `YYYY-MM-DD` at `start`, or NaN. Source: proleptic Gregorian calendar, RFC 3339 5.7. */
function readDate(codes: Uint8Array, start: number): number {
  let same = 0;
  while (same < DATE_CHARS && codes[start + same] === cachedDate[same]) same += 1;
  if (same === DATE_CHARS) return cachedDateSeconds;
  const year = twoDigits(codes, start) * 100 + twoDigits(codes, start + 2);
  const month = twoDigits(codes, start + 5);
  const day = twoDigits(codes, start + 8);
  if (year < 0 || month < 1 || month > 12 || day < 1) return Number.NaN;
  if (codes[start + 4] !== MINUS || codes[start + 7] !== MINUS) return Number.NaN;
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const nextMonth = month === 12 ? 365 : DAYS_BEFORE_MONTH[month]!;
  const monthDays = nextMonth - DAYS_BEFORE_MONTH[month - 1]! + (leap && month === 2 ? 1 : 0);
  if (day > monthDays) return Number.NaN;
  const before = year - 1;
  const leapDays = Math.floor(before / 4) - Math.floor(before / 100) + Math.floor(before / 400);
  const days = year * 365 + leapDays + DAYS_BEFORE_MONTH[month - 1]! + (leap && month > 2 ? 1 : 0) + day - 1;
  cachedDate.set(codes.subarray(start, start + DATE_CHARS));
  cachedDateSeconds = (days - DAYS_TO_EPOCH) * 86_400;
  return cachedDateSeconds;
}

/** The same count for 1970-01-01: 1970 years and the leap days of 1 to 1969. */
const DAYS_TO_EPOCH = 1970 * 365 + 492 - 19 + 4;

/** The two digits at `at` as a number; far below 0 when they are none, so that sums of it stay below 0. */
function twoDigits(codes: Uint8Array, at: number): number {
  const tens = codes[at]! - DIGIT_0;
  const ones = codes[at + 1]! - DIGIT_0;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : NO_DIGITS;
}

const NO_DIGITS = -1_000_000;

/** Reads `tsMs`, the source text of a JSON number. False: `bad_time`, `unsafe_integer`, `time_range`. */
export function readTsMs(codes: Uint8Array, start: number, end: number, into: Instant): boolean {
  const ms = readInteger(codes, start, end);
  if (Number.isNaN(ms)) return noTime(BAD_TS_MS);
  if (!Number.isSafeInteger(ms)) return noTime(UNSAFE);
  const seconds = Math.floor(ms / 1000);
  return setInstant(into, seconds, (ms - seconds * 1000) * 1_000_000);
}

/** Reads `tsNs`, the characters of a JSON string. False: `bad_time`, `time_range`. */
export function readTsNs(codes: Uint8Array, start: number, end: number, into: Instant): boolean {
  const negative = codes[start] === MINUS && start < end;
  const first = negative ? start + 1 : start;
  if (end - first < 1 || end - first > 24) return noTime(BAD_TS_NS);
  if (codes[first] === DIGIT_0 && end - first > 1) return noTime(BAD_TS_NS);
  const split = Math.max(first, end - 9);
  const whole = split === first ? 0 : readDigits(codes, first, split);
  const rest = readDigits(codes, split, end);
  if (Number.isNaN(whole) || Number.isNaN(rest)) return noTime(BAD_TS_NS);
  if (!negative) return setInstant(into, whole, rest);
  return rest === 0 ? setInstant(into, 0 - whole, 0) : setInstant(into, -whole - 1, 1_000_000_000 - rest);
}

function setInstant(into: Instant, seconds: number, nanos: number): boolean {
  if (seconds < TS_MIN_SECONDS || seconds > TS_MAX_SECONDS) return noTime(OUT_OF_TIME);
  into.seconds = seconds;
  into.nanos = nanos;
  return true;
}

function noTime(why: Fault): boolean {
  fault = why;
  return false;
}

/** An integer literal without leading zeros, as a double (perhaps unsafe); NaN when it is none. */
export function readInteger(codes: Uint8Array, start: number, end: number): number {
  const negative = codes[start] === MINUS;
  const first = negative ? start + 1 : start;
  if (codes[first] === DIGIT_0 && end - first > 1) return Number.NaN;
  const value = readDigits(codes, first, end);
  return negative ? 0 - value : value;
}

function readDigits(codes: Uint8Array, start: number, end: number): number {
  if (end <= start) return Number.NaN;
  let value = 0;
  for (let at = start; at < end; at += 1) {
    const digit = codes[at]! - DIGIT_0;
    if (!(digit >= 0 && digit <= 9)) return Number.NaN;
    value = value * 10 + digit;
  }
  return value;
}

/** Default ignorables are invisible without being controls (Hangul filler, variation selectors); U+2800 is a blank braille cell. */
const NOT_PRINTABLE = /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/u;

/**
 * Whether `text` is 1 to `maxChars` printable characters (code points) without blanks or controls. Lone
 * surrogates, invisible and unassigned characters are not printable: no symbol may hide something in another's
 * looks. Letters of other scripts that look alike stay different symbols.
 */
export function isPrintable(text: string, maxChars: number): boolean {
  const { length } = text;
  if (length === 0) return false;
  let ascii = true;
  for (let at = 0; at < length; at += 1) {
    const code = text.charCodeAt(at);
    if (code <= 32 || code === 127) return false;
    if (code > 127) {
      ascii = false;
      break;
    }
  }
  if (ascii) return length <= maxChars;
  if (length > maxChars * 2 || NOT_PRINTABLE.test(text)) return false;
  return Array.from(text).length <= maxChars;
}

/**
 * A stored number in the decimal form of the contract: `readDecimal` of it gives the same number, up to
 * {@link DECIMAL_MAX_CHARS} characters (1e-60, which came as a JSON number, is written out and longer).
 */
export function formatDecimal(value: number): string {
  const text = String(value);
  const match = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(text);
  if (match === null) return text;
  const [, sign = '', first = '', rest = ''] = match;
  const power = Number(match[4]);
  const digits = first + rest;
  if (power < 0) return `${sign}0.${'0'.repeat(-power - 1)}${digits}`;
  return sign + digits.padEnd(power + 1, '0');
}

/** Epoch nanoseconds as RFC 3339 in UTC with nine fraction digits. */
export function formatTs(tsNs: bigint): string {
  const nanos = ((tsNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const seconds = (tsNs - nanos) / 1_000_000_000n;
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return `${whole}.${String(nanos).padStart(9, '0')}Z`;
}
