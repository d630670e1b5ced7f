/**
 * What the routes ask of an outbox, and which outbox they ask: the calls of one Durable Object, as plain data. Both
 * sides know this file; it knows neither.
 */

import type { Problem, Rejection } from '../../pipeline/contract/answer.ts';

/** A batch as the edge accepts it. */
export interface OfferedBatch {
  provider: string;
  batch: string;
  /** The edge made the id up. */
  batchIdMade: boolean;
  contentType: string;
  encoding: 'gzip' | null;
  body: Uint8Array<ArrayBuffer>;
  /** SHA-256 of the unpacked body. */
  bodyHash: Uint8Array<ArrayBuffer>;
  ticks: number;
  /** When the edge had read it. */
  arrivedMs: number;
  /** The cluster should be left alone for so long. */
  waitMs: number;
  /** Its sender has been told that it is held. */
  promised: boolean;
}

export type OfferOutcome =
  /** Durable by the time that the caller hears of it; also when it was before. */
  | { kind: 'buffered' }
  | { kind: 'stored'; receipt: StoredReceipt }
  /** This id is another body's. One that was promised is now a dead letter. */
  | { kind: 'conflict' }
  | { kind: 'full'; detail: string };

/** Rejections of a batch of which some were stored; cut to what a receipt may hold. */
export interface StoredReceipt {
  batch: string;
  /** `rejected`: all of it, which its sender was told at once. */
  status: 'stored' | 'partly_rejected' | 'rejected';
  stored: number;
  duplicates: number;
  ignoredFields?: number;
  rejected: Rejection[];
  /** Rejections that this receipt has no room for; the cluster's own names them all. */
  rejectedOmitted?: number;
}

export interface DeadReceipt {
  batch: string;
  status: 'dead';
  reason: string;
  detail: string;
  rejected?: Rejection[];
  rejectedOmitted?: number;
  /** RFC 3339. */
  at: string;
}

export type SettledReceipt = StoredReceipt | DeadReceipt;

export interface BufferedReceipt {
  batch: string;
  status: 'buffered';
  /** Batches of this provider that were accepted before it and are still held. */
  position: number;
  ageSeconds: number;
  attempts: number;
}

export type Receipt = BufferedReceipt | SettledReceipt;

/** One dead batch, without its body. */
export interface DeadLetter {
  /** For the next page: rises with each batch. */
  cursor: number;
  batch: string;
  reason: string;
  detail: string;
  /** When it was set aside, RFC 3339. */
  at: string;
  arrivedAt: string;
  bytes: number;
  ticks: number;
}

export interface DeadBody {
  body: Uint8Array<ArrayBuffer>;
  encoding: 'gzip' | null;
  contentType: string;
}

/** What an outbox holds now. */
export interface OutboxTotals {
  batches: number;
  ticks: number;
  bytes: number;
  /** When the oldest one arrived, or null when there is none. */
  oldestMs: number | null;
}

/** Why a batch is dead: a problem's name, or `expired`. */
export interface DeadCause {
  reason: string;
  detail: string;
  rejected?: Problem['rejected'];
}

export interface OutboxCalls {
  offer(offered: OfferedBatch): Promise<OfferOutcome>;
  receipt(batch: string): Promise<Receipt | undefined>;
  deadLetters(limit: number, beforeCursor: number | undefined): Promise<DeadLetter[]>;
  deadBody(batch: string): Promise<DeadBody | undefined>;
  totals(): Promise<OutboxTotals>;
}

/** Where a batch's receipt is, at the edge. */
export function receiptPath(provider: string, batch: string): string {
  return `/v1/receipts/${provider}/${encodeURIComponent(batch)}`;
}

/** The part of a Durable Object namespace that is used. */
export interface OutboxNamespace {
  getByName(name: string): OutboxCalls;
}

/** The `OUTBOX` binding, or `undefined` where the edge runs without one: then it holds nothing. */
export function outboxOf(env: object): OutboxNamespace | undefined {
  const binding = (env as Record<string, unknown>)['OUTBOX'] as OutboxNamespace | undefined;
  return typeof binding?.getByName === 'function' ? binding : undefined;
}

/**
 * The name of the object that holds a batch: one for each provider, about 1,000 batches a second. More would be
 * `provider/N`, N from a hash of the batch id: an id then always meets the same object, and with it its own conflict
 * and its receipt; only lists and totals would have to ask all N.
 */
export function outboxName(provider: string, _batch?: string): string {
  return provider;
}
