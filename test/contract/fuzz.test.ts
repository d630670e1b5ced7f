/**
 * The decoder against everything: its fast path against its plain one, both against a third that knows only the
 * contract's table (test/support/plain-tick.ts), batches against their ticks one by one, and times, decimals, feedback
 * and gzip against what the platform makes of them. All on texts that are nearly good.
 */
/* oxlint-disable vitest/no-conditional-expect, vitest/expect-expect, typescript/no-misused-spread, unicorn/consistent-function-scoping -- a property says what follows from what, and stands beside its generator */

import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BATCH_MAX_TICKS, decodeBatch, ticksAt, UNPACKED_MAX_BYTES } from '../../pipeline/contract/batch.ts';
import { emptyRow, SIDE_BUY, SIDE_SELL, type TickRow } from '../../pipeline/contract/columns.ts';
import { decodeTick, decodeTickPlain, defaultRules, type DecodeOutcome } from '../../pipeline/contract/decode.ts';
import { parseFeedback } from '../../pipeline/contract/feedback.ts';
import {
  codesOf,
  formatDecimal,
  formatTs,
  type Instant,
  readDecimal,
  readTs,
  readTsNs,
} from '../../pipeline/contract/tick.ts';
import { unpackTicks } from '../../pipeline/contract/tick-bytes.ts';
import { unpackBody } from '../../pipeline/source/body.ts';
import { corpus, FUZZ_SEED, FUZZ_TIMEOUT_MS, holds } from '../support/fuzz.ts';
import { type PlainTick, plainTick } from '../support/plain-tick.ts';
import { tickText } from '../support/tick-texts.ts';

const NOW_MS = Date.parse('2026-11-23T15:00:00Z');
const RULES = [defaultRules(NOW_MS), { ...defaultRules(NOW_MS), negativePrices: true }];
const encoder = new TextEncoder();

interface Decoded {
  outcome: DecodeOutcome;
  row: TickRow;
  ignored: number;
}

function decoded(decode: (row: TickRow, ignored: { count: number }) => DecodeOutcome): Decoded {
  const row = emptyRow();
  const ignored = { count: 0 };
  return { outcome: decode(row, ignored), row, ignored: ignored.count };
}

/** A row's meaning, without the fields of the other type, which are left as they were. */
function meaning({ row, ignored }: Decoded): PlainTick {
  const numbers = row.isQuote ? [row.bidPrice, row.bidSize, row.askPrice, row.askSize] : [row.price, row.size];
  return {
    isQuote: row.isQuote,
    symbol: row.symbol,
    tsNs: BigInt(row.seconds) * 1_000_000_000n + BigInt(row.nanos),
    id: row.id,
    numbers: numbers.map((number) => (Number.isNaN(number) ? undefined : number)),
    side: row.isQuote ? undefined : row.side === SIDE_BUY ? 'buy' : row.side === SIDE_SELL ? 'sell' : undefined,
    venue: row.venue ?? undefined,
    conditions: row.conditions ?? undefined,
    ignored,
  };
}

/** All three decoders say the same of `text`, wherever in a body it stands. */
function agree(text: string): void {
  for (const rules of RULES) {
    const plain = decoded((row, ignored) => decodeTickPlain(text, rules, row, ignored));
    for (const [before, after] of [
      ['', ''],
      ['{"a":1}\n', '\n{"price":'],
      ['"', '0'],
    ] as const) {
      const whole = before + text + after;
      const fast = decoded((row, ignored) =>
        decodeTick(whole, before.length, before.length + text.length, rules, row, ignored),
      );
      expect(fast.outcome).toEqual(plain.outcome);
      if (fast.outcome === null) expect(meaning(fast)).toEqual(meaning(plain));
    }
    const third = plainTick(text, rules);
    expect(plain.outcome === null ? meaning(plain) : undefined, JSON.stringify(plain.outcome)).toEqual(third);
    if (plain.outcome !== null) expect(plain.outcome.detail).toMatch(/^[^\p{C}\p{Zl}\p{Zp}]{10,200}$/u);
  }
}

