/**
 * The scaling figures as the public status shows them: what is on its way, of all providers together.
 */

import type { Load } from '../status/facts.ts';
import type { ScalingFigures } from './calls.ts';
import { sumOf } from './exposition.ts';

/** Undefined when any part of it is not known. */
export function loadOf(figures: ScalingFigures | undefined): Load | undefined {
  if (figures === undefined) return undefined;
  const { ticksPerSecond, outstandingTicks, oldestOutstandingSeconds } = sumOf(Object.values(figures.providers));
  if (ticksPerSecond === null || outstandingTicks === null || oldestOutstandingSeconds === null) return undefined;
  return { ticksPerSecond, outstandingTicks, oldestAgeSeconds: oldestOutstandingSeconds };
}
