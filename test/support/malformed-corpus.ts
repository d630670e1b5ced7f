/**
 * Bodies as broken and hostile senders make them, each with the answer it must get. The same list is held against
 * the decoder, and may be posted to a real pod or edge. Wherever it makes sense valid ticks stand around the bad
 * one, so that `stored` says that they were kept.
 *
 * - Bodies are made when asked for: some are large, and some depend on the clock.
 * - Ticks carry no id unless the entry is about ids, so under a batch id of its own every tick is new. Entries about
 *   ids store the same ticks when posted twice: count stored plus duplicates.
 * - `layer` says who decides: `ticks` is the decoder's (the body is within its limits and unpacks), `http` is what
 *   stands before it (headers, size as sent, unpacking).
 */

import { gzipSync } from 'node:zlib';
import type { ProblemName, RejectReason } from '../../pipeline/contract/answer.ts';
import { BATCH_MAX_TICKS, BODY_MAX_BYTES, UNPACKED_MAX_BYTES } from '../../pipeline/contract/batch.ts';
import { TICK_MAX_CHARS } from '../../pipeline/contract/decode.ts';

export interface CorpusExpectation {
  status: number;
  /** The name in the problem's `type`; absent on 200. */
  problem?: ProblemName;
  /** Ticks stored (or already there); absent is 0. */
  stored?: number;
  /** Every rejection, in order; absent where there is none or where only the status is certain. */
  rejected?: { index: number; reason: RejectReason }[];
}

export interface CorpusEntry {
  name: string;
  body: Uint8Array | ((nowMs?: number) => Uint8Array);
  /** null: no such header. */
  contentType: string | null;
  contentEncoding?: string;
  layer: 'http' | 'ticks';
  expect: CorpusExpectation;
}

export function bodyOf(entry: CorpusEntry, nowMs: number = Date.now()): Uint8Array {
  return typeof entry.body === 'function' ? entry.body(nowMs) : entry.body;
}

export const NDJSON = 'application/x-ndjson';
export const JSON_ARRAY = 'application/json';

/** Member name to its value's JSON text; undefined leaves the member out. */
type Members = Record<string, string | undefined>;

function object(members: Members): string {
  const parts = Object.entries(members).flatMap(([name, json]) => (json === undefined ? [] : [`"${name}":${json}`]));
  return `{${parts.join(',')}}`;
}

export function trade(change: Members = {}): string {
  return object({
    type: '"trade"',
    symbol: '"AAPL"',
    ts: '"2026-11-20T14:30:00.123456789Z"',
    price: '"187.23"',
    size: '"100"',
    ...change,
  });
}

export function quote(change: Members = {}): string {
  return object({
    type: '"quote"',
    symbol: '"AAPL"',
    tsMs: '1763908200123',
    bidPrice: '"187.22"',
    bidSize: '"300"',
    askPrice: '"187.24"',
    askSize: '"100"',
    ...change,
  });
}

const encoder = new TextEncoder();
const utf8 = (text: string): Uint8Array => encoder.encode(text);
/** One char, one byte: for bytes that are not UTF-8. */
const bytes = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

function lines(...all: string[]): Uint8Array {
  return utf8(all.join('\n') + '\n');
}

const entries: CorpusEntry[] = [];

function add(name: string, contentType: string | null, body: CorpusEntry['body'], expect: CorpusExpectation): void {
  entries.push({ name, body, contentType, layer: 'ticks', expect });
}

/** A bad line between two good ones costs itself and nothing else. */
function costsOne(name: string, reason: RejectReason, line: string | ((nowMs: number) => string)): void {
  const expect = { status: 200, stored: 2, rejected: [{ index: 1, reason }] };
  const body =
    typeof line === 'string'
      ? lines(trade(), line, quote())
      : (nowMs = Date.now()): Uint8Array => lines(trade(), line(nowMs), quote());
  add(name, NDJSON, body, expect);
}

/** An unusual line that is nevertheless a tick. */
function isStored(name: string, line: string): void {
  add(name, NDJSON, lines(trade(), line, quote()), { status: 200, stored: 3 });
}

function allRejected(name: string, contentType: string, body: CorpusEntry['body'], ...reasons: RejectReason[]): void {
  const rejected = reasons.map((reason, index) => ({ index, reason }));
  add(name, contentType, body, { status: 422, problem: 'all-rejected', rejected });
}

function unreadable(name: string, contentType: string, body: CorpusEntry['body']): void {
  add(name, contentType, body, { status: 400, problem: 'unreadable' });
}

function http(
  name: string,
  headers: { contentType: string | null; contentEncoding?: string },
  body: CorpusEntry['body'],
  expect: CorpusExpectation,
): void {
  entries.push({ name, body, ...headers, layer: 'http', expect });
}

// ── Nothing there ──────────────────────────────────────────────────────────────────────────────────────────────

unreadable('an empty NDJSON body', NDJSON, new Uint8Array());
unreadable('an empty array body', JSON_ARRAY, new Uint8Array());
unreadable('only blanks', NDJSON, utf8('  \t  '));
unreadable('only blanks as an array body', JSON_ARRAY, utf8(' \r\n\t '));
unreadable('only newlines', NDJSON, utf8('\n\n\r\n\n'));
unreadable('only a byte order mark', NDJSON, utf8('\uFEFF'));
unreadable('an array of nothing', JSON_ARRAY, utf8('[]'));
unreadable('an array of blanks', JSON_ARRAY, utf8('[ \n ]\n'));
allRejected('an empty object as a line', NDJSON, utf8('{}'), 'missing_field');
allRejected('an empty array as a line', NDJSON, utf8('[]'), 'not_object');
unreadable('an object where an array belongs', JSON_ARRAY, utf8('{}'));
allRejected('an array of one empty object', JSON_ARRAY, utf8('[{}]'), 'missing_field');

