/**
 * A capture file to readings: unpacks (.gz, .zip or plain), cuts into lines, finds the format by content and
 * file name, and reads line by line. Holds one chunk and one line at a time, however large the file; never
 * writes anything.
 */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { Unzip, UnzipInflate } from 'fflate';
import { binance } from './binance.ts';
import { coinbase } from './coinbase.ts';
import { lean, namesSymbolAndDay } from './lean.ts';
import { type CaptureFormat, type LineReader, type Reading, UNREADABLE } from './reading.ts';

export const FORMATS: readonly CaptureFormat[] = [binance, coinbase, lean];

/** Order book snapshots of a whole market take a line each; the longest seen has 79 kB. */
export const LINE_MAX_BYTES = 8 * 1024 * 1024;
/** Unpacked at once: some hundred lines, a few milliseconds' work. */
const CHUNK_BYTES = 64 * 1024;
/** Lines looked at before "no known format". */
export const DETECTION_MAX_LINES = 20;
/**
 * Part of every batch id. Raise it when a reader's output changes: the same ids with other bodies would be
 * refused as a conflict.
 */
export const READING_VERSION = 1;

export const CUT_OFF_NOTE = 'the file is cut off: what stood before the cut was read';

/** A file that cannot be replayed at all, or not to its end. */
export class CaptureError extends Error {
  override name = 'CaptureError';
}

export type CaptureEvent = Reading | { kind: 'format'; name: string } | { kind: 'note'; note: string };

/**
 * Hex digits of SHA-256 over what decides which ticks are read: what makes batch ids the same again and again.
 * That is the file's bytes, and its name only where the format reads the name too.
 */
export async function captureFingerprint(path: string): Promise<string> {
  const hash = createHash('sha256').update(`${READING_VERSION}\n`);
  const entry = entryName(path);
  if (namesSymbolAndDay(entry)) hash.update(`${entry}\n`);
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  } catch (error) {
    throw unreadableFile(path, error);
  }
  return hash.digest('hex');
}

/**
 * Everything the capture holds, in order and a chunk of the file at a time: an `await` for each line would cost
 * more than reading it. A file that is cut off ends with a note.
 * Throws {@link CaptureError}: the file cannot be read, or is of no known format.
 */
export async function* readCapture(path: string): AsyncGenerator<CaptureEvent[]> {
  const cutter = new LineCutter();
  let entry: CaptureEntry | undefined;
  for await (const piece of piecesOf(path)) {
    if (piece.kind === 'note') {
      yield [piece];
    } else {
      if (entry?.name !== piece.entry) {
        // Every file in a zip is a capture of its own.
        if (entry !== undefined) yield [...entry.read(cutter.end())];
        entry?.close();
        entry = new CaptureEntry(piece.entry);
      }
      yield [...entry.read(cutter.push(piece.bytes))];
    }
  }
  if (entry !== undefined) yield [...entry.read(cutter.end())];
  entry?.close();
}

/** One file's lines to events. Invariant: once its format is found, every line goes to that format's reader. */
class CaptureEntry {
  readonly name: string;
  #reader: LineReader | undefined;
  #undetected = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** `undefined` stands for a line that is too long to be one. */
  *read(lines: Iterable<string | undefined>): Generator<CaptureEvent> {
    for (const line of lines) {
      if (line === undefined) {
        yield UNREADABLE;
        continue;
      }
      if (this.#reader === undefined) {
        const format = FORMATS.find((format) => format.recognises(line, this.name));
        if (format === undefined) {
          if (line !== '') yield this.#notYet(line);
          continue;
        }
        this.#reader = format.reader(this.name);
        yield { kind: 'format', name: format.name };
      }
      yield this.#reader(line);
    }
  }

  /** Throws when there were lines and none of them told the format. */
  close(): void {
    if (this.#reader === undefined && this.#undetected > 0) throw unknownFormat(this.name);
  }

  #notYet(line: string): CaptureEvent {
    this.#undetected += 1;
    if (this.#undetected === DETECTION_MAX_LINES) throw unknownFormat(this.name, line);
    return UNREADABLE;
  }
}

const SHOWN_MAX_CHARS = 60;

function unknownFormat(name: string, line?: string): CaptureError {
  const shown = line === undefined ? '' : `; it holds lines such as ${JSON.stringify(line.slice(0, SHOWN_MAX_CHARS))}`;
  return new CaptureError(
    `${name} is of no format that replay knows${shown}. It knows raw Binance and Coinbase WebSocket captures ` +
      'and LEAN ticks, whose files are named like 20131007_aig_Trade_Tick.csv',
  );
}

function unreadableFile(path: string, cause: unknown): CaptureError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new CaptureError(`${path} cannot be read: ${why}`, { cause });
}

