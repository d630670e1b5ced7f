import { describe, expect, it } from 'vitest';
import {
  Circuit,
  CIRCUIT_DELAY_MAX_MS,
  CIRCUIT_DELAY_MIN_MS,
  CIRCUIT_FAILURES_TO_OPEN,
} from '../../pipeline/sink/circuit.ts';
import { newSeed, randomFrom } from '../support/random.ts';

/** Fails `times` in a row, each attempt as soon as it may begin; the time of the last failure. */
function failing(circuit: Circuit, times: number, random = 0, fromMs = 0): number {
  let nowMs = fromMs;
  for (let n = 0; n < times; n += 1) {
    // Up, as timers do: a sum of fractions may fall short of the time it was made of.
    nowMs = Math.ceil(nowMs + circuit.waitMs(nowMs));
    expect(circuit.begin(nowMs)).toBeDefined();
    circuit.failed(nowMs, random);
  }
  return nowMs;
}

describe('a circuit', () => {
  it('is closed until enough failures in a row, and any success starts the count again', () => {
    const circuit = new Circuit();
    const atMs = failing(circuit, CIRCUIT_FAILURES_TO_OPEN - 1);
    expect(circuit.state).toBe('closed');
    circuit.succeeded();
    failing(circuit, CIRCUIT_FAILURES_TO_OPEN - 1, 0, atMs);
    expect(circuit.state).toBe('closed');
    failing(circuit, 1, 0, atMs + 60_000);
    expect(circuit.state).toBe('open');
  });

  it('lets writes pass side by side while it is closed, after a failure not before its wait is over', () => {
    const circuit = new Circuit();
    expect([circuit.begin(0), circuit.begin(0)]).toEqual(['write', 'write']);
    circuit.failed(0, 0);
    const waitMs = circuit.waitMs(0);
    expect(waitMs).toBeGreaterThan(0);
    expect(circuit.begin(waitMs - 1)).toBeUndefined();
    expect([circuit.begin(waitMs), circuit.begin(waitMs)]).toEqual(['write', 'write']);
  });

  it('lets exactly one probe through when its wait is over, and nothing beside it', () => {
    const circuit = new Circuit();
    const atMs = failing(circuit, CIRCUIT_FAILURES_TO_OPEN);
    const laterMs = atMs + circuit.waitMs(atMs);
    expect(circuit.begin(laterMs - 1)).toBeUndefined();
    expect(circuit.state).toBe('open');
    expect(circuit.begin(laterMs)).toBe('probe');
    expect(circuit.state).toBe('half_open');
    for (const soonMs of [0, 1, 10_000, 1e9]) expect(circuit.begin(laterMs + soonMs)).toBeUndefined();
    circuit.succeeded();
    expect([circuit.state, circuit.begin(laterMs), circuit.begin(laterMs)]).toEqual(['closed', 'write', 'write']);
  });

  it('opens again, for longer, when its probe fails', () => {
    const circuit = new Circuit();
    const atMs = failing(circuit, CIRCUIT_FAILURES_TO_OPEN);
    const firstMs = circuit.waitMs(atMs);
    const againMs = failing(circuit, 1, 0, atMs);
    expect(circuit.state).toBe('open');
    expect(circuit.waitMs(againMs)).toBe(2 * firstMs);
  });

  it('stays open while it is checked, lets nothing pass meanwhile, and waits longer after a check that failed', () => {
    const circuit = new Circuit();
    expect(circuit.beginCheck(0)).toBe(false);
    const atMs = failing(circuit, CIRCUIT_FAILURES_TO_OPEN);
    const firstMs = circuit.waitMs(atMs);
    expect([circuit.beginCheck(atMs + firstMs - 1), circuit.beginCheck(atMs + firstMs)]).toEqual([false, true]);
    expect([circuit.state, circuit.begin(1e9), circuit.beginCheck(1e9)]).toEqual(['open', undefined, false]);
    circuit.failed(1e9, 0);
    expect([circuit.state, circuit.waitMs(1e9)]).toEqual(['open', 2 * firstMs]);
  });

  it('after a check that went well is half open, and the next write is the probe', () => {
    const circuit = new Circuit();
    const atMs = failing(circuit, CIRCUIT_FAILURES_TO_OPEN);
    const laterMs = atMs + circuit.waitMs(atMs);
    expect(circuit.beginCheck(laterMs)).toBe(true);
    circuit.checked(laterMs);
    expect(circuit.state).toBe('half_open');
    expect([circuit.begin(laterMs), circuit.begin(laterMs)]).toEqual(['probe', undefined]);
  });

  it('without a write is closed by a second check in a row, not before its time, and opened again by one that fails', () => {
    const circuit = new Circuit();
    let nowMs = failing(circuit, CIRCUIT_FAILURES_TO_OPEN);
    const check = (): void => {
      nowMs += circuit.checkInMs(nowMs);
      expect([circuit.beginCheck(nowMs - 1), circuit.beginCheck(nowMs)]).toEqual([false, true]);
      expect(circuit.checkInMs(nowMs)).toBe(Number.POSITIVE_INFINITY);
    };
    check();
    circuit.checked(nowMs);
    check();
    circuit.failed(nowMs, 0);
    expect(circuit.state).toBe('open');
    check();
    circuit.checked(nowMs);
    expect(circuit.checkInMs(nowMs)).toBe(CIRCUIT_DELAY_MAX_MS);
    check();
    circuit.checked(nowMs);
    expect([circuit.state, circuit.begin(nowMs), circuit.checkInMs(nowMs)]).toEqual(['closed', 'write', Infinity]);
  });

  const seed = newSeed();
  it(`never waits longer than its limit, nor less than half of its least, by chance or however often (MDP_TEST_SEED=${seed})`, () => {
    const random = randomFrom(seed);
    const circuit = new Circuit();
    let nowMs = 0;
    for (let n = 0; n < 2_000; n += 1) {
      nowMs = failing(circuit, 1, random.below(1_000_000) / 1_000_000, nowMs);
      expect(circuit.waitMs(nowMs)).toBeLessThanOrEqual(CIRCUIT_DELAY_MAX_MS);
      expect(circuit.waitMs(nowMs)).toBeGreaterThanOrEqual(CIRCUIT_DELAY_MIN_MS / 2);
    }
  });
});