// ── Truncated ──────────────────────────────────────────────────────────────────────────────────────────────────

const WHOLE = trade({ id: '"a"', venue: '"XNAS"', conditions: '["@","T"]' });
for (const [where, upTo] of [
  ['after its opening brace', '{'],
  ['inside a member name', '{"ty'],
  ['before a colon', '{"type"'],
  ['after a colon', '{"type":'],
  ['inside a string', '"AAP'],
  ['after a comma', '"AAPL",'],
  ['inside the time', '2026-11-20T14:30:00.1234'],
  ['before a closing quote', '"187.23'],
  ['inside its conditions', '["@",'],
  ['before its closing brace', '["@","T"]'],
] as const) {
  costsOne(`a tick cut off ${where}`, 'not_json', WHOLE.slice(0, WHOLE.indexOf(upTo) + upTo.length));
}
costsOne('a tick cut off inside a number', 'not_json', '{"symbol":"AAPL","tsMs":17639');
costsOne('a tick cut off after a backslash', 'not_json', '{"symbol":"AAPL\\');
costsOne('a tick cut off inside a \\u escape', 'not_json', '{"symbol":"AAPL\\u00');
add('a last line cut off, without a newline', NDJSON, utf8(`${trade()}\n${quote()}\n${WHOLE.slice(0, 40)}`), {
  status: 200,
  stored: 2,
  rejected: [{ index: 2, reason: 'not_json' }],
});
add('a last line without a newline', NDJSON, utf8(`${trade()}\n${quote()}`), { status: 200, stored: 2 });
costsOne('a tick cut off inside a UTF-8 character', 'not_utf8', '\u0000CUT\u0000');
entries.at(-1)!.body = Buffer.concat([utf8(`${trade()}\n{"symbol":"`), bytes('\xE6\xA0'), utf8(`\n${quote()}\n`)]);
for (const [where, text] of [
  ['after its opening bracket', '['],
  ['inside a tick', `[${trade()},${trade().slice(0, 30)}`],
  ['inside a string', `[${trade()},{"symbol":"AA`],
  ['after a tick', `[${trade()}`],
  ['after a comma', `[${trade()},`],
  ['inside a nested array', `[${trade()},{"conditions":["a"`],
] as const) {
  unreadable(`an array cut off ${where}`, JSON_ARRAY, utf8(text));
}

// ── Not JSON, or not an object ─────────────────────────────────────────────────────────────────────────────────

for (const [what, line] of [
  ['words', 'hello world'],
  ['HTML', '<html><body>502 Bad Gateway</body></html>'],
  ['CSV', 'AAPL,2026-11-20T14:30:00Z,187.23,100'],
  ['single quotes', "{'symbol':'AAPL'}"],
  ['names without quotes', '{symbol:"AAPL"}'],
  ['a trailing comma', `${trade().slice(0, -1)},}`],
  ['a comment', `${trade()} // last`],
  ['two ticks in one line', trade() + quote()],
  ['two ticks and a comma in one line', `${trade()},${quote()}`],
  ['a missing comma', trade().replace(',"price"', '"price"')],
  ['a missing colon', trade().replace('"price":', '"price"')],
  ['an unescaped tab in a string', trade({ symbol: '"AA\tPL"' })],
  ['an unescaped NUL in a string', trade({ symbol: '"AA\0PL"' })],
  ['a wrong escape', trade({ symbol: '"AA\\xPL"' })],
  ['NaN', trade({ price: 'NaN' })],
  ['Infinity', trade({ price: 'Infinity' })],
  ['-Infinity', trade({ size: '-Infinity' })],
  ['undefined', trade({ price: 'undefined' })],
  ['a number with a plus', trade({ price: '+1' })],
  ['a number without an integer part', trade({ price: '.5' })],
  ['a number without a fraction', trade({ price: '5.' })],
  ['a number with a leading zero', trade({ price: '0187.23' })],
  ['a hexadecimal number', trade({ size: '0x10' })],
  ['a number with an underscore', trade({ size: '1_000' })],
  ['a byte order mark in the middle', `\uFEFF${trade()}`],
  ['a no-break space before it', `\u00A0${trade()}`],
  ['an event-stream prefix', `data: ${trade()}`],
  ['a record separator before it', `\u001E${trade()}`],
] as const) {
  costsOne(`a line that holds ${what}`, 'not_json', line);
}
for (const [what, line] of [
  ['a number', '42'],
  ['a string', '"AAPL"'],
  ['null', 'null'],
  ['true', 'true'],
  ['an array of ticks', `[${trade()},${quote()}]`],
] as const) {
  costsOne(`a line that is ${what}`, 'not_object', line);
}
add(
  'an array with every kind of value between ticks',
  JSON_ARRAY,
  utf8(`[${trade()},1,"x",null,[${trade()}],true,${quote()}]`),
  {
    status: 200,
    stored: 2,
    rejected: [1, 2, 3, 4, 5].map((index) => ({ index, reason: 'not_object' })),
  },
);

// ── Framing ────────────────────────────────────────────────────────────────────────────────────────────────────

