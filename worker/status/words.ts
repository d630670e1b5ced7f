/**
 * Numbers and times as people read them. English, UTC, and never more precise than what was measured.
 */

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;

/** `8 s`, `4 min`, `3 h`, `2 days`: the largest unit of which there are two, rounded down. */
export function duration(ms: number): string {
  const whole = Math.max(0, ms);
  if (whole < 2 * MINUTE_MS) return `${Math.floor(whole / SECOND_MS)} s`;
  if (whole < 2 * HOUR_MS) return `${Math.floor(whole / MINUTE_MS)} min`;
  if (whole < 2 * DAY_MS) return `${Math.floor(whole / HOUR_MS)} h`;
  return `${Math.floor(whole / DAY_MS)} days`;
}

/** `14:30:05 UTC`. */
export function clock(atMs: number): string {
  return `${new Date(atMs).toISOString().slice(11, 19)} UTC`;
}

/** `23 Nov 2026, 14:30 UTC`. */
export function moment(atMs: number): string {
  const iso = new Date(atMs).toISOString();
  return `${dayName(iso)} ${iso.slice(0, 4)}, ${iso.slice(11, 16)} UTC`;
}

/** `23 Nov` of `2026-11-23…`. */
export function dayName(iso: string): string {
  return `${Number(iso.slice(8, 10))} ${MONTHS[Number(iso.slice(5, 7)) - 1]}`;
}

/** `12,345`; one digit after the point below 10. */
export function count(value: number): string {
  const shown = value >= 10 || Number.isInteger(value) ? Math.round(value) : Math.round(value * 10) / 10;
  return shown.toLocaleString('en-US');
}

/** `99.98 %`: two digits, rounded down, so that only everything is 100 %. */
export function percent(share: number): string {
  return share >= 1 ? '100 %' : `${(Math.floor(Math.max(0, share) * 10_000) / 100).toFixed(2)} %`;
}
