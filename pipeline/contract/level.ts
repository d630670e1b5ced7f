/**
 * Backpressure levels as every answer carries them. A level is state that is repeated with each answer and
 * scrape, never an event that can be missed.
 */

export type Level = 'ok' | 'soft' | 'hard';

/** The value of `pipeline_backpressure_state`. Source: rollout guide, step 5, panel 3. */
export const LEVEL_NUMBER: Readonly<Record<Level, 0 | 1 | 2>> = { ok: 0, soft: 1, hard: 2 };

/** The share of a provider's budget that a level admits. Source: rollout guide, "Expected Behavior". */
export const RATE_SCALE: Readonly<Record<Level, number>> = { ok: 1, soft: 0.5, hard: 0 };

export const LEVEL_HEADER = 'mdp-level';
export const RATE_SCALE_HEADER = 'mdp-rate-scale';
/**
 * How many ticks of this provider a pod has room for now, those that it holds unanswered among them: a sender that
 * never has more than that in flight to the pod never makes its level leave ok.
 */
export const CREDIT_HEADER = 'mdp-credit';

export function isLevel(value: unknown): value is Level {
  return value === 'ok' || value === 'soft' || value === 'hard';
}

/** The worst of several levels; `ok` when there are none. */
export function worstLevel(levels: Iterable<Level>): Level {
  let worst: Level = 'ok';
  for (const level of levels) if (LEVEL_NUMBER[level] > LEVEL_NUMBER[worst]) worst = level;
  return worst;
}
