/**
 * Who is pushing: a Standard Webhooks signature or a bearer token against the credentials of the provider in
 * the path. Answers say nothing about which providers exist, and an unknown one costs as much time as a wrong
 * secret. Never sees more than one request; rotation is several credentials at once.
 */

import { verifySignature, WEBHOOK_SIGNATURE_HEADER } from '../pipeline/contract/signature.ts';
import { WEBHOOK_ID_HEADER, WEBHOOK_TIMESTAMP_HEADER } from '../pipeline/contract/signature.ts';
import type { Settings } from './settings.ts';

export const TOKEN_MAX_CHARS = 512;

export const NO_CREDENTIALS =
  'no credentials: sign the request (webhook-id, webhook-timestamp, webhook-signature) or send "authorization: Bearer TOKEN"';
export const WRONG_SIGNATURE = 'no active secret of this provider made this signature';
export const WRONG_TOKEN = 'this is no active token of this provider';
const OTHER_PROVIDER = 'this token belongs to another provider';

/** What a request brings to prove itself; a signature counts before a token. */
export type Credentials =
  | { kind: 'signature'; id: string | null; timestamp: string | null; signature: string }
  | { kind: 'token'; token: string };

export type AuthOutcome = { ok: true } | { ok: false; problem: 'unauthenticated' | 'forbidden'; detail: string };

/** The request's credentials, or `undefined` when it has none that could be checked. */
export function presentedCredentials(headers: Headers): Credentials | undefined {
  const signature = headers.get(WEBHOOK_SIGNATURE_HEADER);
  if (signature !== null) {
    const id = headers.get(WEBHOOK_ID_HEADER);
    return { kind: 'signature', id, timestamp: headers.get(WEBHOOK_TIMESTAMP_HEADER), signature };
  }
  const token = /^Bearer +(\S+)$/i.exec(headers.get('authorization') ?? '')?.[1];
  return token !== undefined && isToken(token) ? { kind: 'token', token } : undefined;
}

/** Whether a text may be a bearer token. Source: RFC 6750, section 2.1. */
export function isToken(text: string): boolean {
  return text.length <= TOKEN_MAX_CHARS && /^[A-Za-z0-9._~+/-]+=*$/.test(text);
}

/**
 * Whether `credentials` are those of `provider`. Outcomes: ok; `unauthenticated`, in the same words for an unknown
 * provider as for a wrong secret; `forbidden` for another provider's token.
 */
export async function authenticate(
  settings: Settings,
  provider: string,
  credentials: Credentials,
  body: Uint8Array,
  nowMs: number,
): Promise<AuthOutcome> {
  if (credentials.kind === 'token') return authenticateToken(settings, provider, credentials.token);
  const keys = settings.providers.get(provider)?.signingKeys ?? settings.decoyKeys;
  const { id, timestamp, signature } = credentials;
  const outcome = await verifySignature(keys, { id, timestamp, body }, signature, nowMs);
  if (outcome.ok) return outcome;
  const detail = outcome.why === 'no_match' ? WRONG_SIGNATURE : outcome.detail;
  return { ok: false, problem: 'unauthenticated', detail };
}

/** Whether `token` is one of those with these hashes; compares with all of them, wherever it matches. */
export async function isOneOfTokens(hashes: readonly Uint8Array[], token: string): Promise<boolean> {
  const hash = await tokenHash(token);
  let matches = 0;
  for (const known of hashes) matches |= sameHash(hash, known);
  return matches === 1;
}

export async function tokenHash(token: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token)));
}

/** Compares with every token of every provider, always all of them: time tells neither where nor whether one matches. */
async function authenticateToken(settings: Settings, provider: string, token: string): Promise<AuthOutcome> {
  const hash = await tokenHash(token);
  let own = 0;
  let others = 0;
  for (const [name, { tokenHashes }] of settings.providers) {
    let matches = 0;
    for (const known of tokenHashes) matches |= sameHash(hash, known);
    if (name === provider) own |= matches;
    else others |= matches;
  }
  if (own === 1) return { ok: true };
  if (others === 1) return { ok: false, problem: 'forbidden', detail: OTHER_PROVIDER };
  return { ok: false, problem: 'unauthenticated', detail: WRONG_TOKEN };
}

/** 1 when two SHA-256 values are the same, else 0; looks at all 32 bytes of each, wherever they differ. */
export function sameHash(a: Uint8Array, b: Uint8Array): 0 | 1 {
  let difference = (a.length ^ 32) | (b.length ^ 32);
  for (let at = 0; at < 32; at += 1) difference |= (a[at] ?? 0) ^ (b[at] ?? 0);
  return difference === 0 ? 1 : 0;
}