add('CRLF line ends', NDJSON, utf8(`${trade()}\r\n${quote()}\r\n`), { status: 200, stored: 2 });
add('blank lines between, before and after', NDJSON, utf8(`\n\r\n${trade()}\n\n \t\n{}\n\n${quote()}\n\n`), {
  status: 200,
  stored: 2,
  rejected: [{ index: 1, reason: 'missing_field' }],
});
allRejected('CR alone as line end', NDJSON, utf8(`${trade()}\r${quote()}\r`), 'not_json');
add('a byte order mark at the start', NDJSON, utf8(`\uFEFF${trade()}\n${quote()}\n`), { status: 200, stored: 2 });
add('a byte order mark before an array', JSON_ARRAY, utf8(`\uFEFF[${trade()},${quote()}]`), { status: 200, stored: 2 });
allRejected('two byte order marks', NDJSON, utf8(`\uFEFF\uFEFF${trade()}`), 'not_json');
add('blanks around a tick', NDJSON, utf8(`  ${trade()}\t\n\t${quote()}  \n`), { status: 200, stored: 2 });
allRejected(
  'a pretty-printed tick as NDJSON',
  NDJSON,
  utf8('{\n  "symbol": "AAPL"\n}'),
  'not_json',
  'not_json',
  'not_json',
);
add('a pretty-printed array', JSON_ARRAY, utf8(`[\n  ${trade()},\r\n\t${quote()}\n]\n`), { status: 200, stored: 2 });
allRejected('an array sent as NDJSON', NDJSON, utf8(`[${trade()},${quote()}]`), 'not_object');
unreadable('NDJSON sent as an array', JSON_ARRAY, lines(trade(), quote()));
unreadable('one tick sent as an array', JSON_ARRAY, utf8(trade()));
unreadable('a string sent as an array', JSON_ARRAY, utf8('"[]"'));
add('an array with a comma after its last tick', JSON_ARRAY, utf8(`[${trade()},${quote()},]`), {
  status: 200,
  stored: 2,
  rejected: [{ index: 2, reason: 'not_json' }],
});
add('an array with two commas', JSON_ARRAY, utf8(`[${trade()},,${quote()}]`), {
  status: 200,
  stored: 2,
  rejected: [{ index: 1, reason: 'not_json' }],
});
add('an array with a comma before its first tick', JSON_ARRAY, utf8(`[,${trade()},${quote()}]`), {
  status: 200,
  stored: 2,
  rejected: [{ index: 0, reason: 'not_json' }],
});
add('an array that lacks a comma', JSON_ARRAY, utf8(`[${trade()},${trade()}${trade()},${quote()}]`), {
  status: 200,
  stored: 2,
  rejected: [{ index: 1, reason: 'not_json' }],
});
add('an array with a nested array', JSON_ARRAY, utf8(`[${trade()},[${trade()},${trade()}],${quote()}]`), {
  status: 200,
  stored: 2,
  rejected: [{ index: 1, reason: 'not_object' }],
});
add('an array with a bracket too many inside a tick', JSON_ARRAY, utf8(`[${trade()},{"a":1}},${quote()}]`), {
  status: 200,
  stored: 2,
  rejected: [{ index: 1, reason: 'not_json' }],
});
add(
  'an array with brackets and quotes inside strings',
  JSON_ARRAY,
  utf8(`[${trade({ note: '"]},[{\\"\\\\"' })},${quote()}]`),
  {
    status: 200,
    stored: 2,
  },
);
unreadable('an array followed by a tick', JSON_ARRAY, utf8(`[${trade()}],${quote()}`));
unreadable('an array followed by another', JSON_ARRAY, utf8(`[${trade()}]\n[${quote()}]`));
unreadable('an array followed by a bracket', JSON_ARRAY, utf8(`[${trade()}]]`));
unreadable('an empty array followed by something', JSON_ARRAY, utf8('[]x'));
unreadable('an array whose tick lacks its closing brace', JSON_ARRAY, utf8(`[${trade().slice(0, -1)},${quote()}]`));
unreadable('an array that opens with a brace', JSON_ARRAY, utf8(`{${trade()}]`));

// ── Deep and large ─────────────────────────────────────────────────────────────────────────────────────────────

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
isStored('an unknown member nested 5,000 deep', trade({ deep: nested(5000) }));
isStored('an unknown member of objects 1,000 deep', trade({ deep: '{"a":'.repeat(1000) + '1' + '}'.repeat(1000) }));
costsOne('brackets 8,000 deep', 'not_object', nested(8000));
costsOne('brackets 8,000 deep that do not close', 'not_json', '['.repeat(8000));
costsOne('brackets 100,000 deep', 'tick_too_large', '['.repeat(100_000));
costsOne('braces 8,000 deep that do not close', 'not_json', '{"a":'.repeat(3000));
costsOne('conditions nested 5,000 deep', 'bad_conditions', trade({ conditions: nested(5000) }));
costsOne('a price nested 5,000 deep', 'wrong_type', trade({ price: nested(5000) }));
unreadable('an array 100,000 deep that does not close', JSON_ARRAY, () => utf8('['.repeat(100_000)));
allRejected('an array 100,000 deep', JSON_ARRAY, () => utf8(nested(100_000)), 'tick_too_large');
add(
  'an array with 100,000 brackets between ticks',
  JSON_ARRAY,
  () => utf8(`[${trade()},${nested(50_000)},${quote()}]`),
  {
    status: 200,
    stored: 2,
    rejected: [{ index: 1, reason: 'tick_too_large' }],
  },
);
costsOne('a tick of 20,000 characters', 'tick_too_large', trade({ note: `"${'x'.repeat(20_000)}"` }));
isStored(`a tick of exactly ${TICK_MAX_CHARS} characters`, filled(TICK_MAX_CHARS));
costsOne(`a tick of ${TICK_MAX_CHARS + 1} characters`, 'tick_too_large', filled(TICK_MAX_CHARS + 1));
isStored('1,000 unknown members', trade(Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`u${n}`, '1']))));
add('exactly 10,000 ticks', NDJSON, () => utf8(manyTicks(BATCH_MAX_TICKS)), { status: 200, stored: BATCH_MAX_TICKS });
for (const [what, contentType, text] of [
  ['lines', NDJSON, () => manyTicks(BATCH_MAX_TICKS + 1)],
  ['array elements', JSON_ARRAY, () => `[${'{},'.repeat(BATCH_MAX_TICKS)}{}]`],
  ['bad lines', NDJSON, () => 'x\n'.repeat(BATCH_MAX_TICKS + 1)],
] as const) {
  add(`10,001 ${what}`, contentType, () => utf8(text()), { status: 413, problem: 'too-large' });
}
add('10,001 lines of which one is not UTF-8', NDJSON, () => bytes(`\xFF\n${manyTicks(BATCH_MAX_TICKS)}`), {
  status: 413,
  problem: 'too-large',
});
add('10,000 commas', JSON_ARRAY, () => utf8(`[${','.repeat(BATCH_MAX_TICKS)}]`), { status: 413, problem: 'too-large' });

