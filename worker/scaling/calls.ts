/**
 * What isolates tell the meter, what it tells of all of them, and how it is reached. Plain data that both sides know.
 */

/** How a batch ended for its sender. */
export const BATCH_OUTCOMES = ['stored', 'buffered', 'over_budget', 'refused', 'rejected'] as const;
export type BatchOutcome = (typeof BATCH_OUTCOMES)[number];

/** Ticks that came in one second of the isolate's clock. */
export interface Arrivals {
  provider: string;
  /** Since the epoch. */
  second: number;
  ticks: number;
}

/** What one isolate has seen since its last report. */
export interface ScalingReport {
  /** No other report has it: one that is sent again counts once. */
  id: string;
  arrivals: Arrivals[];
  /** Refused batches, by `PROVIDER/BATCH`: they come again, perhaps to another isolate. */
  refused: ({ batch: string } & Arrivals)[];
  batches: { provider: string; outcome: BatchOutcome; count: number }[];
}

/** Null is not known; never 0 in its place. */
export interface ProviderFigures {
  ticksPerSecond: number | null;
  outstandingTicks: number | null;
  oldestOutstandingSeconds: number | null;
  /** Since the meter began, as the next. */
  ticksOffered: number;
  batches: Record<BatchOutcome, number>;
}

export interface ScalingFigures {
  atMs: number;
  providers: Record<string, ProviderFigures>;
}

export interface MeterCalls {
  report(report: ScalingReport): Promise<void>;
  /** Of all providers with credentials; undefined when the settings are wrong. */
  figures(): Promise<ScalingFigures | undefined>;
}

/** The binding's name in wrangler.toml. */
export const METER = 'METER';
/** There is one. */
const METER_NAME = 'meter';

/** The meter, or `undefined` where the edge runs without one. */
export function meterOf(env: object): MeterCalls | undefined {
  const binding = (env as Record<string, unknown>)[METER] as { getByName(name: string): MeterCalls } | undefined;
  return binding?.getByName(METER_NAME);
}

export function noBatches(): Record<BatchOutcome, number> {
  return { stored: 0, buffered: 0, over_budget: 0, refused: 0, rejected: 0 };
}
