/**
 * The ticks that benchmarks push: trades of eight symbols in time order with ids, sizes and prices as feeds have
 * them, and the same as request bodies. The same seed gives the same ticks.
 */

import { randomFrom } from '../support/random.ts';

export interface BenchTrade {
  symbol: string;
  tsNs: bigint;
  id: string;
  price: number;
  size: number;
  side: 'buy' | 'sell';
  venue: string;
}

const SYMBOLS = ['AAPL', 'MSFT', 'BTCUSDT', 'SPY', 'QQQ', 'IBM', 'AIG', 'TSLA'];
const START_NS = 1_763_908_200_000_000_000n;

export function benchTrades(count: number, seed: number): BenchTrade[] {
  const random = randomFrom(seed);
  let tsNs = START_NS - BigInt(seed) * 86_400_000_000_000n;
  return Array.from({ length: count }, (_, at) => {
    tsNs += BigInt(random.below(20_000));
    return {
      symbol: random.pick(SYMBOLS),
      tsNs,
      id: String(5_266_583_935 + at),
      price: random.between(18_000, 19_000) / 100,
      size: random.between(1, 500),
      side: random.chance(0.5) ? 'buy' : 'sell',
      venue: 'XNAS',
    };
  });
}

/** NDJSON bodies of `batchTicks` each. */
export function benchBodies(trades: readonly BenchTrade[], batchTicks: number): Buffer[] {
  const bodies: Buffer[] = [];
  for (let at = 0; at < trades.length; at += batchTicks) {
    bodies.push(
      Buffer.from(
        trades
          .slice(at, at + batchTicks)
          .map(line)
          .join('\n'),
      ),
    );
  }
  return bodies;
}

function line({ symbol, tsNs, id, price, size, side, venue }: BenchTrade): string {
  const ts = new Date(Number(tsNs / 1_000_000n)).toISOString().slice(0, 19);
  const nanos = String(tsNs % 1_000_000_000n).padStart(9, '0');
  return (
    `{"type":"trade","symbol":"${symbol}","ts":"${ts}.${nanos}Z","id":"${id}","price":"${price.toFixed(2)}",` +
    `"size":"${size}","side":"${side}","venue":"${venue}"}`
  );
}