function filled(chars: number): string {
  return trade({ note: `"${'x'.repeat(Math.floor(chars) - trade({ note: '""' }).length)}"` });
}

function manyTicks(count: number): string {
  return '{"symbol":"A","tsMs":1,"price":1,"size":1}\n'.repeat(count);
}

// ── Members ────────────────────────────────────────────────────────────────────────────────────────────────────

costsOne('a price given twice', 'duplicate_field', trade().replace('"price"', '"price":"1","price"'));
costsOne('a price given twice alike', 'duplicate_field', trade().replace('"price"', '"price":"187.23","price"'));
costsOne(
  'a price given twice, once by escapes',
  'duplicate_field',
  trade().replace('"price"', '"\\u0070rice":"1","price"'),
);
costsOne('a type given twice', 'duplicate_field', trade().replace('"symbol"', '"type":"quote","symbol"'));
costsOne('an unknown member given twice', 'duplicate_field', trade().replace('"price"', '"x":1,"x":2,"price"'));
costsOne('__proto__ given twice', 'duplicate_field', trade().replace('"price"', '"__proto__":1,"__proto__":2,"price"'));
isStored('a member named by escapes', trade().replace('"price"', '"\\u0070\\u0072ice"'));
isStored('__proto__ as an unknown member', trade({ ['__proto__x']: '1' }).replace('__proto__x', '__proto__'));
isStored(
  'unknown members of every kind',
  trade({ a: 'null', b: '[1,{"price":"9"}]', c: '{"symbol":"X"}', d: '1e400', '': '""' }),
);
costsOne('members in capital letters', 'missing_field', trade().toUpperCase().replace('"TYPE":"TRADE",', ''));
costsOne('no members that we know', 'missing_field', '{"foo":1,"bar":"2"}');
for (const member of ['symbol', 'ts', 'price', 'size']) {
  costsOne(`a trade without ${member}`, 'missing_field', trade({ [member]: undefined }));
}
costsOne(
  'a quote without a price',
  'missing_field',
  quote({ bidPrice: undefined, bidSize: undefined, askPrice: 'null', askSize: 'null' }),
);
costsOne('a quote with a size but no price on a side', 'missing_field', quote({ bidPrice: undefined }));
costsOne('a quote with a price but no size on a side', 'missing_field', quote({ askSize: undefined }));
isStored('a quote with one side absent', quote({ bidPrice: undefined, bidSize: undefined }));
isStored('a quote with one side null', quote({ askPrice: 'null', askSize: 'null' }));
isStored('a trade without type', trade({ type: undefined }));

const KINDS: Record<string, string> = {
  string: '"x"',
  number: '1',
  boolean: 'true',
  array: '[]',
  object: '{}',
  null: 'null',
};
/** Which kinds of value each field refuses as such; a string that a field reads and dislikes has a reason of its own. */
const WRONG_KINDS: Record<string, string> = {
  type: 'number boolean array object null',
  symbol: 'number boolean array object null',
  ts: 'number boolean array object',
  tsMs: 'string boolean array object',
  tsNs: 'number boolean array object',
  id: 'boolean array object',
  price: 'boolean array object null',
  size: 'boolean array object null',
  side: 'number boolean array object',
  venue: 'number boolean array object',
  conditions: 'string number boolean object',
  bidPrice: 'boolean array object null',
  bidSize: 'boolean array object null',
  askPrice: 'boolean array object null',
  askSize: 'boolean array object null',
};
for (const [field, kinds] of Object.entries(WRONG_KINDS)) {
  for (const kind of kinds.split(' ')) {
    const change = { [field]: KINDS[kind] };
    const line = /^(bid|ask)/.test(field)
      ? quote(change)
      : trade(/^ts(Ms|Ns)$/.test(field) ? { ts: undefined, ...change } : change);
    costsOne(`${field} of the wrong kind: ${kind}`, 'wrong_type', line);
  }
}
isStored('null where null means absent', trade({ id: 'null', side: 'null', venue: 'null', conditions: 'null' }));
for (const type of ['', 'Trade', 'trades', 'order', 'quote ', '\\u0000', 'trade\\u0000']) {
  costsOne(`the type ${JSON.stringify(type)}`, 'unknown_type', trade({ type: `"${type}"` }));
}

// ── Numbers ────────────────────────────────────────────────────────────────────────────────────────────────────

