import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { expositionText, type Family } from '../../pipeline/telemetry/exposition.ts';
import { processFamilies } from '../../pipeline/telemetry/process.ts';
import { parseExposition } from '../../deploy/mdp/exposition.ts';

function scraped(read: readonly (() => Family)[]): (name: string) => number {
  const families = parseExposition(expositionText(read.map((family) => family())));
  return (name) => families.get(name)?.samples[0]?.value ?? Number.NaN;
}

describe('the metrics of the process', () => {
  it('say what the kernel says', async () => {
    const read = processFamilies();
    const value = scraped(read);
    const residentKiB = Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
    expect(value('process_resident_memory_bytes') / 1024 / residentKiB).toBeCloseTo(1, 0);
    // The listing itself holds one open.
    expect(Math.abs(value('process_open_fds') - readdirSync('/proc/self/fd').length)).toBeLessThan(10);
    expect(value('process_start_time_seconds')).toBeLessThanOrEqual(Date.now() / 1000);
    expect(value('nodejs_heap_size_used_bytes')).toBeGreaterThan(1_000_000);
  });

  it('count up: processor time never falls, however often it is read', async () => {
    const read = processFamilies();
    const before = scraped(read)('process_cpu_seconds_total');
    let sum = 0;
    for (let n = 0; n < 5e6; n += 1) sum += n;
    expect(sum).toBeGreaterThan(0);
    const after = scraped(read)('process_cpu_seconds_total');
    expect(after).toBeGreaterThan(before);
    expect(after).toBeCloseTo(process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6, 0);
  });

  it('show a busy event loop as busy', async () => {
    const read = processFamilies();
    scraped(read);
    await new Promise((resolve) => setImmediate(resolve));
    const untilMs = performance.now() + 30;
    while (performance.now() < untilMs);
    const busy = scraped(read)('nodejs_eventloop_utilization');
    expect(busy).toBeGreaterThan(0.5);
    expect(busy).toBeLessThanOrEqual(1);
  });
});
