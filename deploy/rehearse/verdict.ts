/**
 * What the sender made and was told, held against what is in the store: the account of a rehearsal. Waits for what the
 * edge still holds; sends nothing and changes nothing.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Account } from '../replay/account.ts';
import { BATCH_TICKS, type Load } from './load.ts';
import type { SharedStore, StoredBatch } from './store.ts';

const LOOK_INTERVAL_MS = 500;

export interface Verdict {
  madeTicks: number;
  /** Answered `stored` or `buffered`. */
  acknowledgedTicks: number;
  storedTicks: number;
  /** Acknowledged, and not in the store in the end. */
  lostTicks: number;
  /** Rows beyond one for each tick. */
  twiceTicks: number;
  attempts: number;
  /** Attempts that ended with a 5xx or without an answer. */
  failedAttempts: number;
  /** Of the sender, in the words of the replay. */
  account: Account;
  /** The store's ledger. */
  batches: readonly StoredBatch[];
}

/** Ends the load and waits up to `settleMaxMs` for all of it to be stored. */
export async function settle(load: Load, store: SharedStore, provider: string, settleMaxMs: number): Promise<Verdict> {
  const account = await load.end();
  const deadlineMs = performance.now() + settleMaxMs;
  let batches = await store.batches(provider);
  while (batches.length < load.made.size && performance.now() < deadlineMs) {
    await sleep(LOOK_INTERVAL_MS);
    batches = await store.batches(provider);
  }
  const { rows, ids } = await store.trades(provider, load.madeTicks);
  const inLedger = new Set(batches.map(({ id }) => id));
  const lostBatches = [...load.acknowledged].filter((id) => !inLedger.has(id)).length;
  // All was acknowledged: then a row that is missing is lost too, whatever the ledger has.
  const missingRows = load.acknowledged.size === load.made.size ? load.madeTicks - ids : 0;
  return {
    madeTicks: load.madeTicks,
    acknowledgedTicks: load.acknowledged.size * BATCH_TICKS,
    storedTicks: rows,
    lostTicks: Math.max(lostBatches * BATCH_TICKS, missingRows),
    twiceTicks: rows - ids,
    attempts: load.attempts,
    failedAttempts: load.failedAttempts,
    account,
    batches,
  };
}

export function verdictText(verdict: Verdict): string {
  const { madeTicks, acknowledgedTicks, storedTicks, lostTicks, twiceTicks, account } = verdict;
  const answers = `${whole(account.stored)} answered stored, ${whole(account.buffered)} buffered by the edge`;
  const { p50, p99, max } = account.answerMs;
  return [
    `made            ${whole(madeTicks)} ticks; ${whole(acknowledgedTicks)} acknowledged: ${answers}`,
    `in the store    ${whole(storedTicks)} rows; lost ${whole(lostTicks)}, stored twice ${whole(twiceTicks)}`,
    `attempts        ${whole(verdict.attempts)}; 5xx or no answer ${whole(verdict.failedAttempts)} (${failedShareText(verdict)})`,
    `answers         p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, max ${max.toFixed(0)} ms`,
    '',
  ].join('\n');
}

/** Nothing that was acknowledged is missing, nothing is there twice, and all that was made is acknowledged. */
export function isWhole({ madeTicks, acknowledgedTicks, storedTicks, lostTicks, twiceTicks }: Verdict): boolean {
  return lostTicks === 0 && twiceTicks === 0 && acknowledgedTicks === madeTicks && storedTicks === madeTicks;
}

export function failedShare({ attempts, failedAttempts }: Verdict): number {
  return attempts === 0 ? 0 : failedAttempts / attempts;
}

function failedShareText(verdict: Verdict): string {
  return `${(100 * failedShare(verdict)).toFixed(3)} %`;
}

function whole(value: number): string {
  return value.toLocaleString('en-US');
}
