/** What a failure means is decided by its SQLSTATE alone. */

import { describe, expect, it } from 'vitest';
import {
  CallTimeoutError,
  failureDetail,
  failureKind,
  isWrongAddress,
  LedgerChangedError,
} from '../../pipeline/store/postgres-failure.ts';
import { probeDelayMs } from '../../pipeline/store/postgres.ts';

function answer(code: string): Error {
  return Object.assign(new Error('whatever the server says, in whatever language'), { code, severity: 'ERROR' });
}

describe('a failure', () => {
  it.each([
    ['40001', 'contention'],
    ['40P01', 'contention'],
    ['55P03', 'contention'],
    ['57014', 'contention'],
    ['53200', 'contention'],
    ['23514', 'data'],
    ['44000', 'data'],
    ['54000', 'data'],
    ['P0001', 'data'],
    ['22021', 'data'],
    ['22P05', 'data'],
    ['23502', 'data'],
    ['57P01', 'unavailable'],
    ['57P03', 'unavailable'],
    ['53100', 'unavailable'],
    ['53300', 'unavailable'],
    ['42501', 'unavailable'],
    ['25006', 'unavailable'],
    ['28P01', 'unavailable'],
    ['42P01', 'unavailable'],
    ['XX000', 'unavailable'],
    ['TS503', 'unavailable'],
  ])('with SQLSTATE %s is one of %s', (code, kind) => {
    expect(failureKind(answer(code))).toBe(kind);
  });

  it('without one is one of the way to the server, whatever its code or text', () => {
    const broken = Object.assign(new Error('deadlock detected'), { code: 'EPIPE' });
    const five = Object.assign(new Error('duplicate key'), { code: '23502' });
    for (const cause of [broken, five, new Error('40P01'), new CallTimeoutError(), 'text', undefined]) {
      expect(failureKind(cause)).toBe('unavailable');
    }
    expect(failureKind(new LedgerChangedError())).toBe('contention');
  });

  it('that is a fault of ours is one of data, so that one batch does not close the store', () => {
    const url = Object.assign(new TypeError('Invalid URL'), { code: 'ERR_INVALID_URL' });
    expect([new TypeError('x'), new RangeError('x'), url].map(failureKind)).toEqual(['data', 'data', 'unavailable']);
  });

  it('is told with its code, which an error of several addresses has instead of a message', () => {
    expect(failureDetail(answer('40P01'))).toMatch(/^40P01: whatever/);
    const refused = Object.assign(new AggregateError([], ''), { code: 'ECONNREFUSED' });
    expect(failureDetail(refused)).toBe('ECONNREFUSED: AggregateError');
  });

  it('of credentials and of the database name is no matter of waiting', () => {
    expect(['28P01', '28000', '3D000', '57P03', '42501'].map((code) => isWrongAddress(answer(code)))).toEqual([
      true,
      true,
      true,
      false,
      false,
    ]);
  });
});

describe('a probe', () => {
  it('comes at once after one failure, then later and later, never later than five seconds', () => {
    expect([0, 1, 2, 3, 4, 5, 6, 7, 1_000].map((failures) => probeDelayMs(failures, 1))).toEqual([
      0, 0, 250, 500, 1_000, 2_000, 4_000, 5_000, 5_000,
    ]);
    expect([2, 7].map((failures) => probeDelayMs(failures, 0))).toEqual([125, 2_500]);
  });
});
