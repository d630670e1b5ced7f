/**
 * One request body to the ticks of a batch: framing (NDJSON or a JSON array), bounds, and for each tick either
 * a row of columns or a rejection. Works on bytes that are already unpacked; knows nothing of HTTP.
 */

import type { Rejection } from './answer.ts';
import { type BatchColumns, ColumnsBuilder, emptyRow } from './columns.ts';
import { decodeTick, type TickRules } from './decode.ts';
import { endOfQuoted } from './scan.ts';
import { codesOf } from './tick.ts';

/** Bytes of a body as sent. */
export const BODY_MAX_BYTES = 1024 * 1024;
/** Bytes of a body after gunzip. */
export const UNPACKED_MAX_BYTES = 8 * 1024 * 1024;
export const BATCH_MAX_TICKS = 10_000;

export type BodyFormat = 'ndjson' | 'array';

export interface DecodedBatch {
  /** Ticks found: accepted and rejected. */
  ticks: number;
  /** Ticks in `columns`. */
  accepted: number;
  columns: BatchColumns;
  rejected: Rejection[];
  ignoredFields: number;
}

export type BatchOutcome =
  | { ok: true; batch: DecodedBatch }
  | { ok: false; why: 'empty' | 'not_json' | 'too_many_ticks'; detail: string };

/** The body's format, from `Content-Type` without its parameters; `undefined` is a 415. */
export function bodyFormat(contentType: string | null | undefined): BodyFormat | undefined {
  const type = (contentType ?? '').split(';', 1)[0]!.trim().toLowerCase();
  if (type === 'application/x-ndjson' || type === 'application/jsonl' || type === 'application/ndjson') return 'ndjson';
  return type === 'application/json' ? 'array' : undefined;
}

const builder = new ColumnsBuilder(BATCH_MAX_TICKS);
const row = emptyRow();

/**
 * Decodes one unpacked body of at most {@link UNPACKED_MAX_BYTES} and `maxTicks` ticks (never more than
 * {@link BATCH_MAX_TICKS}: the columns have no room for more and would drop them silently). Bad ticks come back in
 * `rejected` with index and reason; the good ones are kept. Blank lines, CRLF and a leading byte order mark are
 * allowed.
 * Errors: `empty` (no tick at all), `not_json` (an array that cannot be cut into ticks), `too_many_ticks`.
 * Source: SPEC.md P6.
 */
export function decodeBatch(body: Uint8Array, format: BodyFormat, maxTicks: number, rules: TickRules): BatchOutcome {
  builder.take(); // whatever an exception may have left
  const limit = Math.min(maxTicks, BATCH_MAX_TICKS);
  const found: Found = { ticks: 0, rejected: [], ignored: { count: 0 }, maxTicks: limit, rules };
  const wrong = format === 'ndjson' ? decodeLines(body, found) : decodeArray(body, found);
  if (wrong !== null) {
    builder.take();
    return wrong;
  }
  if (found.ticks === 0) return { ok: false, why: 'empty', detail: 'the body holds no tick' };
  return {
    ok: true,
    batch: {
      ticks: found.ticks,
      accepted: found.ticks - found.rejected.length,
      columns: builder.take(),
      rejected: found.rejected,
      ignoredFields: found.ignored.count,
    },
  };
}

interface Found {
  ticks: number;
  rejected: Rejection[];
  ignored: { count: number };
  readonly maxTicks: number;
  readonly rules: TickRules;
}

type Wrong = Extract<BatchOutcome, { ok: false }>;

/** Takes the tick in `text[start, end)`; false when it is one too many. */
function takeTick(text: string, codes: Uint8Array, start: number, end: number, found: Found): boolean {
  const index = found.ticks;
  if (index === found.maxTicks) return false;
  found.ticks = index + 1;
  const wrong = decodeTick(text, start, end, found.rules, row, found.ignored, codes);
  if (wrong === null) builder.add(row, index);
  else found.rejected.push({ index, reason: wrong.reason, detail: wrong.detail });
  return true;
}

