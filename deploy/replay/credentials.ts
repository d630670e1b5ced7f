/**
 * Which address to push to and what to prove oneself with: flags, then the environment, then the development
 * credentials that `npm start` makes. Those are used towards loopback only, so that they never leave the machine.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Credential } from './pusher.ts';

export const TO_DEFAULT = 'http://127.0.0.1:8787';
export const PROVIDER_DEFAULT = 'ibkr';
/** Below the working directory. */
export const DEV_CREDENTIALS_PATH = join('data', 'dev-credentials.json');

/** What `npm start` writes. */
export interface DevCredentials {
  edgeUrl?: string;
  podUrl?: string;
  opsToken?: string;
  scalingToken?: string;
  providers?: Record<string, { secret?: string; token?: string }>;
}

export interface Wanted {
  to: string | undefined;
  provider: string;
  secret: string | undefined;
  token: string | undefined;
}

export type Found = { ok: true; to: string; credential: Credential } | { ok: false; why: string };

type Environment = Readonly<Record<string, string | undefined>>;

/** Finds address and credential; `why` names what is missing and how to get it, and never quotes a secret. */
export function findCredential(wanted: Wanted, environment: Environment, directory: string): Found {
  const dev = readDevCredentials(directory);
  const devUrl = dev.ok ? (dev.value.edgeUrl ?? TO_DEFAULT) : TO_DEFAULT;
  const to = wanted.to ?? (isLoopback(devUrl) ? devUrl : TO_DEFAULT);
  if (wanted.secret !== undefined && wanted.token !== undefined) {
    return { ok: false, why: 'give --secret or --token, not both' };
  }
  if (wanted.secret !== undefined) return { ok: true, to, credential: { secret: wanted.secret } };
  if (wanted.token !== undefined) return { ok: true, to, credential: { token: wanted.token } };
  const fromEnvironment = environmentSecret(environment);
  if (fromEnvironment !== undefined) {
    return 'why' in fromEnvironment
      ? { ok: false, why: fromEnvironment.why }
      : { ok: true, to, credential: fromEnvironment };
  }
  if (!isLoopback(to)) {
    return {
      ok: false,
      why:
        `no credentials for ${to}: give --secret whsec_… or --token …, or set MDP_PROVIDER_SECRET. ` +
        `The operator of that edge has them (PROVIDER_CREDENTIALS). ${DEV_CREDENTIALS_PATH} is only used on loopback`,
    };
  }
  if (!dev.ok) return { ok: false, why: dev.why };
  const own = dev.value.providers?.[wanted.provider];
  if (typeof own?.secret === 'string') return { ok: true, to, credential: { secret: own.secret } };
  if (typeof own?.token === 'string') return { ok: true, to, credential: { token: own.token } };
  const names = Object.keys(dev.value.providers ?? {}).join(', ');
  return {
    ok: false,
    why: `${DEV_CREDENTIALS_PATH} has no credentials for ${wanted.provider}, only for: ${names || 'nobody'}. Give --provider, --secret or --token`,
  };
}

/** Hosts that are this machine, whatever the network. */
export function isLoopback(address: string): boolean {
  const host = URL.parse(address)?.hostname;
  if (host === undefined) return false;
  return host === 'localhost' || host === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function environmentSecret(environment: Environment): { secret: string } | { why: string } | undefined {
  const secret = environment['MDP_PROVIDER_SECRET'];
  if (secret !== undefined && secret !== '') return { secret };
  const path = environment['MDP_PROVIDER_SECRET_FILE'];
  if (path === undefined || path === '') return undefined;
  try {
    return { secret: readFileSync(path, 'utf8').trim() };
  } catch (error) {
    return { why: `MDP_PROVIDER_SECRET_FILE cannot be read: ${messageOf(error)}` };
  }
}

export function readDevCredentials(
  directory: string,
): { ok: true; value: DevCredentials } | { ok: false; why: string } {
  const path = join(directory, DEV_CREDENTIALS_PATH);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return {
      ok: false,
      why: `no credentials: ${path} is not there. "npm start" makes it; or give --secret whsec_… or --token …, or set MDP_PROVIDER_SECRET`,
    };
  }
  try {
    const value: unknown = JSON.parse(text);
    if (value !== null && typeof value === 'object') return { ok: true, value };
  } catch {
    // told below, with the way out
  }
  return { ok: false, why: `${path} is not valid: delete it and run "npm start", which makes it anew` };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
