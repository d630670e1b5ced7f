/**
 * Columns as PostgreSQL's binary arrays, which `unnest` turns into rows: one dimension, a header of 20 bytes, then
 * for each element its length (-1 is NULL) and its bytes, all big-endian. Pure; touches no connection.
 *
 * Measured with 8,000 rows of 12 columns a statement: building and sending them costs 1.7 us of CPU a row, text
 * arrays 6.8 us. A dictionary sent once and indexed in SQL is as fast with 8 words in it and half as fast with 700
 * (an element of a text array is found by walking to it), so repeated words are copied into the array each time.
 * Source: array_recv in src/backend/utils/adt/arrayfuncs.c, and the receive functions of the types.
 */

const HEADER_BYTES = 20;
const LENGTH_BYTES = 4;
const NULL_LENGTH = -1;

const OID_BYTEA = 17;
const OID_INT2 = 21;
const OID_INT4 = 23;
const OID_TEXT = 25;
const OID_FLOAT8 = 701;
const OID_TIMESTAMPTZ = 1184;

/** Microseconds from 1970 to 2000, where PostgreSQL's timestamps begin, as two 32-bit words. */
const EPOCH_MICROS = 946_684_800_000_000;
const TWO_32 = 2 ** 32;
const EPOCH_HIGH = Math.floor(EPOCH_MICROS / TWO_32);
const EPOCH_LOW = EPOCH_MICROS - EPOCH_HIGH * TWO_32;

/** A word ready to be copied into a text array: its length, then its bytes. */
export type TextElement = Uint8Array;

export function textElement(text: string): TextElement {
  const bytes = Buffer.byteLength(text);
  const element = Buffer.allocUnsafe(LENGTH_BYTES + bytes);
  element.writeInt32BE(bytes, 0);
  element.write(text, LENGTH_BYTES);
  return element;
}

export const NULL_ELEMENT: TextElement = Uint8Array.of(0xff, 0xff, 0xff, 0xff);

/** NaN, an absent side of a quote, becomes NULL. */
export function float8Array(parts: readonly Float64Array[]): Buffer {
  const count = countOf(parts);
  const { buffer, view } = startArray(OID_FLOAT8, count, count * (LENGTH_BYTES + 8));
  let at = HEADER_BYTES;
  for (const part of parts) {
    for (const value of part) {
      if (Number.isNaN(value)) {
        view.setInt32(at, NULL_LENGTH);
        at += LENGTH_BYTES;
      } else {
        view.setInt32(at, 8);
        view.setFloat64(at + LENGTH_BYTES, value);
        at += LENGTH_BYTES + 8;
      }
    }
  }
  return buffer.subarray(0, at);
}

export function int4Array(values: ArrayLike<number>): Buffer {
  const { buffer, view } = startArray(OID_INT4, values.length, values.length * (LENGTH_BYTES + 4));
  for (let row = 0, at = HEADER_BYTES; row < values.length; row += 1, at += LENGTH_BYTES + 4) {
    view.setInt32(at, 4);
    view.setInt32(at + LENGTH_BYTES, values[row]!);
  }
  return buffer;
}

export function byteaArray(values: readonly Uint8Array[]): Buffer {
  let elementBytes = 0;
  for (const { length } of values) elementBytes += LENGTH_BYTES + length;
  const { buffer, view } = startArray(OID_BYTEA, values.length, elementBytes);
  let at = HEADER_BYTES;
  for (const value of values) {
    view.setInt32(at, value.length);
    buffer.set(value, at + LENGTH_BYTES);
    at += LENGTH_BYTES + value.length;
  }
  return buffer;
}

/** Epoch nanoseconds as `timestamptz`, which keeps microseconds, and the nanoseconds left over, 0 to 999. */
export function instantArrays(parts: readonly BigInt64Array[]): { ts: Buffer; tsNs: Buffer } {
  const count = countOf(parts);
  const ts = startArray(OID_TIMESTAMPTZ, count, count * (LENGTH_BYTES + 8));
  const tsNs = startArray(OID_INT2, count, count * (LENGTH_BYTES + 2));
  let at = HEADER_BYTES;
  let atNs = HEADER_BYTES;
  for (const part of parts) {
    eachInstant(part, (high, low, remainder) => {
      const wordLow = low - EPOCH_LOW;
      ts.view.setInt32(at, 8);
      ts.view.setInt32(at + 4, wordLow < 0 ? high - EPOCH_HIGH - 1 : high - EPOCH_HIGH);
      ts.view.setUint32(at + 8, wordLow < 0 ? wordLow + TWO_32 : wordLow);
      at += LENGTH_BYTES + 8;
      tsNs.view.setInt32(atNs, 2);
      tsNs.view.setInt16(atNs + 4, remainder);
      atNs += LENGTH_BYTES + 2;
    });
  }
  return { ts: ts.buffer, tsNs: tsNs.buffer };
}

