import { describe, expect, it } from 'vitest';
import { COORDINATORS_MAX } from '../../pipeline/backpressure/feedback.ts';
import { readQueueDepths } from '../../pipeline/source/feedback-exposition.ts';

const read = (text: string): Record<string, number> => Object.fromEntries(readQueueDepths(text));

describe('a foreign store’s /metrics', () => {
  it('is read for the depth of each coordinator and nothing else', () => {
    const text = [
      '# HELP mds_coord_queue_depth Current coordinator queue depth',
      '# TYPE mds_coord_queue_depth gauge',
      'mds_coord_queue_depth{coord_id="bars-coord"} 5001.0',
      'mds_coord_queue_depth{coord_id="ticks",instance="a,b}"} 7 1763908200000',
      'mds_coord_queue_depth_created{coord_id="other"} 9',
      'mds_coord_items_submitted_total{coord_id="bars-coord"} 1e+06',
      'mds_coord_workers_alive{coord_id="bars-coord"} 4.0',
      '',
    ].join('\n');
    expect(read(text)).toEqual({ 'bars-coord': 5_001, ticks: 7 });
  });

  it.each([
    ['blanks wherever they may be', 'mds_coord_queue_depth { coord_id = "a" , x="y", } 3  12', { a: 3 }],
    ['a last line without its end', 'mds_coord_queue_depth{coord_id="a"} 3', { a: 3 }],
    ['lines that end in CR LF', 'mds_coord_queue_depth{coord_id="a"} 3\r\n', { a: 3 }],
    ['an exponent, and half an item', 'mds_coord_queue_depth{coord_id="a"} 1.5e3', { a: 1_500 }],
    ['escapes', 'mds_coord_queue_depth{x="\\"} 9\\n",coord_id="a\\\\b"} 3', { 'a\\b': 3 }],
    [
      'several series of one coordinator, by the deepest',
      'mds_coord_queue_depth{coord_id="a",i="1"} 3\nmds_coord_queue_depth{coord_id="a",i="2"} 5\nmds_coord_queue_depth{coord_id="a",i="3"} 4',
      { a: 5 },
    ],
  ])('is read with %s', (_what, text, depths) => {
    expect(read(text)).toEqual(depths);
  });

  it.each([
    ['no label', 'mds_coord_queue_depth 5'],
    ['another label', 'mds_coord_queue_depth{id="a"} 5'],
    ['no value', 'mds_coord_queue_depth{coord_id="a"}'],
    ['NaN', 'mds_coord_queue_depth{coord_id="a"} NaN'],
    ['infinity', 'mds_coord_queue_depth{coord_id="a"} +Inf'],
    ['less than nothing', 'mds_coord_queue_depth{coord_id="a"} -1'],
    ['more than can be counted', 'mds_coord_queue_depth{coord_id="a"} 1e300'],
    ['a value in another notation', 'mds_coord_queue_depth{coord_id="a"} 0x10'],
    ['something after the timestamp', 'mds_coord_queue_depth{coord_id="a"} 5 6 7'],
    ['an empty name', 'mds_coord_queue_depth{coord_id=""} 5'],
    ['a name with a line break', 'mds_coord_queue_depth{coord_id="a\\nb"} 5'],
    ['a name that is too long', `mds_coord_queue_depth{coord_id="${'a'.repeat(65)}"} 5`],
    ['quotes that do not close', 'mds_coord_queue_depth{coord_id="a} 5'],
    ['braces that do not close', 'mds_coord_queue_depth{coord_id="a" 5'],
    ['a comment', '# mds_coord_queue_depth{coord_id="a"} 5'],
  ])('is passed over where a sample has %s', (_what, text) => {
    expect(read(`${text}\nmds_coord_queue_depth{coord_id="good"} 1\n`)).toEqual({ good: 1 });
  });

  it('gives a bounded number of coordinators, the first ones', () => {
    const text = Array.from({ length: 5_000 }, (_, at) => `mds_coord_queue_depth{coord_id="c${at}"} ${at}`).join('\n');
    expect(Object.keys(read(text))).toEqual(Array.from({ length: COORDINATORS_MAX }, (_, at) => `c${at}`));
  });

  it.each([
    ['a label that does not close', `mds_coord_queue_depth{coord_id="${'\\\\'.repeat(50_000)}`],
    ['a label that does', `mds_coord_queue_depth{coord_id="${'x'.repeat(100_000)}"} 1`],
    ['labels', `mds_coord_queue_depth{${'a="b",'.repeat(17_000)}} 1`],
    ['lines without an end to their labels', 'mds_coord_queue_depth{a="b",\n'.repeat(3_700)],
    ['blanks before a label', `mds_coord_queue_depth{${' '.repeat(100_000)}!`],
    ['blanks after a value', `mds_coord_queue_depth{coord_id="a"} 1${' '.repeat(100_000)}!`],
    ['a value', `mds_coord_queue_depth{coord_id="a"} ${'1'.repeat(100_000)}!`],
    ['empty lines', '\n'.repeat(100_000)],
  ])('costs time in proportion to its length when a tenth of a mebibyte is %s', (_what, text) => {
    // Seen failing: with `\d+\.?\d*` for a number a value of digits took the square of its length, minutes at a mebibyte.
    const startedMs = performance.now();
    expect(read(text)).toEqual({});
    expect(performance.now() - startedMs).toBeLessThan(2_000);
  });
});
