import { expect, it } from 'vitest';
import { isLevel, type Level, LEVEL_NUMBER, RATE_SCALE, worstLevel } from '../../pipeline/contract/level.ts';

it('the worst of two levels is the same whichever comes first', () => {
  const table: Record<Level, Record<Level, Level>> = {
    ok: { ok: 'ok', soft: 'soft', hard: 'hard' },
    soft: { ok: 'soft', soft: 'soft', hard: 'hard' },
    hard: { ok: 'hard', soft: 'hard', hard: 'hard' },
  };
  for (const [a, row] of Object.entries(table)) {
    for (const [b, worst] of Object.entries(row)) expect(worstLevel([a as Level, b as Level])).toBe(worst);
  }
});

it('the worst of no levels is ok, and any number of them may be a set', () => {
  expect(worstLevel([])).toBe('ok');
  expect(worstLevel(new Set<Level>(['ok', 'hard', 'soft']))).toBe('hard');
});

it('a worse level has a higher number and admits less', () => {
  expect(LEVEL_NUMBER).toEqual({ ok: 0, soft: 1, hard: 2 });
  expect(RATE_SCALE).toEqual({ ok: 1, soft: 0.5, hard: 0 });
});

it('only the three words are levels', () => {
  expect(['ok', 'soft', 'hard'].every(isLevel)).toBe(true);
  for (const other of ['OK', 'Soft', '', 'toString', 0, null, undefined, ['ok']]) expect(isLevel(other)).toBe(false);
});
