/** Where settings to be checked come from: the environment, a file of NAME=VALUE lines, or a manifest. */

import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseEnv } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { generateSecret } from '../../pipeline/contract/signature.ts';
import { isObject } from './ask.ts';
import { UsageError } from './command.ts';
import { at, objectsAt } from './verify/kubectl.ts';

export const ENVIRONMENT = 'environment';
const STDIN = 0;
const CONTAINER = 'pipeline';

type Settings = Record<string, string>;

export interface Given {
  settings: Settings;
  /** What could not be looked at, and why. */
  notes: string[];
  /** Secrets that are somewhere else: what stands for them in `settings` is made up. */
  standIns: ReadonlySet<string>;
}

const NOTHING: Pick<Given, 'notes' | 'standIns'> = { notes: [], standIns: new Set() };

type Environment = Readonly<Record<string, string | undefined>>;

export function podSettings(where: string, secretsDir: string | undefined, environment: Environment): Given {
  if (where === ENVIRONMENT) return { settings: only(environment, (name) => name.startsWith('MDP_')), ...NOTHING };
  const text = read(where);
  return /^kind:/m.test(text) ? ofManifest(text, secretsDir) : { settings: envFile(text), ...NOTHING };
}

/** From the environment only what the Worker has a setting for: all else there is not meant for it. */
export function workerSettings(where: string, environment: Environment): Given {
  if (where === ENVIRONMENT) return { settings: only(environment, (name) => WORKER_NAMES.has(name)), ...NOTHING };
  return { settings: envFile(read(where)), ...NOTHING };
}

export const WORKER_NAMES: ReadonlySet<string> = new Set([
  'CLUSTER_URL',
  'EDGE_SECRET',
  'PROVIDER_CREDENTIALS',
  'SCALING_TOKEN',
  'STATUS_PROVIDERS',
  'OUTBOX_MAX_BYTES',
  'OUTBOX_MAX_AGE_SECONDS',
  'SOCKET_IDLE_SECONDS',
]);

function only(environment: Environment, wanted: (name: string) => boolean): Settings {
  const entries = Object.entries(environment).filter(([name, value]) => value !== undefined && wanted(name));
  return Object.fromEntries(entries) as Settings;
}

function read(where: string): string {
  try {
    return readFileSync(where === '-' ? STDIN : where, 'utf8');
  } catch (error) {
    throw new UsageError(`${where} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function envFile(text: string): Settings {
  return parseEnv(text) as Settings;
}

/** The settings of the container `pipeline`, as the kubelet would give them to it. */
function ofManifest(text: string, secretsDir: string | undefined): Given {
  const documents = parseAllDocuments(text).map((document): unknown => document.toJS());
  const workload = documents.find((one) => isObject(one) && ['Deployment', 'Rollout'].includes(String(one['kind'])));
  const containers = objectsAt(workload, 'spec', 'template', 'spec', 'containers');
  const container = containers.find(({ name }) => name === CONTAINER);
  if (container === undefined) throw new UsageError(`this manifest has no Deployment with a container ${CONTAINER}`);
  const settings: Settings = {};
  const notes: string[] = [];
  const standIns = new Set<string>();
  for (const { name, value, valueFrom } of objectsAt(container, 'env')) {
    if (typeof name !== 'string') continue;
    if (typeof value !== 'string') {
      const key = at(valueFrom, 'secretKeyRef', 'key');
      const path = typeof key === 'string' && secretsDir !== undefined ? join(secretsDir, key) : undefined;
      if (path !== undefined && existsSync(path)) settings[name] = readFileSync(path, 'utf8').trim();
      else if (typeof key === 'string') notes.push(`${name} comes from the Secret: not checked`);
    } else if (name.endsWith('_FILE') && secretsDir === undefined) {
      notes.push(`${name} is mounted: not checked (--secrets DIR has copies)`);
      standIns.add(name.slice(0, -'_FILE'.length));
    } else {
      settings[name] = name.endsWith('_FILE') ? join(secretsDir!, basename(value)) : value;
    }
  }
  // So that a secret which is there, and not here, is not reported as missing.
  if (standIns.has('MDP_EDGE_SECRETS')) settings['MDP_EDGE_SECRETS'] = generateSecret();
  return { settings, notes, standIns };
}
