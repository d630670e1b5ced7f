/**
 * Listens to every process that a test starts, and fails the test file when one of them prints a secret that it was
 * given. A setup file of the whole suite, so that no test can forget it: whatever starts a pod, an edge, a tool or a
 * container does it through `ChildProcess`, and this is where that is listened to.
 *
 * What it knows to be secret: the settings of pod and Worker that are, as they stand in the environment of a process or
 * in the file that `NAME_FILE` names, taken apart into what is dangerous by itself; and what a test plants. What it does
 * not see: what a process that a test started gives to processes of its own, and what a child of a child prints past it.
 */

import { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { afterAll } from 'vitest';
import { SETTINGS } from '../../pipeline/settings.ts';
import { plantedIn, plantSecret } from './planted-secrets.ts';

/** Settings whose values are secret: the pod's by its own table, and the Worker's. */
export const SECRET_SETTINGS: readonly string[] = [
  ...SETTINGS.filter((setting) => 'secret' in setting).map(({ name }) => name),
  'EDGE_SECRET',
  'PROVIDER_CREDENTIALS',
  'SCALING_TOKEN',
];
/** Kept of each stream, for a secret that is cut in two. */
const TAIL_CHARS = 512;

/** Where a secret was seen, without the secret. */
const seen: string[] = [];

/** What has been seen since the last time: for the test of this watch alone, since it makes the file pass. */
export function takeSeen(): string[] {
  return seen.splice(0);
}

/** What is dangerous in the value of a secret setting: its words, the password of a URL, the secrets of credentials. */
export function secretsIn(value: string): string[] {
  const password = /^[a-z]+:\/\/[^:@/]*:([^@/]+)@/.exec(value)?.[1];
  if (password !== undefined) return [password, decodeURIComponent(password)];
  // A path, or a URL that names nobody.
  if (/^(sqlite:|[a-z]+:\/\/)/.test(value)) return [];
  // Providers may be named, and the hash of a token is none.
  if (value.startsWith('{')) return value.match(/whsec_[A-Za-z0-9+/=]+/g) ?? [];
  return value.split(/\s+/);
}

interface SpawnOptions {
  envPairs?: string[];
  file?: string;
  args?: string[];
  stdio?: unknown;
}
type Spawn = (this: ChildProcess, options: SpawnOptions) => unknown;

const prototype = ChildProcess.prototype as unknown as { spawn: Spawn };
const spawn = prototype.spawn;

prototype.spawn = function (options) {
  for (const pair of options.envPairs ?? []) plantFrom(pair);
  const inherits = Array.isArray(options.stdio) && options.stdio[2] === 'inherit';
  // What would go past us to the terminal goes there through us.
  const heard = inherits ? { ...options, stdio: (options.stdio as unknown[]).with(2, 'pipe') } : options;
  const result = spawn.call(this, heard);
  if (inherits) this.stderr?.on('data', (chunk: Uint8Array) => process.stderr.write(chunk));
  const command = [options.file, ...(options.args ?? []).slice(1, 3)].join(' ');
  for (const [name, stream] of [
    ['stdout', this.stdout],
    ['stderr', this.stderr],
  ] as const) {
    if (stream !== null && stream !== undefined) listen(stream, `${name} of ${command}`);
  }
  return result;
};

function plantFrom(pair: string): void {
  const [name = '', ...rest] = pair.split('=');
  const value = rest.join('=');
  const setting = name.replace(/_FILE$/, '');
  if (!SECRET_SETTINGS.includes(setting) || value === '') return;
  for (const secret of secretsIn(name === setting ? value : contentOf(value))) plantSecret(secret);
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}

/** Looks at what comes without taking it: whoever reads the stream notices nothing. */
function listen(stream: Readable, where: string): void {
  let tail = '';
  const push = stream.push.bind(stream);
  stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (chunk !== null && chunk !== undefined) {
      const text = tail + (typeof chunk === 'string' ? chunk : Buffer.from(chunk as Uint8Array).toString('utf8'));
      if (plantedIn(text)) seen.push(where);
      tail = text.slice(-TAIL_CHARS);
    }
    return push(chunk, encoding);
  };
}

afterAll(() => {
  const places = [...new Set(takeSeen())];
  if (places.length > 0) throw new Error(`a secret was printed: ${places.join('; ')}`);
});
