/**
 * A timeline as a picture: load and capacity, replicas, backlog, delay, one under the other over the same seconds.
 * Pure: it returns the text of an SVG that needs nothing else.
 */

import { STEP_SECONDS } from './plant.ts';
import type { Timeline } from './run.ts';

interface Line {
  label: string;
  colour: string;
  values: Float64Array;
}

const WIDTH = 960;
const PANEL_HEIGHT = 150;
const MARGIN = { left: 64, right: 24, top: 40, between: 34 };
/** More points than pixels are of no use. */
const POINTS_MAX = 1_800;

export function drawTimeline(timeline: Timeline, title: string): string {
  const { load, ready, replicas, backlogTicks, delaySeconds, capacityTicksPerSecond } = timeline;
  const panels: readonly [string, readonly Line[]][] = [
    [
      'multiples of C',
      [
        { label: 'load', colour: '#b3261e', values: load },
        { label: 'capacity (pods ready)', colour: '#1b6e3c', values: ready },
      ],
    ],
    [
      'replicas',
      [
        { label: 'asked for', colour: '#1f4e9c', values: replicas },
        { label: 'ready', colour: '#1b6e3c', values: ready },
      ],
    ],
    [
      'backlog (pod-seconds)',
      [{ label: 'backlog', colour: '#7a4a00', values: backlogTicks.map((ticks) => ticks / capacityTicksPerSecond) }],
    ],
    ['delay (s)', [{ label: 'oldest tick not stored', colour: '#6a1b9a', values: delaySeconds }]],
  ];
  const height = MARGIN.top + panels.length * (PANEL_HEIGHT + MARGIN.between);
  const body = panels.map(([unit, lines], at) =>
    drawPanel(unit, lines, MARGIN.top + at * (PANEL_HEIGHT + MARGIN.between), load.length),
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="${MARGIN.left}" y="20" font-size="15">${escaped(title)}</text>
${body.join('\n')}
</svg>
`;
}

function drawPanel(unit: string, lines: readonly Line[], top: number, steps: number): string {
  const right = WIDTH - MARGIN.right;
  const bottom = top + PANEL_HEIGHT;
  const most = niceAbove(Math.max(1, ...lines.flatMap(({ values }) => values.reduce((a, b) => Math.max(a, b), 0))));
  const x = (step: number): string => (MARGIN.left + ((right - MARGIN.left) * step) / steps).toFixed(1);
  const y = (value: number): string => (bottom - (PANEL_HEIGHT * value) / most).toFixed(1);
  const marks = [0, 0.5, 1].map((share) => {
    const at = y(most * share);
    return `<line x1="${MARGIN.left}" x2="${right}" y1="${at}" y2="${at}" stroke="#ddd"/><text x="${MARGIN.left - 6}" y="${Number(at) + 4}" text-anchor="end" fill="#555">${most * share}</text>`;
  });
  const seconds = steps * STEP_SECONDS;
  const every = niceAbove(seconds / 8);
  for (let at = 0; at <= seconds; at += every) {
    marks.push(`<text x="${x(at / STEP_SECONDS)}" y="${bottom + 14}" text-anchor="middle" fill="#555">${at} s</text>`);
  }
  const stride = Math.max(1, Math.ceil(steps / POINTS_MAX));
  const drawn = lines.map(({ colour, values }) => {
    const points: string[] = [];
    for (let step = 0; step < steps; step += stride) points.push(`${x(step)},${y(values[step]!)}`);
    return `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${points.join(' ')}"/>`;
  });
  const legend = lines.map(
    ({ label, colour }, at) =>
      `<text x="${right - 160 * at}" y="${top - 4}" text-anchor="end" fill="${colour}">${label}</text>`,
  );
  return [`<text x="${MARGIN.left}" y="${top - 4}" fill="#555">${unit}</text>`, ...marks, ...drawn, ...legend].join(
    '\n',
  );
}

/** 1, 2 or 5 times a power of ten. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((nice) => nice >= value)!;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
