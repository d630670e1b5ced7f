/** Whether a batch goes to look for the cluster or straight to the outbox. */

import { describe, expect, it } from 'vitest';
import { Circuit, LOOK_INTERVAL_MS, LOOK_MAX_MS, TIMEOUTS_TO_OPEN } from '../../worker/circuit.ts';
import { RELAY_TIMEOUT_MS } from '../../worker/relay.ts';

describe('the way to the cluster', () => {
  it('is closed by one batch that reached nobody, and then one batch at a time looks', () => {
    const circuit = new Circuit();
    expect(circuit.passage(0)).toBe('open');
    circuit.noteFailure('unreachable', 0);
    expect(circuit.passage(LOOK_INTERVAL_MS - 1)).toBe('closed');
    expect(circuit.passage(LOOK_INTERVAL_MS)).toBe('look');
    expect(circuit.passage(LOOK_INTERVAL_MS)).toBe('closed');
    circuit.noteFailure('timeout', 5_000);
    expect(circuit.passage(5_000 + LOOK_INTERVAL_MS - 1)).toBe('closed');
    expect(circuit.passage(5_000 + LOOK_INTERVAL_MS)).toBe('look');
    circuit.noteAnswer();
    expect(circuit.passage(8_000)).toBe('open');
  });

  it('is not closed by single batches that are too slow, only by several without an answer between', () => {
    const circuit = new Circuit();
    for (let round = 0; round < 5; round += 1) {
      for (let timeouts = 1; timeouts < TIMEOUTS_TO_OPEN; timeouts += 1) circuit.noteFailure('timeout', 0);
      expect(circuit.passage(0)).toBe('open');
      circuit.noteAnswer();
    }
    for (let timeouts = 0; timeouts < TIMEOUTS_TO_OPEN; timeouts += 1) circuit.noteFailure('timeout', 0);
    expect(circuit.passage(0)).toBe('closed');
  });

  it('stays open when something answers that is no pod, or does not know the edge', () => {
    for (const why of ['not_a_pod', 'refused_edge'] as const) {
      const circuit = new Circuit();
      for (let times = 0; times < 10; times += 1) circuit.noteFailure(why, 0);
      expect(circuit.passage(0)).toBe('open');
    }
  });

  it('is looked at again when nobody came back from the last look', () => {
    const circuit = new Circuit();
    circuit.noteFailure('unreachable', 0);
    expect(circuit.passage(LOOK_INTERVAL_MS)).toBe('look');
    expect(circuit.passage(LOOK_INTERVAL_MS + LOOK_MAX_MS)).toBe('look');
    expect(LOOK_MAX_MS).toBeGreaterThan(RELAY_TIMEOUT_MS);
  });

  it('is looked at again at once after the clock was set back', () => {
    // Seen failing: the way stayed closed for as long as the clock had been set back.
    const circuit = new Circuit();
    circuit.noteFailure('unreachable', 3_600_000);
    expect(circuit.passage(0)).toBe('look');
    expect(circuit.passage(0)).toBe('closed');
    expect(circuit.passage(LOOK_MAX_MS)).toBe('look');
  });
});