function tooMany(maxTicks: number): Wrong {
  return { ok: false, why: 'too_many_ticks', detail: `the batch holds more than ${maxTicks} ticks` };
}

function decodeLines(body: Uint8Array, found: Found): Wrong | null {
  const text = utf8(body);
  if (text === undefined) return decodeLinesOfBadUtf8(body, found);
  const codes = codesIn(body, text);
  const { length } = text;
  // Blank lines go by character, not by line: eight million of them fit in 8 KB of gzip.
  for (let start = skipBlanks(text, 0); start < length;) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? length : newline;
    if (!takeTick(text, codes, start, end, found)) return tooMany(found.maxTicks);
    start = skipBlanks(text, end);
  }
  return null;
}

/** Line by line, so that the bytes that are not UTF-8 cost only their own tick. "\n" is never part of another character. */
function decodeLinesOfBadUtf8(body: Uint8Array, found: Found): Wrong | null {
  // A byte order mark is one at the start of the body only, whichever way the body is read.
  const marked = body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf;
  for (let start = skipBlankBytes(body, marked ? 3 : 0); start < body.length;) {
    const newline = body.indexOf(10, start);
    const end = newline < 0 ? body.length : newline;
    const line = utf8(body.subarray(start, end), true);
    if (line === undefined) {
      if (found.ticks === found.maxTicks) return tooMany(found.maxTicks);
      found.rejected.push({ index: found.ticks, reason: 'not_utf8', detail: 'the line is not valid UTF-8' });
      found.ticks += 1;
    } else if (!takeTick(line, codesOf(line), 0, line.length, found)) {
      return tooMany(found.maxTicks);
    }
    start = skipBlankBytes(body, end);
  }
  return null;
}

function utf8(bytes: Uint8Array, keepMark = false): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: keepMark }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** UTF-8 has one byte a character where all are ASCII, and only there: then the body itself are the codes. */
function codesIn(body: Uint8Array, text: string): Uint8Array {
  return text.length === body.length ? body : codesOf(text);
}

function isBlank(code: number): boolean {
  return code === 32 || code === 13 || code === 9 || code === 10;
}

function decodeArray(body: Uint8Array, found: Found): Wrong | null {
  const text = utf8(body);
  if (text === undefined) return notArray('the body is not valid UTF-8');
  const codes = codesIn(body, text);
  let at = skipBlanks(text, 0);
  if (at === text.length) return null; // empty
  if (text[at] !== '[') return notArray('the body must be a JSON array of ticks (or NDJSON, as application/x-ndjson)');
  at = skipBlanks(text, at + 1);
  if (text[at] === ']') {
    return skipBlanks(text, at + 1) === text.length ? null : notArray('something follows the array');
  }
  for (;;) {
    const end = endOfElement(text, at);
    if (end === text.length) return notArray('the array does not end: the body is cut off');
    if (!takeTick(text, codes, at, end, found)) return tooMany(found.maxTicks);
    if (text[end] === ']') {
      return skipBlanks(text, end + 1) === text.length ? null : notArray('something follows the array');
    }
    at = skipBlanks(text, end + 1);
  }
}

function notArray(detail: string): Wrong {
  return { ok: false, why: 'not_json', detail };
}

function skipBlanks(text: string, start: number): number {
  let at = start;
  while (at < text.length && isBlank(text.charCodeAt(at))) at += 1;
  return at;
}

function skipBlankBytes(bytes: Uint8Array, start: number): number {
  let at = start;
  while (at < bytes.length && isBlank(bytes[at]!)) at += 1;
  return at;
}

/**
 * The place of the "," or "]" that ends the element at `start`, or the text's length. Only counts brackets and
 * skips strings; whether the element is JSON is judged with the tick.
 */
function endOfElement(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 34) at = endOfQuoted(text, at);
    else if (code === 123 || code === 91) depth += 1;
    else if (depth > 0 && (code === 125 || code === 93)) depth -= 1;
    else if (depth === 0 && (code === 44 || code === 93)) return at;
  }
  return text.length;
}
