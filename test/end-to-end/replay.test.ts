/**
 * Real captures through a real edge into a real pod: the exact number of rows, whatever is sent again, in which
 * order and cut how. Identity is the primary key's work when batches are cut differently, the ledger's when not.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Account, succeeded } from '../../deploy/replay/account.ts';
import { replay, type ReplayOptions } from '../../deploy/replay/replay.ts';
import { captureFile, NEEDS, noCaptures } from '../replay/captures.ts';
import { EDGE_HOLDS_NOTHING, RunningSystem } from '../support/running-system.ts';

const FUTURES = captureFile('binance-usdm-btcusdt-20240808.gz');
const FUTURES_TRADES = 21_313;
const FUTURES_QUOTES = 66_089;
const FUTURES_TICKS = FUTURES_TRADES + FUTURES_QUOTES;
const SPOT = captureFile('binance-spot-btcusdt-20240808.gz');
const SPOT_TRADES = 9_757;
const AIG = captureFile('us-equity-aig-20131007-trade.zip');
const AIG_TRADES = 25_351;
const IBM = captureFile('us-equity-ibm-20131007-quote.zip');
const IBM_QUOTES = 109_067;

/** A busy machine replays the largest of them in a fifth of this. */
const REPLAY_TIMEOUT_MS = 60_000;

describe.skipIf(noCaptures)(`a capture pushed through the edge${NEEDS}`, { timeout: REPLAY_TIMEOUT_MS }, () => {
  let system: RunningSystem;

  beforeAll(async () => {
    system = await RunningSystem.start(['futures', 'spot', 'aig', 'ibm'], {}, EDGE_HOLDS_NOTHING);
  });
  afterAll(async () => {
    await system?.[Symbol.asyncDispose]();
  });

  async function push(provider: string, file: string, more: Partial<ReplayOptions> = {}): Promise<Account> {
    const credential = system.credential(provider);
    const account = await replay({ file, to: system.edge.url, provider, credential, ...more });
    expect(account, JSON.stringify(account)).toSatisfy(succeeded);
    expect(account).toMatchObject({ rejected: 0, unreadableLines: 0, readToEnd: true });
    return account;
  }

  function rows(provider: string): { trades: number; quotes: number } {
    using store = system.openStore();
    return store.counts(provider);
  }

  test('of futures leaves exactly 21,313 trades and 66,089 quotes in the store', async () => {
    const account = await push('futures', FUTURES);
    expect(account).toMatchObject({ stored: FUTURES_TICKS, duplicates: 0 });
    expect(rows('futures')).toEqual({ trades: FUTURES_TRADES, quotes: FUTURES_QUOTES });
  });

  test('of futures, four times more at once, three of them shuffled and cut differently, changes nothing', async () => {
    const accounts = await Promise.all([
      push('futures', FUTURES, { shuffleSeed: 'one', batchPrefix: 'again-1', batchTicks: 700 }),
      push('futures', FUTURES, { shuffleSeed: 'two', batchPrefix: 'again-2', batchTicks: 1_300 }),
      push('futures', FUTURES, { shuffleSeed: 'three', batchPrefix: 'again-3', batchTicks: 333, gzip: true }),
      push('futures', FUTURES),
    ]);
    const [ledger, ...cutDifferently] = accounts.toReversed();
    for (const account of cutDifferently) expect(account).toMatchObject({ stored: 0, duplicates: FUTURES_TICKS });
    // The ledger gives the first answer again, so for its sender the ticks are stored.
    expect(ledger).toMatchObject({ stored: FUTURES_TICKS, duplicates: 0 });
    expect(rows('futures')).toEqual({ trades: FUTURES_TRADES, quotes: FUTURES_QUOTES });
  });

  test('of spot leaves exactly 9,757 trades in the store', async () => {
    const account = await push('spot', SPOT);
    expect(account.tradesRead).toBe(SPOT_TRADES);
    expect(rows('spot')).toEqual({ trades: SPOT_TRADES, quotes: account.quotesRead });
  });

  test('of AIG’s day, pushed twice with the same batch ids, leaves exactly 25,351 rows of trades without ids', async () => {
    await push('aig', AIG);
    expect(rows('aig')).toEqual({ trades: AIG_TRADES, quotes: 0 });
    await push('aig', AIG, { shuffleSeed: 'aig' });
    expect(rows('aig')).toEqual({ trades: AIG_TRADES, quotes: 0 });
  });

  test('of IBM’s day leaves exactly 109,067 one-sided quotes in the store', async () => {
    await push('ibm', IBM, { batchTicks: 2_000 });
    expect(rows('ibm')).toEqual({ trades: 0, quotes: IBM_QUOTES });
  });

  test('leaves the books of each provider balanced, nothing in flight, and no complaint in the log', async () => {
    const { providers, queue } = await system.status();
    expect(queue.depthTicks).toBe(0);
    for (const [name, books] of Object.entries(providers)) {
      expect(books, name).toMatchObject({ residue: 0, inFlight: 0, rejected: 0 });
    }
    // What the pod counted is what the senders were told: only the ledger's repeats differ, which store nothing.
    expect(providers['futures']).toMatchObject({ stored: FUTURES_TICKS });
    expect(providers['futures']!.duplicate).toBeGreaterThanOrEqual(4 * FUTURES_TICKS);
    const residues = await system.metric('pipeline_balance_residue_ticks');
    expect(residues.length).toBeGreaterThanOrEqual(Object.keys(providers).length);
    expect(new Set(residues)).toEqual(new Set([0]));
    expect(system.complaints()).toEqual([]);
  });
});
