/**
 * Finds the ticks of one batch that the store will not take, by rehearsing halves of it, and makes the batch that
 * it should take: without them, and with them as rejected. Pure but for the rehearsals.
 */

import type { Rejection } from '../contract/answer.ts';
import { columnsWhere, placesOf } from '../contract/columns.ts';
import { packTicks, unpackTicks } from '../contract/tick-bytes.ts';
import type { Delivery, StoreBatch } from '../queue/delivery.ts';
import type { WriteOutcome } from './store.ts';

/**
 * One bad tick among 10,000 takes some 27 rehearsals. A batch that is bad throughout takes more than its sender would
 * wait for: what is not proven good by then is set aside too, and can be replayed.
 */
export const REHEARSALS_MAX = 400;

export type Isolated =
  /** `why`: the store's words for one of them, for the log alone. */
  | { ok: true; batch: StoreBatch; unstorableTicks: number; why: string }
  /** The store could not be asked. */
  | { ok: false; detail: string };

export async function isolate(
  delivery: Delivery,
  rehearse: (batch: StoreBatch) => Promise<WriteOutcome>,
): Promise<Isolated> {
  const { batch } = delivery;
  const bad = new Set<number>();
  let why = '';
  const ranges: (readonly number[])[] = [placesOf(batch.columns)];
  for (let rehearsals = 0; ranges.length > 0; rehearsals += 1) {
    const places = ranges.pop()!;
    if (rehearsals >= REHEARSALS_MAX) {
      for (const place of places) bad.add(place);
      continue;
    }
    const outcome = await rehearse(only(batch, places));
    if (outcome.ok) continue;
    if (outcome.kind !== 'data') return { ok: false, detail: outcome.detail };
    if (places.length === 1) {
      bad.add(places[0]!);
      why = outcome.detail;
      continue;
    }
    const half = places.length >> 1;
    ranges.push(places.slice(half), places.slice(0, half));
  }
  return { ok: true, batch: without(delivery, bad), unstorableTicks: bad.size, why };
}

/** The batch with every tick of it set aside. */
export function setAside(delivery: Delivery): StoreBatch {
  return without(delivery, new Set(placesOf(delivery.batch.columns)));
}

/** The batch as if it held the ticks at `places` alone. */
function only(batch: StoreBatch, places: readonly number[]): StoreBatch {
  const wanted = new Set(places);
  const columns = columnsWhere(batch.columns, (place) => wanted.has(place));
  return { ...batch, ticks: places.length, columns, rejected: [], rejectedBytes: packTicks([]) };
}

function without(delivery: Delivery, bad: ReadonlySet<number>): StoreBatch {
  const { batch } = delivery;
  const columns = columnsWhere(batch.columns, (place) => !bad.has(place));
  const unstorable: Rejection[] = [...bad]
    .sort((left, right) => left - right)
    .map((index) => ({ index, reason: 'unstorable', detail: 'the store does not take this tick; it is kept aside' }));
  const bytes = delivery.bytesOf(bad);
  const rejectedBytes = unpackTicks(batch.rejectedBytes);
  const all = [
    ...batch.rejected.map((rejection, at) => ({ rejection, bytes: rejectedBytes[at]! })),
    ...unstorable.map((rejection, at) => ({ rejection, bytes: bytes[at]! })),
  ].sort((left, right) => left.rejection.index - right.rejection.index);
  return {
    ...batch,
    columns,
    rejected: all.map(({ rejection }) => rejection),
    rejectedBytes: packTicks(all.map((one) => one.bytes)),
  };
}
