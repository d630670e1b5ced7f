/**
 * Signature headers that are nearly right: whatever they are, a request is let in when, and only when, one entry is
 * the MAC that Node's own HMAC makes of id, time and body with one of the secrets.
 */
/* oxlint-disable vitest/no-conditional-expect, unicorn/consistent-function-scoping -- a property says what follows from what, and stands beside its generator */

import { createHmac } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isBatchId, isProvider, scopedBatchId, splitScopedBatchId } from '../../pipeline/contract/identity.ts';
import {
  generateSecret,
  importSecret,
  SIGNATURE_TOLERANCE_SECONDS,
  SIGNATURES_PER_HEADER_MAX,
  verifySignature,
} from '../../pipeline/contract/signature.ts';
import { FUZZ_SEED, FUZZ_TIMEOUT_MS, holds } from '../support/fuzz.ts';

const NOW_S = 1_795_446_000;
const SECRETS = [generateSecret(), generateSecret()];

function mac(secret: string, id: string, timestamp: string, body: Uint8Array): string {
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64');
  return createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64');
}

function isOneOf(macs: readonly Buffer[], entry: string): boolean {
  const [, text] = /^v1,([A-Za-z0-9+/]{43}=?)$/.exec(entry) ?? [];
  return text !== undefined && macs.some((one) => one.equals(Buffer.from(text, 'base64')));
}

const id = fc.stringMatching(/^[A-Za-z0-9_:~@+=./-]{0,40}$/);
const timestamp = fc.oneof(
  fc
    .integer({ min: -SIGNATURE_TOLERANCE_SECONDS - 2, max: SIGNATURE_TOLERANCE_SECONDS + 2 })
    .map((ago) => String(NOW_S - ago)),
  fc.constantFrom('', '0', '-1', '1e9', ` ${NOW_S}`, `${NOW_S}.0`, '9999999999999', 'now', `0${NOW_S}`),
);
/** What may become of a header on its way. */
const damage = fc.constantFrom<(header: string) => string>(
  (header) => header,
  (header) => header.replace('v1,', 'v1a,'),
  (header) => header.replace('v1,', 'V1,'),
  (header) => header.replace(',', ' '),
  (header) => header.slice(0, -1),
  (header) => `${header}=`,
  (header) => header.replaceAll('+', '-').replaceAll('/', '_'),
  (header) => header.toLowerCase(),
  (header) => `${header}, ${header}`,
  (header) => header.replace(/.(?==?$)/, (last) => (last === 'A' ? 'B' : 'A')),
  (header) => `v1,AAAA v1, v2,x ${header}`,
  (header) => header.replaceAll(' ', '  '),
);

const request = fc.record({
  id,
  timestamp,
  body: fc.uint8Array({ maxLength: 64 }),
  /** Whose entries the header has: of the secrets, or of nobody. */
  signers: fc.array(fc.constantFrom(0, 1, 'nobody' as const), { maxLength: 12 }),
  damage,
  /** Another id, time or body than was signed. */
  swap: fc.constantFrom('nothing', 'nothing', 'nothing', 'id', 'timestamp', 'body'),
  noise: fc.option(fc.string({ unit: 'binary', maxLength: 60 }), { freq: 8 }),
});

describe(`a signature header (MDP_TEST_SEED=${FUZZ_SEED})`, () => {
  it('lets in exactly what one of the secrets has signed', { timeout: FUZZ_TIMEOUT_MS }, async () => {
    const keys = await Promise.all(SECRETS.map(async (secret) => (await importSecret(secret))!));
    const fates = new Map<string, number>();
    await holds(request, 4_000, async (one) => {
      const signed = { id: one.id, timestamp: one.timestamp, body: one.body };
      const entries = one.signers.map(
        (who) =>
          `v1,${who === 'nobody' ? mac(generateSecret(), 'x', '0', one.body) : mac(SECRETS[who]!, signed.id, signed.timestamp, signed.body)}`,
      );
      const header = one.noise ?? one.damage(entries.join(' '));
      const shown = { ...signed };
      if (one.swap === 'id') shown.id += 'x';
      if (one.swap === 'timestamp') shown.timestamp = String(Number(shown.timestamp) + 1);
      if (one.swap === 'body') shown.body = Uint8Array.of(...shown.body, 0);

      const outcome = await verifySignature(keys, shown, header, NOW_S * 1000);
      const fate = outcome.ok ? 'ok' : outcome.why;
      fates.set(fate, (fates.get(fate) ?? 0) + 1);
      // A MAC is its bytes: base64 has other ways to write the same, without its padding for one.
      const good = SECRETS.map((secret) => Buffer.from(mac(secret, shown.id, shown.timestamp, shown.body), 'base64'));
      const isTimely =
        /^\d{1,12}$/.test(shown.timestamp) && Math.abs(NOW_S - Number(shown.timestamp)) <= SIGNATURE_TOLERANCE_SECONDS;
      const isSigned = header.split(' ').some((entry) => isOneOf(good, entry));
      // Of many readable entries only the first are tried, so that a header costs what it costs.
      const mayBeTooMany = header.split(' ').length > SIGNATURES_PER_HEADER_MAX;
      const should = isTimely && isSigned && shown.id !== '';
      expect(outcome.ok || (should && mayBeTooMany), header).toBe(should);
      expect(outcome.ok ? '' : outcome.detail).not.toMatch(/whsec_|[A-Za-z0-9+/]{30}/);
    });
    // A fuzzer that is never let in, or always, compares nothing.
    expect(
      Math.min(
        fates.get('ok') ?? 0,
        fates.get('no_match') ?? 0,
        fates.get('expired') ?? 0,
        fates.get('malformed') ?? 0,
      ),
    ).toBeGreaterThan(20);
  });
});

describe(`provider and batch in one id (MDP_TEST_SEED=${FUZZ_SEED})`, () => {
  it('come apart as they were put together, and into nothing else', { timeout: FUZZ_TIMEOUT_MS }, async () => {
    const texts = fc.tuple(fc.string({ unit: 'binary', maxLength: 70 }), fc.string({ unit: 'binary', maxLength: 140 }));
    const names = fc.tuple(
      fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,62}$/),
      fc.stringMatching(/^[A-Za-z0-9_:~@+=-]{1,128}$/),
    );
    await holds(fc.oneof(texts, names), 3_000, ([provider, batchId]) => {
      if (!isProvider(provider) || !isBatchId(batchId)) return;
      expect(splitScopedBatchId(scopedBatchId(provider, batchId))).toEqual({ provider, batchId });
      // What is between the parts of the signed content cannot be in one of them.
      expect(scopedBatchId(provider, batchId)).not.toContain('.');
    });
  });
});
