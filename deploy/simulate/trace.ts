/**
 * A recorded load as a profile: a list of points, or the answer of Prometheus to query_range. Pure: it is given the
 * text.
 */

import { fields } from './manifest.ts';
import { STEP_SECONDS } from './plant.ts';
import type { Profile } from './profiles.ts';

interface Point {
  atSeconds: number;
  ticksPerSecond: number;
}

/** A day at this resolution is still a matter of seconds. */
const DURATION_MAX_SECONDS = 7 * 86_400;

/**
 * `[{"atSeconds":0,"ticksPerSecond":1500}, …]`, or `{"data":{"resultType":"matrix","result":[…]}}` whose series are
 * added up. Each value holds until the next. Throws with what cannot be read.
 */
export function parseTrace(content: string, name: string, capacityTicksPerSecond: number): Profile {
  const points = pointsOf(JSON.parse(content)).sort((one, other) => one.atSeconds - other.atSeconds);
  const [first, second] = points;
  if (first === undefined || second === undefined) throw new Error(`${name}: a trace needs two points or more`);
  const lastGap = points.at(-1)!.atSeconds - points.at(-2)!.atSeconds;
  const durationSeconds = points.at(-1)!.atSeconds - first.atSeconds + lastGap;
  if (durationSeconds > DURATION_MAX_SECONDS) throw new Error(`${name}: a trace may last 7 days`);
  const load = new Float64Array(Math.ceil(durationSeconds / STEP_SECONDS));
  let at = 0;
  for (let step = 0; step < load.length; step += 1) {
    const now = first.atSeconds + step * STEP_SECONDS;
    while (at + 1 < points.length && points[at + 1]!.atSeconds <= now) at += 1;
    load[step] = points[at]!.ticksPerSecond / capacityTicksPerSecond;
  }
  return {
    name: 'trace',
    title: name,
    durationSeconds,
    replicas: Math.max(1, Math.ceil(load[0]! / 0.8)),
    load: () => load,
    measuredFromSeconds: 0,
    turns: 0,
    startsAt: new Date(first.atSeconds * 1000).toISOString(),
  };
}

function pointsOf(json: unknown): Point[] {
  if (Array.isArray(json)) {
    return json.map((entry) => {
      const { atSeconds, ticksPerSecond } = fields(entry, 'a point of the trace');
      return point(atSeconds, ticksPerSecond);
    });
  }
  const { resultType, result } = fields(fields(json, 'the trace')['data'], 'the trace data');
  if (resultType !== 'matrix' || !Array.isArray(result)) throw new Error('a Prometheus trace is of type matrix');
  const sums = new Map<number, number>();
  for (const series of result) {
    const { values } = fields(series, 'a series');
    if (!Array.isArray(values)) throw new Error('a series of the trace has no values');
    for (const pair of values) {
      const [at, value] = Array.isArray(pair) ? pair : [];
      const { atSeconds, ticksPerSecond } = point(at, Number(value));
      sums.set(atSeconds, (sums.get(atSeconds) ?? 0) + ticksPerSecond);
    }
  }
  return [...sums].map(([atSeconds, ticksPerSecond]) => ({ atSeconds, ticksPerSecond }));
}

function point(atSeconds: unknown, ticksPerSecond: unknown): Point {
  if (typeof atSeconds === 'number' && typeof ticksPerSecond === 'number' && ticksPerSecond >= 0) {
    return { atSeconds, ticksPerSecond };
  }
  throw new Error('a point of the trace needs atSeconds and ticksPerSecond as numbers');
}
