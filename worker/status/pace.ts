/**
 * How often the status is measured and from when on a measurement means trouble. Constants and the relations
 * between them; knows nothing of what is measured.
 */

/** All in milliseconds of the board's clock. Tests shorten them. */
export interface Pace {
  /** Between two looks at the cluster. */
  beatMs: number;
  /** Between two canary ticks: a fault that begins right after one is found by the next. */
  canaryMs: number;
  /** A canary that is not stored by then has failed. */
  canaryTimeoutMs: number;
  /** A canary that takes longer was stored slowly. */
  canarySlowMs: number;
  /** What is older says nothing about now. */
  staleMs: number;
  /** Refusals, failures and ticks are summed over this. */
  windowMs: number;
  /** A provider that usually sends more often than this counts as silent from here on. */
  silentMs: number;
  /** A provider that has been silent for this long may have stopped for the day: nothing is known of it. */
  silentUnknownMs: number;
  /** Ticks that have waited at the edge for this long are a backlog. */
  backlogMs: number;
  /** An outage is an incident at once; a degraded component when it has been so for this long. */
  openAfterMs: number;
  /** An incident ends when its component has been well for this long. */
  closeAfterMs: number;
  /** Between two refreshes of an open page. */
  refreshMs: number;
  /** However many look, an isolate asks the board at most this often. */
  recordMs: number;
  /** An isolate tells the board what it saw at most this often. */
  reportMs: number;
}

/**
 * A fault is found by the next beat or canary and shown by the next refresh: 30 s + 8 s + 2 s + 15 s and 5 s in a
 * cache, so within 60 s. `staleMs` is three canaries, so that one lost canary turns nothing to unknown.
 */
export const PACE: Pace = {
  beatMs: 15_000,
  canaryMs: 30_000,
  canaryTimeoutMs: 8_000,
  canarySlowMs: 2_000,
  staleMs: 90_000,
  windowMs: 60_000,
  silentMs: 45_000,
  silentUnknownMs: 30 * 60_000,
  backlogMs: 60_000,
  openAfterMs: 45_000,
  closeAfterMs: 60_000,
  refreshMs: 15_000,
  recordMs: 2_000,
  reportMs: 5_000,
};
