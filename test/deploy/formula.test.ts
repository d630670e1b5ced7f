/** The formula of scalingModifiers is computed as KEDA's expression language does, or not at all. */

import { describe, expect, it } from 'vitest';
import { parseFormula } from '../../deploy/simulate/formula.ts';

function compute(formula: string, values: Record<string, number> = {}): number {
  return parseFormula(formula).evaluate(new Map(Object.entries(values)));
}

describe('a formula', () => {
  it.each([
    ['1 + 2 * 3', 7],
    ['(1 + 2) * 3', 9],
    ['10 - 4 - 3', 3],
    ['2 ** 3 ** 2', 512],
    ['-2 + 5', 3],
    ['7 / 2', 3.5],
    ['1 > 2 ? 10 : 20', 20],
    ['1 < 2 && !(3 < 2) ? 10 : 20', 10],
    ['max(1, 2.5, 2) + min(4, 3)', 5.5],
    ['ceil(1.2) + floor(1.8) + abs(-1) + round(-0.5)', 3],
  ])('%s is %d', (formula, value) => {
    expect(compute(formula)).toBe(value);
  });

  it('reads triggers by their names', () => {
    expect(compute('(demand + backlog / 60) * store_ok', { demand: 1_000, backlog: 600, store_ok: 1 })).toBe(1_010);
    expect(parseFormula('a + b * a').names).toEqual(['a', 'b']);
  });

  it.each([
    ['a +', 'ends too early'],
    ['sum(a)', 'function sum is not known here'],
    ['a b', 'unexpected b'],
    ['a $ b', 'cannot read from " $ b"'],
    ['(a', 'expected )'],
  ])('that it does not know is an error with its text: %s', (formula, why) => {
    expect(() => parseFormula(formula)).toThrow(why);
  });

  it('fails when a trigger has no value', () => {
    expect(() => compute('demand + 1')).toThrow('no value for demand');
  });
});