/**
 * Calls `each` with the epoch microseconds of every instant, as `high * 2^32 + low`, and the nanoseconds left over.
 * In doubles, on the two halves of each integer, since every step stays below 2^53: dividing big integers would
 * cost more than all the rest of a row.
 */
export function eachInstant(
  tsNs: BigInt64Array,
  each: (highMicros: number, lowMicros: number, remainderNs: number) => void,
): void {
  const halves = new Uint32Array(tsNs.buffer, tsNs.byteOffset, tsNs.length * 2);
  for (let row = 0; row < tsNs.length; row += 1) {
    // Little-endian, as every machine that Node runs on: the low half comes first.
    const low = halves[row * 2]!;
    const high = halves[row * 2 + 1]! | 0;
    const highMicros = Math.floor(high / 1000);
    const rest = (high - highMicros * 1000) * TWO_32 + low;
    const lowMicros = Math.floor(rest / 1000);
    each(highMicros, lowMicros, rest - lowMicros * 1000);
  }
}

/** One instant as the parameter of a query, in the form of {@link instantArrays}. */
export function instant(tsNs: bigint): { ts: Buffer; tsNs: number } {
  const remainder = Number(((tsNs % 1000n) + 1000n) % 1000n);
  const ts = Buffer.allocUnsafe(8);
  ts.writeBigInt64BE((tsNs - BigInt(remainder)) / 1000n - BigInt(EPOCH_MICROS));
  return { ts, tsNs: remainder };
}

export function textArray(values: readonly string[]): Buffer {
  const array = new TextArray(16 * values.length);
  for (const value of values) array.add(textElement(value));
  return array.take();
}

/** Collects the elements of a `text[]`. Invariant: `#at` is where the next element goes, within `#bytes`. */
export class TextArray {
  #bytes: Buffer;
  #at = HEADER_BYTES;
  #count = 0;

  constructor(expectedBytes: number) {
    this.#bytes = Buffer.allocUnsafe(HEADER_BYTES + expectedBytes);
  }

  add(element: TextElement): void {
    this.#makeRoom(element.length);
    const bytes = this.#bytes;
    let at = this.#at;
    // Byte by byte: words have about ten, for which a call of `set` costs more than the copy.
    for (let from = 0; from < element.length; from += 1, at += 1) bytes[at] = element[from]!;
    this.#at = at;
    this.#count += 1;
  }

  /** Adds `source` from `from` to `to`, which is the UTF-8 of one text. */
  addSlice(source: Uint8Array, from: number, to: number): void {
    this.#makeRoom(LENGTH_BYTES + to - from);
    const bytes = this.#bytes;
    let at = bytes.writeInt32BE(to - from, this.#at);
    for (let byte = from; byte < to; byte += 1, at += 1) bytes[at] = source[byte]!;
    this.#at = at;
    this.#count += 1;
  }

  /** The array; nothing may be added afterwards. */
  take(): Buffer {
    writeHeader(this.#bytes, OID_TEXT, this.#count);
    return this.#bytes.subarray(0, this.#at);
  }

  #makeRoom(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + bytes));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }
}

function countOf(parts: readonly { length: number }[]): number {
  let count = 0;
  for (const { length } of parts) count += length;
  return count;
}

function startArray(oid: number, count: number, elementBytes: number): { buffer: Buffer; view: DataView } {
  const buffer = Buffer.allocUnsafe(HEADER_BYTES + elementBytes);
  writeHeader(buffer, oid, count);
  return { buffer, view: new DataView(buffer.buffer, buffer.byteOffset, buffer.length) };
}

function writeHeader(buffer: Buffer, oid: number, count: number): void {
  // An empty array has no dimension, and so neither length nor lower bound; ours are never empty.
  buffer.writeInt32BE(1, 0);
  // "May hold NULLs": true is right for every array, and saves looking.
  buffer.writeInt32BE(1, 4);
  buffer.writeInt32BE(oid, 8);
  buffer.writeInt32BE(count, 12);
  buffer.writeInt32BE(1, 16);
}