for (const [what, reason, price] of [
  ['1e400', 'number_range', '1e400'],
  ['-1e400', 'number_range', '-1e400'],
  ['1e-400', 'number_range', '1e-400'],
  ['1e999999999', 'number_range', '1e999999999'],
  ['an exponent in a string', 'bad_decimal', '"1e3"'],
  ['NaN in a string', 'bad_decimal', '"NaN"'],
  ['Infinity in a string', 'bad_decimal', '"Infinity"'],
  ['an empty string', 'bad_decimal', '""'],
  ['a blank', 'bad_decimal', '" "'],
  ['a blank before', 'bad_decimal', '" 187.23"'],
  ['a comma', 'bad_decimal', '"187,23"'],
  ['a thousands separator', 'bad_decimal', '"1,187.23"'],
  ['a currency sign', 'bad_decimal', '"$187.23"'],
  ['a plus', 'bad_decimal', '"+1"'],
  ['no integer part', 'bad_decimal', '".5"'],
  ['no fraction', 'bad_decimal', '"5."'],
  ['a leading zero', 'bad_decimal', '"0187.23"'],
  ['hexadecimal', 'bad_decimal', '"0x10"'],
  ['a BigInt suffix', 'bad_decimal', '"1n"'],
  ['Arabic digits', 'bad_decimal', '"١٨٧"'],
  ['full-width digits', 'bad_decimal', '"１８７"'],
  ['a Unicode minus', 'bad_decimal', '"\u22121"'],
  ['16 digits', 'precision', '"1234567890.123456"'],
  ['16 digits as a number', 'precision', '0.1234567890123456'],
  ['2^53 + 1', 'precision', '9007199254740993'],
  ['1,000 digits', 'number_range', `"${'9'.repeat(1000)}"`],
  ['10,000 zeros', 'number_range', `1.${'0'.repeat(10_000)}`],
  ['0', 'price_not_positive', '"0"'],
  ['-0', 'price_not_positive', '-0'],
  ['below 0', 'price_not_positive', '"-187.23"'],
] as const) {
  costsOne(`a price of ${what}`, reason, trade({ price }));
}
costsOne('a size below 0', 'negative_size', trade({ size: '-1' }));
costsOne('a size of 2^53 + 1', 'precision', trade({ size: '9007199254740993' }));
costsOne('a bid price of 0 for an absent side', 'price_not_positive', quote({ bidPrice: '0', bidSize: '0' }));
costsOne('an ask size below 0', 'negative_size', quote({ askSize: '"-0.1"' }));
isStored('15 digits', trade({ price: '"1234567890.12345"' }));
isStored('1 and 21 zeros', trade({ size: '1000000000000000000000' }));
isStored('a size of 0', trade({ size: '0' }));
isStored('an exponent in a number', trade({ price: '1.8723e2', size: '1E+2' }));
isStored('decimals in escapes', trade({ price: '"\\u0031\\u0038\\u0037"' }));

// ── Times ──────────────────────────────────────────────────────────────────────────────────────────────────────

const FUTURE_MS = 6 * 60 * 1000;
costsOne('ts six minutes ahead', 'future_time', (nowMs) => trade({ ts: JSON.stringify(new Date(nowMs + FUTURE_MS)) }));
costsOne('tsMs six minutes ahead', 'future_time', (nowMs) => quote({ tsMs: String(nowMs + FUTURE_MS) }));
costsOne('tsNs six minutes ahead', 'future_time', (nowMs) =>
  trade({ ts: undefined, tsNs: `"${nowMs + FUTURE_MS}000000"` }),
);
add('a time four minutes ahead', NDJSON, (nowMs = Date.now()) => lines(quote({ tsMs: String(nowMs + 240_000) })), {
  status: 200,
  stored: 1,
});
costsOne('microseconds in tsMs', 'time_range', quote({ tsMs: '1763908200123456' }));
costsOne('the year 2247 in tsMs', 'future_time', quote({ tsMs: '8763908200123' }));
costsOne('nanoseconds in tsMs', 'unsafe_integer', quote({ tsMs: '1763908200123456789' }));
costsOne('seconds with a fraction in tsMs', 'bad_time', quote({ tsMs: '1763908200.123' }));
costsOne('2^53 + 1 in tsMs', 'unsafe_integer', quote({ tsMs: '9007199254740993' }));
costsOne('2^53 - 1 in tsMs', 'time_range', quote({ tsMs: '9007199254740991' }));
costsOne('an exponent in tsMs', 'bad_time', quote({ tsMs: '1.7e12' }));
costsOne('ts and tsMs', 'bad_time', trade({ tsMs: '1763908200123' }));
isStored('ts and a null tsNs', trade({ tsNs: 'null' }));
costsOne('nothing but null times', 'missing_field', trade({ ts: 'null', tsMs: 'null', tsNs: 'null' }));
costsOne('three times', 'bad_time', trade({ tsMs: '1763908200123', tsNs: '"1763908200123000000"' }));
for (const [what, reason, ts] of [
  ['no zone', 'bad_time', '2026-11-20T14:30:00'],
  ['a blank for T', 'bad_time', '2026-11-20 14:30:00Z'],
  ['a date alone', 'bad_time', '2026-11-20'],
  ['a basic format', 'bad_time', '20261120T143000Z'],
  ['a week date', 'bad_time', '2026-W47-5T14:30:00Z'],
  ['ten fraction digits', 'bad_time', '2026-11-20T14:30:00.1234567890Z'],
  ['a leap second', 'bad_time', '2016-12-31T23:59:60Z'],
  ['hour 24', 'bad_time', '2026-11-20T24:00:00Z'],
  ['month 13', 'bad_time', '2026-13-20T14:30:00Z'],
  ['a day that does not exist', 'bad_time', '2023-02-29T14:30:00Z'],
  ['an offset of 24 hours', 'bad_time', '2026-11-20T14:30:00+24:00'],
  ['a zone name', 'bad_time', '2026-11-20T14:30:00[Europe/Berlin]'],
  ['epoch seconds', 'bad_time', '1763908200'],
  ['nothing', 'bad_time', ''],
  ['10,000 digits', 'bad_time', '2'.repeat(10_000)],
  ['year 0000', 'time_range', '0000-01-01T00:00:00Z'],
  ['year 9999', 'time_range', '9999-12-31T23:59:59Z'],
  ['a six-digit year', 'bad_time', '+012026-11-20T14:30:00Z'],
] as const) {
  costsOne(`ts with ${what}`, reason, trade({ ts: `"${ts}"` }));
}
isStored('ts with an offset', trade({ ts: '"2026-11-20T14:30:00.5+05:30"' }));
isStored('ts in small letters', trade({ ts: '"2026-11-20t14:30:00z"' }));
isStored('ts before 1970', trade({ ts: '"1929-10-24T10:00:00-05:00"' }));
for (const [what, reason, tsNs] of [
  ['25 digits', 'bad_time', '1'.repeat(25)],
  ['24 digits', 'time_range', '1'.repeat(24)],
  ['a dot', 'bad_time', '1763908200.123456789'],
  ['a plus', 'bad_time', '+1763908200123456789'],
  ['two minuses', 'bad_time', '--0123456789'],
  ['a leading zero', 'bad_time', '01763908200123456789'],
  ['nothing', 'bad_time', ''],
] as const) {
  costsOne(`tsNs with ${what}`, reason, trade({ ts: undefined, tsNs: `"${tsNs}"` }));
}
costsOne('tsNs as a number', 'wrong_type', trade({ ts: undefined, tsNs: '1763908200123456789' }));
isStored('tsNs before 1970', trade({ ts: undefined, tsNs: '"-1763908200123456789"' }));

