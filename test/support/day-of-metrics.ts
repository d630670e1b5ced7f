/** A day as Prometheus has scraped it, minute by minute, as the OpenMetrics text that promtool makes blocks of. */

const MINUTES = 24 * 60;
/** Before the day begins: the first look back of a query that compares with the minute before. */
const LEAD_MINUTES = 3;

export interface DaySeries {
  metric: string;
  labels?: Record<string, string>;
  /** The value at a minute of the day; undefined: no sample. */
  at: (minute: number) => number | undefined;
}

/** The 24 hours before `endMs`. */
export function dayOfMetrics(series: readonly DaySeries[], endMs: number): string {
  const families = Map.groupBy(series, ({ metric }) => metric);
  const lines: string[] = [];
  for (const [metric, ofFamily] of families) {
    lines.push(`# TYPE ${metric} gauge`);
    for (const { labels = {}, at } of ofFamily) {
      const text = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
      for (let minute = -LEAD_MINUTES; minute <= MINUTES; minute += 1) {
        const value = at(minute);
        const seconds = endMs / 1000 - (MINUTES - minute) * 60;
        if (value !== undefined) lines.push(`${metric}{${text.join(',')}} ${value} ${seconds}`);
      }
    }
  }
  return `${lines.join('\n')}\n# EOF\n`;
}
