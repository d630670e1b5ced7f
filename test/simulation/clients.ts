/**
 * Providers at work: those who keep to the contract (the same batch under the same id until it is answered for good, and
 * not before Retry-After), and those who do not.
 */

import type { StoredAnswer } from '../../pipeline/contract/answer.ts';
import { retryDelayMs } from '../../deploy/replay/retry.ts';
import type { Outcome } from '../../deploy/replay/pusher.ts';
import type { Random } from '../support/random.ts';
import type { SentBatch } from './batches.ts';
import { authorization, type EdgeAnswer, type EdgeMachine } from './edge.ts';
import type { Network } from './network.ts';
import { type Oracle, Violation } from './oracle.ts';
import type { Scheduler } from './scheduler.ts';

/**
 * - `faithful`: as the contract says. `nameless`: too, but without a batch id.
 * - `hasty`: does not wait, and sends to two edges at once.
 * - `forgetful`: tries once. `repeating`: sends again what was answered, once at once and once much later.
 */
export type Manner = 'faithful' | 'nameless' | 'hasty' | 'forgetful' | 'repeating';

const REQUEST_TIMEOUT_MS = 25_000;
const HASTY_TRIES_MAX = 6;
const MUCH_LATER_MS = 200_000;

export interface ClientParts {
  scheduler: Scheduler;
  random: Random;
  network: Network;
  edges: readonly EdgeMachine[];
  oracle: Oracle;
  fail: (violation: Violation) => void;
}

/** Brings one batch to its end. Resolves when its sender has nothing more to do. */
export async function deliver(parts: ClientParts, batch: SentBatch, manner: Manner): Promise<void> {
  const { random } = parts;
  const send = (): Promise<Outcome> => attempt(parts, batch);
  if (manner === 'hasty') void send();
  for (let tries = 0; ; tries += 1) {
    const outcome = await send();
    const waitMs = retryDelayMs(outcome, tries, random.next());
    if (waitMs === undefined || manner === 'forgetful') break;
    await sleep(parts, manner === 'hasty' && tries < HASTY_TRIES_MAX ? random.next() * 300 : waitMs);
  }
  if (manner !== 'repeating') return;
  await send();
  await sleep(parts, random.next() * MUCH_LATER_MS);
  for (let tries = 0; ; tries += 1) {
    const waitMs = retryDelayMs(await send(), tries, random.next());
    if (waitMs === undefined) return;
    await sleep(parts, waitMs);
  }
}

function sleep({ scheduler }: ClientParts, ms: number): Promise<void> {
  return new Promise((resolve) => void scheduler.after(ms, resolve));
}

/** One request to one of the edges; what it says is the oracle's. */
export async function attempt(parts: ClientParts, batch: SentBatch): Promise<Outcome> {
  const { oracle, fail, scheduler } = parts;
  oracle.sending(batch);
  const answer = await post(parts, batch);
  scheduler.trace(`told ${answer?.status ?? 'nothing'} of ${batch.id}`);
  if (answer === undefined) return { kind: 'unclear', why: 'no answer' };
  const { status, headers } = answer;
  let json: Record<string, unknown> = {};
  try {
    json = JSON.parse(answer.text) as Record<string, unknown>;
    oracle.answered(batch, { status, json });
  } catch (cause) {
    fail(cause instanceof Violation ? cause : new Violation('unforeseen answer', `${status} ${answer.text}`));
  }
  if (status === 200) return { kind: 'stored', answer: json as unknown as StoredAnswer };
  if (status === 202) return { kind: 'buffered', receipt: headers.get('location') ?? undefined };
  if (status !== 429 && status !== 503) return { kind: 'failed', status, problem: '', detail: '', rejected: [] };
  const retryAfter = headers.get('retry-after');
  if (retryAfter === null) fail(new Violation('no Retry-After', `${status} ${answer.text}`));
  return { kind: 'refused', status, problem: '', retryAfterMs: Number(retryAfter) * 1000 };
}

function post({ scheduler, random, network, edges }: ClientParts, batch: SentBatch): Promise<EdgeAnswer | undefined> {
  const { promise, resolve } = Promise.withResolvers<EdgeAnswer | undefined>();
  const edge = random.pick(edges);
  const headers: Record<string, string> = { ...authorization(batch.provider), 'content-type': batch.contentType };
  if (batch.id !== undefined) headers['webhook-id'] = batch.id;
  if (batch.contentEncoding !== undefined) headers['content-encoding'] = batch.contentEncoding;
  const deadline = scheduler.after(REQUEST_TIMEOUT_MS, () => resolve(undefined));
  const told = (answer: EdgeAnswer | undefined): void => {
    deadline.run = undefined;
    resolve(answer);
  };
  network.pass(() => {
    edge.receive(`/v1/ticks/${batch.provider}`, { method: 'POST', headers, body: batch.body }, (answer) => {
      if (answer === undefined) network.passSurely(() => told(undefined));
      else network.pass(() => told(answer));
    });
  });
  return promise;
}