// ── Texts ──────────────────────────────────────────────────────────────────────────────────────────────────────

for (const [what, symbol] of [
  ['nothing', ''],
  ['a blank', ' '],
  ['a blank inside', 'BRK B'],
  ['a newline', 'AA\\nPL'],
  ['NUL', 'AAPL\\u0000'],
  ['DEL', 'AAPL\u007F'],
  ['an escape sequence', '\\u001b[31mAAPL'],
  ['a bidi override', 'AAPL\u202E'],
  ['a zero-width space', 'AA\u200BPL'],
  ['a byte order mark', '\\uFEFFAAPL'],
  ['a no-break space', 'AA\u00A0PL'],
  ['a Hangul filler', 'AAPL\u3164'],
  ['a variation selector', 'AAPL\uFE0F'],
  ['a lone high surrogate', '\\ud83d'],
  ['a lone low surrogate', 'AAPL\\ude80'],
  ['surrogates the wrong way round', '\\ude80\\ud83d'],
  ['65 characters', 'A'.repeat(65)],
  ['65 emoji', '🚀'.repeat(65)],
  ['15,000 characters', 'A'.repeat(15_000)],
] as const) {
  costsOne(`a symbol of ${what}`, 'bad_symbol', trade({ symbol: `"${symbol}"` }));
}
for (const [what, symbol] of [
  ['SQL', "');DROP/**/TABLE/**/trades;--"],
  ['a path', '../../etc/passwd'],
  ['a template', '${jndi:ldap://x}'],
  ['a format string', '%s%n%x'],
  ['HTML', '<script>alert(1)</script>'],
  ['emoji', '🚀🌕'],
  ['emoji in escapes', '\\ud83d\\ude80'],
  ['CJK', '贵州茅台'],
  ['64 characters', 'A'.repeat(64)],
  ['__proto__', '__proto__'],
  ['a word of JavaScript', 'constructor'],
] as const) {
  isStored(`a symbol of ${what}`, trade({ symbol: `"${symbol}"` }));
}
for (const [what, raw] of [
  ['a lone surrogate in bytes', '\xED\xA0\x80'],
  ['an overlong slash', '\xC0\xAF'],
  ['an overlong NUL', '\xC0\x80'],
  ['a byte that never is UTF-8', '\xFF'],
  ['a lone continuation byte', '\x80'],
  ['a character beyond U+10FFFF', '\xF4\x90\x80\x80'],
  ['Latin-1', 'Z\xFCrich'],
] as const) {
  const bad = trade({ symbol: `"${raw}"` });
  add(`a line with ${what}`, NDJSON, bytes(`${trade()}\n${bad}\n${quote()}\n`), {
    status: 200,
    stored: 2,
    rejected: [{ index: 1, reason: 'not_utf8' }],
  });
  unreadable(`an array with ${what}`, JSON_ARRAY, bytes(`[${trade()},${bad},${quote()}]`));
}
add(
  'a line that is not UTF-8 beside one with a byte order mark',
  NDJSON,
  bytes(`${trade()}\n\xFF\n\xEF\xBB\xBF${trade()}\n`),
  {
    status: 200,
    stored: 1,
    rejected: [
      { index: 1, reason: 'not_utf8' },
      { index: 2, reason: 'not_json' },
    ],
  },
);
allRejected('UTF-16', NDJSON, Buffer.from(`\uFEFF${trade()}`, 'utf16le'), 'not_utf8');
allRejected('a PNG', NDJSON, bytes('\x89PNG\r\n\x1A\n\0\0\0\rIHDR'), 'not_utf8', 'not_json', 'not_json');

