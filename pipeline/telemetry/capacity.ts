/**
 * What this pod could store a second, told from what it does store and how busy that keeps it: whichever of the store
 * and the event loop is busier is its limit. Pure: times and shares come in as arguments.
 */

/** Shorter spans are too coarse to tell a share. */
export const CAPACITY_SPAN_MS = 10_000;
/** Below this share of either, a pod does not know what it could do: small groups cost more for each tick. */
const BUSY_MIN_SHARE = 0.3;
/** What a new span counts against all before it. */
const NEW_SHARE = 0.3;

export interface Work {
  /** Ticks committed since the start. */
  ticks: number;
  /** Milliseconds since the start in which at least one group was being written. */
  writingMs: number;
  /** Milliseconds since the start in which the event loop was busy. */
  loopMs: number;
}

export class CapacityMeter {
  #last: { atMs: number; work: Work } | undefined;
  #ticksPerSecond: number | undefined;

  /** Undefined until the pod was busy once. To be called often; looks every {@link CAPACITY_SPAN_MS}. */
  ticksPerSecond(work: Work, nowMs: number): number | undefined {
    const last = this.#last;
    if (last === undefined) {
      this.#last = { atMs: nowMs, work };
      return this.#ticksPerSecond;
    }
    const spanMs = nowMs - last.atMs;
    if (spanMs < CAPACITY_SPAN_MS) return this.#ticksPerSecond;
    this.#last = { atMs: nowMs, work };
    const busyMs = Math.max(work.writingMs - last.work.writingMs, work.loopMs - last.work.loopMs);
    if (busyMs < spanMs * BUSY_MIN_SHARE) return this.#ticksPerSecond;
    const seen = ((work.ticks - last.work.ticks) / Math.min(busyMs, spanMs)) * 1000;
    this.#ticksPerSecond =
      this.#ticksPerSecond === undefined ? seen : this.#ticksPerSecond * (1 - NEW_SHARE) + seen * NEW_SHARE;
    return this.#ticksPerSecond;
  }
}
