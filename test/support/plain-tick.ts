/**
 * What a tick is, once more: written from the contract's table alone, on `JSON.parse`, regular expressions, `Date` and
 * whole numbers, as slow and as plain as can be. A fuzzer holds the decoder against it.
 */
// oxlint-disable typescript/no-misused-spread -- code points are what is meant

import { FIELD_NAMES } from '../../pipeline/contract/scan.ts';
import type { TickRules } from '../../pipeline/contract/decode.ts';

/** A tick's meaning; `undefined` is a side, venue or condition that is not given. */
export interface PlainTick {
  isQuote: boolean;
  symbol: string;
  tsNs: bigint;
  id: string;
  numbers: (number | undefined)[];
  side: string | undefined;
  venue: string | undefined;
  conditions: string | undefined;
  ignored: number;
}

/** A number as it was written: `JSON.parse` alone would round it. */
class Written {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Members = Map<string, unknown>;

/** The tick, or undefined when the contract does not have it. */
export function plainTick(text: string, rules: TickRules): PlainTick | undefined {
  const members = membersOf(text);
  if (members === undefined) return undefined;
  const given = (name: string): unknown => (members.get(name) === null ? undefined : members.get(name));
  const type = members.has('type') ? members.get('type') : 'trade';
  const isQuote = type === 'quote';
  const symbol = given('symbol');
  const tsNs = timeOf(given);
  const id = idOf(given('id'));
  const venue = given('venue');
  const side = given('side');
  const conditions = given('conditions');
  if (type !== 'trade' && type !== 'quote') return undefined;
  if (!isShown(symbol, 64) || tsNs === undefined || id === undefined) return undefined;
  if (tsNs > BigInt(rules.nowMs + rules.futureMaxMs) * 1_000_000n) return undefined;
  if (venue !== undefined && !isShown(venue, 32)) return undefined;
  if (
    conditions !== undefined &&
    !(Array.isArray(conditions) && conditions.length <= 16 && conditions.every((one) => isShown(one, 32)))
  )
    return undefined;
  if (!isQuote && side !== undefined && side !== 'buy' && side !== 'sell') return undefined;
  const numbers = isQuote ? quoteNumbers(given, rules) : [priceOf(given('price'), rules), sizeOf(given('size'))];
  if (numbers === undefined || (!isQuote && numbers.includes(undefined))) return undefined;
  return {
    isQuote,
    symbol,
    tsNs,
    id,
    numbers,
    side: isQuote ? undefined : (side as string | undefined),
    venue,
    conditions: Array.isArray(conditions) && conditions.length > 0 ? JSON.stringify(conditions) : undefined,
    ignored: [...members.keys()].filter((name) => !(FIELD_NAMES as readonly string[]).includes(name)).length,
  };
}

/** Undefined unless the text is a JSON object of at most 16,384 characters, no name of which stands there twice. */
function membersOf(text: string): Members | undefined {
  if (text.length > 16_384) return undefined;
  let outermost: unknown;
  let names = 0;
  try {
    outermost = JSON.parse(text, function (this: unknown, _name, value: unknown, context?: { source?: string }) {
      return typeof value === 'number' ? new Written(context!.source!) : value;
    });
    // Every name is one more key when each is made different: by the place of its colon at the outermost depth.
    names = countMembers(text);
  } catch {
    return undefined;
  }
  if (typeof outermost !== 'object' || outermost === null || Array.isArray(outermost) || outermost instanceof Written)
    return undefined;
  const members = new Map(Object.entries(outermost));
  return members.size === names ? members : undefined;
}

/** Of valid JSON, an object: without its strings, the colons at depth 1. */
function countMembers(text: string): number {
  const bare = text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '');
  let depth = 0;
  let colons = 0;
  for (const character of bare) {
    if (character === '{' || character === '[') depth += 1;
    else if (character === '}' || character === ']') depth -= 1;
    else if (character === ':' && depth === 1) colons += 1;
  }
  return colons;
}

