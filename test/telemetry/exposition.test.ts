import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { expositionText } from '../../pipeline/telemetry/exposition.ts';
import { parseExposition } from '../../deploy/mdp/exposition.ts';

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

describe('the text format', () => {
  it('says what prom-client says of the same metrics', async () => {
    const registers = [new Registry()];
    const gauge = new Gauge({ name: 'depth', help: 'A "help"\nof two lines \\', labelNames: ['source'], registers });
    gauge.set({ source: 'feedback:a"b\\c\nd' }, 5);
    gauge.set({ source: '' }, Number.POSITIVE_INFINITY);
    gauge.set({ source: 'é{},' }, Number.NaN);
    const counter = new Counter({ name: 'ticks_total', help: 'Ticks.', labelNames: ['provider', 'reason'], registers });
    counter.inc({ provider: 'ibkr', reason: 'precision' }, 1e21);
    counter.inc({ provider: 'ibkr', reason: 'bad_time' }, 0.1);
    const histogram = new Histogram({ name: 'seconds', help: 'Time.', labelNames: ['status'], registers });
    histogram.observe({ status: '200' }, 0.3);
    new Gauge({ name: 'without_labels', help: 'Nothing yet.', registers });
    const families = await registers[0]!.getMetricsAsJSON();
    const text = expositionText(families.map((family) => ({ ...family, type: String(family.type) })));
    // prom-client writes "Nan", which only a parser that minds no case reads.
    expect(lines(text)).toEqual(lines((await registers[0]!.metrics()).replaceAll(' Nan', ' NaN')));
    expect(parseExposition(text).get('depth')?.samples).toHaveLength(3);
  });

  it('keeps a family without a series', () => {
    expect(expositionText([{ name: 'up', help: 'Up.', type: 'gauge', values: [] }])).toBe(
      '# HELP up Up.\n# TYPE up gauge\n',
    );
  });
});