describe(`a tick (MDP_TEST_SEED=${FUZZ_SEED})`, () => {
  it.each(corpus('ticks').map(({ name, bytes }) => [name, bytes.toString('utf8')]))(
    'is read alike by all decoders: %s',
    (_, text) => {
      expect.hasAssertions();
      agree(text);
    },
  );

  // Seen when broken: without scanFast's look at whether a member is there already, and with scanPlain not undoing the
  // escapes of a name: each found within a hundred ticks and shrunk to the one member that showed it.
  it('is read alike by all decoders, whatever it is', { timeout: FUZZ_TIMEOUT_MS }, async () => {
    let kept = 0;
    let tried = 0;
    const property = (text: string): void => {
      tried += 1;
      if (plainTick(text, RULES[0]!) !== undefined) kept += 1;
      agree(text);
    };
    await holds(tickText, 6_000, property, { kind: 'ticks', bytes: (text) => encoder.encode(text) });
    // What is nearly always thrown away at the door compares nothing.
    expect(kept / tried).toBeGreaterThan(0.05);
  });
});

interface Line {
  text: string;
  /** Put before it, to be no UTF-8. */
  broken: boolean;
  end: string;
}

const line: fc.Arbitrary<Line> = fc.record({
  text: tickText.filter((text) => !/[\n\r]/.test(text) && text.trim() !== ''),
  broken: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  end: fc.constantFrom('\n', '\n', '\r\n', '\n\n', '\n \t\n'),
});

function bytesOf({ text, broken }: Line): Buffer {
  return Buffer.concat([broken ? Buffer.of(0xff) : Buffer.alloc(0), encoder.encode(text)]);
}

function bodyOf(lines: readonly Line[]): Buffer {
  return Buffer.concat(lines.flatMap((one) => [bytesOf(one), encoder.encode(one.end)]));
}

/** A byte order mark at the start of a body is no part of its first tick; anywhere else it is. */
function withoutMark(first: Line): Line {
  return first.broken ? first : { ...first, text: first.text.replace(/^\uFEFF/, '') };
}

/** What each tick is by itself: null when it is kept, else the reason. */
function alone(one: Line): string | null {
  if (one.broken) return 'not_utf8';
  const { outcome } = decoded((row, ignored) =>
    decodeTickPlain(one.text.toWellFormed().replace(/^[ \t]+/, ''), RULES[0]!, row, ignored),
  );
  return outcome === null ? null : outcome.reason;
}

/** Reads any bytes as a batch, and holds what it says of itself against itself. */
function consistent(bytes: Uint8Array): void {
  for (const format of ['ndjson', 'array'] as const) {
    const outcome = decodeBatch(bytes, format, BATCH_MAX_TICKS, RULES[0]!);
    if (!outcome.ok) continue;
    const { ticks, accepted, rejected, rejectedBytes, columns } = outcome.batch;
    const kept = [...(columns.trades?.index ?? []), ...(columns.quotes?.index ?? [])];
    const all = [...kept, ...rejected.map(({ index }) => index)].toSorted((left, right) => left - right);
    expect(all).toEqual(Array.from({ length: ticks }, (_, index) => index));
    const keptBytes = unpackTicks(rejectedBytes);
    expect([kept.length, keptBytes.length]).toEqual([accepted, rejected.length]);
    const found = ticksAt(bytes, format, new Set(rejected.map(({ index }) => index)));
    expect(found).toEqual(keptBytes);
  }
}

