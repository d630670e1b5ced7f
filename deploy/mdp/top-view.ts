/** What `mdp top` shows: two looks at a pod in, figures and text out. Pure, but for the colours of a terminal. */

import { styleText } from 'node:util';
import type { Family } from './exposition.ts';
import type { PodStatus, ProviderStatus } from './pod-status.ts';

export interface Look {
  status: PodStatus;
  families: ReadonlyMap<string, Family>;
  atMs: number;
}

/** Per second where a name says so; the rest as they are now. */
export interface ProviderFigures {
  provider: string;
  level: string;
  offeredPerSecond: number;
  storedPerSecond: number;
  duplicatesPerSecond: number;
  rejectedPerSecond: number;
  refusedPerSecond: number;
  demandTicksPerSecond: number;
  inFlightTicks: number;
  deadLetters: number;
  residueTicks: number;
}

export interface Figures {
  pod: string;
  phase: string;
  uptimeSeconds: number;
  level: string;
  reasons: Record<string, string>;
  depthTicks: number;
  capacityTicks: number;
  store: string;
  circuit: string;
  queueDelaySeconds: number | null;
  /** Between the two looks; null when nothing was answered. */
  answerSeconds: { p50: number; p99: number } | null;
  residentMemoryBytes: number | null;
  providers: ProviderFigures[];
}

export function figuresOf(before: Look, now: Look): Figures {
  const { status, families } = now;
  const seconds = Math.max((now.atMs - before.atMs) / 1000, 0.001);
  const demand = sumByProvider(families, 'pipeline_demand_ticks_per_second');
  const providers = [...status.providers].map(([provider, one]) => {
    const earlier = before.status.providers.get(provider);
    // A pod that was replaced counts from 0 again.
    const rate = (member: keyof ProviderStatus & keyof typeof RATES): number =>
      Math.max(0, one[member] - (earlier?.[member] ?? 0)) / seconds;
    return {
      provider,
      level: one.level,
      offeredPerSecond: rate('offered'),
      storedPerSecond: rate('stored'),
      duplicatesPerSecond: rate('duplicate'),
      rejectedPerSecond: rate('rejected'),
      refusedPerSecond: rate('refused'),
      demandTicksPerSecond: demand.get(provider) ?? 0,
      inFlightTicks: one.inFlight,
      deadLetters: one.deadLetters,
      residueTicks: one.residue,
    };
  });
  return {
    pod: status.pod,
    phase: status.phase,
    uptimeSeconds: status.uptimeSeconds,
    level: status.level,
    reasons: status.reasons,
    depthTicks: status.depthTicks,
    capacityTicks: status.capacityTicks,
    store: status.storeKind,
    circuit: status.circuit,
    queueDelaySeconds: firstValue(families, 'pipeline_queue_delay_seconds'),
    answerSeconds: answerSeconds(before.families, families),
    residentMemoryBytes: firstValue(families, 'process_resident_memory_bytes'),
    providers,
  };
}

const RATES = { offered: 0, stored: 0, duplicate: 0, rejected: 0, refused: 0 };

function firstValue(families: Look['families'], name: string): number | null {
  return families.get(name)?.samples[0]?.value ?? null;
}

function sumByProvider(families: Look['families'], name: string): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { labels, value } of families.get(name)?.samples ?? []) {
    const provider = labels['provider'] ?? '';
    sums.set(provider, (sums.get(provider) ?? 0) + value);
  }
  return sums;
}

/** The bucket bounds under which half and 99 of 100 answers between the looks were, of every status together. */
function answerSeconds(before: Look['families'], now: Look['families']): Figures['answerSeconds'] {
  const earlier = buckets(before);
  const counts = [...buckets(now)].map(([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)] as const);
  const ordered = counts.toSorted(([left], [right]) => left - right);
  const total = ordered.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  const quantile = (share: number): number => ordered.find(([, count]) => count >= total * share)![0];
  return { p50: quantile(0.5), p99: quantile(0.99) };
}

