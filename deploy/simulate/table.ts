/**
 * Figures as text: the comparison of configurations, and all figures of one profile. Pure.
 */

import { type Figure, figuresOf, type Spread, type Spreads } from './figures.ts';
import type { Profile } from './profiles.ts';

/** One column of the comparison: which figures of which profile. */
interface Column {
  profile: string;
  title: string;
  figures: readonly string[];
}

export const COLUMNS: readonly Column[] = [
  { profile: 'step', title: '7x: 7 ready (s)', figures: ['7 ready'] },
  { profile: 'step', title: '7 to 0.3x: back to the minimum (s)', figures: ['back to the minimum'] },
  { profile: 'spike', title: '10x spike: max delay; drained (s)', figures: ['max delay', 'drained'] },
  { profile: 'open', title: 'the same at the open', figures: ['max delay', 'drained'] },
  { profile: 'constant', title: 'constant 5x, 1 h: reversals; max delay (s)', figures: ['reversals', 'max delay'] },
  {
    profile: 'noisy-day',
    title: 'noisy day, 2 h: reversals; p99 delay (s)',
    figures: ['reversals', 'p99 delay'],
  },
  {
    profile: 'store-away',
    title: 'store away 120 s: useless pod-s; drained after (s)',
    figures: ['useless pods', 'drained'],
  },
];

export type Results = ReadonlyMap<string, ReadonlyMap<string, Spreads>>;

/** A Markdown table: one row per configuration; cells are median/worst. */
export function comparisonTable(results: Results): string {
  const rows = [...results].map(([name, profiles]) => [
    name,
    ...COLUMNS.map(({ profile, figures }) => {
      const spreads = profiles.get(profile);
      return spreads === undefined ? '-' : figures.map((figure) => cell(spreads.get(figure)!)).join('; ');
    }),
  ]);
  const header = ['configuration', ...COLUMNS.map(({ title }) => title)];
  return [header, header.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |\n`).join('');
}

/** One line per figure, one column per configuration. */
export function profileTable(profile: Profile, results: Results): string {
  const header = [profile.title, ...results.keys()];
  const rows = figuresOf(profile).map((figure) => [
    named(figure),
    ...[...results.values()].map((profiles) => cell(profiles.get(profile.name)!.get(figure.name)!)),
  ]);
  return [header, header.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |\n`).join('');
}

function named({ name, unit }: Figure): string {
  return unit === '' ? name : `${name} (${unit})`;
}

function cell({ median, worst }: Spread): string {
  return median === worst ? whole(median) : `${whole(median)}/${whole(worst)}`;
}

function whole(value: number): string {
  return Number.isFinite(value) ? String(Math.round(value)) : 'never';
}
