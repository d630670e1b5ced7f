/**
 * A Prometheus for the simulation: targets scraped each at its own offset, samples that go stale, instant queries.
 * Knows no Kubernetes and makes up no values: it sees what targets show at the instant of their scrape.
 */

import type { Matcher, PromNode } from './promql-parse.ts';

/** `query.lookback-delta`, default. A target that is gone ends earlier, by a staleness marker. */
const LOOKBACK_SECONDS = 300;
/** Ranges that queries may ask for; older samples are forgotten. */
const KEPT_SECONDS = 120;

export interface Exposed {
  metric: string;
  labels: Readonly<Record<string, string>>;
  read: () => number;
}

interface Series {
  labels: Readonly<Record<string, string>>;
  atSeconds: number[];
  values: number[];
}

export interface Sample {
  labels: Readonly<Record<string, string>>;
  value: number;
}

type Result = number | Sample[];

/** Invariant: a series belongs to one target, and ends when that target does. */
export class Prometheus {
  readonly #metrics: ReadonlyMap<string, Set<Series>>;
  readonly #targets = new Map<string, Series[]>();

  /** Keeps these metrics alone. */
  constructor(metrics: Iterable<string>) {
    this.#metrics = new Map([...metrics].map((metric) => [metric, new Set<Series>()]));
  }

