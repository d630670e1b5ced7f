/**
 * Receipts: what became of one batch, in a size that fits a row. Pure.
 */

import type { Rejection } from '../../pipeline/contract/answer.ts';
import type { DeadCause, DeadReceipt, StoredReceipt } from './calls.ts';
import type { StoredFacts } from './fate.ts';

/** About a hundred rejections with long details; 200,000 such receipts are 3.1 GiB. */
export const REJECTIONS_MAX_CHARS = 16 * 1024;

/** The receipt of what a pod has stored. */
export function storedReceipt(batch: string, { rejected, ...counts }: StoredFacts): StoredReceipt {
  return { batch, status: rejected.length === 0 ? 'stored' : 'partly_rejected', ...counts, ...shortened(rejected) };
}

export function deadReceipt(batch: string, { reason, detail, rejected }: DeadCause, nowMs: number): DeadReceipt {
  const at = new Date(nowMs).toISOString();
  return { batch, status: 'dead', reason, detail, ...(rejected === undefined ? {} : shortened(rejected)), at };
}

/** The first rejections, as many as fit, and how many are left out. */
function shortened(rejected: readonly Rejection[]): { rejected: Rejection[]; rejectedOmitted?: number } {
  const kept: Rejection[] = [];
  let chars = 0;
  for (const rejection of rejected) {
    chars += JSON.stringify(rejection).length;
    if (chars > REJECTIONS_MAX_CHARS) break;
    kept.push(rejection);
  }
  const omitted = rejected.length - kept.length;
  return omitted === 0 ? { rejected: kept } : { rejected: kept, rejectedOmitted: omitted };
}

export function ageSeconds(sinceMs: number, nowMs: number): number {
  return Math.max(0, Math.floor((nowMs - sinceMs) / 1000));
}
