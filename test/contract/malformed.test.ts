import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { type RejectReason, PROBLEMS } from '../../pipeline/contract/answer.ts';
import { BATCH_MAX_TICKS, bodyFormat, decodeBatch, UNPACKED_MAX_BYTES } from '../../pipeline/contract/batch.ts';
import { defaultRules } from '../../pipeline/contract/decode.ts';
import { bodyOf, type CorpusEntry, type CorpusExpectation, MALFORMED_CORPUS } from '../support/malformed-corpus.ts';

const NOW_MS = Date.parse('2026-11-23T15:00:00Z');

/** What the decoder alone makes of a body, in the terms of the HTTP answer. */
function answered(entry: CorpusEntry, body: Uint8Array): CorpusExpectation {
  const outcome = decodeBatch(body, bodyFormat(entry.contentType)!, BATCH_MAX_TICKS, defaultRules(NOW_MS));
  if (!outcome.ok) {
    return outcome.why === 'too_many_ticks'
      ? { status: 413, problem: 'too-large' }
      : { status: 400, problem: 'unreadable' };
  }
  const { accepted, ticks, columns } = outcome.batch;
  const rejected = outcome.batch.rejected.map(({ index, reason }) => ({ index, reason }));
  const rows = (columns.trades?.index.length ?? 0) + (columns.quotes?.index.length ?? 0);
  if (rows !== accepted || rows + rejected.length !== ticks) throw new Error(`${ticks} ticks do not add up`);
  if (accepted === 0) return { status: 422, problem: 'all-rejected', rejected };
  return { status: 200, stored: accepted, ...(rejected.length > 0 ? { rejected } : {}) };
}

describe('the malformed corpus', () => {
  it('holds at least 170 bodies, each with a name of its own and a status that its problem has', () => {
    expect(MALFORMED_CORPUS.length).toBeGreaterThanOrEqual(170);
    expect(new Set(MALFORMED_CORPUS.map(({ name }) => name)).size).toBe(MALFORMED_CORPUS.length);
    const statuses = MALFORMED_CORPUS.map(({ name, expect: want }) => [name, want.status]);
    const implied = MALFORMED_CORPUS.map(({ name, expect: want }) => [
      name,
      want.problem === undefined ? 200 : PROBLEMS[want.problem].status,
    ]);
    expect(statuses).toEqual(implied);
  });

  it('holds a body for every reason', () => {
    const met = new Set(
      MALFORMED_CORPUS.flatMap(({ expect: want }) => want.rejected ?? []).map(({ reason }) => reason),
    );
    const all: Record<Exclude<RejectReason, 'unstorable'>, true> = {
      not_utf8: true,
      not_json: true,
      not_object: true,
      tick_too_large: true,
      duplicate_field: true,
      unknown_type: true,
      missing_field: true,
      wrong_type: true,
      bad_time: true,
      time_range: true,
      future_time: true,
      unsafe_integer: true,
      bad_decimal: true,
      precision: true,
      number_range: true,
      price_not_positive: true,
      negative_size: true,
      bad_symbol: true,
      bad_id: true,
      bad_side: true,
      bad_venue: true,
      bad_conditions: true,
    };
    expect([...met].sort()).toEqual(Object.keys(all).sort());
  });

  const aboutTicks = MALFORMED_CORPUS.filter(({ layer }) => layer === 'ticks');
  it.each(aboutTicks.map((entry) => [entry.name, entry] as const))('is answered as it should be: %s', (_, entry) => {
    expect(answered(entry, bodyOf(entry, NOW_MS))).toEqual(entry.expect);
  });

  const unpacked = MALFORMED_CORPUS.filter(
    ({ layer, expect: want, contentEncoding = '' }) =>
      layer === 'http' && /^gzip$/i.test(contentEncoding) && (want.status === 200 || want.status === 422),
  );
  it.each(unpacked.map((entry) => [entry.name, entry] as const))(
    'is answered as it should be, unpacked: %s',
    (_, entry) => {
      const body = gunzipSync(bodyOf(entry, NOW_MS), { maxOutputLength: UNPACKED_MAX_BYTES });
      expect(answered(entry, body)).toMatchObject(entry.expect);
    },
  );

  it('has a 415 for exactly the content types that are not ticks', () => {
    const plain = MALFORMED_CORPUS.filter(({ contentEncoding }) => contentEncoding === undefined);
    const refused = plain.filter(({ expect: want }) => want.status === 415).map(({ name }) => name);
    expect(plain.filter(({ contentType }) => bodyFormat(contentType) === undefined).map(({ name }) => name)).toEqual(
      refused,
    );
    expect(refused.length).toBeGreaterThan(5);
  });

  it('keeps every detail to one line of at most 200 characters', () => {
    const wrong: unknown[] = [];
    for (const entry of aboutTicks) {
      const outcome = decodeBatch(
        bodyOf(entry, NOW_MS),
        bodyFormat(entry.contentType)!,
        BATCH_MAX_TICKS,
        defaultRules(NOW_MS),
      );
      const details = outcome.ok ? outcome.batch.rejected.map(({ detail }) => detail) : [outcome.detail];
      for (const detail of details) {
        if (!/^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]{10,200}$/u.test(detail)) wrong.push({ name: entry.name, detail });
      }
    }
    expect(wrong).toEqual([]);
  });
});
