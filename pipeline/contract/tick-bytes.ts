/**
 * What rejected ticks were, byte by byte, for their dead letters: how much of it is kept, and what is told of the rest.
 */

const encoder = new TextEncoder();

/** A valid tick has fewer (TICK_MAX_CHARS), so that only one that could never be stored is cut. */
export const DEAD_LETTER_MAX_BYTES = 65_536;
/** Of all rejected ticks of one batch together: as much as a body may have as it is sent. */
export const DEAD_LETTERS_MAX_BYTES = 1024 * 1024;
/** Room for a few short ones; it doubles when it is full. */
const PACK_FIRST_BYTES = 1_024;
/** No character of a string takes more bytes of UTF-8. */
const UTF8_MAX_BYTES_PER_CHAR = 3;

/** The bytes of one tick as they were sent, for its dead letter. */
export interface TickBytes {
  /** Cut at {@link DEAD_LETTER_MAX_BYTES}, or where its batch has used up its room. */
  bytes: Uint8Array;
  /** How many there were. */
  sizeBytes: number;
}

/**
 * The same of many ticks, in one piece of memory of their own that does not keep their body: 10,000 arrays, one for
 * each tick, took 20 MiB on their way to the store's thread.
 */
export interface PackedTicks {
  bytes: Uint8Array;
  /** Where each of them ends in `bytes`. */
  ends: Uint32Array;
  /** How many bytes each of them had. */
  sizesBytes: Uint32Array;
}

export function packTicks(ticks: readonly TickBytes[]): PackedTicks {
  const pack = new TickPacker();
  for (const { bytes, sizeBytes } of ticks) pack.add(bytes, sizeBytes);
  return pack.take();
}

/** Views of the pack; a copy keeps less in memory. */
export function unpackTicks({ bytes, ends, sizesBytes }: PackedTicks): TickBytes[] {
  return Array.from(ends, (end, at) => ({ bytes: bytes.subarray(ends[at - 1] ?? 0, end), sizeBytes: sizesBytes[at]! }));
}

/** Invariant: `#usedBytes` of `#bytes` are the ticks added so far. */
class TickPacker {
  #bytes = new Uint8Array(0);
  #usedBytes = 0;
  readonly #ends: number[] = [];
  readonly #sizesBytes: number[] = [];

  add(bytes: Uint8Array, sizeBytes: number): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#usedBytes);
    this.#added(bytes.length, sizeBytes);
  }

  /** At most `maxBytes` of the text in UTF-8; a character may be cut. Without `sizeBytes` the text is all there was. */
  addText(text: string, maxBytes: number, sizeBytes: number | undefined): number {
    this.#reserve(text.length * UTF8_MAX_BYTES_PER_CHAR);
    const { written } = encoder.encodeInto(text, this.#bytes.subarray(this.#usedBytes));
    const bytes = Math.min(written, maxBytes);
    this.#added(bytes, sizeBytes ?? written);
    return bytes;
  }

  /** Those added so far. */
  take(): PackedTicks {
    return {
      bytes: this.#bytes.slice(0, this.#usedBytes),
      ends: Uint32Array.from(this.#ends),
      sizesBytes: Uint32Array.from(this.#sizesBytes),
    };
  }

  #added(bytes: number, sizeBytes: number): void {
    this.#usedBytes += bytes;
    this.#ends.push(this.#usedBytes);
    this.#sizesBytes.push(sizeBytes);
  }

  #reserve(bytes: number): void {
    const neededBytes = this.#usedBytes + bytes;
    if (neededBytes <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(PACK_FIRST_BYTES, neededBytes, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#usedBytes));
    this.#bytes = larger;
  }
}

/**
 * Keeps the bytes of rejected ticks, up to {@link DEAD_LETTERS_MAX_BYTES} of one batch: a body that unpacks to eight
 * times what was sent is not to be held eight times over.
 */
export class KeptBytes {
  readonly #pack = new TickPacker();
  #roomBytes = DEAD_LETTERS_MAX_BYTES;

  /** Text that was decoded without error encodes to the bytes that it came from. Without the blanks at its end. */
  text(text: string, start: number, end: number): void {
    let last = end;
    while (last > start && isBlank(text.charCodeAt(last - 1))) last -= 1;
    const limit = this.#limit();
    // No character has fewer bytes than one.
    const kept = Math.min(last, start + limit);
    const sizeBytes = kept < last ? utf8Length(text, start, last) : undefined;
    this.#roomBytes -= this.#pack.addText(text.slice(start, kept), limit, sizeBytes);
  }

  bytes(line: Uint8Array): void {
    const bytes = line.subarray(0, this.#limit());
    this.#pack.add(bytes, line.length);
    this.#roomBytes -= bytes.length;
  }

  take(): PackedTicks {
    return this.#pack.take();
  }

  #limit(): number {
    return Math.min(DEAD_LETTER_MAX_BYTES, this.#roomBytes);
  }
}

function utf8Length(text: string, start: number, end: number): number {
  let bytes = 0;
  for (let at = start; at < end; at += 1) {
    const code = text.charCodeAt(at);
    // Half of a pair is half of four bytes.
    bytes += code < 0x80 ? 1 : code < 0x800 || (code >= 0xd800 && code < 0xe000) ? 2 : 3;
  }
  return bytes;
}

function isBlank(code: number): boolean {
  return code === 32 || code === 13 || code === 9 || code === 10;
}
