import { describe, expect, it } from 'vitest';
import { admissionHeaders, problem, problemName, PROBLEMS, type ProblemName } from '../../pipeline/contract/answer.ts';

const NAMES = Object.keys(PROBLEMS) as ProblemName[];

/** One member of a structured-field list: a string and its integer parameters. Source: RFC 9651, sections 3.1 and 3.3. */
function structured(field: string | undefined): { name: string; parameters: Record<string, number> } {
  const match = /^"([ !#-[\]-~]+)"((?:;[a-z*][a-z0-9_.*-]*=-?\d{1,15})*)$/.exec(field ?? '');
  if (match === null) throw new Error(`not a structured field: ${field}`);
  const pairs = match[2]!
    .split(';')
    .slice(1)
    .map((pair) => pair.split('=') as [string, string]);
  return { name: match[1]!, parameters: Object.fromEntries(pairs.map(([key, value]) => [key, Number(value)])) };
}

describe('admissionHeaders', () => {
  // Seen when broken: without Math.floor a quota of 12500.5 makes "q=12500.5", which is no integer of the draft.
  it.each([
    [{ level: 'ok', rateScale: 1, quotaTicksPerSecond: 50_000, remainingTicks: 99_999.7 }, 50_000, 99_999],
    [{ level: 'soft', rateScale: 0.5, quotaTicksPerSecond: 12_500.5, remainingTicks: 0.4 }, 12_500, 0],
    [{ level: 'hard', rateScale: 0, quotaTicksPerSecond: 0, remainingTicks: -3.2 }, 0, 0],
  ] as const)(
    'are structured fields of one policy, with whole numbers that are not negative: %j',
    (admission, q, r) => {
      const headers = admissionHeaders(admission);
      expect(structured(headers['ratelimit-policy'])).toEqual({ name: 'ticks', parameters: { q, w: 1 } });
      expect(structured(headers['ratelimit'])).toEqual({ name: 'ticks', parameters: { r, t: 1 } });
      expect(headers['mdp-level']).toBe(admission.level);
      expect(Number(headers['mdp-rate-scale'])).toBe(admission.rateScale);
    },
  );

  it('are accepted by the platform as headers', () => {
    const headers = new Headers(
      admissionHeaders({ level: 'ok', rateScale: 1, quotaTicksPerSecond: 1, remainingTicks: 1 }),
    );
    expect([...headers.keys()].sort()).toEqual(['mdp-level', 'mdp-rate-scale', 'ratelimit', 'ratelimit-policy']);
  });
});

describe('a problem', () => {
  it.each(NAMES)('carries type, title, status and detail, and tells its name back: %s', (name) => {
    const made = problem(name, 'why');
    expect(made).toEqual({
      type: `/problems/${name}`,
      title: PROBLEMS[name].title,
      status: PROBLEMS[name].status,
      detail: 'why',
    });
    expect(problemName(made.type)).toBe(name);
    expect(problemName(`https://edge.example/problems/${name}`)).toBe(name);
    expect(PROBLEMS[name].todo).not.toBe('');
  });

  it('shows the batch and its rejections where there are any', () => {
    const rejected = [{ index: 3, reason: 'bad_time', detail: 'ts' }] as const;
    expect(problem('all-rejected', 'why', { batch: 'b', rejected: [...rejected] })).toMatchObject({
      batch: 'b',
      rejected,
    });
  });

  it('of somebody else has no name', () => {
    for (const type of [
      'about:blank',
      '',
      '/problems/',
      '/problems/toString',
      '/problems/draining/',
      '/problems/draining?x',
      503,
      null,
      undefined,
      {},
    ]) {
      expect(problemName(type)).toBeUndefined();
    }
  });

  it('that says "wait" is a 429 or a 503, and no other', () => {
    const waits = NAMES.filter((name) => PROBLEMS[name].todo.includes('Retry-After'));
    // Over credit one waits for answers, not for a time.
    const refusals = NAMES.filter((name) => [429, 503].includes(PROBLEMS[name].status) && name !== 'over-credit');
    expect(waits).toEqual(refusals);
  });
});
