/** What isolates see, count and tell the board, and what the board makes of it. */

import { describe, expect, it } from 'vitest';
import { BoardClient, STATUS_BOARD, StatusReporter } from '../../../worker/status/board-client.ts';
import { noFacts } from '../../../worker/status/facts.ts';
import { PACE } from '../../../worker/status/pace.ts';
import { EdgeTally, fateOf } from '../../../worker/status/tally.ts';
import {
  BUCKET_MS,
  type EdgeReport,
  NO_BATCHES,
  PROVIDERS_KEPT_MAX,
  ticksPerSecond,
  windowCounts,
  withReport,
} from '../../../worker/status/window.ts';
import { record } from '../../support/status-models.ts';

const START_MS = 1_000_000_000_000;

function report(ticks: number, provider = 'ibkr'): EdgeReport {
  return { counts: { ...NO_BATCHES, stored: 1, ticks }, providers: { [provider]: 'ok' } };
}

describe('the tally of an isolate', () => {
  it('counts batches by what their senders were told, and ticks once they were taken', () => {
    const tally = new EdgeTally();
    for (const fate of ['stored', 'buffered', 'refused', 'rejected'] as const) {
      tally.noteAnswer({ provider: 'ibkr', fate, ticks: 10 });
    }
    tally.noteFailure();
    expect(tally.take().counts).toEqual({ stored: 1, buffered: 1, refused: 1, rejected: 1, failed: 1, ticks: 20 });
    expect(tally.isEmpty).toBe(true);
  });

  it('keeps the last level of each provider, and as many providers as the edge can have', () => {
    const tally = new EdgeTally();
    tally.noteAnswer({ provider: 'p0', fate: 'stored', level: 'soft' });
    tally.noteAnswer({ provider: 'p0', fate: 'rejected' });
    for (let at = 0; at < 500; at += 1) tally.noteAnswer({ provider: `p${at}`, fate: 'stored' });
    const { providers } = tally.take();
    expect(providers['p0']).toBe('soft');
    expect(Object.keys(providers)).toHaveLength(PROVIDERS_KEPT_MAX);
  });

  it('loses nothing of a report that is put back', () => {
    const tally = new EdgeTally();
    tally.noteAnswer({ provider: 'a', fate: 'stored', ticks: 5, level: 'hard' });
    const first = tally.take();
    tally.noteAnswer({ provider: 'b', fate: 'refused', ticks: 7 });
    tally.putBack(first);
    expect(tally.take()).toEqual({
      counts: { ...NO_BATCHES, stored: 1, refused: 1, ticks: 5 },
      providers: { a: 'hard', b: null },
    });
  });
});

describe('the fate of a batch', () => {
  it.each([
    [200, false, 'stored'],
    [202, false, 'buffered'],
    [429, false, 'refused'],
    [429, true, 'rejected'],
    [500, false, 'refused'],
    [503, false, 'refused'],
    [400, false, 'rejected'],
    [401, false, 'rejected'],
    [409, false, 'rejected'],
    [422, false, 'rejected'],
  ])('that was answered with %i (over budget: %s) is %s', (status, overBudget, fate) => {
    expect(fateOf(status, overBudget)).toBe(fate);
  });
});

describe('the last minute', () => {
  it('is the sum of what was reported within it', () => {
    let facts = noFacts(START_MS);
    for (let ms = 0; ms < 600_000; ms += 1_000) facts = withReport(facts, report(100), START_MS + ms, PACE.windowMs);
    expect(facts.window.length).toBeLessThanOrEqual(PACE.windowMs / BUCKET_MS + 2);
    expect(ticksPerSecond(facts, START_MS + 599_000, PACE)).toBeGreaterThanOrEqual(100);
    expect(ticksPerSecond(facts, START_MS + 599_000, PACE)).toBeLessThan(110);
    expect(windowCounts(facts.window, START_MS + 700_000, PACE.windowMs)).toEqual(NO_BATCHES);
  });

  it('gives way to what the counter of arrivals says while that is fresh', () => {
    const load = { atMs: START_MS, ticksPerSecond: 7, outstandingTicks: 0, oldestAgeSeconds: 0 };
    const facts = { ...withReport(noFacts(START_MS), report(600), START_MS, PACE.windowMs), load };
    expect(ticksPerSecond(facts, START_MS + 1_000, PACE)).toBe(7);
    expect(ticksPerSecond({ ...facts, load: { ...load, atMs: START_MS - PACE.staleMs } }, START_MS, PACE)).toBe(10);
  });

  it('learns how often a provider sends, and does not take a night for that', () => {
    let facts = noFacts(START_MS);
    for (let at = 0; at < 60; at += 1) facts = withReport(facts, report(1), START_MS + at * 60_000, PACE.windowMs);
    expect(facts.providers['ibkr']!.usualGapMs).toBeCloseTo(60_000, -3);
    facts = withReport(facts, report(1), START_MS + 60 * 60_000 + 16 * 3_600_000, PACE.windowMs);
    expect(facts.providers['ibkr']!.usualGapMs).toBeLessThanOrEqual(60_000 + 0.2 * 600_000);
  });

  it('knows a bounded number of providers', () => {
    let facts = noFacts(START_MS);
    for (let at = 0; at < 300; at += 1) facts = withReport(facts, report(1, `p${at}`), START_MS, PACE.windowMs);
    expect(Object.keys(facts.providers)).toHaveLength(PROVIDERS_KEPT_MAX);
  });
});