for (const [what, reason, id] of [
  ['a tilde before it', 'bad_id', '"~batch/0"'],
  ['nothing', 'bad_id', '""'],
  ['a blank', 'bad_id', '"a b"'],
  ['a newline', 'bad_id', '"a\\nb"'],
  ['129 characters', 'bad_id', `"${'1'.repeat(129)}"`],
  ['a lone surrogate', 'bad_id', '"\\udc00"'],
  ['a fraction', 'bad_id', '1.5'],
  ['an exponent', 'bad_id', '1e3'],
  ['a minus', 'bad_id', '-1'],
  ['2^53', 'unsafe_integer', '9007199254740992'],
  ['2^53 + 1', 'unsafe_integer', '9007199254740993'],
  ['400 digits', 'unsafe_integer', '9'.repeat(400)],
] as const) {
  costsOne(`an id of ${what}`, reason, trade({ id }));
}
isStored('an id of 128 characters', trade({ id: `"${'7'.repeat(128)}"` }));
isStored('an id of 2^53 - 1', trade({ id: '9007199254740991' }));
isStored('an id of 2^53 + 1 as a string', trade({ id: '"9007199254740993"' }));
isStored('an id of SQL', trade({ id: `"1'OR'1'='1"` }));
isStored('an id with a tilde inside', trade({ id: '"a~b/0"' }));
costsOne('a side of hold', 'bad_side', trade({ side: '"hold"' }));
costsOne('a side in capitals', 'bad_side', trade({ side: '"BUY"' }));
costsOne('an empty side', 'bad_side', trade({ side: '""' }));
costsOne('an empty venue', 'bad_venue', trade({ venue: '""' }));
costsOne('a venue of 33 characters', 'bad_venue', trade({ venue: `"${'X'.repeat(33)}"` }));
costsOne('a venue with a blank', 'bad_venue', trade({ venue: '"NEW YORK"' }));
isStored('a venue of 32 characters', trade({ venue: `"${'X'.repeat(32)}"` }));
costsOne('17 conditions', 'bad_conditions', trade({ conditions: JSON.stringify(Array(17).fill('@')) }));
costsOne('a condition of 33 characters', 'bad_conditions', trade({ conditions: `["${'@'.repeat(33)}"]` }));
costsOne('an empty condition', 'bad_conditions', trade({ conditions: '[""]' }));
costsOne('a blank condition', 'bad_conditions', trade({ conditions: '["@"," "]' }));
costsOne('a number among the conditions', 'bad_conditions', trade({ conditions: '["@",1]' }));
costsOne('null among the conditions', 'bad_conditions', trade({ conditions: '[null]' }));
costsOne('conditions in conditions', 'bad_conditions', trade({ conditions: '[["@"]]' }));
isStored('16 conditions', trade({ conditions: JSON.stringify(Array(16).fill('@')) }));
isStored('no conditions', trade({ conditions: '[]' }));
isStored('the same tick three times', trade());

// ── Everything wrong at once ───────────────────────────────────────────────────────────────────────────────────

allRejected(
  'a batch of which nothing is good',
  NDJSON,
  lines('x', '[]', '{}', trade({ price: '0' }), trade({ symbol: '""' })),
  'not_json',
  'not_object',
  'missing_field',
  'price_not_positive',
  'bad_symbol',
);
add('a good tick at the end of 9,999 bad ones', NDJSON, () => utf8('{}\n'.repeat(BATCH_MAX_TICKS - 1) + trade()), {
  status: 200,
  stored: 1,
  rejected: Array.from({ length: BATCH_MAX_TICKS - 1 }, (_, index) => ({ index, reason: 'missing_field' })),
});

// ── Headers and sizes ──────────────────────────────────────────────────────────────────────────────────────────

const GOOD = lines(trade(), quote());
const STORED_2: CorpusExpectation = { status: 200, stored: 2 };
const UNSUPPORTED: CorpusExpectation = { status: 415, problem: 'unsupported-type' };
const UNREADABLE: CorpusExpectation = { status: 400, problem: 'unreadable' };
const TOO_LARGE: CorpusExpectation = { status: 413, problem: 'too-large' };

for (const contentType of [
  null,
  '',
  'text/plain',
  'text/csv',
  'application/xml',
  'application/octet-stream',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'application/jsonx',
  'json',
]) {
  http(`the content type ${JSON.stringify(contentType)}`, { contentType }, GOOD, UNSUPPORTED);
}
for (const contentType of [
  'application/x-ndjson; charset=utf-8',
  'Application/X-NDJSON',
  'application/x-ndjson;',
  'application/jsonl',
]) {
  http(`the content type ${JSON.stringify(contentType)}`, { contentType }, GOOD, STORED_2);
}
http(
  'the content type of an array with a charset',
  { contentType: 'application/json; charset=UTF-8' },
  utf8(`[${trade()}]`),
  {
    status: 200,
    stored: 1,
  },
);
for (const contentEncoding of ['br', 'deflate', 'zstd', 'gzip, gzip', 'gzip, identity, br', 'utf-8', 'aes128gcm']) {
  http(
    `the content encoding ${contentEncoding}`,
    { contentType: NDJSON, contentEncoding },
    () => gzip(GOOD),
    UNSUPPORTED,
  );
}
http('the content encoding identity', { contentType: NDJSON, contentEncoding: 'identity' }, GOOD, STORED_2);
http(
  'the content encoding GZIP in capitals',
  { contentType: NDJSON, contentEncoding: 'GZIP' },
  () => gzip(GOOD),
  STORED_2,
);

function gzip(data: Uint8Array): Uint8Array {
  return gzipSync(data);
}

function gzipped(name: string, contentType: string, body: () => Uint8Array, expect: CorpusExpectation): void {
  http(name, { contentType, contentEncoding: 'gzip' }, body, expect);
}

/** A body of one tick and blank lines, `size` bytes: what is large about it is only its size. */
function padded(size: number): Uint8Array {
  const body = new Uint8Array(size).fill(10);
  body.set(utf8(trade()));
  return body;
}

