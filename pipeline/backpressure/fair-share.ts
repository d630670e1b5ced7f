/**
 * Whose queue it is that is full: the share of it that a provider sees, and the room that leaves. A flood fills the
 * queue for those who flood; who has little waiting sees it nearly empty. Pure.
 */

import { WATERMARKS } from './watermark.ts';

/** The queue as levels look at it. */
export interface QueueView {
  readonly depthTicks: number;
  readonly capacityTicks: number;
  readonly depthBytes: number;
  readonly capacityBytes: number;
  /** Ticks of this provider that wait. */
  depthTicksOf(provider: string): number;
  /** Ticks of that provider of whom most wait; 0 when none do. */
  readonly deepestTicks: number;
}

/** What of a {@link QueueView} decides, at one instant. */
export interface QueueFill {
  depthTicks: number;
  /** What the queue would hold of ticks as large as those that wait: below its capacity when bytes run out first. */
  capacityTicks: number;
  deepestTicks: number;
}

export const EMPTY_FILL: QueueFill = { depthTicks: 0, capacityTicks: 0, deepestTicks: 0 };

export function queueFill(queue: QueueView): QueueFill {
  const { depthTicks, capacityTicks, depthBytes, capacityBytes, deepestTicks } = queue;
  const inBytes = depthBytes === 0 ? capacityTicks : (depthTicks * capacityBytes) / depthBytes;
  return { depthTicks, capacityTicks: Math.min(capacityTicks, inBytes), deepestTicks };
}

/** How full the queue is: 0 to 1. */
export function queueShare({ depthTicks, capacityTicks }: QueueFill): number {
  return depthTicks === 0 ? 0 : depthTicks / capacityTicks;
}

/**
 * How full the queue is for a provider of whom `ownTicks` wait: the provider with most sees it as it is, the others in
 * proportion. So at any mark there is one whom it bites, and one with less than an equal part of what lies below a
 * mark (`capacity * mark / providers that wait`) is never beyond it.
 */
export function providerShare(fill: QueueFill, ownTicks: number): number {
  return fill.deepestTicks === 0 ? 0 : queueShare(fill) * Math.min(1, ownTicks / fill.deepestTicks);
}

/**
 * Ticks that a provider at level ok may add without leaving it: up to the soft mark of the whole queue or, when others
 * have filled that, up to half of what the fullest of them holds, as far as there is room.
 */
export function creditTicks({ depthTicks, capacityTicks, deepestTicks }: QueueFill, ownTicks: number): number {
  const { softFrom } = WATERMARKS;
  const belowMark = below(capacityTicks * softFrom - depthTicks);
  const besideOthers = Math.min(Math.floor(capacityTicks - depthTicks), below(deepestTicks * softFrom - ownTicks));
  return Math.max(0, belowMark, besideOthers);
}

/** The largest integer below: at the mark itself the level has already turned. */
function below(limit: number): number {
  return Math.ceil(limit) - 1;
}
