/** Ticks, bodies and batches as a pod has them in its hands, for tests of its parts. */

import { createHash } from 'node:crypto';
import { BATCH_MAX_TICKS, decodeBatch } from '../../pipeline/contract/batch.ts';
import { type TickBytes } from '../../pipeline/contract/tick-bytes.ts';
import { defaultRules } from '../../pipeline/contract/decode.ts';
import { Delivery, type StoreBatch } from '../../pipeline/queue/delivery.ts';

export const NOW_MS = Date.parse('2026-11-23T14:30:00Z');

/** Members as the test wants them, wrong ones included; `undefined` leaves one out. */
export type LooseTick = Record<string, unknown>;

/** A valid trade without an id, changed as told. */
export function trade(change: LooseTick = {}): LooseTick {
  return { symbol: 'AAPL', tsMs: NOW_MS, price: '187.23', size: '100', ...change };
}

/** A valid quote without an id, changed as told. */
export function quote(change: LooseTick = {}): LooseTick {
  const sides = { bidPrice: '187.22', bidSize: '300', askPrice: '187.24', askSize: '100' };
  return { type: 'quote', symbol: 'AAPL', tsMs: NOW_MS, ...sides, ...change };
}

/** `count` trades with ids of their own, from `first` on. */
export function trades(count: number, first = 0): LooseTick[] {
  return Array.from({ length: count }, (_, at) => trade({ id: String(first + at) }));
}

export function lines(ticks: readonly LooseTick[]): string {
  return ticks.map((tick) => `${JSON.stringify(tick)}\n`).join('');
}

/** What the decoder makes of `ticks`; they are not checked to be valid. */
export function storeBatch(batchId: string, ticks: readonly LooseTick[], provider = 'ibkr'): StoreBatch {
  const body = new TextEncoder().encode(lines(ticks));
  const decoded = decodeBatch(body, 'ndjson', BATCH_MAX_TICKS, defaultRules(NOW_MS));
  if (!decoded.ok) throw new Error(decoded.detail);
  const { columns, rejected, rejectedBytes, ignoredFields } = decoded.batch;
  const bodyHash = new Uint8Array(createHash('sha256').update(body).digest());
  return { provider, batchId, bodyHash, ticks: decoded.batch.ticks, columns, rejected, rejectedBytes, ignoredFields };
}

/** Of the tick at each place. */
function bytesOf(indices: ReadonlySet<number>): TickBytes[] {
  return [...indices]
    .sort((left, right) => left - right)
    .map((index) => new TextEncoder().encode(`tick ${index}`))
    .map((bytes) => ({ bytes, sizeBytes: bytes.length }));
}

/** A delivery of `ticks` trades, whose sender waits for ever unless told. */
export function delivery(
  batchId: string,
  ticks: number,
  times: { offeredMs: number; deadlineMs: number } = { offeredMs: NOW_MS, deadlineMs: Number.POSITIVE_INFINITY },
): Delivery {
  const batch = storeBatch(batchId, trades(ticks));
  return new Delivery({ batch, bytes: ticks * 80, bytesOf, ...times });
}
