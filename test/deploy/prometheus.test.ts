/** Scraping and querying of the simulated Prometheus: what scaling queries see, and when they see nothing. */

import { describe, expect, it } from 'vitest';
import { type Exposed, Prometheus } from '../../deploy/simulate/prometheus.ts';
import { metricsOf, parsePromql } from '../../deploy/simulate/promql-parse.ts';

function exposed(metric: string, labels: Record<string, string>, value: number): Exposed {
  return { metric, labels, read: () => value };
}

function scraped(series: readonly [target: string, exposed: Exposed][], atSeconds = 0): Prometheus {
  const prometheus = new Prometheus(series.map(([, { metric }]) => metric));
  const targets = Map.groupBy(series, ([target]) => target);
  for (const [target, ofTarget] of targets) {
    prometheus.ingest(
      target,
      ofTarget.map(([, one]) => one),
      atSeconds,
    );
  }
  return prometheus;
}

function ask(prometheus: Prometheus, query: string, atSeconds = 0): number[] {
  return prometheus.query(parsePromql(query), atSeconds).map(({ value }) => value);
}

/** Of `factor` times 100 writes, half within 0.1 s and the rest within 0.5 s. */
function buckets(factor: number): Exposed[] {
  return [
    exposed('w_bucket', { le: '0.1' }, 50 * factor),
    exposed('w_bucket', { le: '0.5' }, 100 * factor),
    exposed('w_bucket', { le: '+Inf' }, 100 * factor),
  ];
}

describe('an instant query', () => {
  const two = scraped([
    ['a', exposed('m', { path: 'edge' }, 3)],
    ['a', exposed('m', { path: 'direct' }, 5)],
    ['b', exposed('m', { path: 'edge' }, 7)],
    ['b', exposed('n', {}, 100)],
  ]);

  it.each([
    ['sum(m)', [15]],
    ['sum(m{path="edge"})', [10]],
    ['sum by (path) (m)', [10, 5]],
    ['max(m{path=~"e.*"})', [7]],
    ['avg(m{path!="edge"})', [5]],
    ['count(m)', [3]],
    ['sum(m) + sum(n)', [115]],
    ['2 * sum(m) - 1', [29]],
    ['m > 4', [5, 7]],
    ['m > bool 4', [0, 1, 1]],
    ['sum(absent_metric)', []],
    ['sum(m) + sum(absent_metric)', []],
    ['sum(absent_metric) or vector(0)', [0]],
    ['sum(absent_metric) or sum(m) or sum(n)', [15]],
    ['vector(1) unless on() (sum(m) > 100)', [1]],
    ['vector(1) unless on() (sum(m) > 10)', []],
    ['vector(1) unless on() (sum(absent_metric) > 10)', [1]],
    ['absent(absent_metric)', [1]],
    ['clamp_max(sum(m), 4)', [4]],
  ])('%s', (query, values) => {
    expect(ask(two, query)).toEqual(values);
  });

  it('sees a sample until five minutes later, and nothing of a target that is gone', () => {
    const prometheus = scraped([['a', exposed('m', {}, 3)]]);
    expect(ask(prometheus, 'm', 299)).toEqual([3]);
    expect(ask(prometheus, 'm', 300)).toEqual([]);
    expect(ask(prometheus, 'm', -1)).toEqual([]);
    prometheus.forget('a');
    expect(ask(prometheus, 'm', 1)).toEqual([]);
  });

  it('computes a quantile from bucket rates, linear within the bucket', () => {
    // The 95th of 100 is nine tenths into the second bucket.
    const prometheus = new Prometheus(['w_bucket']);
    for (const at of [0, 10, 20]) prometheus.ingest('a', buckets(at), at);
    const query = 'histogram_quantile(0.95, sum by (le) (rate(w_bucket[30s])))';
    expect(ask(prometheus, query, 20)[0]).toBeCloseTo(0.1 + 0.4 * 0.9);
    // Without two samples there is no rate, and without a rate no quantile.
    expect(ask(prometheus, query, 5)).toEqual([]);
  });
});

describe('a query', () => {
  it('names the metrics it reads', () => {
    const query = 'sum(a{x="y"}) + (sum(b) or 0 * sum(rate(c_bucket[30s])))';
    expect(metricsOf(parsePromql(query))).toEqual(['a', 'b', 'c_bucket']);
  });

  it.each([
    ['sum without (pod) (m)', 'uses without'],
    ['deriv(m[5m])', 'uses deriv()'],
    ['m offset 5m', 'has offset'],
    ['sum(m', 'needs )'],
    ['m * on(pod) group_left n', 'uses group_left'],
  ])('that is not known is an error that quotes it: %s', (query, why) => {
    expect(() => parsePromql(query)).toThrow(`the query "${query}" ${why}`);
  });
});