gzipped('a gzipped batch', NDJSON, () => gzip(GOOD), STORED_2);
gzipped('a gzipped array', JSON_ARRAY, () => gzip(utf8(`[${trade()},${quote()}]`)), STORED_2);
gzipped('a gzipped batch with a bad tick', NDJSON, () => gzip(lines(trade(), '{}', quote())), {
  ...STORED_2,
  rejected: [{ index: 1, reason: 'missing_field' }],
});
gzipped('a gzip of two members', NDJSON, () => Buffer.concat([gzip(lines(trade())), gzip(lines(quote()))]), STORED_2);
gzipped('a gzip of nothing', NDJSON, () => gzip(new Uint8Array()), UNREADABLE);
gzipped('no bytes at all, called gzip', NDJSON, () => new Uint8Array(), UNREADABLE);
gzipped('plain text called gzip', NDJSON, () => GOOD, UNREADABLE);
gzipped('two bytes of gzip', NDJSON, () => gzip(GOOD).subarray(0, 2), UNREADABLE);
gzipped('the header of a gzip alone', NDJSON, () => gzip(GOOD).subarray(0, 10), UNREADABLE);
gzipped('a gzip cut off in the middle', NDJSON, () => gzip(GOOD).subarray(0, 60), UNREADABLE);
gzipped('a gzip without its checksum', NDJSON, () => gzip(GOOD).subarray(0, -8), UNREADABLE);
gzipped('a gzip without its last byte', NDJSON, () => gzip(GOOD).subarray(0, -1), UNREADABLE);
gzipped('a gzip with a wrong checksum', NDJSON, () => changed(gzip(GOOD), -8), UNREADABLE);
gzipped('a gzip with a wrong length', NDJSON, () => changed(gzip(GOOD), -4), UNREADABLE);
gzipped('a gzip of another method', NDJSON, () => changed(gzip(GOOD), 2), UNREADABLE);
gzipped('a gzip with its compressed data damaged', NDJSON, () => changed(gzip(GOOD), 20), UNREADABLE);
// Bytes after the last member are part of what was sent: ignoring them would lose whatever they were meant to be.
gzipped('a gzip with garbage after it', NDJSON, () => Buffer.concat([gzip(GOOD), utf8('garbage')]), UNREADABLE);
gzipped('a gzip with plain ticks after it', NDJSON, () => Buffer.concat([gzip(GOOD), GOOD]), UNREADABLE);
gzipped('a gzip of a gzip, as an array', JSON_ARRAY, () => gzip(gzip(GOOD)), UNREADABLE);
gzipped('a gzip of a gzip, as NDJSON', NDJSON, () => gzip(gzip(GOOD)), { status: 422, problem: 'all-rejected' });
gzipped('a zlib stream called gzip', NDJSON, () => bytes('\x78\x9C\x03\x00\x00\x00\x00\x01'), UNREADABLE);
gzipped('a bomb of blanks, 1 to 1,000', NDJSON, () => gzip(padded(UNPACKED_MAX_BYTES * 2)), TOO_LARGE);
gzipped('a bomb of zeros, 1 to 1,000', NDJSON, () => gzip(new Uint8Array(UNPACKED_MAX_BYTES * 4)), TOO_LARGE);
gzipped(
  'a bomb of brackets in an array',
  JSON_ARRAY,
  () => gzip(new Uint8Array(UNPACKED_MAX_BYTES * 2).fill(91)),
  TOO_LARGE,
);
gzipped(
  'a bomb in 40 members',
  NDJSON,
  () => Buffer.concat(Array(40).fill(gzip(padded(UNPACKED_MAX_BYTES / 8)))),
  TOO_LARGE,
);
gzipped('8 MiB unpacked', NDJSON, () => gzip(padded(UNPACKED_MAX_BYTES)), { status: 200, stored: 1 });
gzipped(
  '8 MiB of blank lines and a byte that is not UTF-8',
  NDJSON,
  () => gzip(changed(padded(UNPACKED_MAX_BYTES), -1)),
  {
    status: 200,
    stored: 1,
    rejected: [{ index: 1, reason: 'not_utf8' }],
  },
);
gzipped('8 MiB and a byte unpacked', NDJSON, () => gzip(padded(UNPACKED_MAX_BYTES + 1)), TOO_LARGE);
gzipped(
  'a gzip of 8 MiB of ticks without a price',
  NDJSON,
  () =>
    gzip(
      utf8(
        `${filled(UNPACKED_MAX_BYTES / BATCH_MAX_TICKS - 1).replace('"price"', '"prize"')}\n`.repeat(BATCH_MAX_TICKS),
      ),
    ),
  {
    status: 422,
    problem: 'all-rejected',
    rejected: Array.from({ length: BATCH_MAX_TICKS }, (_, index) => ({ index, reason: 'missing_field' })),
  },
);
gzipped('a gzip of 10,001 ticks', NDJSON, () => gzip(utf8(manyTicks(BATCH_MAX_TICKS + 1))), TOO_LARGE);
http('a body of exactly 1 MiB', { contentType: NDJSON }, () => padded(BODY_MAX_BYTES), { status: 200, stored: 1 });
http('a body of 1 MiB and a byte', { contentType: NDJSON }, () => padded(BODY_MAX_BYTES + 1), TOO_LARGE);
http('an array body of 1 MiB and a byte', { contentType: JSON_ARRAY }, () => padded(BODY_MAX_BYTES + 1), TOO_LARGE);
http('a body of 4 MiB', { contentType: NDJSON }, () => padded(4 * BODY_MAX_BYTES), TOO_LARGE);
gzipped(
  'a gzip of more than 1 MiB as sent',
  NDJSON,
  () => gzipSync(padded(BODY_MAX_BYTES + 1), { level: 0 }),
  TOO_LARGE,
);

function changed(body: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(body);
  const place = at < 0 ? copy.length + at : at;
  copy[place] = copy[place]! ^ 0xff;
  return copy;
}

export const MALFORMED_CORPUS: readonly CorpusEntry[] = entries;
