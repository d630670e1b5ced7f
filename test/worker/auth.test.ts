/** Who is pushing: which credentials count, what a stranger can learn, and how much work each answer costs. */

import { afterEach, describe, expect, it, vi } from 'vitest';
import { generateSecret } from '../../pipeline/contract/signature.ts';
import { authenticate, presentedCredentials, sameHash, TOKEN_MAX_CHARS } from '../../worker/auth.ts';
import { parseSettings, type Settings } from '../../worker/settings.ts';
import { makeCredentials, signAsProvider } from '../support/edge-credentials.ts';

const credentials = makeCredentials();
const BODY = '{"symbol":"AAPL"}';
const bytes = new TextEncoder().encode(BODY);

async function settings(): Promise<Settings> {
  const outcome = await parseSettings(credentials.bindings());
  if (!outcome.ok) throw new Error('refused');
  return outcome.settings;
}

async function tried(provider: string, headers: Record<string, string>) {
  const given = presentedCredentials(new Headers(headers))!;
  return authenticate(await settings(), provider, given, bytes, Date.now());
}

afterEach(() => vi.restoreAllMocks());

describe('credentials in a request', () => {
  it.each([
    ['none', {}, undefined],
    ['basic ones', { authorization: 'Basic abc' }, undefined],
    ['an empty token', { authorization: 'Bearer ' }, undefined],
    ['a token with a blank', { authorization: 'Bearer a b' }, undefined],
    ['two tokens', { authorization: 'Bearer a, Bearer b' }, undefined],
    ['a token that is too long', { authorization: `Bearer ${'a'.repeat(TOKEN_MAX_CHARS + 1)}` }, undefined],
    ['a token', { authorization: 'Bearer a.b_c~d+e/f-g==' }, 'token'],
    ['a token after a small bearer', { authorization: 'bearer a' }, 'token'],
    ['a signature', { 'webhook-signature': 'v1,x' }, 'signature'],
    ['a signature beside a token', { 'webhook-signature': 'v1,x', authorization: 'Bearer a' }, 'signature'],
  ])('are recognised: %s', (_, headers, kind) => {
    expect(presentedCredentials(new Headers(headers as Record<string, string>))?.kind).toBe(kind);
  });
});

describe('authentication', () => {
  it('accepts every active secret and token of a provider', async () => {
    for (const secret of credentials.ibkr.secrets) {
      expect(await tried('ibkr', signAsProvider(secret, 'b1', BODY))).toEqual({ ok: true });
    }
    for (const token of credentials.ibkr.tokens) {
      expect(await tried('ibkr', { authorization: `Bearer ${token}` })).toEqual({ ok: true });
    }
  });

  it('takes a bad signature for bad even when a good token stands beside it', async () => {
    const headers = { ...signAsProvider(generateSecret(), 'b1', BODY), authorization: 'Bearer ibkr-token-new' };
    expect(await tried('ibkr', headers)).toMatchObject({ ok: false, problem: 'unauthenticated' });
  });

  it('forbids the token of another provider on every path, whether somebody has that path or not', async () => {
    const headers = { authorization: 'Bearer acme-token' };
    expect(await tried('ibkr', headers)).toMatchObject({ ok: false, problem: 'forbidden' });
    expect(await tried('nobody', headers)).toEqual(await tried('ibkr', headers));
  });

  it('says and does the same for a provider that does not exist as for a wrong secret', async () => {
    const verify = vi.spyOn(crypto.subtle, 'verify');
    const headers = signAsProvider(generateSecret(), 'b1', BODY);
    const counts: number[] = [];
    const outcomes = [];
    for (const provider of ['ibkr', 'acme', 'nobody']) {
      outcomes.push(await tried(provider, headers));
      counts.push(verify.mock.calls.length);
      verify.mockClear();
    }
    expect(outcomes[1]).toEqual(outcomes[0]);
    expect(outcomes[2]).toEqual(outcomes[0]);
    expect(counts).toEqual([2, 2, 2]); // as many as the most secrets that any provider has
  });
});

/** A hash that counts how often it is looked at. */
function watched(hash: Uint8Array, reads: { count: number }): Uint8Array {
  return new Proxy(hash, {
    get(target, name) {
      if (typeof name === 'string' && /^\d+$/.test(name)) reads.count += 1;
      return Reflect.get(target, name, target) as unknown;
    },
  });
}

describe('the comparison of two hashes', () => {
  it('looks at every byte, wherever the first difference is', () => {
    const known = new Uint8Array(32).fill(7);
    for (let differing = 0; differing <= 32; differing += 1) {
      const given = known.slice();
      if (differing < 32) given[differing] = 8;
      const reads = { count: 0 };
      expect(sameHash(watched(given, reads), known)).toBe(differing === 32 ? 1 : 0);
      expect(reads.count).toBe(32);
    }
  });

  it('takes nothing that is not 32 bytes for the same', () => {
    expect(sameHash(new Uint8Array(0), new Uint8Array(0))).toBe(0);
    expect(sameHash(new Uint8Array(33), new Uint8Array(33))).toBe(0);
    expect(sameHash(new Uint8Array(31), new Uint8Array(32))).toBe(0);
  });
});
