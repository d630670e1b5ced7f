/**
 * Credentials for a system on this machine: made once, kept in a file that only its owner can read, and never
 * good for anything but loopback.
 */

import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { generateSecret } from '../../pipeline/contract/signature.ts';

export const DEV_PROVIDERS = ['ibkr', 'demo'] as const;
export type DevProvider = (typeof DEV_PROVIDERS)[number];

/** Where the system listens, for the commands that look at it. */
export interface DevAddresses {
  edgeUrl: string;
  podUrl: string;
}

export interface DevCredentials extends DevAddresses {
  /** Signs edge to pod. */
  edgeSecret: string;
  /** The pod's MDP_OPS_TOKEN. */
  opsToken: string;
  /** The Worker's SCALING_TOKEN. */
  scalingToken: string;
  providers: Record<DevProvider, { secret: string; token: string }>;
}

/** Reads the file, or makes it with fresh credentials; either way the addresses are written down. */
export async function devCredentials(path: string, addresses: DevAddresses): Promise<DevCredentials> {
  const known = await readKnown(path);
  // One of an earlier version has fewer of them.
  const credentials = { ...fresh(), ...known, ...addresses };
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `${JSON.stringify(credentials, null, 2)}\n`, { mode: 0o600 });
  await chmod(path, 0o600);
  return credentials;
}

/** A store's address as it may be shown: what stands before its host is a name and a password. */
export function withoutPassword(store: string): string {
  return store.replace(/:\/\/.*@/, '://…@');
}

/** The Worker's PROVIDER_CREDENTIALS for these credentials. */
export function providerCredentials({ providers }: DevCredentials): string {
  const entries = Object.entries(providers).map(([provider, { secret, token }]) => {
    const hash = createHash('sha256').update(token).digest('hex');
    return [provider, { secrets: [secret], tokens: [`sha256:${hash}`] }];
  });
  return JSON.stringify(Object.fromEntries(entries));
}

function fresh(): Omit<DevCredentials, keyof DevAddresses> {
  const providers = { ibkr: freshProvider(), demo: freshProvider() };
  return { edgeSecret: generateSecret(), opsToken: freshToken(), scalingToken: freshToken(), providers };
}

function freshProvider(): { secret: string; token: string } {
  return { secret: generateSecret(), token: freshToken() };
}

function freshToken(): string {
  return randomBytes(24).toString('base64url');
}

/** `undefined` when there is no file, or one that is not ours: then new credentials take its place. */
async function readKnown(path: string): Promise<DevCredentials | undefined> {
  try {
    const known = JSON.parse(await readFile(path, 'utf8')) as DevCredentials;
    const complete = DEV_PROVIDERS.every((name) => known.providers[name].secret && known.providers[name].token);
    return complete && known.edgeSecret ? known : undefined;
  } catch {
    return undefined;
  }
}
