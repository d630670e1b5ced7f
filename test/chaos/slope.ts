/** A straight line through samples, by least squares: whether something grows. Pure. */

export interface Sample {
  atMs: number;
  value: number;
}

export interface Trend {
  samples: number;
  mean: number;
  /** Of the line. */
  perHour: number;
  /** The standard error of that, as if no sample had to do with the one before it. */
  perHourError: number;
}

const HOUR_MS = 3_600_000;

/** Of the samples after the first `warmUpShare` of the time. NaN where there are too few of them. */
export function trend(samples: readonly Sample[], warmUpShare: number): Trend {
  const first = samples[0]?.atMs ?? 0;
  const last = samples.at(-1)?.atMs ?? 0;
  const warm = samples.filter(({ atMs }) => atMs >= first + (last - first) * warmUpShare);
  const meanMs = mean(warm.map(({ atMs }) => atMs));
  const meanValue = mean(warm.map(({ value }) => value));
  const together = warm.reduce((sum, { atMs, value }) => sum + (atMs - meanMs) * (value - meanValue), 0);
  const apart = warm.reduce((sum, { atMs }) => sum + (atMs - meanMs) ** 2, 0);
  const slope = together / apart;
  const left = warm.reduce((sum, { atMs, value }) => sum + (value - meanValue - slope * (atMs - meanMs)) ** 2, 0);
  return {
    samples: warm.length,
    mean: meanValue,
    perHour: slope * HOUR_MS,
    perHourError: Math.sqrt(left / (warm.length - 2) / apart) * HOUR_MS,
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
