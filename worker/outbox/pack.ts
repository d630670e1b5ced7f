/**
 * A batch made ready to be held: its ticks counted, its body's hash taken as the pod's ledger takes it, and the
 * body packed. Rejects what the contract alone forbids; whether the ticks are valid is the pod's to say.
 */

import { BATCH_MAX_TICKS, bodyFormat, type BodyFormat, UNPACKED_MAX_BYTES } from '../../pipeline/contract/batch.ts';
import { countTicks } from './count.ts';
import { gzip } from './gzip.ts';

export interface PackedBody {
  body: Uint8Array<ArrayBuffer>;
  /** Of `body`: 'gzip', or null when packing would have made it longer. */
  encoding: 'gzip' | null;
  /** SHA-256 of the unpacked body, 32 bytes. */
  bodyHash: Uint8Array<ArrayBuffer>;
  /** 0 when the body cannot be unpacked here. */
  ticks: number;
}

export type PackOutcome =
  | { ok: true; packed: PackedBody }
  | { ok: false; problem: 'unsupported-type' | 'too-large' | 'unreadable'; detail: string };

/** Of a body as sent, with its own headers. */
export async function packBody(
  sent: Uint8Array<ArrayBuffer>,
  contentType: string | null,
  contentEncoding: string | null,
): Promise<PackOutcome> {
  const format = bodyFormat(contentType);
  if (format === undefined) {
    const detail = 'content-type must be application/x-ndjson or application/json';
    return { ok: false, problem: 'unsupported-type', detail };
  }
  if (isGzip(contentEncoding)) return packedAlready(sent, format);
  const encoding = (contentEncoding ?? '').trim().toLowerCase();
  if (encoding !== '' && encoding !== 'identity') {
    return { ok: false, problem: 'unsupported-type', detail: 'content-encoding must be gzip or absent' };
  }
  const counted = counting(sent, format);
  if (typeof counted !== 'number') return counted;
  const bodyHash = await sha256(sent);
  const packed = gzip(sent);
  const isShorter = packed.length < sent.length;
  return {
    ok: true,
    packed: { body: isShorter ? packed : sent, encoding: isShorter ? 'gzip' : null, bodyHash, ticks: counted },
  };
}

/** How many ticks a body holds; undefined when it cannot be read, or holds none or too many. */
export async function countedTicks(
  sent: Uint8Array<ArrayBuffer>,
  contentType: string | null,
  contentEncoding: string | null,
): Promise<number | undefined> {
  const format = bodyFormat(contentType);
  if (format === undefined) return undefined;
  const isPacked = isGzip(contentEncoding);
  const unpacked = isPacked ? await gunzip(sent, UNPACKED_MAX_BYTES) : { ok: true as const, bytes: sent };
  return unpacked.ok ? countTicks(unpacked.bytes, format, BATCH_MAX_TICKS) : undefined;
}

function isGzip(contentEncoding: string | null): boolean {
  return /^\s*(?:x-)?gzip\s*$/i.test(contentEncoding ?? '');
}

async function packedAlready(sent: Uint8Array<ArrayBuffer>, format: BodyFormat): Promise<PackOutcome> {
  const unpacked = await gunzip(sent, UNPACKED_MAX_BYTES);
  if (!unpacked.ok) {
    if (unpacked.why === 'too_large') {
      const detail = `the body unpacks to more than ${UNPACKED_MAX_BYTES} bytes`;
      return { ok: false, problem: 'too-large', detail };
    }
    // The platform reads one gzip member, a pod reads several: only the pod may call this unreadable.
    return { ok: true, packed: { body: sent, encoding: 'gzip', bodyHash: await sha256(sent), ticks: 0 } };
  }
  const counted = counting(unpacked.bytes, format);
  if (typeof counted !== 'number') return counted;
  const bodyHash = await sha256(unpacked.bytes);
  return { ok: true, packed: { body: sent, encoding: 'gzip', bodyHash, ticks: counted } };
}

function counting(unpacked: Uint8Array, format: BodyFormat): number | Extract<PackOutcome, { ok: false }> {
  const ticks = countTicks(unpacked, format, BATCH_MAX_TICKS);
  if (ticks === undefined) {
    return { ok: false, problem: 'too-large', detail: `the batch holds more than ${BATCH_MAX_TICKS} ticks` };
  }
  return ticks > 0 ? ticks : { ok: false, problem: 'unreadable', detail: 'the body holds no tick' };
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
}

/** A writer costs less than a stream of one piece would. */
async function fill(writable: WritableStream<Uint8Array<ArrayBuffer>>, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const writer = writable.getWriter();
  await Promise.all([writer.write(bytes), writer.close()]);
}

export type GunzipOutcome = { ok: true; bytes: Uint8Array<ArrayBuffer> } | { ok: false; why: 'too_large' | 'not_gzip' };

/** Never more than `maxBytes`, whatever the body claims. */
export async function gunzip(packed: Uint8Array<ArrayBuffer>, maxBytes: number): Promise<GunzipOutcome> {
  const { readable, writable } = new DecompressionStream('gzip');
  fill(writable, packed).catch(() => undefined); // the reader hears of it
  const reader = readable.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
      if (length > maxBytes) {
        void reader.cancel().catch(() => undefined);
        return { ok: false, why: 'too_large' };
      }
      chunks.push(value);
    }
  } catch {
    return { ok: false, why: 'not_gzip' };
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return { ok: true, bytes };
}
