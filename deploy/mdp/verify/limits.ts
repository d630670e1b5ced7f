/** How few and how many pods a ScaledObject may have: those of the shipped manifests, unless the operator means others. */

import { globSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readManifests } from '../../simulate/overlay.ts';

export interface Limits {
  min: number;
  max: number;
  /** Who says so. */
  of: string;
}

const DEPLOY = fileURLToPath(new URL('../..', import.meta.url));

/** The base's, which are the guide's, then those of the overlays: read one by one, as far as somebody looks. */
export function* shippedLimits(): Generator<Limits> {
  for (const folder of [`${DEPLOY}keda`, ...globSync(`${DEPLOY}overlays/*/`).toSorted()]) {
    const { spec } = readManifests(folder).scaledObject as {
      spec: { minReplicaCount: number; maxReplicaCount: number };
    };
    yield { min: spec.minReplicaCount, max: spec.maxReplicaCount, of: basename(folder) };
  }
}
