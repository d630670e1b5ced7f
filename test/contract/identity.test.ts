import { describe, expect, it } from 'vitest';
import {
  BATCH_ID_MAX_CHARS,
  isBatchId,
  isProvider,
  PROVIDER_MAX_CHARS,
  randomBatchId,
  scopedBatchId,
  splitScopedBatchId,
} from '../../pipeline/contract/identity.ts';

describe('a provider name', () => {
  it.each(['ibkr', 'a', '0', 'polygon-io', 'x_1', 'a'.repeat(PROVIDER_MAX_CHARS)])('may be %s', (name) => {
    expect(isProvider(name)).toBe(true);
  });

  it.each([
    '',
    'IBKR',
    '-a',
    '_a',
    'a.b',
    'a/b',
    '..',
    'a b',
    'a%2fb',
    'é',
    'a\n',
    '*',
    'a'.repeat(PROVIDER_MAX_CHARS + 1),
  ])('may not be %j', (name) => {
    expect(isProvider(name)).toBe(false);
  });
});

describe('a batch id', () => {
  it.each(['msg_2KWPBgLlAfxdpx2AI54pPJ85f4W', '1', randomBatchId(), 'a:b~c@d+e=f-g', 'x'.repeat(BATCH_ID_MAX_CHARS)])(
    'may be %s',
    (id) => {
      expect(isBatchId(id)).toBe(true);
    },
  );

  // A dot would let one signed content be cut as two ids: see the next test. Seen when broken: with "." in the pattern,
  // "a.b", "." and ".." were ids.
  it.each([
    '',
    'a.b',
    '.',
    '..',
    'a/b',
    '/',
    'a b',
    'a\n',
    'a\0',
    'é',
    'a,b',
    'a"b',
    'a;b',
    'x'.repeat(BATCH_ID_MAX_CHARS + 1),
  ])('may not be %j', (id) => {
    expect(isBatchId(id)).toBe(false);
  });

  it('without dots can be cut from the signed content in one way only', () => {
    const asSent = ['a', '1795446000', '5.x'].join('.');
    expect(['a.1795446000', '5', 'x'].join('.')).toBe(asSent);
    expect(isBatchId('a')).toBe(true);
    expect(isBatchId('a.1795446000')).toBe(false);
  });

  it('made here is a new one each time', () => {
    expect(new Set(Array.from({ length: 100 }, randomBatchId)).size).toBe(100);
  });
});

describe('a scoped batch id', () => {
  it('gives provider and batch back', () => {
    expect(splitScopedBatchId(scopedBatchId('ibkr', '~a:b'))).toEqual({ provider: 'ibkr', batchId: '~a:b' });
    expect(splitScopedBatchId('plain')).toEqual({ provider: undefined, batchId: 'plain' });
  });

  it('of one provider cannot be read as another’s: what is left over after the first slash is no batch id', () => {
    const { provider, batchId } = splitScopedBatchId('ibkr/other/b');
    expect(provider).toBe('ibkr');
    expect(isBatchId(batchId)).toBe(false);
    expect(isProvider(splitScopedBatchId('/b').provider ?? '')).toBe(false);
  });
});
