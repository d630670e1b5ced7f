/** Binary arrays, byte for byte where PostgreSQL's source says so, and read back by this file's own reader. */

import { describe, expect, it } from 'vitest';
import {
  eachInstant,
  float8Array,
  instant,
  instantArrays,
  int4Array,
  NULL_ELEMENT,
  TextArray,
  textElement,
} from '../../pipeline/store/postgres-arrays.ts';
import { newSeed, randomFrom } from '../support/random.ts';

interface Read {
  oid: number;
  elements: (Buffer | null)[];
}

/** Source: array_recv: dimensions, flags, type, then length and lower bound, then length and bytes of each element. */
function read(array: Buffer): Read {
  expect([array.readInt32BE(0), array.readInt32BE(16)]).toEqual([1, 1]);
  const elements: (Buffer | null)[] = [];
  let at = 20;
  while (at < array.length) {
    const length = array.readInt32BE(at);
    at += 4;
    elements.push(length < 0 ? null : array.subarray(at, at + length));
    at += Math.max(length, 0);
  }
  expect(elements.length).toBe(array.readInt32BE(12));
  return { oid: array.readInt32BE(8), elements };
}

describe('arrays of numbers', () => {
  it('are a header of five words, then length and bytes of each element', () => {
    expect(int4Array([1, -2]).toString('hex')).toBe(
      '00000001 00000001 00000017 00000002 00000001 00000004 00000001 00000004 fffffffe'.replaceAll(' ', ''),
    );
  });

  it('keep every bit of a double, join their parts in order, and have NULL for NaN', () => {
    const values = [187.23, -0, 5e-324, 1.7976931348623157e308, Number.NaN, Infinity];
    const { oid, elements } = read(
      float8Array([Float64Array.of(...values.slice(0, 2)), Float64Array.of(...values.slice(2))]),
    );
    expect(oid).toBe(701);
    const kept = elements.map((element) => element?.readDoubleBE(0) ?? null);
    expect(kept).toEqual(values.map((value) => (Number.isNaN(value) ? null : value)));
  });
});

describe('arrays of instants', () => {
  const seed = newSeed();
  const random = randomFrom(seed);
  const anywhere = Array.from({ length: 2_000 }, () =>
    BigInt.asIntN(64, (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32))),
  );
  const edges = [
    0n,
    -1n,
    1n,
    999n,
    1000n,
    -1000n,
    -1001n,
    2n ** 63n - 1n,
    -(2n ** 63n),
    946_684_800_000_000_000n,
    946_684_799_999_999_999n,
  ];
  const hours = Array.from(
    { length: 100 },
    (_, at) => BigInt(at - 50) * 2n ** 32n * 1000n + BigInt(random.between(-2, 2)),
  );

  it(`are microseconds since 2000 and the nanoseconds left over, for all 64 bits (MDP_TEST_SEED=${seed})`, () => {
    const all = [...edges, ...hours, ...anywhere];
    const { ts, tsNs } = instantArrays([BigInt64Array.from(all.slice(0, 7)), BigInt64Array.from(all.slice(7))]);
    const micros = read(ts);
    const rest = read(tsNs);
    expect([micros.oid, rest.oid]).toEqual([1184, 21]);
    const back = micros.elements.map((element, at) => {
      const remainder = rest.elements[at]!.readInt16BE(0);
      expect(remainder >= 0 && remainder <= 999).toBe(true);
      return (element!.readBigInt64BE(0) + 946_684_800_000_000n) * 1000n + BigInt(remainder);
    });
    expect(back).toEqual(all);
  });

  it(`are as single parameters what they are in an array (MDP_TEST_SEED=${seed})`, () => {
    for (const tsNs of [...edges, ...anywhere.slice(0, 200)]) {
      const arrays = instantArrays([BigInt64Array.of(tsNs)]);
      const one = instant(tsNs);
      expect(one.ts).toEqual(read(arrays.ts).elements[0]);
      expect(one.tsNs).toBe(read(arrays.tsNs).elements[0]!.readInt16BE(0));
    }
  });

  it('are read in place from a view that does not begin where its buffer does', () => {
    const seen: number[] = [];
    eachInstant(new BigInt64Array(BigInt64Array.of(1n, 2_001n, 3_002n).buffer, 8, 2), (_, low, rest) =>
      seen.push(low, rest),
    );
    expect(seen).toEqual([2, 1, 3, 2]);
  });
});

describe('arrays of texts', () => {
  it('hold UTF-8, NULL and the empty text, each as itself', () => {
    const texts = new TextArray(0);
    for (const text of ['AAPL', '', '株式', '🚀']) texts.add(textElement(text));
    texts.add(NULL_ELEMENT);
    texts.addSlice(Buffer.from('12\n345\n'), 3, 6);
    const { oid, elements } = read(texts.take());
    expect(oid).toBe(25);
    expect(elements.map((element) => element?.toString() ?? null)).toEqual(['AAPL', '', '株式', '🚀', null, '345']);
  });

  it('grow as far as they have to', () => {
    const texts = new TextArray(10);
    for (let at = 0; at < 1_000; at += 1) texts.add(textElement(`${'x'.repeat(at % 300)}${at}`));
    const { elements } = read(texts.take());
    expect(elements.map((element) => element!.toString().replace(/^x*/, ''))).toEqual(
      Array.from({ length: 1_000 }, (_, at) => String(at)),
    );
  });
});
