import { describe, expect, it } from 'vitest';
import { createLog } from '../../pipeline/telemetry/log.ts';
import { NOW_MS } from '../support/pod-batch.ts';

describe('the log', () => {
  it('is one JSON object a line, whatever is in it', () => {
    const written: string[] = [];
    createLog(
      'info',
      () => NOW_MS,
      (line) => void written.push(line),
    )('warn', 'odd\nevent', { detail: 'a\n"b"' });
    expect(written).toHaveLength(1);
    expect(written[0]).toMatch(/^[^\n]*\n$/);
    expect(JSON.parse(written[0]!)).toEqual({
      time: '2026-11-23T14:30:00.000Z',
      level: 'warn',
      event: 'odd\nevent',
      detail: 'a\n"b"',
    });
  });

  it('leaves out what is below its threshold', () => {
    const written: string[] = [];
    const log = createLog(
      'warn',
      () => NOW_MS,
      (line) => void written.push((JSON.parse(line) as { level: string }).level),
    );
    for (const level of ['debug', 'info', 'warn', 'error'] as const) log(level, 'x');
    expect(written).toEqual(['warn', 'error']);
  });
});
