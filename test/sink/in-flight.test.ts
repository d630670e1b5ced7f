import { describe, expect, it } from 'vitest';
import { InFlight } from '../../pipeline/sink/in-flight.ts';
import { delivery, NOW_MS } from '../support/pod-batch.ts';

const due = (ms: number): { offeredMs: number; deadlineMs: number } => ({ offeredMs: NOW_MS, deadlineMs: NOW_MS + ms });

describe('what is in flight', () => {
  it('is counted as groups come and go, in all and by provider', () => {
    const inFlight = new InFlight();
    const [one, two] = [[delivery('b1', 3), delivery('b2', 4)], [delivery('b3', 5)]];
    inFlight.add(one);
    inFlight.add(two);
    expect([inFlight.groups, inFlight.ticks, inFlight.ticksOf('ibkr'), inFlight.ticksOf('x')]).toEqual([2, 12, 12, 0]);
    inFlight.remove(one);
    inFlight.remove(one);
    expect([inFlight.groups, inFlight.ticks, inFlight.ticksOf('ibkr')]).toEqual([1, 5, 5]);
    inFlight.remove(two);
    expect([inFlight.groups, inFlight.ticks, inFlight.ticksOf('ibkr'), inFlight.deadlineMs]).toEqual([
      0,
      0,
      0,
      Infinity,
    ]);
  });

  it('is looked through only once somebody in it is over, and then knows who is next', () => {
    const inFlight = new InFlight();
    const [late, later] = [delivery('b1', 1, due(100)), delivery('b2', 1, due(200))];
    inFlight.add([later, late]);
    inFlight.add([delivery('b3', 1, due(300))]);
    expect(inFlight.deadlineMs).toBe(NOW_MS + 100);
    expect([...inFlight.deliveriesOver(NOW_MS + 99)]).toEqual([]);
    for (const one of inFlight.deliveriesOver(NOW_MS + 100)) {
      if (one.deadlineMs <= NOW_MS + 100) one.settle({ outcome: 'store_unavailable', detail: '' });
    }
    expect(late.isSettled).toBe(true);
    expect(inFlight.deadlineMs).toBe(NOW_MS + 200);
    expect([...inFlight.deliveriesOver(NOW_MS + 150)]).toEqual([]);
  });
});