function isShown(value: unknown, maxChars: number): value is string {
  if (typeof value !== 'string') return false;
  const characters = [...value];
  return (
    characters.length >= 1 &&
    characters.length <= maxChars &&
    characters.every((one) => !/[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/u.test(one))
  );
}

function timeOf(given: (name: string) => unknown): bigint | undefined {
  const [ts, tsMs, tsNs] = ['ts', 'tsMs', 'tsNs'].map(given);
  if ([ts, tsMs, tsNs].filter((one) => one !== undefined).length !== 1) return undefined;
  let ns: bigint | undefined;
  if (ts !== undefined) ns = rfc3339(ts);
  else if (tsMs !== undefined)
    ns = tsMs instanceof Written && isSafe(tsMs.text) ? BigInt(tsMs.text) * 1_000_000n : undefined;
  else ns = typeof tsNs === 'string' && /^-?(0|[1-9]\d{0,23})$/.test(tsNs) ? BigInt(tsNs) : undefined;
  if (ns === undefined) return undefined;
  const seconds = (ns - (((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n)) / 1_000_000_000n;
  return seconds >= -9_223_372_036n && seconds <= 9_223_372_035n ? ns : undefined;
}

const RFC_3339 =
  /^(\d{4})-(\d\d)-(\d\d)[Tt]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))$/;

function rfc3339(value: unknown): bigint | undefined {
  const match = typeof value === 'string' ? RFC_3339.exec(value) : null;
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second, fraction = '', sign, zoneHour, zoneMinute] = match;
  const whole = `${year}-${month}-${day}T${hour}:${minute}:${second}`;
  const date = new Date(`${whole}Z`);
  // A day that is none becomes another one, or nothing.
  if (Number.isNaN(date.getTime()) || !date.toISOString().startsWith(whole)) return undefined;
  const offset = sign === undefined ? 0 : (sign === '-' ? -1 : 1) * (Number(zoneHour) * 60 + Number(zoneMinute)) * 60;
  return BigInt(date.getTime() / 1000 - offset) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0'));
}

function isSafe(text: string): boolean {
  return (
    /^-?(0|[1-9]\d*)$/.test(text) &&
    Number.isSafeInteger(Number(text)) &&
    String(Number(text)) === text.replace(/^-0$/, '0')
  );
}

/** '' where there is none. */
function idOf(value: unknown): string | undefined {
  if (value === undefined) return '';
  if (value instanceof Written)
    return isSafe(value.text) && !/^-[1-9]/.test(value.text) ? String(Math.abs(Number(value.text))) : undefined;
  return isShown(value, 128) && !value.startsWith('~') ? value : undefined;
}

function quoteNumbers(given: (name: string) => unknown, rules: TickRules): (number | undefined)[] | undefined {
  const sides = [];
  for (const side of ['bid', 'ask']) {
    const [price, size] = [given(`${side}Price`), given(`${side}Size`)];
    if (price === undefined && size === undefined) {
      sides.push(undefined, undefined);
      continue;
    }
    const [readPrice, readSize] = [priceOf(price, rules), sizeOf(size)];
    if (readPrice === undefined || readSize === undefined) return undefined;
    sides.push(readPrice, readSize);
  }
  return sides[0] === undefined && sides[2] === undefined ? undefined : sides;
}

function priceOf(value: unknown, rules: TickRules): number | undefined {
  const price = decimalOf(value);
  return price === undefined || (price <= 0 && !rules.negativePrices) ? undefined : price;
}

function sizeOf(value: unknown): number | undefined {
  const size = decimalOf(value);
  return size === undefined || size < 0 ? undefined : size;
}

function decimalOf(value: unknown): number | undefined {
  const text = value instanceof Written ? value.text : value;
  if (typeof text !== 'string' || text.length > 48) return undefined;
  const match = /^-?(?:0|[1-9]\d*)(?:\.\d+)?([eE][+-]?\d+)?$/.exec(text);
  if (match === null || (match[1] !== undefined && !(value instanceof Written))) return undefined;
  const digits = text
    .replace(/[eE].*$/, '')
    .replaceAll(/[-.]/g, '')
    .replace(/^0+/, '')
    .replace(/0+$/, '');
  if (digits.length > 15) return undefined;
  if (digits === '') return 0;
  const number = Number(text);
  return Math.abs(number) >= 1e-300 && Math.abs(number) <= 1e300 ? number : undefined;
}
