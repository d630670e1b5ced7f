/**
 * A synthetic provider for a first look: trades and quotes of a few symbols on random walks, in a steady flow
 * with bursts, with genuine repeats and with batches sent twice. The same seed makes the same ticks.
 */

import type { Batch } from '../replay/batches.ts';
import { deliver } from '../replay/delivery.ts';
import { createPusher, type Credential } from '../replay/pusher.ts';
import { seededRandom } from '../replay/shuffle.ts';
import type { TickInput } from '../../pipeline/contract/tick.ts';

const SYMBOLS = [
  { symbol: 'AAPL', price: 187.23, venue: 'XNAS' },
  { symbol: 'MSFT', price: 412.5, venue: 'XNAS' },
  { symbol: 'SPY', price: 512.08, venue: 'ARCX' },
  { symbol: 'BTCUSDT', price: 61_837.6, venue: 'BINANCE' },
];
const BATCH_INTERVAL_MS = 250;
const STEADY_TICKS = 250;
const BURST_TICKS = 2_000;
/** One batch in so many is a burst, is sent twice. */
const BURST_EVERY = 20;
const REPEAT_BATCH_EVERY = 10;
/** One trade in so many is followed by one that is the same in every field, and is genuine. */
const REPEAT_TRADE_EVERY = 50;

export interface DemoOptions {
  edgeUrl: string;
  credential: Credential;
  seed: number;
  stop: AbortSignal;
}

/** Pushes until `stop`; resolves when what was in flight has been answered. */
export async function runDemo({ edgeUrl, credential, seed, stop }: DemoOptions): Promise<void> {
  const pusher = await createPusher({ to: edgeUrl, provider: 'demo', credential, connections: 4 });
  try {
    await deliver(demoBatches(seed, Date.now, stop), { push: pusher.push, inFlightMax: 4, stop });
  } finally {
    await pusher.close();
  }
}

/** The provider's batches, one every quarter of a second by `nowMs`. */
export async function* demoBatches(seed: number, nowMs: () => number, stop: AbortSignal): AsyncGenerator<Batch> {
  const random = seededRandom(String(seed));
  const prices = SYMBOLS.map(({ price }) => price);
  const run = nowMs();
  for (let running = 0; !stop.aborted; running += 1) {
    const dueMs = run + running * BATCH_INTERVAL_MS;
    await sleepUntil(dueMs, nowMs, stop);
    const count = running % BURST_EVERY === BURST_EVERY - 1 ? BURST_TICKS : STEADY_TICKS;
    const ticks = demoTicks(count, dueMs, prices, random);
    const batch: Batch = {
      id: `demo-${seed}-${run}-${running}`,
      ticks: ticks.length,
      body: new TextEncoder().encode(ticks.map((tick) => JSON.stringify(tick)).join('\n')),
      dueMs,
    };
    yield batch;
    if (running % REPEAT_BATCH_EVERY === REPEAT_BATCH_EVERY - 1) yield batch;
  }
}

/** `count` ticks of the interval before `endMs`; moves `prices` along. */
export function demoTicks(count: number, endMs: number, prices: number[], random: () => number): TickInput[] {
  const ticks: TickInput[] = [];
  while (ticks.length < count) {
    const at = Math.floor(random() * SYMBOLS.length);
    const { symbol, venue } = SYMBOLS[at]!;
    prices[at]! *= 1 + (random() - 0.5) * 0.0002;
    const tsMs = Math.floor(endMs - BATCH_INTERVAL_MS + (ticks.length * BATCH_INTERVAL_MS) / count);
    const price = prices[at]!.toFixed(2);
    const size = String(1 + Math.floor(random() * 300));
    if (random() < 0.5) {
      const trade: TickInput = {
        type: 'trade',
        symbol,
        tsMs,
        price,
        size,
        side: random() < 0.5 ? 'buy' : 'sell',
        venue,
      };
      ticks.push(trade);
      if (random() < 1 / REPEAT_TRADE_EVERY) ticks.push(trade);
    } else {
      const askPrice = (prices[at]! + 0.01 + random() * 0.05).toFixed(2);
      ticks.push({ type: 'quote', symbol, tsMs, bidPrice: price, bidSize: size, askPrice, askSize: size, venue });
    }
  }
  return ticks.slice(0, count);
}

function sleepUntil(dueMs: number, nowMs: () => number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, Math.max(0, dueMs - nowMs()));
    stop.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
