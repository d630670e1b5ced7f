/** When an incident begins and ends: walked through second by second. */

import { describe, expect, it } from 'vitest';
import { type Incident, NO_WATCH, silenceIncident, UPDATES_MAX, watchStep } from '../../../worker/status/incidents.ts';
import type { Judged, State } from '../../../worker/status/judge.ts';
import { PACE } from '../../../worker/status/pace.ts';
import { newSeed, randomFrom } from '../../support/random.ts';

const STEP_MS = 15_000;

function judgedAs(state: State, cause: Judged['cause'] = 'unreachable'): Judged {
  const words = state === 'operational' ? 'Answers' : `It is ${state}`;
  return {
    id: 'cluster',
    name: 'Cluster',
    state,
    cause: state === 'operational' ? null : cause,
    words,
    goodUntilMs: 0,
  };
}

/** One letter each 15 s: o(perational), d(egraded), x (outage), u(nknown). What every incident was, in order of change. */
function walk(letters: string): { incidents: Map<string, Incident>; open: Incident | null } {
  const states: Record<string, State> = { o: 'operational', d: 'degraded', x: 'outage', u: 'unknown' };
  const incidents = new Map<string, Incident>();
  let watch = NO_WATCH;
  let nowMs = 0;
  let ids = 0;
  for (const letter of letters.replaceAll(' ', '')) {
    const step = watchStep(watch, judgedAs(states[letter]!), nowMs, PACE, () => `id-${(ids += 1)}`);
    watch = step.watch;
    if (step.changed !== null) incidents.set(step.changed.id, step.changed);
    nowMs += STEP_MS;
  }
  return { incidents, open: watch.open };
}

function spans(letters: string): string[] {
  return [...walk(letters).incidents.values()].map(({ startedMs, endedMs, impact }) => {
    return `${startedMs / STEP_MS}-${endedMs === null ? '' : endedMs / STEP_MS} ${impact}`;
  });
}

describe('an incident', () => {
  it.each([
    ['none while all is well', 'oooooo', []],
    ['begins with an outage, at once', 'oox', ['2- major']],
    ['does not begin with less than 45 s of degradation', 'ooddd ooo', []],
    ['begins with 45 s of degradation, and began when that did', 'oodddd', ['2- minor']],
    ['is not begun by degradation that comes and goes', 'd o d o d o d d o d', []],
    ['is not begun by what is unknown', 'uuuuuuuuuu', []],
    ['ends after a minute of being well, and ended when that began', 'oxx ooooo', ['1-3 major']],
    ['has not ended before that minute is over', 'oxx oooo', ['1- major']],
    ['stays one while it comes back within a minute', 'oxx oo xx ooo xx ooooo', ['1-12 major']],
    ['stays one while it gets worse and better', 'odddd xx dd xx ooooo', ['1-11 major']],
    ['is a second one after a minute of being well', 'x ooooo x ooooo', ['0-1 major', '6-7 major']],
    ['is neither ended nor shortened by what is unknown', 'xx uuuuuuuu', ['0- major']],
    ['needs a whole minute of being well that is known', 'xx oo uu oooo', ['0- major']],
    ['ends after what was unknown', 'xx uuuu ooooo', ['0-6 major']],
  ])('%s', (_, letters, expected) => {
    expect(spans(letters)).toEqual(expected);
  });

  it('tells its story: what was found, that it is watched, how long it lasted', () => {
    const [incident] = walk('odddd xx ooooo').incidents.values();
    expect(incident).toMatchObject({ component: 'cluster', cause: 'no answer', status: 'resolved' });
    expect(incident!.updates.map(({ status, text }) => `${status}: ${text}`)).toEqual([
      'identified: It is degraded',
      'identified: It is outage',
      'monitoring: Works again; watched for a minute',
      'resolved: Working again; it lasted 90 s',
    ]);
  });

  it('names the cause it has now', () => {
    const first = watchStep(NO_WATCH, judgedAs('outage'), 0, PACE, () => 'id');
    const second = watchStep(first.watch, judgedAs('outage', 'held_back'), 15_000, PACE, () => 'other');
    expect(second.changed).toMatchObject({ id: 'id', cause: 'takes nothing for now' });
    const same = watchStep(second.watch, judgedAs('outage', 'held_back'), 30_000, PACE, () => 'other');
    expect(same.changed).toBeNull();
  });

  it('has a bounded story however long it flaps, and still ends', () => {
    const { incidents, open } = walk(`x${'ox'.repeat(500)}ooooo`);
    expect(open).toBeNull();
    const [incident] = incidents.values();
    expect(incidents.size).toBe(1);
    expect(incident!.updates).toHaveLength(UPDATES_MAX + 1);
    expect(incident!.updates.at(-1)!.status).toBe('resolved');
  });

  it('is at most one at a time, ends after it began, and is over once all is well: any walk', () => {
    const seed = newSeed();
    const random = randomFrom(seed);
    for (let round = 0; round < 300; round += 1) {
      const letters = Array.from({ length: 60 }, () => random.pick(['o', 'd', 'x', 'u'])).join('');
      const { incidents, open } = walk(`${letters}oooooo`);
      const all = [...incidents.values()];
      const fine = all.every(({ startedMs, endedMs }, at) => {
        return endedMs !== null && endedMs > startedMs && startedMs >= (all[at - 1]?.endedMs ?? 0);
      });
      expect(open === null && fine, `seed ${seed}, walk ${letters}`).toBe(true);
    }
  });
});

describe('a stretch without measurements', () => {
  it('is told afterwards, as what it is', () => {
    expect(silenceIncident('id', 0, 600_000)).toMatchObject({ impact: 'none', status: 'resolved', endedMs: 600_000 });
  });
});
