/**
 * A request's body as bytes: bounded while it arrives, bounded again while it is unpacked, whatever its headers
 * claim.
 */

import type { IncomingMessage } from 'node:http';
import { gunzip, type Gunzip } from 'node:zlib';
import type { ProblemName } from '../contract/answer.ts';
import { BODY_MAX_BYTES, UNPACKED_MAX_BYTES } from '../contract/batch.ts';
import type { BodyMemory } from './body-memory.ts';

export type BodyOutcome =
  | { ok: true; body: Uint8Array }
  | {
      ok: false;
      problem: Extract<ProblemName, 'too-large' | 'unreadable' | 'unsupported-type' | 'no-room'>;
      detail: string;
    };

/** Bytes that all bodies together may occupy before they are decoded. */
export const BODIES_MAX_BYTES = 48 * 1024 * 1024;

/** Counts what bodies hold. Invariant: 0 <= `heldBytes` <= `capacityBytes`. Only what has arrived counts, so that
 * a sender who announces much and sends little takes nothing from others. */
export class BodyRoom {
  readonly capacityBytes: number;
  #heldBytes = 0;

  constructor(capacityBytes: number = BODIES_MAX_BYTES) {
    this.capacityBytes = capacityBytes;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  take(bytes: number): boolean {
    if (this.#heldBytes + bytes > this.capacityBytes) return false;
    this.#heldBytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#heldBytes -= bytes;
  }
}

const TOO_LARGE: BodyOutcome = {
  ok: false,
  problem: 'too-large',
  detail: `the body is larger than ${BODY_MAX_BYTES} bytes as sent`,
};
const NOT_GZIP: BodyOutcome = { ok: false, problem: 'unreadable', detail: 'the body is not valid gzip' };
const NO_ROOM: BodyOutcome = {
  ok: false,
  problem: 'no-room',
  detail: `bodies that wait to be decoded fill ${BODIES_MAX_BYTES} bytes`,
};

/**
 * Reads the body as sent, at most {@link BODY_MAX_BYTES}, into `memory`; `room` then holds its length. The caller gives both
 * back. Errors (nothing held): `too-large`; `no-room`; `unreadable` when the sender went away in the middle.
 */
export async function readBody(request: IncomingMessage, room: BodyRoom, memory: BodyMemory): Promise<BodyOutcome> {
  if (Number(request.headers['content-length'] ?? 0) > BODY_MAX_BYTES) return TOO_LARGE;
  const chunks: Buffer[] = [];
  let bytes = 0;
  const fail = (outcome: BodyOutcome): BodyOutcome => {
    room.give(bytes);
    return outcome;
  };
  try {
    // Not destroyed by a return: the answer still has to go over its connection, and the rest to be read off it.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      if (bytes + chunk.length > BODY_MAX_BYTES) return fail(TOO_LARGE);
      if (!room.take(chunk.length)) return fail(NO_ROOM);
      bytes += chunk.length;
      chunks.push(chunk);
    }
  } catch {
    return fail({ ok: false, problem: 'unreadable', detail: 'the body ended before its declared length' });
  }
  return { ok: true, body: memory.join(chunks, bytes) };
}

/** zlib's own unit of output. */
const GUNZIP_CHUNK_BYTES = 16_384;

/**
 * So that all comes out in one piece: in pieces of {@link GUNZIP_CHUNK_BYTES} each takes a turn of zlib's thread, and
 * joining them takes the body's memory twice. The size is the sender's word (RFC 1952, ISIZE), so it is no more than a
 * hint.
 */
function gunzipChunkBytes(body: Uint8Array): number {
  const tail = body.length < 4 ? 0 : new DataView(body.buffer, body.byteOffset).getUint32(body.length - 4, true);
  return Math.min(UNPACKED_MAX_BYTES, Math.max(GUNZIP_CHUNK_BYTES, tail)) + 1;
}

/** Unpacks and says how many of the packed bytes that took: zlib itself passes over what follows the last member. */
function gunzipBounded(body: Uint8Array): Promise<{ unpacked: Uint8Array; usedBytes: number }> {
  return new Promise((resolve, reject) => {
    const done = (cause: Error | null, result: unknown): void => {
      if (cause !== null) return reject(cause);
      // What `info: true` makes of the result, which its types do not say.
      const { buffer, engine } = result as { buffer: Buffer; engine: Gunzip };
      // Whose hint was too large must not hold as much.
      const unpacked = buffer.length < buffer.buffer.byteLength / 2 ? new Uint8Array(buffer) : buffer;
      resolve({ unpacked, usedBytes: engine.bytesWritten });
    };
    const options = { maxOutputLength: UNPACKED_MAX_BYTES, chunkSize: gunzipChunkBytes(body), info: true };
    gunzip(body, options, done);
  });
}

/**
 * Undoes `Content-Encoding`, to at most {@link UNPACKED_MAX_BYTES}. Errors: `unsupported-type` for anything but
 * gzip and identity, `too-large`, `unreadable`.
 */
export async function unpackBody(body: Uint8Array, contentEncoding: string | undefined): Promise<BodyOutcome> {
  const encoding = (contentEncoding ?? 'identity').trim().toLowerCase();
  if (encoding === 'identity' || encoding === '') return { ok: true, body };
  if (encoding !== 'gzip' && encoding !== 'x-gzip') {
    return { ok: false, problem: 'unsupported-type', detail: 'content-encoding must be gzip or absent' };
  }
  try {
    const { unpacked, usedBytes } = await gunzipBounded(body);
    return usedBytes === body.length ? { ok: true, body: unpacked } : NOT_GZIP;
  } catch (cause) {
    if (cause instanceof RangeError) {
      return {
        ok: false,
        problem: 'too-large',
        detail: `the body unpacks to more than ${UNPACKED_MAX_BYTES} bytes`,
      };
    }
    return NOT_GZIP;
  }
}
