/** Texts of ticks as a fuzzer wants them: nearly good, in every way in which a text can be nearly good. */
// oxlint-disable typescript/no-misused-spread -- code points are what is meant

import * as fc from 'fast-check';
import { FIELD_NAMES } from '../../pipeline/contract/scan.ts';

/** JSON texts for values: right for some field, wrong for others, and on every edge. */
const VALUES = [
  'null',
  'true',
  'false',
  '{}',
  '[]',
  '[[]]',
  '{"a":[{}]}',
  '""',
  '" "',
  '"~a/0"',
  '"A B"',
  '"AAPL"',
  '"株"',
  '"🚀"',
  '"\\u0041"',
  '"\\ud800"',
  '"\\ude80\\ud83d"',
  '"a\\u0000b"',
  '"\\n"',
  '"\\/"',
  '"trade"',
  '"quote"',
  '"buy"',
  '"sell"',
  '"BUY"',
  '0',
  '-0',
  '-0.0',
  '1',
  '-1',
  '1.0',
  '1.',
  '01',
  '-',
  '+1',
  '.5',
  '1e2',
  '1E+2',
  '1e-2',
  '1e400',
  '-1e400',
  '1e-400',
  '1e301',
  '1e300',
  '0.1',
  '187.23',
  '123456789012345',
  '1234567890123456',
  '1234567890123450',
  '0.000000000000001',
  '0.1234567890123456',
  '100000000000000000000',
  '9007199254740991',
  '9007199254740992',
  '9007199254740993',
  '1763908200123',
  '-62135596800000',
  '9223372036854',
  '9223372036855000',
  '"0"',
  '"-0"',
  '"1"',
  '"1.50"',
  '"1e3"',
  '"+1"',
  '" 1"',
  '"1 "',
  '"0x1"',
  '"Infinity"',
  '"NaN"',
  '"١"',
  '"00.1"',
  '"0.0000000000000000000000000000000000000000000001"',
  '"2026-11-20T14:30:00Z"',
  '"2026-11-20t14:30:00.123456789z"',
  '"2026-11-20T14:30:00.1234567890Z"',
  '"2026-02-29T00:00:00Z"',
  '"2024-02-29T23:59:59.5+23:59"',
  '"2026-11-20T24:00:00Z"',
  '"2026-11-20T23:59:60Z"',
  '"1677-09-21T00:12:44Z"',
  '"2262-04-11T23:47:15.999999999Z"',
  '"2262-04-11T23:47:16Z"',
  '"0000-01-01T00:00:00Z"',
  '"1763908200123456789"',
  '"-1"',
  '"-1000000001"',
  '"0000000001"',
  '"-9223372036000000001"',
  '"999999999999999999999999"',
  '["@","T"]',
  '["@",1]',
  `[${Array.from({ length: 17 }, () => '"x"').join(',')}]`,
  `["${'c'.repeat(33)}"]`,
  `"${'s'.repeat(64)}"`,
  `"${'s'.repeat(65)}"`,
  `"${'🚀'.repeat(64)}"`,
  `"${'i'.repeat(129)}"`,
  'nul',
  'undefined',
  'NaN',
  "'a'",
  '"',
  '"\\u12"',
  '"\\x"',
  '1 2',
  '',
];
const NAMES = [...FIELD_NAMES, 'x', '', '__proto__', 'constructor', 'Price', 'price ', 'toString', 'ts\u0000', 'é'];
const BLANKS = ['', '', '', ' ', '\t', '\r\n', '\n'];
const PIECES = [
  ...'{}[]:,"\\ \t0123456789.eE+-ntufalsr~é🚀',
  '\u0000',
  '\uFEFF',
  '\u00A0',
  '\u2028',
  '\\u0074',
  '\\n',
  'null',
  '//',
  '/**/',
];

const decimal = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.tuple(fc.bigInt(-(10n ** 17n), 10n ** 17n), fc.nat(20)).map(([digits, places]) => {
    const text = String(digits < 0n ? -digits : digits).padStart(places + 1, '0');
    const cut = text.length - places;
    return `${digits < 0n ? '-' : ''}${text.slice(0, cut)}${places === 0 ? '' : `.${text.slice(cut)}`}`;
  }),
);
const instant = fc
  .tuple(
    fc.date({ min: new Date('1600-01-01'), max: new Date('2300-01-01'), noInvalidDate: true }),
    fc.stringMatching(/^(\.\d{1,10})?$/),
    fc.constantFrom('Z', 'z', '+00:00', '-05:30', '+24:00'),
  )
  .map(([date, fraction, zone]) => `"${date.toISOString().slice(0, 19)}${fraction}${zone}"`);

