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
  /** The standard error of that. */
  perHourError: number;
}

const HOUR_MS = 3_600_000;
/**
 * Samples that follow each other are alike, and many of them say no more than one: memory stays where it is for minutes.
 * So the line goes through the means of this many stretches. Source: the method of batch means of simulation.
 */
const STRETCHES = 12;

/** Of the samples after the first `warmUpShare` of the time. NaN where there are too few of them. */
export function trend(samples: readonly Sample[], warmUpShare: number): Trend {
  const first = samples[0]?.atMs ?? 0;
  const last = samples.at(-1)?.atMs ?? 0;
  const warm = samples.filter(({ atMs }) => atMs >= first + (last - first) * warmUpShare);
  const points = stretches(warm);
  const meanMs = mean(points.map(({ atMs }) => atMs));
  const meanValue = mean(points.map(({ value }) => value));
  const together = points.reduce((sum, { atMs, value }) => sum + (atMs - meanMs) * (value - meanValue), 0);
  const apart = points.reduce((sum, { atMs }) => sum + (atMs - meanMs) ** 2, 0);
  const slope = together / apart;
  const left = points.reduce((sum, { atMs, value }) => sum + (value - meanValue - slope * (atMs - meanMs)) ** 2, 0);
  return {
    samples: warm.length,
    mean: mean(warm.map(({ value }) => value)),
    perHour: slope * HOUR_MS,
    perHourError: Math.sqrt(left / (points.length - 2) / apart) * HOUR_MS,
  };
}

/** The mean of each of {@link STRETCHES} parts, as equal as can be. */
function stretches(samples: readonly Sample[]): Sample[] {
  const count = Math.min(STRETCHES, samples.length);
  return Array.from({ length: count }, (_, at) => {
    const part = samples.slice((at * samples.length) / count, ((at + 1) * samples.length) / count);
    return { atMs: mean(part.map(({ atMs }) => atMs)), value: mean(part.map(({ value }) => value)) };
  });
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