/** A board that keeps reports, a clock that only waiting moves, and a request scope. */
function isolate() {
  const clock = { nowMs: START_MS };
  const reports: EdgeReport[] = [];
  const waits: { ms: number; end: () => void }[] = [];
  const pending: Promise<unknown>[] = [];
  const state = { away: false, calls: 0 };
  const board = {
    fetch: (url: string, init: RequestInit) => {
      state.calls += 1;
      if (state.away) return Promise.reject(new Error('overloaded'));
      if (!url.endsWith('/report')) return Promise.resolve(Response.json(record()));
      reports.push(JSON.parse(init.body as string) as EdgeReport);
      return Promise.resolve(new Response(null, { status: 204 }));
    },
  };
  const world = {
    nowMs: () => clock.nowMs,
    wait: (ms: number) => new Promise<void>((end) => waits.push({ ms, end })),
    log: () => {},
  };
  const client = new BoardClient(world);
  const env = { [STATUS_BOARD]: { getByName: () => board } };
  const scope = { env, waitUntil: (work: Promise<unknown>) => void pending.push(work) };
  return { clock, reports, waits, pending, state, client, env, scope, reporter: new StatusReporter(client, world) };
}

describe('an isolate', () => {
  it('tells the board of its first batch at once and then at most every five seconds, of all of them', async () => {
    const { clock, reports, waits, pending, scope, reporter } = isolate();
    reporter.noteAnswer(scope, { provider: 'ibkr', fate: 'stored', ticks: 1 });
    await Promise.all(pending);
    for (let at = 0; at < 1_000; at += 1) reporter.noteAnswer(scope, { provider: 'ibkr', fate: 'stored', ticks: 1 });
    expect(pending).toHaveLength(2);
    expect(waits.map(({ ms }) => ms)).toEqual([5_000]);
    clock.nowMs += 5_000;
    waits[0]!.end();
    await Promise.all(pending);
    expect(reports.map(({ counts }) => counts.ticks)).toEqual([1, 1_000]);
  });

  it('tells later what the board did not take', async () => {
    const { clock, reports, pending, scope, reporter, state } = isolate();
    state.away = true;
    reporter.noteFailure(scope);
    await Promise.all(pending);
    state.away = false;
    clock.nowMs += 5_000;
    reporter.noteAnswer(scope, { provider: 'ibkr', fate: 'buffered', ticks: 3 });
    await Promise.all(pending);
    expect(reports.map(({ counts }) => counts)).toEqual([{ ...NO_BATCHES, buffered: 1, failed: 1, ticks: 3 }]);
  });

  it('goes on telling when the request that was to do it has died', () => {
    const { clock, pending, scope, reporter } = isolate();
    const dying = { ...scope, waitUntil: () => {} };
    reporter.noteFailure(dying);
    reporter.noteFailure(dying);
    clock.nowMs += 4 * PACE.reportMs;
    reporter.noteFailure(scope);
    expect(pending).toHaveLength(1);
  });

  it('asks the board at most every two seconds, and has the last record while it is away', async () => {
    const { clock, client, env, state } = isolate();
    const first = await client.record(env);
    await Promise.all(Array.from({ length: 50 }, () => client.record(env)));
    expect(state.calls).toBe(1);
    state.away = true;
    clock.nowMs += PACE.recordMs;
    expect(await client.record(env)).toBe(first);
    expect(state.calls).toBe(2);
  });

  it('waits for a board that does not answer no longer than its patience', async () => {
    const { client, waits } = isolate();
    const silent = { [STATUS_BOARD]: { getByName: () => ({ fetch: () => new Promise<Response>(() => {}) }) } };
    const asked = client.record(silent);
    await expect.poll(() => waits.length).toBe(1);
    waits[0]!.end();
    expect(await asked).toBeUndefined();
  });

  it('has no record, and tells nobody, where no board is bound', async () => {
    const { client } = isolate();
    expect(await client.record(undefined)).toBeUndefined();
    expect(await client.report({}, report(1))).toBe(true);
  });
});