const value = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...VALUES) },
  {
    weight: 2,
    arbitrary: fc.oneof(
      decimal,
      decimal.map((text) => `"${text}"`),
    ),
  },
  { weight: 1, arbitrary: instant },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 70 }).map((text) => JSON.stringify(text)) },
  { weight: 1, arbitrary: fc.bigInt(-(2n ** 70n), 2n ** 70n).map(String) },
  { weight: 1, arbitrary: fc.json({ maxDepth: 3 }) },
);

type Member = readonly [name: string, value: string];

const TRADE: readonly Member[] = [
  ['type', '"trade"'],
  ['symbol', '"AAPL"'],
  ['ts', '"2026-11-20T14:30:00.123456789Z"'],
  ['price', '"187.23"'],
  ['size', '"100"'],
];
const QUOTE: readonly Member[] = [
  ['type', '"quote"'],
  ['symbol', '"AAPL"'],
  ['tsMs', '1763908200123'],
  ['bidPrice', '"187.22"'],
  ['bidSize', '300'],
  ['askPrice', '187.24'],
  ['askSize', '"100"'],
];
const FULL: readonly Member[] = [
  ...TRADE.filter(([name]) => name !== 'ts'),
  ['tsNs', '"1763908200123456789"'],
  ['id', '"a-1"'],
  ['side', '"buy"'],
  ['venue', '"XNAS"'],
  ['conditions', '["@","T"]'],
];

/** Changes one member or adds one; `place` is taken modulo how many there are. */
type Edit = { place: number } & (
  | { value: string }
  | { name: string; value: string }
  | { drop: true }
  | { again: true }
  | { escape: true }
);

const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.record({ place: fc.nat(20), value }),
  fc.record({ place: fc.nat(20), name: fc.constantFrom(...NAMES), value }),
  fc.record({ place: fc.nat(20), drop: fc.constant(true as const) }),
  fc.record({ place: fc.nat(20), again: fc.constant(true as const) }),
  fc.record({ place: fc.nat(20), escape: fc.constant(true as const) }),
);

function edited(members: readonly Member[], change: Edit): Member[] {
  const place = members.length === 0 ? 0 : change.place % members.length;
  const [name, held] = members[place] ?? ['x', '1'];
  if ('drop' in change) return members.toSpliced(place, 1);
  if ('again' in change) return members.toSpliced(place, 0, [name, held]);
  if ('escape' in change)
    return members.toSpliced(place, 1, [
      `\\u${name.charCodeAt(0).toString(16).padStart(4, '0')}${name.slice(1)}`,
      held,
    ]);
  return 'name' in change
    ? members.toSpliced(place, 0, [change.name, change.value])
    : members.toSpliced(place, 1, [name, change.value]);
}

/** A piece put in, and some characters taken out. */
const cut = fc.record({ at: fc.nat(400), removed: fc.nat(6), piece: fc.constantFrom('', ...PIECES) });

/** The text of one tick, good or not: most are a flat object, and all of it may be cut anywhere. */
export const tickText: fc.Arbitrary<string> = fc
  .record({
    base: fc.constantFrom(TRADE, QUOTE, FULL),
    edits: fc.array(edit, { maxLength: 4 }),
    blanks: fc.array(fc.constantFrom(...BLANKS), { maxLength: 6 }),
    cuts: fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.array(cut, { maxLength: 3 }) },
    ),
  })
  .map(({ base, edits, blanks, cuts }) => {
    const members = edits.reduce<readonly Member[]>(edited, base);
    const blank = (at: number): string => blanks[at % (blanks.length || 1)] ?? '';
    let text = `${blank(0)}{${members.map(([name, held], at) => `${blank(at)}"${name}"${blank(at + 1)}:${blank(at + 2)}${held}`).join(`${blank(3)},`)}}${blank(4)}`;
    for (const { at, removed, piece } of cuts) {
      const place = at % (text.length + 1);
      text = text.slice(0, place) + piece + text.slice(place + removed);
    }
    return text;
  });
