/** A queue as levels look at it, with the ticks of each provider as the test says; bytes play no part unless told. */

import type { QueueView } from '../../pipeline/backpressure/fair-share.ts';

export function queueOf(
  ticksByProvider: Readonly<Record<string, number>>,
  capacityTicks = 10_000,
  bytes: { depthBytes: number; capacityBytes: number } = { depthBytes: 0, capacityBytes: 1 },
): QueueView {
  const held = Object.values(ticksByProvider);
  return {
    depthTicks: held.reduce((sum, ticks) => sum + ticks, 0),
    capacityTicks,
    ...bytes,
    depthTicksOf: (provider) => ticksByProvider[provider] ?? 0,
    deepestTicks: Math.max(0, ...held),
  };
}
