/** Manifests as kubectl builds them, for tests that look at all of them. */

import { execFile, spawnSync } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';

export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  spec: Record<string, unknown>;
}

const run = promisify(execFile);

export const lacksKubectl = spawnSync('kubectl', ['version', '--client']).error !== undefined;

/** Every folder that can be applied: not those that are components of others. */
export const FOLDERS = ['deploy/keda', ...globSync('deploy/{overlays,canary}/*').toSorted()].filter((path) =>
  existsSync(`${path}/kustomization.yaml`),
);

/** Builds a folder; a warning of kubectl is an error. */
export async function kustomize(path: string): Promise<Manifest[]> {
  const { stdout, stderr } = await run('kubectl', ['kustomize', path]);
  if (stderr !== '') throw new Error(stderr);
  return parseAllDocuments(stdout).map((document) => document.toJS() as Manifest);
}
