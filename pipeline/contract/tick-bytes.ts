/**
 * What rejected ticks were, byte by byte, for their dead letters: how much of it is kept, and what is told of the rest.
 */

const encoder = new TextEncoder();

/** A valid tick has fewer (TICK_MAX_CHARS), so that only one that could never be stored is cut. */
export const DEAD_LETTER_MAX_BYTES = 65_536;
/** Of all rejected ticks of one batch together: as much as a body may have as it is sent. */
export const DEAD_LETTERS_MAX_BYTES = 1024 * 1024;

/** The bytes of one tick as they were sent, for its dead letter. */
export interface TickBytes {
  /** Cut at {@link DEAD_LETTER_MAX_BYTES}, or where its batch has used up its room; in memory of their own, so that they do not keep the body. */
  bytes: Uint8Array;
  /** How many there were. */
  sizeBytes: number;
}

/**
 * Keeps the bytes of rejected ticks, up to {@link DEAD_LETTERS_MAX_BYTES} of one batch: a body that unpacks to eight
 * times what was sent is not to be held eight times over.
 */
export class KeptBytes {
  readonly all: TickBytes[] = [];
  #roomBytes = DEAD_LETTERS_MAX_BYTES;

  /** Text that was decoded without error encodes to the bytes that it came from. Without the blanks at its end. */
  text(text: string, start: number, end: number): void {
    let last = end;
    while (last > start && isBlank(text.charCodeAt(last - 1))) last -= 1;
    const limit = this.#limit();
    // No character has fewer bytes than one.
    const bytes = encoder.encode(text.slice(start, Math.min(last, start + limit)));
    const sizeBytes = last - start > limit ? bytes.length + utf8Length(text, start + limit, last) : bytes.length;
    this.#keep(bytes.length > limit ? bytes.slice(0, limit) : bytes, sizeBytes);
  }

  bytes(line: Uint8Array): void {
    this.#keep(line.slice(0, this.#limit()), line.length);
  }

  #limit(): number {
    return Math.min(DEAD_LETTER_MAX_BYTES, this.#roomBytes);
  }

  #keep(bytes: Uint8Array, sizeBytes: number): void {
    this.#roomBytes -= bytes.length;
    this.all.push({ bytes, sizeBytes });
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
