/**
 * What became of every tick of a replay, and the text that says so. Counts only what it is told; its size does
 * not grow with the number of ticks.
 */

import type { Level } from '../../pipeline/contract/level.ts';
import type { Batch } from './batches.ts';
import type { CaptureEvent } from './capture/capture.ts';
import type { DeliveryEnd } from './delivery.ts';
import type { Attempt } from './pusher.ts';

/** Names of kinds, reasons and problems kept apart; further ones share `other`. */
export const NAMES_MAX = 50;
export const NAME_MAX_CHARS = 120;

export type Counts = Record<string, number>;

/** Plain data: what `--json` prints. Ticks unless a name says otherwise. */
export interface Account {
  file: string;
  format: string;
  to: string;
  provider: string;
  end: DeliveryEnd['why'];
  /** What went wrong, when `end` is not `complete`. */
  trouble?: string;
  seed?: string;
  tradesRead: number;
  quotesRead: number;
  /** Messages that are neither trade nor quote, by kind. */
  notUnderstood: Counts;
  unreadableLines: number;
  /** The recorder's own frames and blank lines. */
  frames: number;
  notes: Counts;
  /** Ticks and batches that were sent at least once. */
  ticksSent: number;
  batchesSent: number;
  bytesSent: number;
  /** Attempts beyond each batch's first. */
  resends: number;
  stored: number;
  duplicates: number;
  /** Durable at the edge; their receipts tell the rest. */
  buffered: number;
  rejected: number;
  rejectedByReason: Counts;
  /** Ticks of batches that got another final answer than these. */
  failed: number;
  failedBatchesByProblem: Counts;
  /** The first failure in its own words. */
  failure?: string;
  /** Answers 429 and 503; each such batch was sent again. */
  refusalsByProblem: Counts;
  /** Attempts whose outcome was not told; each such batch was sent again. */
  unclearByReason: Counts;
  /** Read, and without a final answer at the end; `ticksUnsettled` of `batchesUnsettled` batches. */
  ticksUnsettled: number;
  batchesUnsettled: number;
  /** False when the capture was not read to its end. */
  readToEnd: boolean;
  /** Of the answers that settled a batch; 0 when there were none. */
  answerMs: { p50: number; p99: number; max: number };
  seconds: number;
  /** Settled ticks per second. */
  ticksPerSecond: number;
}

/** A replay's account while it is being made. */
export class AccountBook {
  lastLevel: Level = 'ok';
  readonly #startMs: number;
  readonly #nowMs: () => number;
  readonly #account: Omit<Account, 'answerMs' | 'seconds' | 'ticksPerSecond'>;
  readonly #answers = new Durations();

