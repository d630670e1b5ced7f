/** Feedback bodies as the original's broadcaster sends them, and what is none. */

import { describe, expect, it } from 'vitest';
import { parseFeedback } from '../../pipeline/contract/feedback.ts';

const SIX_KEYS = [
  '{"coordinator_id":"bars-coord","queue_size":5001,"capacity":10000,"level":"soft","reason":null,"utilization":0.5001}',
  '{"coordinator_id":"bars-coord","queue_size":8000,"capacity":10000,"level":"hard","reason":null,"utilization":0.8}',
  '{"coordinator_id":"bars-coord","queue_size":5000,"capacity":10000,"level":"ok","reason":"queue_recovered","utilization":0.5}',
];

describe('a feedback body', () => {
  it('is read byte for byte as the broadcaster sends it', () => {
    expect(SIX_KEYS.map(parseFeedback)).toEqual(
      [
        { queueSize: 5001, level: 'soft' },
        { queueSize: 8000, level: 'hard' },
        { queueSize: 5000, level: 'ok' },
      ].map((facts) => ({
        ok: true,
        feedback: { coordinatorId: 'bars-coord', capacity: 10_000, sentMs: undefined, ...facts },
      })),
    );
  });

  it('may have eight keys, upper case, more than is full, and keys that nobody knows', () => {
    const body =
      '{"coordinator_id":"c","queue_size":12000,"capacity":10000,"level":"HARD","reason":null,"utilization":1.2,' +
      '"source":"store","ts":1763908200.5,"later":{"a":1}}';
    expect(parseFeedback(body)).toEqual({
      ok: true,
      feedback: { coordinatorId: 'c', queueSize: 12_000, capacity: 10_000, level: 'hard', sentMs: 1_763_908_200_500 },
    });
  });

  it.each([
    ['JSON', 'soft'],
    ['object', '[]'],
    ['coordinator_id', SIX_KEYS[0]!.replace('bars-coord', 'bars coord')],
    ['coordinator_id', SIX_KEYS[0]!.replace('bars-coord', 'x'.repeat(65))],
    ['queue_size', SIX_KEYS[0]!.replace('5001', '-1')],
    ['queue_size', SIX_KEYS[0]!.replace('5001', '9007199254740993')],
    ['capacity', SIX_KEYS[0]!.replace('10000', '0')],
    ['level', SIX_KEYS[0]!.replace('soft', 'medium')],
    ['level', SIX_KEYS[0]!.replace('"soft"', '2')],
    ['utilization', SIX_KEYS[0]!.replace('0.5001', '"0.5001"')],
    ['ts', SIX_KEYS[0]!.replace('}', ',"ts":"now"}')],
  ])('is refused by the name of what is wrong with it: %s in %s', (name, body) => {
    expect(parseFeedback(body)).toEqual({ ok: false, detail: expect.stringContaining(name) });
  });
});
