/** The bounded reading of a body, whatever its sender claims. */

import { describe, expect, it } from 'vitest';
import { generateSecret, importSecret, signatureHeaders, verifySignature } from '../../pipeline/contract/signature.ts';
import { claimsMoreThan, readBounded } from '../../worker/body.ts';
import { byteStream } from '../support/edge-app.ts';

const PIECE = 65_536;
const WAIT_MS = 5_000;

describe('reading a body', () => {
  it.each([null, '0', '5', String(PIECE * 3), '99999999999', 'many', '-1'])(
    'gives all bytes, whatever the claimed length (%s)',
    async (contentLength) => {
      const outcome = await readBounded(new Response(byteStream(3)), {
        maxBytes: PIECE * 3,
        maxWaitMs: WAIT_MS,
        contentLength,
      });
      expect(outcome).toMatchObject({ ok: true });
      expect(outcome.ok && outcome.bytes.length).toBe(PIECE * 3);
      expect(outcome.ok && outcome.bytes.every((byte) => byte === 0x20)).toBe(true);
    },
  );

  it.each([null, '5', String(PIECE * 3)])('stops at one byte over the limit (claimed: %s)', async (contentLength) => {
    const bounds = { maxBytes: PIECE * 3 - 1, maxWaitMs: WAIT_MS, contentLength };
    expect(await readBounded(new Response(byteStream(3)), bounds)).toEqual({ ok: false, why: 'too_large' });
  });

  it('does not wait for the end of a body that is over the limit already', async () => {
    const bounds = { maxBytes: PIECE, maxWaitMs: WAIT_MS, contentLength: null };
    expect(await readBounded(new Response(byteStream(2, 'hang')), bounds)).toEqual({ ok: false, why: 'too_large' });
  });

  it.each([null, '5'])('gives up a body that does not end in time (claimed: %s)', async (contentLength) => {
    const bounds = { maxBytes: PIECE * 3, maxWaitMs: 20, contentLength };
    expect(await readBounded(new Response(byteStream(1, 'hang')), bounds)).toEqual({ ok: false, why: 'timeout' });
  });

  it.each([null, '5'])('says when the other side went away (claimed: %s)', async (contentLength) => {
    const bounds = { maxBytes: PIECE * 3, maxWaitMs: WAIT_MS, contentLength };
    expect(await readBounded(new Response(byteStream(1, 'error')), bounds)).toEqual({ ok: false, why: 'cut_off' });
  });

  it.each([0, 1, 3])(
    'leaves room before what will be signed, and signs it there as it would a copy (%i pieces)',
    async (pieces) => {
      const bounds = { maxBytes: PIECE * 3, maxWaitMs: WAIT_MS, contentLength: '5', hasHeadRoom: true };
      const outcome = await readBounded(new Response(byteStream(pieces)), bounds);
      if (!outcome.ok) throw new Error(outcome.why);
      const { bytes } = outcome;
      expect(bytes.length).toBe(PIECE * pieces);
      const key = (await importSecret(generateSecret()))!;
      for (const id of ['b1', 'x'.repeat(128), 'x'.repeat(600)]) {
        const signed = await signatureHeaders(key, id, 1_763_908_200_000, bytes);
        expect(signed).toEqual(await signatureHeaders(key, id, 1_763_908_200_000, bytes.slice()));
        const parts = { id, timestamp: signed['webhook-timestamp']!, body: bytes };
        const verified = await verifySignature([key], parts, signed['webhook-signature'], 1_763_908_200_000);
        expect(verified).toEqual({ ok: true });
      }
      expect(bytes.every((byte) => byte === 0x20)).toBe(true);
      expect(await readBounded(new Response(byteStream(4)), bounds)).toEqual({ ok: false, why: 'too_large' });
    },
  );

  it('takes no body and an empty body for nothing', async () => {
    const bounds = { maxBytes: PIECE, maxWaitMs: WAIT_MS, contentLength: '10' };
    for (const stream of [null, byteStream(0)]) {
      const outcome = await readBounded(new Response(stream), bounds);
      expect(outcome.ok && outcome.bytes.length).toBe(0);
    }
  });
});

describe('a claimed length', () => {
  it.each([
    ['101', true],
    ['100', false],
    ['999999999999999999999999', true],
    [null, false],
    ['', false],
    ['101 ', false],
    ['1e9', false],
    ['-101', false],
  ])('of %s is over 100: %s', (contentLength, over) => {
    expect(claimsMoreThan(100, contentLength)).toBe(over);
  });
});
