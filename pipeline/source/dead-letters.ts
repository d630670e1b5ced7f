/**
 * Dead letters of a provider: `GET /v1/dead-letters/{provider}` lists them, oldest first, and
 * `POST /v1/dead-letters/{provider}/replay` offers them to the store once more, under the identity that they would
 * have had; those that it takes are no dead letters any longer.
 */

import { problem, type Rejection } from '../contract/answer.ts';
import { decodeSingly } from '../contract/batch.ts';
import { packTicks, type TickBytes } from '../contract/tick-bytes.ts';
import type { TickRules } from '../contract/decode.ts';
import { isBatchId, isProvider } from '../contract/identity.ts';
import type { Receipt, StoreBatch } from '../queue/delivery.ts';
import { type Answer, type Handler, json, problemAnswer, storeAway } from './http.ts';

export const DEAD_LETTERS_LIMIT_DEFAULT = 100;
export const DEAD_LETTERS_LIMIT_MAX = 1_000;

interface Place {
  deadAtMs: number;
  batchId: string;
  index: number;
}

interface Letter extends Place, Rejection, TickBytes {
  pod: string;
}

interface Query {
  provider: string;
  batchId?: string | undefined;
  after?: Place | undefined;
  limit: number;
}

/** What this door asks of a store. */
export interface DeadLetterReader {
  readDeadLetters(query: Query): Promise<Letter[]>;
}

export interface DeadLetterStore extends DeadLetterReader {
  replay(
    batch: StoreBatch,
  ): Promise<
    | { ok: true; results: ({ outcome: 'stored'; receipt: Receipt } | { outcome: 'conflict' })[] }
    | { ok: false; kind: 'unavailable' | 'contention' | 'data'; detail: string }
  >;
}

export interface ReplayParts {
  store: DeadLetterStore;
  books: { offer(provider: string, ticks: number): { committed(receipt: Receipt, again: boolean): void } };
  rulesOf: (provider: string) => TickRules;
}

/** `?batch=`, `?after=` (the `next` of the page before), `?limit=`. 200; 400; 503 when the store cannot be asked. */
export function listDeadLetters(reader: DeadLetterReader): Handler {
  return async (_request, [provider = ''], url) => {
    const query = readQuery(provider, url);
    if ('status' in query) return query;
    let letters;
    try {
      letters = await reader.readDeadLetters(query);
    } catch {
      return storeAway();
    }
    return json(200, { deadLetters: letters.map(shown), next: nextOf(letters, query.limit) });
  };
}

/**
 * Takes the same query. 200 with what became of the letters: `stored`, `duplicates`, and those that stay, with the
 * reason of today; 400; 503 when the store did not take all that it was offered (again is harmless).
 */
export function replayDeadLetters({ store, books, rulesOf }: ReplayParts): Handler {
  return async (_request, [provider = ''], url) => {
    const query = readQuery(provider, url);
    if ('status' in query) return query;
    let letters;
    try {
      letters = await store.readDeadLetters(query);
    } catch {
      return storeAway();
    }
    let stored = 0;
    let duplicates = 0;
    const rejected: { batch: string; index: number; reason: string; detail: string }[] = [];
    // Together first; a batch of which the store will not have one is offered tick by tick.
    const offers = [...Map.groupBy(letters, ({ batchId }) => batchId).values()];
    for (let offer = offers.shift(); offer !== undefined; offer = offers.shift()) {
      const [{ batchId }] = offer as [Letter];
      const decoded = decodeSingly(offer, rulesOf(provider));
      for (const { index, reason, detail } of decoded.rejected)
        rejected.push({ batch: batchId, index, reason, detail });
      if (decoded.accepted === 0) continue;
      const outcome = await store.replay(replayed(provider, batchId, decoded));
      if (!outcome.ok && outcome.kind !== 'data') return storeAway();
      const result = outcome.ok ? outcome.results[0] : undefined;
      if (result?.outcome === 'stored') {
        books.offer(provider, decoded.accepted).committed(result.receipt, false);
        stored += result.receipt.stored;
        duplicates += result.receipt.duplicates;
      } else if (offer.length > 1) {
        const bad = new Set(decoded.rejected.map(({ index }) => index));
        offers.unshift(...offer.filter(({ index }) => !bad.has(index)).map((letter) => [letter]));
      } else {
        const detail = 'the store still does not take this tick';
        rejected.push({ batch: batchId, index: offer[0]!.index, reason: 'unstorable', detail });
      }
    }
    return json(200, { replayed: letters.length, stored, duplicates, rejected, next: nextOf(letters, query.limit) });
  };
}

function replayed(provider: string, batchId: string, decoded: ReturnType<typeof decodeSingly>): StoreBatch {
  const { accepted, columns, ignoredFields } = decoded;
  const bodyHash = new Uint8Array(0);
  const rejectedBytes = packTicks([]);
  return { provider, batchId, bodyHash, ticks: accepted, columns, rejected: [], rejectedBytes, ignoredFields };
}

function wrong(detail: string): Answer {
  return problemAnswer(problem('bad-request', detail));
}

function readQuery(provider: string, url: URL): Query | Answer {
  if (!isProvider(provider)) return wrong('this is no name of a provider');
  const { searchParams } = url;
  const limit = Number(searchParams.get('limit') ?? DEAD_LETTERS_LIMIT_DEFAULT);
  if (!Number.isInteger(limit) || limit < 1 || limit > DEAD_LETTERS_LIMIT_MAX) {
    return wrong(`limit must be an integer of 1 to ${DEAD_LETTERS_LIMIT_MAX}`);
  }
  const batchId = searchParams.get('batch') ?? undefined;
  if (batchId !== undefined && !isBatchId(batchId)) return wrong('batch is no batch id');
  const given = searchParams.get('after');
  const after = given === null ? undefined : placeOf(given);
  if (given !== null && after === undefined) return wrong('after must be the "next" of an earlier answer');
  return { provider, batchId, after, limit };
}

/** Where to go on; undefined: there are no more. */
function nextOf(letters: readonly Letter[], limit: number): string | undefined {
  const last = letters.at(-1);
  if (last === undefined || letters.length < limit) return undefined;
  return `${last.deadAtMs}.${last.index}.${last.batchId}`;
}

function placeOf(text: string): Place | undefined {
  const [, deadAtMs, index, batchId = ''] = /^(\d{1,15})\.(\d{1,5})\.(.+)$/.exec(text) ?? [];
  return isBatchId(batchId) ? { deadAtMs: Number(deadAtMs), index: Number(index), batchId } : undefined;
}

function shown({ batchId, index, reason, detail, bytes, sizeBytes, deadAtMs, pod }: Letter): Record<string, unknown> {
  return {
    batch: batchId,
    index,
    reason,
    detail,
    ...tickOf(bytes),
    sizeBytes,
    cut: bytes.length < sizeBytes || undefined,
    deadAt: new Date(deadAtMs).toISOString(),
    pod,
  };
}

/** As text where the bytes are text. */
function tickOf(bytes: Uint8Array): { tick: string } | { tickBase64: string } {
  try {
    return { tick: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return { tickBase64: Buffer.from(bytes).toString('base64') };
  }
}