describe(`a batch (MDP_TEST_SEED=${FUZZ_SEED})`, () => {
  it.each(corpus('batches').map(({ name, bytes }) => [name, bytes]))(
    'adds up, and hands back the bytes of what it rejects: %s',
    (_, bytes) => {
      expect.hasAssertions();
      consistent(bytes);
    },
  );

  it('of lines is each of them by itself', { timeout: FUZZ_TIMEOUT_MS }, async () => {
    const property = (sent: Line[]): void => {
      const outcome = decodeBatch(bodyOf(sent), 'ndjson', BATCH_MAX_TICKS, RULES[0]!);
      const lines = sent.with(0, withoutMark(sent[0]!));
      expect(outcome.ok).toBe(true);
      if (!outcome.ok) return;
      const { ticks, rejected, rejectedBytes } = outcome.batch;
      expect(ticks).toBe(lines.length);
      const reasons = lines.map(alone);
      expect(rejected.map(({ index, reason }) => [index, reason])).toEqual(
        reasons.flatMap((reason, index) => (reason === null ? [] : [[index, reason]])),
      );
      const trimmed = (bytes: Uint8Array): string =>
        Buffer.from(bytes)
          .toString('latin1')
          .replaceAll(/^[ \t\r]+|[ \t\r]+$/g, '');
      const kept = unpackTicks(rejectedBytes);
      for (const [at, { index }] of rejected.entries()) {
        expect(trimmed(kept[at]!.bytes)).toBe(trimmed(bytesOf(lines[index]!)));
      }
      consistent(bodyOf(sent));
    };
    await holds(fc.array(line, { minLength: 1, maxLength: 12 }), 800, property, { kind: 'batches', bytes: bodyOf });
  });

  it('of ticks that are JSON is the same as an array of them', { timeout: FUZZ_TIMEOUT_MS }, async () => {
    const texts = fc.array(
      tickText.filter((text) => !/[\n\r]/.test(text) && parses(text)),
      { minLength: 1, maxLength: 12 },
    );
    const property = (ticks: string[]): void => {
      const [asLines, asArray] = [
        decodeBatch(encoder.encode(ticks.join('\n')), 'ndjson', BATCH_MAX_TICKS, RULES[0]!),
        decodeBatch(encoder.encode(`[${ticks.join(' ,\n')}]`), 'array', BATCH_MAX_TICKS, RULES[0]!),
      ];
      expect(asArray).toEqual(asLines);
    };
    await holds(texts, 500, property, { kind: 'batches', bytes: (ticks) => encoder.encode(ticks.join('\n')) });
  });

  it('of any bytes at all is read or refused, and never half of it', { timeout: FUZZ_TIMEOUT_MS }, async () => {
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc
        .array(fc.constantFrom(...'[]{},:"\\ \n\r0-e.ntf', '\u00e9', '\uFEFF', 'null', '{"symbol":"A"}'), {
          maxLength: 60,
        })
        .map((parts) => encoder.encode(parts.join(''))),
    );
    await holds(noise, 3_000, consistent, { kind: 'batches', bytes: (bytes) => bytes });
  });

  it('comes out of gzip as it went in, and of anything else not at all', { timeout: FUZZ_TIMEOUT_MS }, async () => {
    const packed = fc.record({
      body: fc.uint8Array({ maxLength: 500 }),
      damage: fc.option(fc.record({ at: fc.nat(600), byte: fc.integer({ min: 1, max: 255 }) })),
      tail: fc.uint8Array({ maxLength: 3 }),
    });
    await holds(packed, 1_000, async ({ body, damage, tail }) => {
      const bytes = Buffer.concat([gzipSync(body), tail]);
      if (damage !== null && damage.at < bytes.length) bytes[damage.at]! ^= damage.byte;
      const outcome = await unpackBody(bytes, 'gzip');
      if (outcome.ok) expect(outcome.body.length).toBeLessThanOrEqual(UNPACKED_MAX_BYTES);
      // Damage to what says when and by whom it was packed is none to the body.
      if (outcome.ok && tail.length === 0) expect(Buffer.from(outcome.body).equals(Buffer.from(body))).toBe(true);
      if (damage === null) expect(outcome.ok).toBe(tail.length === 0);
    });
  });
});

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe(`times and decimals (MDP_TEST_SEED=${FUZZ_SEED})`, () => {
  it('are the same instant however they are written', { timeout: FUZZ_TIMEOUT_MS }, async () => {
    const [min, max] = [-9_223_372_036n * 1_000_000_000n, 9_223_372_035n * 1_000_000_000n + 999_999_999n];
    await holds(fc.bigInt({ min, max }), 5_000, (tsNs) => {
      const text = formatTs(tsNs);
      const [fromText, fromDigits]: Instant[] = [
        { seconds: 0, nanos: 0 },
        { seconds: 0, nanos: 0 },
      ];
      const digits = String(tsNs);
      expect([
        readTs(codesOf(text), 0, text.length, fromText!),
        readTsNs(codesOf(digits), 0, digits.length, fromDigits!),
      ]).toEqual([true, true]);
      expect(fromText).toEqual(fromDigits);
      expect(BigInt(fromText!.seconds) * 1_000_000_000n + BigInt(fromText!.nanos)).toBe(tsNs);
      expect(Date.parse(text)).toBe(fromText!.seconds * 1000 + Math.floor(fromText!.nanos / 1_000_000));
    });
  });

  it(
    'are what Number makes of them as far as 15 digits go, and come back as they were',
    { timeout: FUZZ_TIMEOUT_MS },
    async () => {
      const digits = fc.tuple(fc.integer({ min: 1, max: 999_999_999_999_999 }), fc.integer({ min: -30, max: 25 }));
      await holds(digits, 5_000, ([mantissa, power]) => {
        const text = formatDecimal(Number(`${mantissa}e${power}`));
        const read = readDecimal(codesOf(text), 0, text.length, false);
        if (text.length <= 48)
          expect([text, read, formatDecimal(read)]).toEqual([text, Number(`${mantissa}e${power}`), text]);
        const exponent = `${mantissa}e${power}`;
        expect(readDecimal(codesOf(exponent), 0, exponent.length, true)).toBe(Number(exponent));
      });
    },
  );
});

