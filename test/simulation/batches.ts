/**
 * What providers send, and what has to become of it: made from chance alone, without a line of the code under test, so
 * that the two can disagree.
 */

import { gzipSync } from 'node:zlib';
import type { Random } from '../support/random.ts';
import { POISON_SYMBOL, tickKey, tickValues } from './database.ts';

/** All ticks are older than that; no clock here is so far behind that they were in its future. */
export const TICKS_MS = Date.parse('2026-11-23T13:00:00Z');
const SYMBOLS = ['AAPL', 'EUR/USD'];

export interface SentTick {
  line: string;
  /** Invalid by the contract. */
  isBad: boolean;
  /** The store refuses it for as long as it refuses poison. */
  isPoison: boolean;
  /** How it is to be found in the store, under this batch id. */
  key: (batchId: string) => string;
  values: string;
}

export interface SentBatch {
  provider: string;
  /** Undefined: sent without one. */
  id: string | undefined;
  ticks: readonly SentTick[];
  contentType: string;
  contentEncoding: string | undefined;
  body: Uint8Array<ArrayBuffer>;
  /** Of the body, unpacked. */
  text: string;
}

export class BatchMaker {
  readonly #random: Random;
  readonly #hasPoison: boolean;
  #ids = 0;

  constructor(random: Random, hasPoison: boolean) {
    this.#random = random;
    this.#hasPoison = hasPoison;
  }

  batch(provider: string, ticksMax: number): SentBatch {
    this.#ids += 1;
    const ticks = Array.from({ length: this.#random.between(1, ticksMax) }, () => this.#tick(provider));
    return this.#packed(provider, `batch-${this.#ids}`, ticks);
  }

  /** Ticks that are known by ids of their own, which may so be sent in other batches. */
  batchOfIds(provider: string, ticksMax: number): SentBatch {
    this.#ids += 1;
    const ticks = Array.from({ length: this.#random.between(1, ticksMax) }, () => this.#good(provider, true));
    return this.#packed(provider, `batch-${this.#ids}`, ticks);
  }

  /** Another body under the same id. */
  usurper({ provider, id }: SentBatch, ticksMax: number): SentBatch {
    return { ...this.batchOfIds(provider, ticksMax), id };
  }

  /** The same ticks, cut into batches of other ids. */
  recut({ provider, ticks }: SentBatch): SentBatch[] {
    const cut = this.#random.between(1, ticks.length);
    return [ticks.slice(0, cut), ticks.slice(cut)]
      .filter((part) => part.length > 0)
      .map((part) => {
        this.#ids += 1;
        return this.#packed(provider, `batch-${this.#ids}`, part);
      });
  }

  nameless(batch: SentBatch): SentBatch {
    return { ...batch, id: undefined };
  }

  #packed(provider: string, id: string, ticks: readonly SentTick[]): SentBatch {
    const isArray = ticks.every(({ line }) => line.endsWith('}')) && this.#random.chance(0.2);
    const lines = ticks.map(({ line }) => line);
    const text = isArray ? `[${lines.join(',')}]` : `${lines.join('\n')}\n`;
    const isPacked = this.#random.chance(0.1);
    const bytes = new TextEncoder().encode(text);
    return {
      provider,
      id,
      ticks,
      contentType: isArray ? 'application/json' : 'application/x-ndjson',
      contentEncoding: isPacked ? 'gzip' : undefined,
      body: isPacked ? Uint8Array.from(gzipSync(bytes, { level: 1 })) : bytes,
      text,
    };
  }

  #tick(provider: string): SentTick {
    if (this.#random.chance(0.06)) return bad(this.#random.pick(BAD_LINES));
    return this.#good(provider, this.#random.chance(0.5));
  }

  #good(provider: string, hasId: boolean): SentTick {
    const random = this.#random;
    const isPoison = this.#hasPoison && random.chance(0.08);
    const symbol = isPoison ? POISON_SYMBOL : random.pick(SYMBOLS);
    // Few times, so that many ticks share one: a tick is not known by its time.
    const tsMs = TICKS_MS + random.below(3);
    const tsNs = BigInt(tsMs) * 1_000_000n;
    this.#ids += 1;
    const id = hasId ? String(this.#ids) : '';
    const given = { symbol, tsMs, ...(hasId ? { id } : {}) };
    const price = 1 + random.below(50) / 4;
    if (random.chance(0.3)) {
      const sides = { bidPrice: String(price), bidSize: '3', askPrice: null };
      const values = tickValues([price, 3, null, null]);
      return good('quote', provider, { type: 'quote', ...given, ...sides }, { id, tsNs, values, isPoison });
    }
    const side = random.pick(['buy', 'sell']);
    const values = tickValues([price, 7, side]);
    return good('trade', provider, { ...given, price: String(price), size: '7', side }, { id, tsNs, values, isPoison });
  }
}

const BAD_LINES = [
  '{"symbol":"AAPL","tsMs":1,"price":"0","size":"1"}',
  '{"symbol":"AAPL","price":"1","size":"1"}',
  '{"symbol":"AAPL","tsMs":1,"price":"1","size":"1"',
];

function bad(line: string): SentTick {
  return { line, isBad: true, isPoison: false, key: () => '', values: '' };
}

function good(
  kind: 'trade' | 'quote',
  provider: string,
  given: { symbol: string } & Record<string, unknown>,
  { id, tsNs, values, isPoison }: { id: string; tsNs: bigint; values: string; isPoison: boolean },
): SentTick {
  const line = JSON.stringify(given);
  const places = { line, isBad: false, isPoison, values };
  // Without an id of its own its place in the batch is one; the oracle then gives the place with the batch.
  return { ...places, key: (batchId) => tickKey(kind, provider, given.symbol, tsNs, id === '' ? `~${batchId}` : id) };
}

/** How the tick at `index` of a batch is to be found in the store. */
export function keyOf(tick: SentTick, batchId: string, index: number): string {
  return tick.key(`${batchId}/${index}`);
}