  /** Takes one scrape. A target shows the same series in the same order each time. */
  ingest(target: string, exposed: readonly Exposed[], nowSeconds: number): void {
    const kept = exposed.filter(({ metric }) => this.#metrics.has(metric));
    const known = this.#targets.get(target) ?? kept.map(({ labels }) => ({ labels, atSeconds: [], values: [] }));
    for (const [at, { metric, read }] of kept.entries()) {
      const series = known[at]!;
      this.#metrics.get(metric)!.add(series);
      series.atSeconds.push(nowSeconds);
      series.values.push(read());
      if (series.atSeconds[0]! < nowSeconds - 2 * KEPT_SECONDS) forgetBefore(series, nowSeconds - KEPT_SECONDS);
    }
    this.#targets.set(target, known);
  }

  /** The target is gone, or its scrape failed: its series are stale from now on. */
  forget(target: string): void {
    for (const series of this.#targets.get(target) ?? []) for (const all of this.#metrics.values()) all.delete(series);
    this.#targets.delete(target);
  }

  /** An instant query. An empty vector is an empty array. */
  query(node: PromNode, nowSeconds: number): Sample[] {
    const result = this.#evaluate(node, nowSeconds);
    return typeof result === 'number' ? [{ labels: {}, value: result }] : result;
  }

  #evaluate(node: PromNode, now: number): Result {
    switch (node.kind) {
      case 'number':
        return node.value;
      case 'selector':
        return this.#instant(node, now);
      case 'aggregate':
        return aggregate(node.operator, node.by, vectorOf(this.#evaluate(node.of, now)));
      case 'call':
        return this.#call(node, now);
      case 'binary':
        return combine(node, this.#evaluate(node.left, now), this.#evaluate(node.right, now));
    }
  }

  #call({ name, args }: PromNode & { kind: 'call' }, now: number): Result {
    const [first, second] = args;
    switch (name) {
      case 'vector':
        return [{ labels: {}, value: scalarOf(this.#evaluate(first!, now)) }];
      case 'rate':
        return this.#rate(first!, now);
      case 'absent':
        return vectorOf(this.#evaluate(first!, now)).length === 0 ? [{ labels: {}, value: 1 }] : [];
      case 'histogram_quantile':
        return quantile(scalarOf(this.#evaluate(first!, now)), vectorOf(this.#evaluate(second!, now)));
      case 'clamp_min':
      case 'clamp_max': {
        const limit = scalarOf(this.#evaluate(second!, now));
        const clamp = name === 'clamp_min' ? Math.max : Math.min;
        return vectorOf(this.#evaluate(first!, now)).map(({ labels, value }) => ({
          labels,
          value: clamp(value, limit),
        }));
      }
    }
  }

  #matching(node: PromNode & { kind: 'selector' }): Series[] {
    return [...(this.#metrics.get(node.metric) ?? [])].filter(({ labels }) =>
      node.matchers.every((matcher) => matches(matcher, labels[matcher.label] ?? '')),
    );
  }

  #instant(node: PromNode & { kind: 'selector' }, now: number): Sample[] {
    if (node.rangeSeconds !== undefined) throw new Error(`${node.metric}[…] needs rate() around it`);
    return this.#matching(node).flatMap(({ labels, atSeconds, values }) => {
      const at = atSeconds.findLastIndex((at) => at <= now);
      return at < 0 || atSeconds[at]! <= now - LOOKBACK_SECONDS ? [] : [{ labels, value: values[at]! }];
    });
  }

  /** Without the extrapolation to the edges of the range: quotients of rates, as in a quantile, are the same. */
  #rate(node: PromNode, now: number): Sample[] {
    if (node.kind !== 'selector' || node.rangeSeconds === undefined) throw new Error('rate() needs metric[range]');
    const since = now - node.rangeSeconds;
    return this.#matching(node).flatMap(({ labels, atSeconds, values }) => {
      const last = atSeconds.findLastIndex((at) => at <= now);
      const first = atSeconds.findIndex((at) => at > since);
      if (first < 0 || last <= first) return [];
      return [{ labels, value: (values[last]! - values[first]!) / (atSeconds[last]! - atSeconds[first]!) }];
    });
  }
}

function forgetBefore(series: Series, seconds: number): void {
  const kept = series.atSeconds.findIndex((at) => at >= seconds);
  series.atSeconds.splice(0, kept);
  series.values.splice(0, kept);
}

function matches({ operator, value }: Matcher, actual: string): boolean {
  switch (operator) {
    case '=':
      return actual === value;
    case '!=':
      return actual !== value;
    case '=~':
      return new RegExp(`^(?:${value})$`).test(actual);
    case '!~':
      return !new RegExp(`^(?:${value})$`).test(actual);
  }
}

function vectorOf(result: Result): Sample[] {
  return typeof result === 'number' ? [{ labels: {}, value: result }] : result;
}

function scalarOf(result: Result): number {
  if (typeof result !== 'number') throw new Error('a number is needed where the query has a vector');
  return result;
}

function keyOf(labels: Readonly<Record<string, string>>, names: readonly string[]): string {
  return names.length === 0 ? '' : names.map((name) => labels[name] ?? '').join('\n');
}

function aggregate(operator: string, by: readonly string[], vector: readonly Sample[]): Sample[] {
  const groups = Map.groupBy(vector, ({ labels }) => keyOf(labels, by));
  return [...groups.values()].map((members) => {
    const values = members.map(({ value }) => value);
    const labels = Object.fromEntries(by.map((name) => [name, members[0]!.labels[name] ?? '']));
    return { labels, value: reduce(operator, values) };
  });
}

function reduce(operator: string, values: readonly number[]): number {
  const sum = values.reduce((total, value) => total + value, 0);
  switch (operator) {
    case 'sum':
      return sum;
    case 'avg':
      return sum / values.length;
    case 'count':
      return values.length;
    case 'max':
      return Math.max(...values);
    case 'min':
      return Math.min(...values);
    default:
      throw new Error(`${operator}() is not known here`);
  }
}

const SET_OPERATORS = new Set(['or', 'and', 'unless']);
const COMPARISONS = new Set(['==', '!=', '<', '>', '<=', '>=']);

/** One-to-one matching, on all labels or on those named. */
function combine(node: PromNode & { kind: 'binary' }, left: Result, right: Result): Result {
  const { operator, bool, on } = node;
  if (typeof left === 'number' && typeof right === 'number') return arithmetic(operator, left, right);
  const names = on ?? [
    ...new Set([...vectorOf(left), ...vectorOf(right)].flatMap(({ labels }) => Object.keys(labels))),
  ];
  if (SET_OPERATORS.has(operator)) return combineSets(operator, names, vectorOf(left), vectorOf(right));
  const pairs: [Sample, number, number][] = [];
  if (typeof left === 'number') for (const sample of vectorOf(right)) pairs.push([sample, left, sample.value]);
  else if (typeof right === 'number') for (const sample of left) pairs.push([sample, sample.value, right]);
  else {
    const others = new Map(right.map((sample) => [keyOf(sample.labels, names), sample.value]));
    for (const sample of left) {
      const other = others.get(keyOf(sample.labels, names));
      if (other !== undefined) pairs.push([sample, sample.value, other]);
    }
  }
  return pairs.flatMap(([{ labels, value }, one, other]) => {
    const outcome = arithmetic(operator, one, other);
    if (!COMPARISONS.has(operator) || bool) return [{ labels, value: outcome }];
    return outcome === 1 ? [{ labels, value }] : [];
  });
}

function combineSets(operator: string, names: readonly string[], left: Sample[], right: Sample[]): Sample[] {
  const keys = (samples: readonly Sample[]): Set<string> => new Set(samples.map(({ labels }) => keyOf(labels, names)));
  const [ofLeft, ofRight] = [keys(left), keys(right)];
  if (operator === 'or') return [...left, ...right.filter(({ labels }) => !ofLeft.has(keyOf(labels, names)))];
  return left.filter(({ labels }) => ofRight.has(keyOf(labels, names)) === (operator === 'and'));
}

function arithmetic(operator: string, left: number, right: number): number {
  switch (operator) {
    case '+':
      return left + right;
    case '-':
      return left - right;
    case '*':
      return left * right;
    case '/':
      return left / right;
    case '%':
      return left % right;
    case '==':
      return Number(left === right);
    case '!=':
      return Number(left !== right);
    case '<':
      return Number(left < right);
    case '>':
      return Number(left > right);
    case '<=':
      return Number(left <= right);
    case '>=':
      return Number(left >= right);
    default:
      throw new Error(`operator ${operator} is not known here`);
  }
}

/** One quantile over all buckets given: linear within a bucket, the last finite bound beyond them. */
function quantile(share: number, buckets: readonly Sample[]): Sample[] {
  if (buckets.length === 0) return [];
  const sorted = buckets
    .map(({ labels, value }) => ({ le: labels['le'] === '+Inf' ? Infinity : Number(labels['le']), count: value }))
    .sort((one, other) => one.le - other.le);
  const rank = share * sorted.at(-1)!.count;
  const at = sorted.findIndex(({ count }) => count >= rank);
  const bucket = sorted[at];
  if (bucket === undefined || sorted.at(-1)!.count === 0) return [{ labels: {}, value: Number.NaN }];
  const below = sorted[at - 1] ?? { le: 0, count: 0 };
  if (bucket.le === Infinity) return [{ labels: {}, value: below.le }];
  const value = below.le + (bucket.le - below.le) * ((rank - below.count) / (bucket.count - below.count));
  return [{ labels: {}, value }];
}
