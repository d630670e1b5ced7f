/**
 * From how full something is to a level, with hysteresis. Pure: the state is the level, the input a share.
 */

import type { Level } from '../contract/level.ts';

/**
 * Where levels begin and end, as shares of capacity: ok to soft at `softFrom`, to hard at `hardFrom`, hard to
 * soft below `hardUntil`, soft to ok below `softUntil`.
 */
export interface Watermarks {
  softFrom: number;
  hardFrom: number;
  hardUntil: number;
  softUntil: number;
}

/** Of the queue. Source: rollout guide, "Expected Behavior": soft at 5,000, hard at 9,000, ok below 2,000 of 10,000. */
export const WATERMARKS: Watermarks = { softFrom: 0.5, hardFrom: 0.9, hardUntil: 0.5, softUntil: 0.2 };

/** Of memory, as shares of its limit: late and close together, for what is used includes what nobody needs any more. */
export const MEMORY_WATERMARKS: Watermarks = { softFrom: 0.8, hardFrom: 0.9, hardUntil: 0.85, softUntil: 0.75 };

/**
 * Of a foreign store's queue that we look at ourselves: its own broadcaster's marks, 0.5 and 0.8, with a way back to
 * ok that does not flap. Source: the original store, defaults of its coordinator.
 */
export const FOREIGN_WATERMARKS: Watermarks = { softFrom: 0.5, hardFrom: 0.8, hardUntil: 0.5, softUntil: 0.4 };

/** The level after `level` when `share` of the capacity is taken. */
export function nextLevel(level: Level, share: number, marks: Watermarks = WATERMARKS): Level {
  if (share >= marks.hardFrom) return 'hard';
  switch (level) {
    case 'ok':
      return share >= marks.softFrom ? 'soft' : 'ok';
    case 'soft':
      return share < marks.softUntil ? 'ok' : 'soft';
    case 'hard':
      if (share >= marks.hardUntil) return 'hard';
      return share < marks.softUntil ? 'ok' : 'soft';
  }
}
