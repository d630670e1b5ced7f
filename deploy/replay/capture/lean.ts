/**
 * LEAN's US equity ticks: one CSV for a symbol and a day, which only the file's name tells
 * (`20131007_aig_Trade_Tick.csv`). Times are milliseconds since midnight in New York, prices integers of a
 * ten-thousandth dollar. The rows have no ids, and byte-identical rows are genuine, so the ticks get none.
 * Never touches a price with floating-point arithmetic.
 * Source: QuantConnect LEAN, `Data/equity/readme.md`.
 */

import type { TickInput } from '../../../pipeline/contract/tick.ts';
import { type CaptureFormat, FRAME, type LineReader, type Reading, UNREADABLE } from './reading.ts';

const FILE_NAME = /^(\d{4})(\d{2})(\d{2})_([^_/]+)_(trade|quote)_tick\.csv$/i;
/** ms, price, size, exchange, condition flags (hex), suspicious. */
const TRADE_ROW = /^(\d{1,9}),(\d{1,12}),(\d{1,15}),([^,\s]{0,32}),([0-9A-Fa-f]{1,16}),([01])$/;
/** ms, bid price, bid size, ask price, ask size, exchange, condition flags (hex), suspicious. */
const QUOTE_ROW = /^(\d{1,9}),(\d{1,12}),(\d{1,15}),(\d{1,12}),(\d{1,15}),([^,\s]{0,32}),([0-9A-Fa-f]{1,16}),([01])$/;

export const SUSPICIOUS = 'suspicious';

/** What the account says of captures whose ticks carry no id. */
export const NO_ID_NOTE =
  'ticks without an id: each is known by its batch and place, so another --batch or --batch-prefix stores them again';

export const lean: CaptureFormat = {
  name: 'lean',
  recognises: (line, fileName) => FILE_NAME.test(fileName) && (TRADE_ROW.test(line) || QUOTE_ROW.test(line)),
  reader: (fileName) => {
    const [, year, month, day, name, type] = FILE_NAME.exec(fileName)!;
    const toUtcMs = newYorkClock(Date.UTC(Number(year), Number(month) - 1, Number(day)));
    const symbol = name!.toUpperCase();
    return type!.toLowerCase() === 'trade' ? tradeReader(symbol, toUtcMs) : quoteReader(symbol, toUtcMs);
  },
};

/** Whether a file of this name gets its symbol and day from it. */
export function namesSymbolAndDay(fileName: string): boolean {
  return FILE_NAME.test(fileName);
}

function tradeReader(symbol: string, toUtcMs: (sinceMidnightMs: number) => number): LineReader {
  return (line): Reading => {
    if (line === '') return FRAME;
    const row = TRADE_ROW.exec(line);
    if (row === null) return UNREADABLE;
    const tsMs = toUtcMs(Number(row[1]));
    const tick: TickInput = { type: 'trade', symbol, tsMs, price: dollars(row[2]!), size: row[3]! };
    addRest(tick, row[4]!, row[5]!, row[6]!);
    return { kind: 'tick', tick, atMs: tsMs, note: NO_ID_NOTE };
  };
}

function quoteReader(symbol: string, toUtcMs: (sinceMidnightMs: number) => number): LineReader {
  return (line): Reading => {
    if (line === '') return FRAME;
    const row = QUOTE_ROW.exec(line);
    if (row === null) return UNREADABLE;
    const tsMs = toUtcMs(Number(row[1]));
    const tick: TickInput = { type: 'quote', symbol, tsMs };
    // A side of 0,0 is absent: nobody bids nothing.
    if (Number(row[2]) !== 0) Object.assign(tick, { bidPrice: dollars(row[2]!), bidSize: row[3]! });
    if (Number(row[4]) !== 0) Object.assign(tick, { askPrice: dollars(row[4]!), askSize: row[5]! });
    if (tick.bidPrice === undefined && tick.askPrice === undefined) {
      return { kind: 'not_understood', name: 'quote with neither side' };
    }
    addRest(tick, row[6]!, row[7]!, row[8]!);
    return { kind: 'tick', tick, atMs: tsMs, note: NO_ID_NOTE };
  };
}

function addRest(tick: TickInput, venue: string, flags: string, suspicious: string): void {
  if (venue !== '') tick.venue = venue;
  const conditions: string[] = [];
  if (!/^0+$/.test(flags)) conditions.push(`0x${flags}`);
  if (suspicious === '1') conditions.push(SUSPICIOUS);
  if (conditions.length > 0) tick.conditions = conditions;
}

/** `491800` is `49.18`: moves the point four places and drops the zeros that say nothing. */
export function dollars(tenThousandths: string): string {
  const digits = tenThousandths.padStart(5, '0');
  const whole = digits.slice(0, -4).replace(/^0+(?=\d)/, '');
  const fraction = digits.slice(-4).replace(/0+$/, '');
  return fraction === '' ? whole : `${whole}.${fraction}`;
}

const HOUR_MS = 3_600_000;

/**
 * For the New York day that a calendar would call `dayUtcMs` (its midnight, were it in UTC): milliseconds on the
 * wall clock since midnight to epoch milliseconds. In the hour that autumn repeats, the first of the two is meant.
 */
export function newYorkClock(dayUtcMs: number): (sinceMidnightMs: number) => number {
  // The zone changes its offset on whole hours only, so one look-up serves an hour's ticks.
  const offsetByHour = new Map<number, number>();
  return (sinceMidnightMs) => {
    const wallMs = dayUtcMs + sinceMidnightMs;
    const hour = Math.floor(sinceMidnightMs / HOUR_MS);
    let offsetMs = offsetByHour.get(hour);
    if (offsetMs === undefined) {
      const atHourMs = dayUtcMs + hour * HOUR_MS;
      // Seen from an hour before, when New York was on the earlier of the two offsets, if there are two.
      offsetMs = newYorkOffsetMs(atHourMs - newYorkOffsetMs(atHourMs - 5 * HOUR_MS));
      offsetByHour.set(hour, offsetMs);
    }
    return wallMs - offsetMs;
  };
}

const newYorkZone = new Intl.DateTimeFormat('en-US', { timeZone: 'America/New_York', timeZoneName: 'longOffset' });

/** New York's distance from UTC at an instant; negative, as west is. */
function newYorkOffsetMs(epochMs: number): number {
  const zone = newYorkZone.formatToParts(epochMs).find((part) => part.type === 'timeZoneName')?.value ?? '';
  const [, sign, hours, minutes] = /^GMT([+-])(\d{2}):(\d{2})$/.exec(zone) ?? [];
  if (sign === undefined) throw new Error(`this build of Node does not know America/New_York: it says "${zone}"`);
  return (sign === '-' ? -1 : 1) * (Number(hours) * HOUR_MS + Number(minutes) * 60_000);
}
