/**
 * One request body to the ticks of a batch: framing (NDJSON or a JSON array), bounds, and for each tick either
 * a row of columns or a rejection. Works on bytes that are already unpacked; knows nothing of HTTP.
 */

import type { Rejection } from './answer.ts';
import { type BatchColumns, ColumnsBuilder, emptyRow } from './columns.ts';
import { decodeTick, type TickRules } from './decode.ts';
import { KeptBytes, type PackedTicks, type TickBytes, unpackTicks } from './tick-bytes.ts';
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
  /** What the rejected ticks were, in the order of `rejected`. */
  rejectedBytes: PackedTicks;
  ignoredFields: number;
  /** Epoch milliseconds of the latest accepted tick; undefined when there is none. */
  newestTsMs: number | undefined;
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
const NOT_UTF8 = { reason: 'not_utf8', detail: 'the line is not valid UTF-8' } as const;

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
  const found = new Decoder(limit, rules);
  const wrong = walk(body, format, found);
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
      rejectedBytes: found.kept.take(),
      ignoredFields: found.ignored.count,
      newestTsMs: found.ticks > found.rejected.length ? found.newestTsMs : undefined,
    },
  };
}

/**
 * The bytes of the ticks at `indices`, in ascending order of index, from a body that {@link decodeBatch} has read
 * with the same format and at most `maxTicks`.
 */
export function ticksAt(body: Uint8Array, format: BodyFormat, indices: ReadonlySet<number>): TickBytes[] {
  const found = new Finder(indices);
  walk(body, format, found);
  return unpackTicks(found.kept.take());
}

export interface SingleTicks {
  /** Ticks in `columns`, each at its own place. */
  accepted: number;
  columns: BatchColumns;
  rejected: Rejection[];
  ignoredFields: number;
}

/** Decodes ticks that were set aside, each by itself and at its own place; at most {@link BATCH_MAX_TICKS}. */
export function decodeSingly(ticks: readonly (TickBytes & Pick<Rejection, 'index'>)[], rules: TickRules): SingleTicks {
  builder.take();
  const ignored = { count: 0 };
  const rejected: Rejection[] = [];
  for (const { index, bytes, sizeBytes } of ticks) {
    const text = sizeBytes === bytes.length ? utf8(bytes, true) : undefined;
    const wrong = text === undefined ? NOT_UTF8 : decodeTick(text, 0, text.length, rules, row, ignored);
    if (wrong === null) builder.add(row, index);
    else rejected.push({ index, reason: wrong.reason, detail: wrong.detail });
  }
  return { accepted: ticks.length - rejected.length, columns: builder.take(), rejected, ignoredFields: ignored.count };
}

/** Walks over the ticks of a body. */
function walk(body: Uint8Array, format: BodyFormat, taker: Taker): Wrong | null {
  return format === 'ndjson' ? walkLines(body, taker) : walkArray(body, taker);
}

/** What is done with each tick that is found. Both answer false when it is one too many. */
interface Taker {
  readonly maxTicks: number;
  /** The tick in `text[start, end)`. */
  take(text: string, codes: Uint8Array, start: number, end: number): boolean;
  /** A line that is no UTF-8. */
  takeBytes(line: Uint8Array): boolean;
}

class Decoder implements Taker {
  readonly maxTicks: number;
  readonly ignored = { count: 0 };
  readonly rejected: Rejection[] = [];
  readonly kept = new KeptBytes();
  readonly #rules: TickRules;
  ticks = 0;
  newestTsMs = Number.NEGATIVE_INFINITY;

  constructor(maxTicks: number, rules: TickRules) {
    this.maxTicks = maxTicks;
    this.#rules = rules;
  }

  take(text: string, codes: Uint8Array, start: number, end: number): boolean {
    const index = this.ticks;
    if (index === this.maxTicks) return false;
    this.ticks = index + 1;
    const wrong = decodeTick(text, start, end, this.#rules, row, this.ignored, codes);
    if (wrong === null) {
      builder.add(row, index);
      const tsMs = row.seconds * 1_000 + row.nanos / 1_000_000;
      if (tsMs > this.newestTsMs) this.newestTsMs = tsMs;
    } else {
      this.rejected.push({ index, reason: wrong.reason, detail: wrong.detail });
      this.kept.text(text, start, end);
    }
    return true;
  }

  takeBytes(line: Uint8Array): boolean {
    if (this.ticks === this.maxTicks) return false;
    this.rejected.push({ index: this.ticks, ...NOT_UTF8 });
    this.kept.bytes(line);
    this.ticks += 1;
    return true;
  }
}

class Finder implements Taker {
  readonly maxTicks = BATCH_MAX_TICKS;
  readonly kept = new KeptBytes();
  readonly #indices: ReadonlySet<number>;
  #index = 0;

  constructor(indices: ReadonlySet<number>) {
    this.#indices = indices;
  }

  take(text: string, _codes: Uint8Array, start: number, end: number): boolean {
    if (this.#indices.has(this.#index)) this.kept.text(text, start, end);
    this.#index += 1;
    return true;
  }

  takeBytes(line: Uint8Array): boolean {
    if (this.#indices.has(this.#index)) this.kept.bytes(line);
    this.#index += 1;
    return true;
  }
}

type Wrong = Extract<BatchOutcome, { ok: false }>;

function tooMany(maxTicks: number): Wrong {
  return { ok: false, why: 'too_many_ticks', detail: `the batch holds more than ${maxTicks} ticks` };
}

function walkLines(body: Uint8Array, taker: Taker): Wrong | null {
  const text = utf8(body);
  if (text === undefined) return walkLinesOfBadUtf8(body, taker);
  const codes = codesIn(body, text);
  const { length } = text;
  // Blank lines go by character, not by line: eight million of them fit in 8 KB of gzip.
  for (let start = skipBlanks(text, 0); start < length;) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? length : newline;
    if (!taker.take(text, codes, start, end)) return tooMany(taker.maxTicks);
    start = skipBlanks(text, end);
  }
  return null;
}

/** Line by line, so that the bytes that are not UTF-8 cost only their own tick. "\n" is never part of another character. */
function walkLinesOfBadUtf8(body: Uint8Array, taker: Taker): Wrong | null {
  // A byte order mark is one at the start of the body only, whichever way the body is read.
  const marked = body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf;
  for (let start = skipBlankBytes(body, marked ? 3 : 0); start < body.length;) {
    const newline = body.indexOf(10, start);
    const end = newline < 0 ? body.length : newline;
    const bytes = body.subarray(start, end);
    const line = utf8(bytes, true);
    const taken = line === undefined ? taker.takeBytes(bytes) : taker.take(line, codesOf(line), 0, line.length);
    if (!taken) return tooMany(taker.maxTicks);
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

function walkArray(body: Uint8Array, taker: Taker): Wrong | null {
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
    if (!taker.take(text, codes, at, end)) return tooMany(taker.maxTicks);
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