function buckets(families: Look['families']): Map<number, number> {
  const sums = new Map<number, number>();
  for (const { name, labels, value } of families.get('pipeline_answer_seconds')?.samples ?? []) {
    if (!name.endsWith('_bucket')) continue;
    const bound = labels['le'] === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels['le']);
    sums.set(bound, (sums.get(bound) ?? 0) + value);
  }
  return sums;
}

const count = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

interface Column {
  title: string;
  text: (one: ProviderFigures) => string;
}

const COLUMNS: readonly Column[] = [
  { title: 'demand/s', text: (one) => count.format(one.demandTicksPerSecond) },
  { title: 'offered/s', text: (one) => count.format(one.offeredPerSecond) },
  { title: 'stored/s', text: (one) => count.format(one.storedPerSecond) },
  { title: 'duplicate/s', text: (one) => count.format(one.duplicatesPerSecond) },
  { title: 'rejected/s', text: (one) => count.format(one.rejectedPerSecond) },
  { title: 'refused/s', text: (one) => count.format(one.refusedPerSecond) },
  { title: 'in flight', text: (one) => count.format(one.inFlightTicks) },
  { title: 'dead', text: (one) => count.format(one.deadLetters) },
  { title: 'residue', text: (one) => count.format(one.residueTicks) },
];
const PROVIDER_CHARS = 16;
const LEVEL_CHARS = 5;
const LEVEL_STYLES = { ok: 'green', soft: 'yellow', hard: 'red' } as const;

/** Busiest first; `rows` of a terminal cut what does not fit. */
export function topText(figures: Figures, stream: NodeJS.WriteStream, rows = Number.POSITIVE_INFINITY): string {
  const paint = (style: Parameters<typeof styleText>[0], text: string): string => styleText(style, text, { stream });
  const level = (text: string, chars = 0): string =>
    paint(LEVEL_STYLES[text as keyof typeof LEVEL_STYLES] ?? 'dim', text.padEnd(chars));
  const { pod, phase, answerSeconds: answer, queueDelaySeconds, residentMemoryBytes } = figures;
  const reasons = Object.entries(figures.reasons).filter(([, at]) => at !== 'ok');
  const because = reasons.length === 0 ? '' : ` (${reasons.map(([reason, at]) => `${reason} ${at}`).join(', ')})`;
  const head = [
    `pod ${paint('bold', pod)}  ${phase}  up ${duration(figures.uptimeSeconds)}  level ${level(figures.level)}${because}  ` +
      `store ${figures.store}, circuit ${figures.circuit}`,
    `queue ${count.format(figures.depthTicks)} of ${count.format(figures.capacityTicks)} ticks, ` +
      `${queueDelaySeconds === null ? '-' : queueDelaySeconds.toFixed(2)} s  ` +
      `answers ${answer === null ? 'none' : `p50 <= ${milliseconds(answer.p50)}, p99 <= ${milliseconds(answer.p99)}`}  ` +
      `memory ${residentMemoryBytes === null ? '-' : `${count.format(residentMemoryBytes / 1024 ** 2)} MiB`}`,
    '',
    paint(
      'bold',
      `${'provider'.padEnd(PROVIDER_CHARS)}  ${'level'.padEnd(LEVEL_CHARS)}  ${COLUMNS.map(({ title }) => title).join('  ')}`,
    ),
  ];
  const busiest = figures.providers.toSorted((left, right) => right.offeredPerSecond - left.offeredPerSecond);
  const room = Math.max(1, rows - head.length - 1);
  const lines = busiest.slice(0, room).map((one) => {
    const cells = COLUMNS.map(({ title, text }) => text(one).padStart(title.length));
    const bad = one.residueTicks === 0 ? cells : [...cells.slice(0, -1), paint('red', cells.at(-1)!)];
    return `${one.provider.padEnd(PROVIDER_CHARS)}  ${level(one.level, LEVEL_CHARS)}  ${bad.join('  ')}`;
  });
  const more = busiest.length > room ? [paint('dim', `and ${busiest.length - room} more`)] : [];
  return `${[...head, ...lines, ...more].join('\n')}\n`;
}

function milliseconds(seconds: number): string {
  return Number.isFinite(seconds) ? `${seconds * 1000} ms` : 'more than 10 s';
}

function duration(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3_600)} h`;
}
