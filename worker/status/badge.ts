/**
 * One state as an SVG badge of two words, for other people's pages. Self-contained: no script, no font, no link.
 */

import { escapeMarkup } from './escape.ts';
import type { State } from './judge.ts';

/** White text on each has a contrast of at least 4.5. */
const COLOURS: Readonly<Record<State, string>> = {
  operational: '#15803d',
  degraded: '#a34a06',
  outage: '#b91c1c',
  unknown: '#57534e',
};
const CHARACTER_PX = 7;
const PADDING_PX = 12;
export const BADGE_LABEL_MAX_CHARS = 70;

export function badge(label: string, state: State): string {
  const shown = label.slice(0, BADGE_LABEL_MAX_CHARS);
  const labelPx = shown.length * CHARACTER_PX + PADDING_PX;
  const statePx = state.length * CHARACTER_PX + PADDING_PX;
  const width = labelPx + statePx;
  const text = escapeMarkup(shown);
  const title = `${text}: ${state}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="20" viewBox="0 0 ${width} 20" role="img" aria-label="${title}"><title>${title}</title><clipPath id="r"><rect width="${width}" height="20" rx="4"/></clipPath><g clip-path="url(#r)"><path fill="#33302e" d="M0 0h${labelPx}v20H0z"/><path fill="${COLOURS[state]}" d="M${labelPx} 0h${statePx}v20h-${statePx}z"/></g><g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle"><text x="${labelPx / 2}" y="14" textLength="${labelPx - PADDING_PX}">${text}</text><text x="${labelPx + statePx / 2}" y="14" textLength="${statePx - PADDING_PX}">${state}</text></g></svg>`;
}
