/**
 * The circuit between the writer and its store: after some failures in a row nothing is tried for a while, then one
 * probe, whose outcome decides for all. It knows failures and times; what is tried, and with what, is the writer's.
 * Pure: clock and chance come in as arguments.
 */

/**
 * - `closed`: writes pass (after a failure, the next one waits a moment).
 * - `open`: nothing passes; a check that carries nothing may be under way.
 * - `half_open`: one probe is under way, or the next write will be it; without any, one more check.
 */
export type CircuitState = 'closed' | 'half_open' | 'open';

export const CIRCUIT_FAILURES_TO_OPEN = 3;
export const CIRCUIT_DELAY_MIN_MS = 100;
/**
 * How long a store that has come back may go unnoticed. Each look is one small call of each pod. Simulated, 4 pods: with
 * 5 s what had waited was a second and a half later (worst of 100 alignments); with 2 s one of 100 was 1.1 s later than
 * the store, with 1.5 s at most 0.9 s.
 */
export const CIRCUIT_DELAY_MAX_MS = 1_500;

/** Invariant: while not closed, at most one attempt is under way. */
export class Circuit {
  #failures = 0;
  #retryAtMs = Number.NEGATIVE_INFINITY;
  /** The waiting is over; only a probe may decide now, or a check when there is nothing to write. */
  #onTrial = false;
  #checkAgainAtMs = Number.POSITIVE_INFINITY;
  #probing = false;

  get state(): CircuitState {
    if (this.#failures < CIRCUIT_FAILURES_TO_OPEN) return 'closed';
    return this.#onTrial ? 'half_open' : 'open';
  }

  /** Until the next attempt may begin: 0 now, infinite while a probe is under way. */
  waitMs(nowMs: number): number {
    if (this.#probing) return Number.POSITIVE_INFINITY;
    return Math.max(0, this.#retryAtMs - nowMs);
  }

  /** Begins an attempt, which is to end with {@link succeeded} or {@link failed}; undefined: not now. */
  begin(nowMs: number): 'write' | 'probe' | undefined {
    if (this.waitMs(nowMs) > 0) return undefined;
    if (this.state === 'closed') return 'write';
    this.#onTrial = true;
    this.#probing = true;
    return 'probe';
  }

  /** Until the store may be checked: 0 now, infinite while it is known to be well or is being tried. */
  checkInMs(nowMs: number): number {
    if (this.#probing || this.state === 'closed') return Number.POSITIVE_INFINITY;
    return Math.max(0, (this.#onTrial ? this.#checkAgainAtMs : this.#retryAtMs) - nowMs);
  }

  /** Begins a check, which carries nothing and is to end with {@link checked} or {@link failed}; false: not now. */
  beginCheck(nowMs: number): boolean {
    if (this.checkInMs(nowMs) > 0) return false;
    this.#probing = true;
    return true;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#retryAtMs = Number.NEGATIVE_INFINITY;
    this.#onTrial = false;
    this.#probing = false;
  }

  /**
   * The store is well as far as a check can tell: the next write is the probe. When none comes, a second check in a row
   * decides, or a pod that nobody sends to would stand in the way of scaling in for ever.
   */
  checked(nowMs: number): void {
    if (this.#onTrial) return this.succeeded();
    this.#onTrial = true;
    this.#probing = false;
    this.#checkAgainAtMs = nowMs + CIRCUIT_DELAY_MAX_MS;
  }

  /** `random` is 0 up to, but not, 1: half of each wait is by chance, so that pods do not come back in step. */
  failed(nowMs: number, random: number): void {
    this.#failures += 1;
    this.#onTrial = false;
    this.#probing = false;
    const delayMs = Math.min(CIRCUIT_DELAY_MIN_MS * 2 ** Math.min(this.#failures - 1, 16), CIRCUIT_DELAY_MAX_MS);
    this.#retryAtMs = nowMs + delayMs / 2 + (delayMs / 2) * random;
  }
}
