/**
 * Chance that can be had again: the same seed gives the same run. A test takes its seed from {@link newSeed} and
 * says it in its name, so a failure names what to set `MDP_TEST_SEED` to.
 */

export interface Random {
  /** 0 up to, but not, 1. */
  next(): number;
  /** 0 to `limit - 1`. */
  below(limit: number): number;
  /** `from` to `to`, both included. */
  between(from: number, to: number): number;
  pick<T>(list: readonly T[]): T;
  chance(share: number): boolean;
}

/** `MDP_TEST_SEED` when set, else another one each run. */
export function newSeed(): number {
  const given = process.env['MDP_TEST_SEED'];
  return given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given);
}

/** Source: mulberry32 by Tommy Ettinger, public domain. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return {
    next,
    below,
    between: (from, to) => from + below(to - from + 1),
    pick: (list) => list[below(list.length)]!,
    chance: (share) => next() < share,
  };
}
