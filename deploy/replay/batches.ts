/**
 * Ticks to batches: NDJSON bodies, cut by count and by bytes, with ids that are the same whenever the same
 * file is cut the same way. Knows nothing of sending.
 */

import { BATCH_MAX_TICKS, BODY_MAX_BYTES } from '../../pipeline/contract/batch.ts';
import { BATCH_ID_RULE, isBatchId } from '../../pipeline/contract/identity.ts';
import type { TickInput } from '../../pipeline/contract/tick.ts';

export const BATCH_TICKS_DEFAULT = 1000;
export const BATCH_TICKS_MAX = BATCH_MAX_TICKS;
/** 48 bits of SHA-256: chance meetings among a provider's captures need millions of them. */
const FINGERPRINT_CHARS = 12;

/** One request's ticks, ready to send, as often as it takes. */
export interface Batch {
  id: string;
  /** How many ticks the body holds. */
  ticks: number;
  /** NDJSON, before any content encoding; at most `BODY_MAX_BYTES`. */
  body: Uint8Array<ArrayBuffer>;
  /** When its last tick was captured, epoch milliseconds: when a live provider could have sent it. */
  dueMs: number;
}

export interface TimedTick {
  tick: TickInput;
  atMs: number;
}

/** The start of a capture's batch ids: which file, cut into batches of which size. */
export function defaultBatchPrefix(fingerprint: string, batchTicks: number): string {
  return `replay-${fingerprint.slice(0, FINGERPRINT_CHARS)}-${batchTicks}`;
}

/** Why `prefix` cannot begin a batch id, or `undefined` when it can. */
export function batchPrefixFault(prefix: string): string | undefined {
  // Room for the "-" and any number of batches that a double counts exactly.
  return isBatchId(`${prefix}-${Number.MAX_SAFE_INTEGER}`)
    ? undefined
    : `a batch id is ${BATCH_ID_RULE}, of which the running number needs the last 17`;
}

/**
 * Cuts `ticks`, which come in chunks of any size, into batches of at most `batchTicks` ticks and `bodyMaxBytes` bytes. A single tick is never split: one
 * that is larger by itself makes a batch by itself.
 */
export async function* cutBatches(
  ticks: AsyncIterable<readonly TimedTick[]>,
  prefix: string,
  batchTicks: number,
  bodyMaxBytes: number = BODY_MAX_BYTES,
): AsyncGenerator<Batch> {
  let lines: string[] = [];
  let bytes = 0;
  let dueMs = 0;
  let number = 0;
  const take = (): Batch => {
    const batch = { id: `${prefix}-${number}`, ticks: lines.length, body: Buffer.from(lines.join('')), dueMs };
    number += 1;
    lines = [];
    bytes = 0;
    return batch;
  };
  for await (const chunk of ticks) {
    for (const { tick, atMs } of chunk) {
      const line = `${JSON.stringify(tick)}\n`;
      const lineBytes = Buffer.byteLength(line);
      if (lines.length > 0 && bytes + lineBytes > bodyMaxBytes) yield take();
      lines.push(line);
      bytes += lineBytes;
      // Recorders' clocks step back at times; a batch is not due before the one in front of it.
      dueMs = Math.max(dueMs, atMs);
      if (lines.length === batchTicks) yield take();
    }
  }
  if (lines.length > 0) yield take();
}
