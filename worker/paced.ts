/**
 * Work that many requests ask for and that is done once in an interval, after the answer has gone: what an isolate has
 * counted is told so. Knows the clock and what keeps a request alive; not what the work is.
 */

/** After this many intervals scheduled work has died with the request that scheduled it. */
const LOST_INTERVALS = 4;

export interface PacedWorld {
  nowMs: () => number;
  wait: (ms: number) => Promise<void>;
}

/** What is used of a request's context. */
export interface RequestScope {
  env: object;
  waitUntil: (work: Promise<unknown>) => void;
}

/** Invariant: work that was asked for begins within an interval, unless its request dies; then with the next one. */
export class Paced {
  readonly #world: PacedWorld;
  readonly #intervalMs: number;
  #begunMs = Number.NEGATIVE_INFINITY;
  #scheduledMs: number | undefined;

  constructor(world: PacedWorld, intervalMs: number) {
    this.#world = world;
    this.#intervalMs = intervalMs;
  }

  /** `work` never rejects. */
  ask({ env, waitUntil }: RequestScope, work: (env: object) => Promise<void>): void {
    const nowMs = this.#world.nowMs();
    if (this.#scheduledMs !== undefined && nowMs - this.#scheduledMs < this.#intervalMs * LOST_INTERVALS) return;
    this.#scheduledMs = nowMs;
    const waitMs = Math.max(0, this.#begunMs + this.#intervalMs - nowMs);
    waitUntil(this.#after(waitMs, () => work(env)));
  }

  async #after(waitMs: number, work: () => Promise<void>): Promise<void> {
    if (waitMs > 0) await this.#world.wait(waitMs);
    this.#scheduledMs = undefined;
    this.#begunMs = this.#world.nowMs();
    await work();
  }
}
