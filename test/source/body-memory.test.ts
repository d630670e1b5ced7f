import { describe, expect, it } from 'vitest';
import { BodyMemory } from '../../pipeline/source/body-memory.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

function chunk(bytes: number, fill: number): Uint8Array {
  return new Uint8Array(bytes).fill(fill);
}

describe('the memory of bodies', () => {
  it('holds the chunks of each in one piece, in their order', () => {
    const memory = new BodyMemory();
    expect(memory.join([], 0)).toEqual(new Uint8Array(0));
    expect(memory.join([chunk(2, 1), chunk(3, 2)], 5)).toEqual(Uint8Array.of(1, 1, 2, 2, 2));
    const large = memory.join([chunk(40 * KIB, 1), chunk(30 * KIB, 2)], 70 * KIB);
    expect(large).toEqual(Uint8Array.from([...chunk(40 * KIB, 1), ...chunk(30 * KIB, 2)]));
  });

  it('is lent again when it was given back, and not before', () => {
    const memory = new BodyMemory();
    const lend = (fill: number): Uint8Array => memory.join([chunk(64 * KIB, fill)], 64 * KIB);
    const [first, second] = [lend(1), lend(2)];
    expect(first.buffer).not.toBe(second.buffer);
    memory.giveBack(first);
    const third = lend(3);
    expect(third.buffer).toBe(first.buffer);
    expect([third, second]).toEqual([chunk(64 * KIB, 3), chunk(64 * KIB, 2)]);
  });

  it('is nobody’s twice: what was given back already, or never lent, is not taken', () => {
    const memory = new BodyMemory();
    const body = memory.join([chunk(64 * KIB, 1)], 64 * KIB);
    memory.giveBack(body);
    memory.giveBack(body);
    memory.giveBack(chunk(64 * KIB, 9));
    const lent = [1, 2, 3].map((fill) => memory.join([chunk(64 * KIB, fill)], 64 * KIB));
    expect(new Set(lent.map(({ buffer }) => buffer)).size).toBe(3);
    expect(lent.map(({ buffer }) => buffer === body.buffer)).toEqual([true, false, false]);
  });

  it('of a body is less than twice its length, for that is what its batch is counted with', () => {
    const memory = new BodyMemory();
    memory.giveBack(memory.join([chunk(MIB, 1)], MIB));
    for (const bytes of [16 * KIB, 17 * KIB, 100_000, 512 * KIB]) {
      expect(memory.join([chunk(bytes, 2)], bytes).buffer.byteLength).toBeLessThan(bytes * 2);
    }
  });

  it('that waits to be used again is at most 4 MiB', () => {
    const memory = new BodyMemory();
    const bodies = Array.from({ length: 6 }, () => memory.join([chunk(MIB, 1)], MIB));
    for (const body of bodies) memory.giveBack(body);
    const again = bodies.map(() => memory.join([chunk(MIB, 2)], MIB));
    const known = new Set(bodies.map(({ buffer }) => buffer));
    expect(again.filter(({ buffer }) => known.has(buffer))).toHaveLength(4);
  });
});