const NEWLINE = 10;

/** Chunks to lines. Invariant: it holds at most {@link LINE_MAX_BYTES} and one chunk. */
class LineCutter {
  #held: Buffer[] = [];
  #heldBytes = 0;
  #tooLong = false;

  *push(chunk: Uint8Array): Generator<string | undefined> {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let start = 0;
    for (;;) {
      const newline = bytes.indexOf(NEWLINE, start);
      if (newline < 0) break;
      this.#hold(bytes.subarray(start, newline));
      yield this.#take();
      start = newline + 1;
    }
    // A copy: the chunk's memory may be used again for the next one.
    this.#hold(Buffer.from(bytes.subarray(start)));
  }

  *end(): Generator<string | undefined> {
    if (this.#heldBytes > 0 || this.#tooLong) yield this.#take();
  }

  #hold(piece: Buffer): void {
    this.#heldBytes += piece.length;
    if (this.#heldBytes <= LINE_MAX_BYTES) {
      this.#held.push(piece);
    } else {
      this.#tooLong = true;
      this.#held = [];
    }
  }

  #take(): string | undefined {
    const bytes = this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held);
    const text = this.#tooLong ? undefined : bytes.toString('utf8').replace(/\r$/, '');
    this.#held = [];
    this.#heldBytes = 0;
    this.#tooLong = false;
    return text;
  }
}

type Piece = { kind: 'piece'; entry: string; bytes: Uint8Array } | { kind: 'note'; note: string };

/** The file's unpacked bytes, each piece with the name of the file it belongs to. */
async function* piecesOf(path: string): AsyncGenerator<Piece> {
  const magic = await firstBytes(path);
  if (magic[0] === 0x50 && magic[1] === 0x4b) yield* piecesOfZip(path);
  else yield* piecesOfStream(path, magic[0] === 0x1f && magic[1] === 0x8b);
}

/** The name of what a file that is not a zip holds. */
function entryName(path: string): string {
  return basename(path).replace(/\.gz$/i, '');
}

async function firstBytes(path: string): Promise<Uint8Array> {
  try {
    await using file = await open(path);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    throw unreadableFile(path, error);
  }
}

async function* piecesOfStream(path: string, gzipped: boolean): AsyncGenerator<Piece> {
  const entry = entryName(path);
  const source = createReadStream(path);
  // `pipeline` hands an error of the file on to the reader of the result; whoever iterates it sees it.
  const unpacked = gzipped ? pipeline(source, createGunzip({ chunkSize: CHUNK_BYTES }), () => {}) : source;
  let any = false;
  try {
    for await (const chunk of unpacked) {
      any = true;
      yield { kind: 'piece', entry, bytes: chunk as Buffer };
    }
  } catch (error) {
    // A recorder that was killed leaves its last block unfinished: zlib's "unexpected end of file".
    if (!any || (error as { code?: unknown }).code !== 'Z_BUF_ERROR') throw unreadableFile(path, error);
    yield { kind: 'note', note: CUT_OFF_NOTE };
  }
}

async function* piecesOfZip(path: string): AsyncGenerator<Piece> {
  const ready: Piece[] = [];
  let failure: Error | null = null;
  const unzip = new Unzip((file) => {
    const entry = basename(file.name);
    file.ondata = (error, bytes) => {
      failure ??= error;
      if (error !== null) return;
      // In small pieces, and copied: the unpacker uses its memory again.
      for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
        ready.push({ kind: 'piece', entry, bytes: bytes.slice(at, at + CHUNK_BYTES) });
      }
    };
    file.start();
  });
  unzip.register(UnzipInflate);
  try {
    for await (const chunk of createReadStream(path)) {
      unzip.push(chunk as Buffer);
      yield* ready.splice(0);
      if (failure !== null) throw failure;
    }
    unzip.push(new Uint8Array(0), true);
  } catch (error) {
    throw unreadableFile(path, error);
  }
  yield* ready.splice(0);
  if (failure !== null) throw unreadableFile(path, failure);
}
