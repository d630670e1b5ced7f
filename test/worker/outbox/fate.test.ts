/** Whose fault an answer is, and where the batch ends: the table of design and code, line by line. */

import { describe, expect, it } from 'vitest';
import { PROBLEMS, type ProblemName, problem } from '../../../pipeline/contract/answer.ts';
import {
  type Fate,
  fateOf,
  isForOutbox,
  RETRY_AFTER_DEFAULT_SECONDS,
  RETRY_AFTER_MAX_SECONDS,
} from '../../../worker/outbox/fate.ts';
import type { NoAnswer, RelayOutcome } from '../../../worker/relay.ts';

function answered(status: number, body: unknown, headers: Record<string, string> = {}): RelayOutcome {
  const bytes = new TextEncoder().encode(typeof body === 'string' ? body : JSON.stringify(body));
  return { ok: true, answer: { status, headers, body: bytes, level: 'ok', ticks: undefined } };
}

/** A new problem of the contract does not compile until it is decided here. */
const EXPECTED: Record<ProblemName, { kind: Fate['kind']; held: boolean }> = {
  unreadable: { kind: 'rejected', held: false },
  'bad-request': { kind: 'rejected', held: false },
  'batch-conflict': { kind: 'rejected', held: false },
  'too-large': { kind: 'rejected', held: false },
  'unsupported-type': { kind: 'rejected', held: false },
  'all-rejected': { kind: 'rejected', held: false },
  'over-budget': { kind: 'over_budget', held: false },
  backpressure: { kind: 'refused', held: true },
  draining: { kind: 'refused', held: true },
  'store-unavailable': { kind: 'refused', held: true },
  'no-room': { kind: 'refused', held: true },
  'cluster-unreachable': { kind: 'refused', held: true },
  // The edge's own; from anybody else a reason of the system's.
  'over-credit': { kind: 'refused', held: true },
  'too-many-requests': { kind: 'refused', held: true },
  internal: { kind: 'failed', held: true },
  'request-timeout': { kind: 'failed', held: true },
  // Of a pod these are about the edge, not about the batch: its secret, its address.
  unauthenticated: { kind: 'no_answer', held: true },
  forbidden: { kind: 'no_answer', held: true },
  'not-found': { kind: 'no_answer', held: true },
  'method-not-allowed': { kind: 'no_answer', held: true },
};

describe('a problem', () => {
  it.each(Object.keys(PROBLEMS) as ProblemName[])('%s ends where the table says', (name) => {
    const fate = fateOf(answered(PROBLEMS[name].status, problem(name, 'why')));
    expect({ kind: fate.kind, held: isForOutbox(fate) }).toEqual(EXPECTED[name]);
  });

  it('that rejects keeps its type, detail and rejections', () => {
    const rejected = [{ index: 0, reason: 'bad_time' as const, detail: 'ts is missing' }];
    const said = problem('all-rejected', 'none of 1 ticks is valid', { batch: 'b', rejected });
    expect(fateOf(answered(422, said))).toEqual({
      kind: 'rejected',
      problem: { type: said.type, title: said.title, status: 422, detail: said.detail, rejected },
    });
  });

  it('of a proxy counts by its status', () => {
    expect(fateOf(answered(503, '{}'))).toMatchObject({ kind: 'refused', why: 'status 503' });
    expect(fateOf(answered(429, 'slow down'))).toMatchObject({ kind: 'refused', why: 'status 429' });
    expect(fateOf(answered(502, '<h1>'))).toMatchObject({ kind: 'failed' });
    expect(fateOf(answered(413, '<h1>'))).toMatchObject({ kind: 'rejected', problem: { type: 'about:blank' } });
  });
});

describe('a 200', () => {
  const body = { batch: 'b', status: 'stored', stored: 1, duplicates: 0, rejected: [], ignoredFields: 2 };

  it('that says what was stored is stored', () => {
    const facts = { stored: 1, duplicates: 0, rejected: [], ignoredFields: 2 };
    expect(fateOf(answered(200, body))).toEqual({ kind: 'stored', facts });
  });

  it.each([
    ['of another status', { ...body, status: 'buffered' }],
    ['without counts', { ...body, stored: undefined }],
    ['with a negative count', { ...body, duplicates: -1 }],
    ['without rejections', { ...body, rejected: undefined }],
    ['that is no JSON', 'It works!'],
    ['that is null', 'null'],
  ])('%s is no pod, and the batch is kept', (_, wrong) => {
    const fate = fateOf(answered(200, wrong));
    expect(fate).toMatchObject({ kind: 'no_answer', why: 'not_a_pod', operator: true });
    expect(isForOutbox(fate)).toBe(true);
  });

  it('and nothing else is stored: a 202 is a promise of somebody else', () => {
    expect(fateOf(answered(202, body))).toMatchObject({ kind: 'no_answer', why: 'not_a_pod' });
  });
});

describe('no answer', () => {
  it.each<[NoAnswer['why'], boolean]>([
    ['unreachable', false],
    ['timeout', false],
    ['not_a_pod', true],
    ['refused_edge', true],
  ])('because of %s is held, and waits for an operator: %s', (why, operator) => {
    const fate = fateOf({ ok: false, why, detail: 'd' });
    expect(fate).toEqual({ kind: 'no_answer', why, detail: 'd', operator });
    expect(isForOutbox(fate)).toBe(true);
  });
});

describe('Retry-After', () => {
  it.each([
    ['7', 7],
    ['0', 1],
    ['999999', RETRY_AFTER_MAX_SECONDS],
    ['soon', RETRY_AFTER_DEFAULT_SECONDS],
    ['-1', RETRY_AFTER_DEFAULT_SECONDS],
    [undefined, RETRY_AFTER_DEFAULT_SECONDS],
  ])('of %s is %i seconds', (text, seconds) => {
    const headers: Record<string, string> = text === undefined ? {} : { 'retry-after': text };
    expect(fateOf(answered(503, problem('no-room', ''), headers))).toMatchObject({ retryAfterSeconds: seconds });
  });
});