describe(`feedback (MDP_TEST_SEED=${FUZZ_SEED})`, () => {
  /** What every accepted body is. */
  function sound(text: string): void {
    const outcome = parseFeedback(text);
    if (!outcome.ok) {
      expect(outcome.detail).toMatch(/^[^\p{C}]{5,200}$/u);
      return;
    }
    const { coordinatorId, queueSize, capacity, level, sentMs } = outcome.feedback;
    expect(coordinatorId.length).toBeGreaterThan(0);
    expect([
      coordinatorId.length <= 128,
      Number.isSafeInteger(queueSize) && queueSize >= 0,
      Number.isSafeInteger(capacity) && capacity > 0,
    ]).toEqual([true, true, true]);
    expect(['ok', 'soft', 'hard']).toContain(level);
    expect(sentMs === undefined || Number.isFinite(sentMs)).toBe(true);
  }

  it.each(corpus('feedback').map(({ name, bytes }) => [name, bytes.toString('utf8')]))(
    'is sound or refused: %s',
    (_, text) => {
      expect.hasAssertions();
      sound(text);
    },
  );

  it('is sound or refused, whatever it is', { timeout: FUZZ_TIMEOUT_MS }, async () => {
    const any = fc.oneof(
      fc.constantFrom('ok', 'soft', 'HARD', 'Ok', 0, 1, -1, 1.5, 2 ** 53, 1e308, '', 'a b', null, true),
      fc.jsonValue({ maxDepth: 1 }),
    );
    const body = fc.record(
      { coordinator_id: any, queue_size: any, capacity: any, level: any, utilization: any, ts: any, extra: any },
      { requiredKeys: [] },
    );
    const good = { coordinator_id: 'c', queue_size: 1, capacity: 10, level: 'ok', utilization: 0.1 };
    const text = fc.oneof(
      body.map((one) => JSON.stringify({ ...good, ...one })),
      body.map((one) => JSON.stringify(one)),
      fc.json(),
      fc.string(),
    );
    // A number too large for a double is Infinity once it is parsed.
    const huge = text.map((one) => one.replace(/1e\+308/, '1e999'));
    await holds(huge, 5_000, sound, { kind: 'feedback', bytes: (one) => encoder.encode(one) });
  });
});
