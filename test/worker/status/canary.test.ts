/** The canary tick: what is sent, and what each way of ending means. And who may be named in public. */

import { describe, expect, it } from 'vitest';
import { type ProblemName, problem, PROBLEMS } from '../../../pipeline/contract/answer.ts';
import { decodeBatch, BATCH_MAX_TICKS } from '../../../pipeline/contract/batch.ts';
import { defaultRules } from '../../../pipeline/contract/decode.ts';
import { isBatchId, isProvider } from '../../../pipeline/contract/identity.ts';
import type { RelayOutcome } from '../../../worker/relay.ts';
import { CANARY_PROVIDER, canaryBatch, canaryOutcome } from '../../../worker/status/canary.ts';
import { clusterCheck } from '../../../worker/status/cluster-check.ts';
import { NOBODY, parsePublication, publicationOf, shownProviders } from '../../../worker/status/publication.ts';
import { NOW_MS } from '../../support/status-models.ts';

function answered(status: number, body: string): RelayOutcome {
  return { ok: true, answer: { status, headers: {}, body: new Uint8Array(Buffer.from(body)), level: 'ok', ticks: 1 } };
}

function refused(name: ProblemName): RelayOutcome {
  return answered(PROBLEMS[name].status, JSON.stringify(problem(name, 'x')));
}

describe('the canary', () => {
  it('is a batch that a pod can store, under names that the contract allows', () => {
    const { batch, body } = canaryBatch(NOW_MS, 30_000);
    expect(isProvider(CANARY_PROVIDER)).toBe(true);
    expect(isBatchId(batch)).toBe(true);
    const decoded = decodeBatch(new Uint8Array(Buffer.from(body)), 'ndjson', BATCH_MAX_TICKS, defaultRules(NOW_MS));
    expect(decoded).toMatchObject({ ok: true, batch: { rejected: [] } });
  });

  it('is the same one, byte for byte, for all of its half minute, and another one after it', () => {
    const first = canaryBatch(NOW_MS - (NOW_MS % 30_000), 30_000);
    expect(canaryBatch(NOW_MS - (NOW_MS % 30_000) + 29_999, 30_000)).toEqual(first);
    expect(canaryBatch(NOW_MS - (NOW_MS % 30_000) + 30_000, 30_000).batch).not.toBe(first.batch);
  });

  it.each([
    ['stored', answered(200, '{}')],
    ['no_store', refused('store-unavailable')],
    ['held_back', refused('backpressure')],
    ['held_back', refused('over-budget')],
    ['held_back', refused('no-room')],
    ['held_back', refused('draining')],
    ['rejected', refused('all-rejected')],
    ['rejected', refused('batch-conflict')],
    ['rejected', refused('internal')],
    ['rejected', answered(500, 'no JSON')],
    ['rejected', answered(500, 'null')],
    ['late', { ok: false, why: 'timeout', detail: 'x' }],
    ['no_cluster', { ok: false, why: 'unreachable', detail: 'x' }],
    ['no_cluster', { ok: false, why: 'not_a_pod', detail: 'x' }],
    ['refused_edge', { ok: false, why: 'refused_edge', detail: 'x' }],
  ] satisfies [string, RelayOutcome][])('ended %s', (outcome, relayed) => {
    expect(canaryOutcome(relayed)).toBe(outcome);
  });
});

describe('a look at the cluster', () => {
  it('takes what a pod says, and nothing for granted', () => {
    const json = { phase: 'draining', queue: { depthTicks: 7 }, store: { open: false } };
    expect(clusterCheck({ ok: true, json, level: 'soft' }, 5)).toEqual({
      atMs: 5,
      reachable: true,
      why: null,
      level: 'soft',
      draining: true,
      storeOpen: false,
      depthTicks: 7,
    });
    const strange = { phase: 1, queue: [], store: { open: 'yes' } };
    expect(clusterCheck({ ok: true, json: strange, level: undefined }, 5)).toMatchObject({
      reachable: true,
      level: null,
      draining: false,
      storeOpen: null,
      depthTicks: null,
    });
    expect(clusterCheck({ ok: false, why: 'no status' }, 5)).toMatchObject({ reachable: false, why: 'no status' });
  });
});

describe('which providers the public may see', () => {
  it.each([
    [undefined, []],
    ['', []],
    ['["ibkr"]', ['ibkr']],
    ['["ibkr","never-heard-of"]', ['ibkr']],
    ['*', ['acme', 'ibkr']],
    ['"*"', ['acme', 'ibkr']],
  ])('with %j is as it should be, and never the canary', (text, shown) => {
    expect(shownProviders(parsePublication(text)!, ['ibkr', CANARY_PROVIDER, 'acme'])).toEqual(shown);
  });

  it.each(['ibkr', '{}', '[1]', '["No Name"]', 'null', `[${Array(21).fill('"a"').join()}]`])(
    'cannot be read from %s: nobody',
    (text) => {
      expect(parsePublication(text)).toBeUndefined();
      expect(publicationOf({ STATUS_PROVIDERS: text })).toEqual(NOBODY);
    },
  );

  it('is bounded', () => {
    expect(
      shownProviders(
        { all: true },
        Array.from({ length: 99 }, (_, at) => `p${at}`),
      ),
    ).toHaveLength(20);
  });
});
