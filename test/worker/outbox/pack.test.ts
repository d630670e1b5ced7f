/** Bodies made ready to be held: counted as the pod's decoder counts, hashed as its ledger hashes, packed if shorter. */

import { createHash, randomBytes } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { BATCH_MAX_TICKS, type BodyFormat, decodeBatch, UNPACKED_MAX_BYTES } from '../../../pipeline/contract/batch.ts';
import { defaultRules } from '../../../pipeline/contract/decode.ts';
import { countTicks } from '../../../worker/outbox/count.ts';
import { packBody, type PackOutcome } from '../../../worker/outbox/pack.ts';
import { NDJSON } from '../../support/edge-outbox.ts';
import { newSeed, randomFrom } from '../../support/random.ts';

const TICK = '{"symbol":"AAPL","tsMs":1763908200123,"price":"187.23","size":"100"}';
const RULES = defaultRules(Date.parse('2026-11-23T14:30:00Z'));

/** What is counted beside what the decoder finds; the same twice where a pod rejects the body as a whole anyhow. */
function counts(body: Uint8Array, format: BodyFormat): [counted: number | undefined, found: number | undefined] {
  const decoded = decodeBatch(body, format, BATCH_MAX_TICKS, RULES);
  const counted = countTicks(body, format, BATCH_MAX_TICKS);
  if (decoded.ok) return [counted, decoded.batch.ticks];
  return [counted, decoded.why === 'empty' ? 0 : counted];
}

function bytes(text: string | Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(typeof text === 'string' ? new TextEncoder().encode(text) : text);
}

function packed(outcome: PackOutcome) {
  if (!outcome.ok) throw new Error(outcome.detail);
  return outcome.packed;
}

describe('the count of ticks', () => {
  const bodies: [string, string][] = [
    ['nothing', ''],
    ['blank lines', ' \r\n\n\t\n'],
    ['one tick', TICK],
    ['blank lines between', `${TICK}\r\n\n  \n${TICK}\n`],
    ['a byte order mark', `\uFEFF${TICK}\n${TICK}`],
    ['lines that are no ticks', 'x\n{"a":1}\n[1,2]\n'],
    ['an empty array', ' [ ] '],
    ['an array', `[${TICK},${TICK}, ${TICK}]`],
    ['nested arrays and objects', '[{"a":[1,2,{"b":[3,4]}]},[5,6],"x"]'],
    ['commas and brackets in strings', '["a,b]","\\",]",{"a":"},{"},"\\\\"]'],
    ['other alphabets', '["ä,ö","日本,","🙂"]'],
    ['closing braces too many', '[1},2]'],
    ['a marked array', '\uFEFF[1,2]'],
  ];

  it.each(bodies)('of %s is what the decoder finds', (_, body) => {
    for (const format of ['ndjson', 'array'] as const) {
      const [counted, found] = counts(bytes(body), format);
      expect(counted, body).toBe(found);
    }
  });

  const seed = newSeed();
  it(`of random bodies is what the decoder finds (seed ${seed})`, () => {
    const random = randomFrom(seed);
    const pieces = ['[', ']', '{', '}', ',', '"', '\\', '\n', ' ', '1', 'é', TICK, `[${TICK}`, `,${TICK}`];
    for (let round = 0; round < 3_000; round += 1) {
      let body = random.chance(0.7) ? '[' : '';
      for (let left = random.below(12); left > 0; left -= 1) body += random.pick(pieces);
      if (random.chance(0.7)) body += ']';
      for (const format of ['ndjson', 'array'] as const) {
        const [counted, found] = counts(bytes(body), format);
        expect(counted, body).toBe(found);
      }
    }
  });

  it('stops at the limit', () => {
    expect(countTicks(bytes('1\n2\n3'), 'ndjson', 3)).toBe(3);
    expect(countTicks(bytes('1\n2\n3\n4'), 'ndjson', 3)).toBeUndefined();
    expect(countTicks(bytes('[1,2,3]'), 'array', 3)).toBe(3);
    expect(countTicks(bytes('[1,2,3,4]'), 'array', 3)).toBeUndefined();
  });
});

describe('a body', () => {
  it('is packed, and its hash is that of what was sent', async () => {
    const body = bytes(`${TICK}\n`.repeat(700));
    const { body: held, encoding, bodyHash, ticks } = packed(await packBody(body, NDJSON, null));
    expect(ticks).toBe(700);
    expect(encoding).toBe('gzip');
    expect(held.length).toBeLessThan(body.length / 10);
    expect(gunzipSync(held)).toEqual(Buffer.from(body));
    expect(Buffer.from(bodyHash)).toEqual(createHash('sha256').update(body).digest());
  });

  it('that came packed stays as it is, and its hash is that of what it unpacks to', async () => {
    const plain = bytes(`[${TICK}]`);
    const sent = bytes(gzipSync(plain));
    for (const encoding of ['gzip', 'GZIP', ' x-gzip ']) {
      const held = packed(await packBody(sent, 'application/json; charset=utf-8', encoding));
      expect(held).toMatchObject({ encoding: 'gzip', ticks: 1 });
      expect(held.body).toEqual(sent);
      expect(Buffer.from(held.bodyHash)).toEqual(createHash('sha256').update(plain).digest());
    }
  });

  it('that packing makes longer is held as it is, so that it is still within the limit of a pod', async () => {
    const body = bytes(randomBytes(1024 * 1024));
    const { encoding, body: held } = packed(await packBody(body, NDJSON, 'identity'));
    expect(encoding).toBeNull();
    expect(held).toHaveLength(body.length);
  });

  it('that cannot be unpacked here is left to the pod', async () => {
    const twoMembers = bytes(Buffer.concat([gzipSync(TICK), gzipSync(`\n${TICK}`)]));
    for (const sent of [bytes('no gzip'), twoMembers]) {
      expect(packed(await packBody(sent, NDJSON, 'gzip'))).toMatchObject({ encoding: 'gzip', body: sent });
    }
  });

  it.each([
    ['of another type', bytes(TICK), 'text/csv', null, 'unsupported-type'],
    ['of no type', bytes(TICK), null, null, 'unsupported-type'],
    ['in another encoding', bytes(TICK), NDJSON, 'br', 'unsupported-type'],
    ['without a tick', bytes('\n\n'), NDJSON, null, 'unreadable'],
    ['with too many ticks', bytes('1\n'.repeat(BATCH_MAX_TICKS + 1)), NDJSON, null, 'too-large'],
    ['with too many packed ticks', bytes(gzipSync('1\n'.repeat(BATCH_MAX_TICKS + 1))), NDJSON, 'gzip', 'too-large'],
    ['that unpacks to too much', bytes(gzipSync(Buffer.alloc(UNPACKED_MAX_BYTES + 1))), NDJSON, 'gzip', 'too-large'],
  ])('%s is rejected as a pod would', async (_, body, type, encoding, problem) => {
    expect(await packBody(body, type, encoding)).toMatchObject({ ok: false, problem });
  });
});
