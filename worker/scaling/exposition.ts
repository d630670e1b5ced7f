/**
 * The meter's figures as scalers and scrapers read them: JSON, and the Prometheus text format 0.0.4. Pure. What is not
 * known is absent: a scaler then holds, where a 0 would make it scale in.
 */

import { BATCH_OUTCOMES, type BatchOutcome, noBatches, type ProviderFigures, type ScalingFigures } from './calls.ts';
import { DEMAND_WINDOW_SECONDS } from './demand.ts';

export const EXPOSITION_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
/** The first ones of the credentials have labels of their own. */
export const PROVIDER_LABELS_MAX = 20;
export const OTHER_LABEL = 'other';

/** `GET /v1/scaling`. */
export function scalingJson({ atMs, providers }: ScalingFigures): object {
  return {
    asOf: new Date(atMs).toISOString(),
    windowSeconds: DEMAND_WINDOW_SECONDS,
    total: shown(sumOf(Object.values(providers))),
    providers: Object.fromEntries(Object.entries(providers).map(([name, figures]) => [name, shown(figures)])),
  };
}

/** Without what is not known. */
function shown({ ticksPerSecond, outstandingTicks, oldestOutstandingSeconds }: ProviderFigures): object {
  const members = { demandTicksPerSecond: ticksPerSecond, outstandingTicks, oldestOutstandingSeconds };
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null));
}

/** Of several providers together; a sum of which one part is not known is not known. */
export function sumOf(all: readonly ProviderFigures[]): ProviderFigures {
  return all.reduce(
    (sum, one) => ({
      ticksPerSecond: both(sum.ticksPerSecond, one.ticksPerSecond, (a, b) => a + b),
      outstandingTicks: both(sum.outstandingTicks, one.outstandingTicks, (a, b) => a + b),
      oldestOutstandingSeconds: both(sum.oldestOutstandingSeconds, one.oldestOutstandingSeconds, Math.max),
      ticksOffered: sum.ticksOffered + one.ticksOffered,
      batches: addBatches(sum.batches, one.batches),
    }),
    { ticksPerSecond: 0, outstandingTicks: 0, oldestOutstandingSeconds: 0, ticksOffered: 0, batches: noBatches() },
  );
}

function both(a: number | null, b: number | null, join: (a: number, b: number) => number): number | null {
  return a === null || b === null ? null : join(a, b);
}

function addBatches(a: Record<BatchOutcome, number>, b: Record<BatchOutcome, number>): Record<BatchOutcome, number> {
  const sum = noBatches();
  for (const outcome of BATCH_OUTCOMES) sum[outcome] = a[outcome] + b[outcome];
  return sum;
}

/** `GET /metrics`. */
export function exposition({ providers }: ScalingFigures): string {
  const all = labelled(Object.entries(providers));
  const gauge = (name: string, help: string, value: (figures: ProviderFigures) => number | null): string[] =>
    family(
      name,
      'gauge',
      help,
      all.flatMap(([provider, figures]) => sample({ provider }, value(figures))),
    );
  const offered = all.flatMap(([provider, { ticksOffered }]) => sample({ provider }, ticksOffered));
  const batches = all.flatMap(([provider, figures]) =>
    BATCH_OUTCOMES.flatMap((outcome) => sample({ provider, outcome }, figures.batches[outcome])),
  );
  const lines = [
    ...gauge(
      'edge_demand_ticks_per_second',
      `Ticks that arrived for the first time, a second over ${DEMAND_WINDOW_SECONDS} s, whatever became of them: scale on it.`,
      (figures) => figures.ticksPerSecond,
    ),
    ...gauge(
      'edge_outstanding_ticks',
      'Ticks that the edge has accepted and the store has not acknowledged: what pods have to catch up with.',
      (figures) => figures.outstandingTicks,
    ),
    ...gauge(
      'edge_oldest_outstanding_seconds',
      'How long the oldest of the outstanding ticks has waited; 0 without any. Alert when it rises.',
      (figures) => figures.oldestOutstandingSeconds,
    ),
    ...family(
      'edge_ticks_offered_total',
      'counter',
      'Ticks that arrived for the first time; compare with what the pods stored.',
      offered,
    ),
    ...family(
      'edge_batches_total',
      'counter',
      'Batches by what their sender was told, repeats too: stored (200), buffered (202), over_budget (429), refused ' +
        '(other 429 and 5xx), rejected (4xx).',
      batches,
    ),
  ];
  return `${lines.join('\n')}\n`;
}

/** The first ones by name, and the rest together; a provider of that very name is among the rest. */
function labelled(all: [string, ProviderFigures][]): [string, ProviderFigures][] {
  const named = all.filter(([name]) => name !== OTHER_LABEL).slice(0, PROVIDER_LABELS_MAX);
  const rest = all.filter((one) => !named.includes(one)).map(([, figures]) => figures);
  return rest.length === 0 ? named : [...named, [OTHER_LABEL, sumOf(rest)]];
}

interface Sample {
  labels: Record<string, string>;
  value: number;
}

function sample(labels: Record<string, string>, value: number | null): Sample[] {
  return value === null ? [] : [{ labels, value }];
}

/** Names of providers and outcomes need no escapes. */
function family(name: string, type: 'gauge' | 'counter', help: string, samples: readonly Sample[]): string[] {
  const lines = samples.map(({ labels, value }) => {
    const text = Object.entries(labels).map(([label, of]) => `${label}="${of}"`);
    return `${name}{${text.join(',')}} ${value}`;
  });
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines];
}
