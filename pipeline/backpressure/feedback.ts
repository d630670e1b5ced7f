/**
 * What foreign stores last said, per coordinator. Each word counts until the next one of the same coordinator or
 * until it expires: its sender speaks only when its level changes, and a lost "ok" must not throttle for ever.
 * Pure: the clock comes in as an argument.
 */

import type { Feedback } from '../contract/feedback.ts';
import { type Level, worstLevel } from '../contract/level.ts';

/** Coordinators remembered; beyond it the one heard longest ago makes room. */
export const COORDINATORS_MAX = 16;

export interface CoordinatorState {
  level: Level;
  queueSize: number;
  capacity: number;
  heardMs: number;
  sentMs: number | undefined;
}

/** Invariant: at most {@link COORDINATORS_MAX} coordinators; `level` is the worst of those that have not expired. */
export class FeedbackBoard {
  readonly #expiryMs: number;
  readonly #byCoordinator = new Map<string, CoordinatorState>();

  constructor(expiryMs: number) {
    this.#expiryMs = expiryMs;
  }

  /** False: it was sent before one that is known already, and changes nothing. */
  hear(feedback: Feedback, nowMs: number): boolean {
    const { coordinatorId, level, queueSize, capacity, sentMs } = feedback;
    const known = this.#live(nowMs).get(coordinatorId);
    if (known?.sentMs !== undefined && sentMs !== undefined && sentMs < known.sentMs) return false;
    // Last in the map is heard last.
    this.#byCoordinator.delete(coordinatorId);
    this.#byCoordinator.set(coordinatorId, { level, queueSize, capacity, heardMs: nowMs, sentMs });
    if (this.#byCoordinator.size > COORDINATORS_MAX) {
      for (const oldest of this.#byCoordinator.keys()) {
        this.#byCoordinator.delete(oldest);
        break;
      }
    }
    return true;
  }

  level(nowMs: number): Level {
    return worstLevel([...this.#live(nowMs).values()].map((state) => state.level));
  }

  coordinators(nowMs: number): ReadonlyMap<string, CoordinatorState> {
    return this.#live(nowMs);
  }

  #live(nowMs: number): Map<string, CoordinatorState> {
    for (const [id, state] of this.#byCoordinator) {
      if (nowMs - state.heardMs >= this.#expiryMs) this.#byCoordinator.delete(id);
    }
    return this.#byCoordinator;
  }
}