  constructor(about: { file: string; to: string; provider: string; seed?: string }, nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#startMs = nowMs();
    this.#account = {
      ...about,
      format: 'unknown',
      end: 'complete',
      tradesRead: 0,
      quotesRead: 0,
      notUnderstood: {},
      unreadableLines: 0,
      frames: 0,
      notes: {},
      ticksSent: 0,
      batchesSent: 0,
      bytesSent: 0,
      resends: 0,
      stored: 0,
      duplicates: 0,
      buffered: 0,
      rejected: 0,
      rejectedByReason: {},
      failed: 0,
      failedBatchesByProblem: {},
      refusalsByProblem: {},
      unclearByReason: {},
      ticksUnsettled: 0,
      batchesUnsettled: 0,
      readToEnd: false,
    };
  }

  addReading(event: CaptureEvent): void {
    const account = this.#account;
    switch (event.kind) {
      case 'tick':
        if (event.tick.type === 'quote') account.quotesRead += 1;
        else account.tradesRead += 1;
        if (event.note !== undefined) count(account.notes, event.note, 1);
        break;
      case 'not_understood':
        count(account.notUnderstood, event.name, 1);
        break;
      case 'unreadable':
        account.unreadableLines += 1;
        break;
      case 'frame':
        account.frames += 1;
        break;
      case 'format':
        account.format = event.name;
        break;
      case 'note':
        count(account.notes, event.note, 1);
        break;
    }
  }

  endOfCapture(): void {
    this.#account.readToEnd = true;
  }

  addAttempt(batch: Batch, attempt: Attempt, resend: boolean): void {
    const account = this.#account;
    if (attempt.level !== undefined) this.lastLevel = attempt.level;
    account.bytesSent += batch.body.length;
    if (resend) {
      account.resends += 1;
    } else {
      account.batchesSent += 1;
      account.ticksSent += batch.ticks;
    }
    const { outcome } = attempt;
    switch (outcome.kind) {
      case 'stored':
        account.stored += outcome.answer.stored;
        account.duplicates += outcome.answer.duplicates;
        this.#addRejected(outcome.answer.rejected);
        break;
      case 'buffered':
        account.buffered += batch.ticks;
        break;
      case 'failed':
        // 422: the batch did reach its end, tick by tick.
        if (outcome.rejected.length === batch.ticks) {
          this.#addRejected(outcome.rejected);
        } else {
          account.failed += batch.ticks;
          count(account.failedBatchesByProblem, outcome.problem, 1);
          account.failure ??= `${batch.id}: ${outcome.status} ${outcome.problem}: ${outcome.detail}`;
        }
        break;
      case 'refused':
        count(account.refusalsByProblem, `${outcome.status} ${outcome.problem}`, 1);
        return;
      case 'unclear':
        count(account.unclearByReason, outcome.why, 1);
        return;
    }
    this.#answers.add(attempt.answerMs);
  }

  addUnsettled(batch: Batch): void {
    this.#account.batchesUnsettled += 1;
    this.#account.ticksUnsettled += batch.ticks;
  }

  end(end: DeliveryEnd): void {
    this.#account.end = end.why;
    const trouble = troubleOf(end);
    if (trouble !== undefined) this.#account.trouble = trouble;
  }

  snapshot(): Account {
    const account = structuredClone(this.#account);
    const settled = account.stored + account.duplicates + account.buffered + account.rejected + account.failed;
    const seconds = (this.#nowMs() - this.#startMs) / 1000;
    return {
      ...account,
      answerMs: this.#answers.summary(),
      seconds,
      ticksPerSecond: seconds > 0 ? Math.round(settled / seconds) : 0,
    };
  }

  #addRejected(rejected: readonly { reason: string }[]): void {
    this.#account.rejected += rejected.length;
    for (const { reason } of rejected) count(this.#account.rejectedByReason, reason, 1);
  }
}

/** Whether every tick of the capture has an end that needs nobody: stored, duplicate, buffered or rejected by reason. */
export function succeeded(account: Account): boolean {
  return account.end === 'complete' && account.failed === 0 && account.batchesUnsettled === 0;
}

function troubleOf(end: DeliveryEnd): string | undefined {
  switch (end.why) {
    case 'complete':
      return undefined;
    case 'interrupted':
      return 'stopped before the end';
    case 'gave_up':
      return `gave up after ${end.afterMs / 1000} s in which no batch was settled`;
    case 'refused_outright':
      return `${end.problem}: ${end.detail}; every other batch would be answered the same`;
    case 'broken_off':
      return end.cause instanceof Error ? end.cause.message : String(end.cause);
  }
}

/** Names come from files and servers: long and many ones must not make the account so. */
function count(counts: Counts, name: string, by: number): void {
  const key = Object.hasOwn(counts, name) ? name : newKey(counts, name);
  counts[key] = (counts[key] ?? 0) + by;
}

function newKey(counts: Counts, name: string): string {
  const short = name.slice(0, NAME_MAX_CHARS).replaceAll(/\p{C}/gu, '?');
  const room = Object.hasOwn(counts, short) || Object.keys(counts).length < NAMES_MAX;
  return room && short !== '__proto__' ? short : 'other';
}

/** Each bucket ends 1 % above the one before: what a percentile may be off by. */
const BUCKET_GROWTH = 1.01;
const BUCKET_FIRST_MS = 0.01;
/** The last one ends at about 49 days. */
const BUCKETS = 2_700;

/** Durations by size, in a fixed number of buckets; percentiles are exact to 1 %, the maximum wholly. */
export class Durations {
  readonly #buckets = new Float64Array(BUCKETS);
  #count = 0;
  #maxMs = 0;

  add(ms: number): void {
    const bucket = Math.ceil(Math.log(Math.max(ms, BUCKET_FIRST_MS) / BUCKET_FIRST_MS) / Math.log(BUCKET_GROWTH));
    this.#buckets[Math.min(bucket, BUCKETS - 1)]! += 1;
    this.#count += 1;
    this.#maxMs = Math.max(this.#maxMs, ms);
  }

  summary(): { p50: number; p99: number; max: number } {
    return { p50: this.#percentile(0.5), p99: this.#percentile(0.99), max: this.#maxMs };
  }

  #percentile(share: number): number {
    let left = Math.ceil(this.#count * share);
    if (left === 0) return 0;
    let bucket = 0;
    while (left > this.#buckets[bucket]!) {
      left -= this.#buckets[bucket]!;
      bucket += 1;
    }
    return Math.min(BUCKET_FIRST_MS * BUCKET_GROWTH ** bucket, this.#maxMs);
  }
}

/** The account as text, a line for each thing that has something to say. */
export function accountText(account: Account): string {
  const lines = [
    `${account.file} (${account.format}) to ${account.to} as ${account.provider}`,
    row('read', `${ticks(account.tradesRead, 'trade')}, ${ticks(account.quotesRead, 'quote')}`),
  ];
  const add = (name: string, text: string): void => {
    if (text !== '') lines.push(row(name, text));
  };
  add('not understood', list(account.notUnderstood));
  if (account.unreadableLines > 0) add('unreadable', ticks(account.unreadableLines, 'line'));
  for (const [note, times] of Object.entries(account.notes)) add('note', `${number(times)} ${note}`);
  if (account.seed !== undefined) add('shuffled', `with seed ${account.seed}`);
  const seconds = account.seconds.toFixed(account.seconds < 10 ? 2 : 1);
  add(
    'sent',
    `${ticks(account.ticksSent, 'tick')} in ${ticks(account.batchesSent, 'batch', 'batches')}, ` +
      `${(account.bytesSent / 1e6).toFixed(1)} MB, ${seconds} s, ${number(account.ticksPerSecond)} ticks/s`,
  );
  lines.push(row('stored', number(account.stored)), row('duplicates', number(account.duplicates)));
  if (account.buffered > 0) add('buffered', `${number(account.buffered)} at the edge, to be stored`);
  lines.push(row('rejected', withList(account.rejected, account.rejectedByReason)));
  const refusals = sum(account.refusalsByProblem);
  lines.push(row('refused', withList(refusals, account.refusalsByProblem, ' times, and sent again')));
  add('no answer', unless0(sum(account.unclearByReason), account.unclearByReason, ' times, and sent again'));
  add('failed', unless0(account.failed, account.failedBatchesByProblem, ' ticks, in batches'));
  add('', account.failure ?? '');
  if (account.batchesUnsettled > 0) {
    const more = account.readToEnd ? '' : '; the rest of the capture was not read';
    add(
      'unsent',
      `${ticks(account.ticksUnsettled, 'tick')} in ${ticks(account.batchesUnsettled, 'batch', 'batches')} without a final answer${more}`,
    );
  }
  const { p50, p99, max } = account.answerMs;
  if (max > 0) add('answers', `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, max ${max.toFixed(1)} ms`);
  add('trouble', account.trouble ?? '');
  return `${lines.join('\n')}\n`;
}

/** One line for a terminal while it runs. */
export function progressText(account: Account, level: Level): string {
  const done = account.stored + account.duplicates + account.buffered;
  return (
    `${number(account.ticksSent)} ticks sent, ${number(account.stored)} stored, ${number(account.duplicates)} duplicates` +
    `${account.buffered > 0 ? `, ${number(account.buffered)} buffered` : ''}, level ${level}, ` +
    `${number(account.resends)} sent again, ` +
    `${number(account.seconds > 0 ? Math.round(done / account.seconds) : 0)}/s`
  );
}

const NAME_COLUMN_CHARS = 16;

function row(name: string, text: string): string {
  return `${name.padEnd(NAME_COLUMN_CHARS)}${text}`;
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

function ticks(value: number, one: string, many = `${one}s`): string {
  return `${number(value)} ${value === 1 ? one : many}`;
}

function list(counts: Counts): string {
  return Object.entries(counts)
    .map(([name, times]) => `${name} ${number(times)}`)
    .join(', ');
}

function withList(total: number, counts: Counts, what = ''): string {
  return total === 0 ? '0' : `${number(total)}${what}: ${list(counts)}`;
}

function unless0(total: number, counts: Counts, what: string): string {
  return total === 0 ? '' : withList(total, counts, what);
}

function sum(counts: Counts): number {
  return Object.values(counts).reduce((total, value) => total + value, 0);
}
