/**
 * What foreign stores last said, per coordinator. Each word counts until the next one of the same coordinator or
 * until it expires: its sender speaks only when its level changes, and a lost "ok" must not throttle for ever.
 * Pure: the clock comes in as an argument.
 */

import type { Feedback } from '../contract/feedback.ts';
import { type Level, worstLevel } from '../contract/level.ts';

/** Coordinators remembered; beyond it the one heard longest ago makes room. */
export const COORDINATORS_MAX = 16;

/**
 * For how long a word that was sent earlier than one already heard is taken for a late one: twice the longest delay
 * that we expect of a network. Later it is the sender's clock that has gone back, and its word counts again. Not the
 * expiry: after a short one a late word would come back from the dead, during a long one a new clock not be heard.
 */
export const LATE_MAX_MS = 60_000;

export interface CoordinatorState {
  level: Level;
  queueSize: number;
  capacity: number;
  heardMs: number;
  /** Of the newest word that told when it was sent, by the sender's clock. */
  newest: { sentMs: number; heardMs: number } | undefined;
}

/**
 * Invariant: at most {@link COORDINATORS_MAX} coordinators; `level` is the worst of those that have not expired. Words
 * that tell when they were sent count in that order; the others, and what we looked up ourselves, as they arrive.
 */
export class FeedbackBoard {
  readonly #expiryMs: number;
  /** In the order heard. Expired ones stay until they have to make room, so that late words are known as such. */
  readonly #byCoordinator = new Map<string, CoordinatorState>();

  constructor(expiryMs: number) {
    this.#expiryMs = expiryMs;
  }

  /** False: it was sent before one that is known already, and changes nothing. */
  hear(feedback: Feedback, nowMs: number): boolean {
    const { coordinatorId, level, queueSize, capacity, sentMs } = feedback;
    const newest = this.#byCoordinator.get(coordinatorId)?.newest;
    const ordered = newest !== undefined && nowMs - newest.heardMs < LATE_MAX_MS ? newest : undefined;
    if (ordered !== undefined && sentMs !== undefined && sentMs < ordered.sentMs) return false;
    this.#byCoordinator.delete(coordinatorId);
    this.#byCoordinator.set(coordinatorId, {
      level,
      queueSize,
      capacity,
      heardMs: nowMs,
      newest: sentMs === undefined ? ordered : { sentMs, heardMs: nowMs },
    });
    if (this.#byCoordinator.size > COORDINATORS_MAX) {
      for (const oldest of this.#byCoordinator.keys()) {
        this.#byCoordinator.delete(oldest);
        break;
      }
    }
    return true;
  }

  level(nowMs: number): Level {
    return worstLevel([...this.coordinators(nowMs).values()].map((state) => state.level));
  }

  /** Those that have not expired. */
  coordinators(nowMs: number): ReadonlyMap<string, CoordinatorState> {
    return new Map([...this.#byCoordinator].filter(([, { heardMs }]) => nowMs - heardMs < this.#expiryMs));
  }
}
