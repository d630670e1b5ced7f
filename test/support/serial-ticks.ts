/**
 * Ticks that can be told apart in a store whatever their identity became there: each has a price of its own, its
 * serial. And what the rows of a store say, held against what a sender was told.
 */

import { type LooseTick, quote, trade } from './pod-batch.ts';
import type { Row } from '../../deploy/local/postgres.ts';

export const SERIALS_PER_BATCH = 1_000;

/** Rows by provider and batch number, `ticks` without repeats; the same words for SQLite and PostgreSQL. */
export const ROWS_BY_BATCH = `
  SELECT provider, CAST(floor(serial / ${SERIALS_PER_BATCH}) AS integer) AS number,
         count(*) AS rows, count(DISTINCT serial) AS ticks
  FROM (SELECT provider, price AS serial FROM trades UNION ALL SELECT provider, bid_price FROM quotes) AS all_ticks
  GROUP BY 1, 2`;

/** Batch number `number`, at most {@link SERIALS_PER_BATCH}: trades with an id, trades without, quotes. */
export function serialTicks(number: number, count: number, tsMs: number): LooseTick[] {
  return Array.from({ length: count }, (_, index) => {
    const id = `${number}-${String(index).padStart(3, '0')}`;
    const serial = number * SERIALS_PER_BATCH + index;
    if (index % 3 === 0) return trade({ tsMs, id, price: serial });
    return index % 3 === 1 ? trade({ tsMs, price: serial }) : quote({ tsMs, id, bidPrice: serial });
  });
}

/** All three in ticks. */
export interface Held {
  lost: number;
  twice: number;
  neverOffered: number;
}

/** Holds {@link ROWS_BY_BATCH} against what was acknowledged; what is open may be there or not. */
export function compareRows(
  rows: readonly Row[],
  acknowledged: readonly { number: number; provider: string; ticks: number }[],
  isOpen: (number: number) => boolean,
): Held {
  const found = new Map(rows.map((row) => [Number(row['number']), row]));
  const known = new Set<number>();
  let lost = 0;
  for (const { number, provider, ticks } of acknowledged) {
    const row = found.get(number);
    lost += ticks - (row?.['provider'] === provider ? Number(row['ticks']) : 0);
    known.add(number);
  }
  const twice = rows.reduce((sum, row) => sum + Number(row['rows']) - Number(row['ticks']), 0);
  const others = rows.filter(({ number }) => !known.has(Number(number)) && !isOpen(Number(number)));
  return { lost, twice, neverOffered: others.reduce((sum, row) => sum + Number(row['rows']), 0) };
}
