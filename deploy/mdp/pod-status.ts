/** A pod's `/status`, as far as the commands read it. */

import { isLevel, type Level } from '../../pipeline/contract/level.ts';
import { isObject, jsonObject } from './ask.ts';

export interface ProviderStatus {
  level: Level;
  offered: number;
  stored: number;
  duplicate: number;
  rejected: number;
  refused: number;
  deadLetters: number;
  inFlight: number;
  residue: number;
}

export interface PodStatus {
  pod: string;
  phase: string;
  uptimeSeconds: number;
  level: Level;
  rateScale: number;
  /** What holds the level where it is: reason to level. */
  reasons: Record<string, string>;
  depthTicks: number;
  capacityTicks: number;
  storeKind: string;
  circuit: string;
  providers: ReadonlyMap<string, ProviderStatus>;
}

/** Undefined when this is not the status of a pod. */
export function readPodStatus(text: string): PodStatus | undefined {
  const status = jsonObject(text);
  const { queue, store, reasons, providers, level } = status ?? {};
  if (status === undefined || !isObject(queue) || !isObject(store) || !isObject(providers) || !isLevel(level)) {
    return undefined;
  }
  const known = new Map<string, ProviderStatus>();
  for (const [name, one] of Object.entries(providers)) {
    if (!isObject(one) || !isLevel(one['level'])) return undefined;
    const count = (member: string): number => numberOf(one[member]);
    known.set(name, {
      level: one['level'],
      offered: count('offered'),
      stored: count('stored'),
      duplicate: count('duplicate'),
      rejected: count('rejected'),
      refused: count('refused'),
      deadLetters: count('deadLetters'),
      inFlight: count('inFlight'),
      residue: count('residue'),
    });
  }
  return {
    pod: textOf(status['pod']),
    phase: textOf(status['phase']),
    uptimeSeconds: numberOf(status['uptimeSeconds']),
    level,
    rateScale: numberOf(status['rateScale']),
    reasons: isObject(reasons) ? Object.fromEntries(Object.entries(reasons).map(([of, at]) => [of, textOf(at)])) : {},
    depthTicks: numberOf(queue['depthTicks']),
    capacityTicks: numberOf(queue['capacityTicks']),
    storeKind: textOf(store['kind']),
    circuit: textOf(store['circuit']),
    providers: known,
  };
}

/** NaN is equal to nothing, so that what is missing agrees with nothing. */
function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : Number.NaN;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '?';
}
