/**
 * A capture pushed as its provider would have pushed it: read, cut into batches, delivered, accounted for.
 * A library: prints nothing, reads no environment, ends no process.
 */

import { basename } from 'node:path';
import { type Account, AccountBook } from './account.ts';
import {
  type Batch,
  BATCH_TICKS_DEFAULT,
  BATCH_TICKS_MAX,
  batchPrefixFault,
  cutBatches,
  defaultBatchPrefix,
  type TimedTick,
} from './batches.ts';
import { captureFingerprint, readCapture } from './capture/capture.ts';
import { type Clock, deliver, IN_FLIGHT_DEFAULT, IN_FLIGHT_MAX, realClock } from './delivery.ts';
import { type Attempt, createPusher, type Credential, OptionError, type Pusher } from './pusher.ts';
import { shuffled } from './shuffle.ts';

/** A shuffled replay holds all of its bodies at once. */
export const SHUFFLE_MAX_BYTES = 1024 * 1024 * 1024;

export interface ReplayOptions {
  file: string;
  to: string;
  provider: string;
  credential: Credential;
  batchTicks?: number;
  /** Begins each batch id; without it, the ids follow from the file and `batchTicks`. */
  batchPrefix?: string;
  inFlightMax?: number;
  /** Times the captured pace, or as fast as the answers come. */
  speed?: number | 'max';
  /** Sends the batches in the order that this seed stands for; needs them all in memory. Not with a pace. */
  shuffleSeed?: string;
  gzip?: boolean;
  giveUpAfterMs?: number;
  requestTimeoutMs?: number;
  /** Stops it: nothing new is sent, what is in flight is waited for `stopWaitMs`. */
  stop?: AbortSignal;
  stopWaitMs?: number;
  clock?: Clock;
  random?: () => number;
  /** After every attempt, answered or not. */
  onAnswer?: (batch: Batch, attempt: Attempt) => void;
  /** Made by the caller when it wants to look at it on the way. */
  book?: AccountBook;
  /** In place of HTTP. */
  pusher?: Pusher;
}

/**
 * Replays one capture and answers its account; `succeeded(account)` says whether all of it arrived. Throws an
 * `OptionError` for options that cannot be, and nothing for what file, network or server do.
 */
export async function replay(options: ReplayOptions): Promise<Account> {
  const { batchTicks = BATCH_TICKS_DEFAULT, inFlightMax = IN_FLIGHT_DEFAULT, clock = realClock } = options;
  checkOptions(options, batchTicks, inFlightMax);
  const book = options.book ?? newBook(options, clock);
  const pusher = options.pusher ?? (await createPusher({ ...options, connections: inFlightMax }));
  const inOrder = batchesOf(options, batchTicks, book);
  const batches = options.shuffleSeed === undefined ? inOrder : inShuffledOrder(inOrder, options.shuffleSeed);
  try {
    const { end, unsettled } = await deliver(batches, {
      ...options,
      push: pusher.push,
      ...pace(options.speed, clock),
      onAttempt: (batch, attempt, resend) => {
        book.addAttempt(batch, attempt, resend);
        options.onAnswer?.(batch, attempt);
      },
    });
    for (const batch of unsettled) book.addUnsettled(batch);
    // Whoever gave up is told how much is missing; whoever was interrupted is not kept waiting for it.
    if (end.why === 'gave_up' || end.why === 'refused_outright') await countRest(batches, book);
    book.end(end);
    return book.snapshot();
  } finally {
    await batches.return(undefined);
    if (options.pusher === undefined) await pusher.close();
  }
}

/** An account for these options, not begun. */
export function newBook(
  options: Pick<ReplayOptions, 'file' | 'to' | 'provider' | 'shuffleSeed'>,
  clock: Clock = realClock,
): AccountBook {
  const { file, to, provider, shuffleSeed } = options;
  const about = { file: basename(file), to, provider };
  return new AccountBook(shuffleSeed === undefined ? about : { ...about, seed: shuffleSeed }, clock.nowMs);
}

function checkOptions(options: ReplayOptions, batchTicks: number, inFlightMax: number): void {
  const { speed = 'max', batchPrefix } = options;
  if (!isWhole(batchTicks, BATCH_TICKS_MAX)) throw new OptionError(`a batch has 1 to ${BATCH_TICKS_MAX} ticks`);
  if (!isWhole(inFlightMax, IN_FLIGHT_MAX)) throw new OptionError(`1 to ${IN_FLIGHT_MAX} requests may be in flight`);
  if (speed !== 'max' && !(speed > 0 && Number.isFinite(speed))) throw new OptionError('the speed is above 0, or max');
  if (speed !== 'max' && options.shuffleSeed !== undefined) {
    throw new OptionError('shuffled batches have no pace: shuffle only at speed max');
  }
  const fault = batchPrefix === undefined ? undefined : batchPrefixFault(batchPrefix);
  if (fault !== undefined) throw new OptionError(`the batch prefix does not fit: ${fault}`);
}

function isWhole(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= max;
}

/** The capture's batches in order; what is read on the way goes into `book`. */
async function* batchesOf(options: ReplayOptions, batchTicks: number, book: AccountBook): AsyncGenerator<Batch> {
  const { file, batchPrefix } = options;
  const prefix = batchPrefix ?? defaultBatchPrefix(await captureFingerprint(file), batchTicks);
  yield* cutBatches(ticksOf(file, book), prefix, batchTicks);
}

async function* ticksOf(file: string, book: AccountBook): AsyncGenerator<TimedTick[]> {
  for await (const events of readCapture(file)) {
    const ticks: TimedTick[] = [];
    for (const event of events) {
      book.addReading(event);
      if (event.kind === 'tick') ticks.push(event);
    }
    yield ticks;
  }
  book.endOfCapture();
}

async function* inShuffledOrder(batches: AsyncIterable<Batch>, seed: string): AsyncGenerator<Batch> {
  const all: Batch[] = [];
  let bytes = 0;
  for await (const batch of batches) {
    all.push(batch);
    bytes += batch.body.length;
    if (bytes > SHUFFLE_MAX_BYTES) throw new OptionError(`only ${SHUFFLE_MAX_BYTES} bytes of batches can be shuffled`);
  }
  yield* shuffled(all, seed);
}

/** When each batch is due: `speed` times as fast as it was captured, counted from the first. */
function pace(speed: number | 'max' = 'max', clock: Clock): { dueInMs?: (batch: Batch) => number } {
  if (speed === 'max') return {};
  let first: { dueMs: number; nowMs: number } | undefined;
  return {
    dueInMs: ({ dueMs }) => {
      const nowMs = clock.nowMs();
      first ??= { dueMs, nowMs };
      return first.nowMs + (dueMs - first.dueMs) / speed - nowMs;
    },
  };
}

/** Reads on without sending. A capture that breaks off here has told enough. */
async function countRest(batches: AsyncIterable<Batch>, book: AccountBook): Promise<void> {
  try {
    for await (const batch of batches) book.addUnsettled(batch);
  } catch {
    // `readToEnd` stays false, which the account tells
  }
}
