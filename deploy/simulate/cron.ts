/**
 * The window of KEDA's cron trigger: between a start and an end, both five-field cron expressions in one time zone.
 * Pure: it is asked about instants.
 */

export interface CronWindow {
  isActive(epochSeconds: number): boolean;
}

type Field = ReadonlySet<number> | undefined;

interface Expression {
  minute: Field;
  hour: Field;
  day: Field;
  month: Field;
  weekday: Field;
}

/** How far ahead the next start or end may be: a week and a day of minutes. */
const AHEAD_MAX_MINUTES = 8 * 24 * 60;
const WEEKDAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

/** Throws with the field that cannot be read. */
export function parseCronWindow(metadata: Readonly<Record<string, unknown>>, where: string): CronWindow {
  const { timezone, start, end } = metadata;
  if (typeof timezone !== 'string' || typeof start !== 'string' || typeof end !== 'string') {
    throw new Error(`${where}: a cron trigger needs timezone, start and end as texts`);
  }
  const [opens, closes] = [parseExpression(start), parseExpression(end)];
  const clock = new Intl.DateTimeFormat('en-US', {
    timeZone: timezone,
    hourCycle: 'h23',
    weekday: 'short',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
  });
  let known = { fromMinute: 0, untilMinute: 0, isActive: false };
  return {
    isActive(epochSeconds) {
      const minute = Math.floor(epochSeconds / 60);
      if (minute < known.fromMinute || minute >= known.untilMinute) known = spanFrom(minute, opens, closes, clock);
      return known.isActive;
    },
  };
}

/** Within the window the end comes before the next start; until then nothing changes. */
function spanFrom(
  minute: number,
  opens: Expression,
  closes: Expression,
  clock: Intl.DateTimeFormat,
): { fromMinute: number; untilMinute: number; isActive: boolean } {
  for (let next = minute + 1; next <= minute + AHEAD_MAX_MINUTES; next += 1) {
    const parts = Object.fromEntries(clock.formatToParts(next * 60_000).map(({ type, value }) => [type, value]));
    const isActive = matches(closes, parts);
    if (isActive || matches(opens, parts)) return { fromMinute: minute, untilMinute: next, isActive };
  }
  return { fromMinute: minute, untilMinute: minute + AHEAD_MAX_MINUTES, isActive: false };
}

function matches(expression: Expression, parts: Readonly<Record<string, string>>): boolean {
  return (
    has(expression.minute, Number(parts['minute'])) &&
    has(expression.hour, Number(parts['hour'])) &&
    has(expression.day, Number(parts['day'])) &&
    has(expression.month, Number(parts['month'])) &&
    has(expression.weekday, WEEKDAYS.indexOf(parts['weekday']!))
  );
}

function has(field: Field, value: number): boolean {
  return field === undefined || field.has(value);
}

function parseExpression(text: string): Expression {
  const parts = text.trim().split(/\s+/);
  if (parts.length !== 5) throw new Error(`"${text}" is no cron expression of five fields`);
  const [minute, hour, day, month, weekday] = parts.map(parseField);
  return { minute, hour, day, month, weekday };
}

/** `*`, `5`, `1-5`, `1,3,5-7`. */
function parseField(text: string): Field {
  if (text === '*') return undefined;
  const values = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (match === null) throw new Error(`"${part}" in a cron expression is not known here`);
    for (let value = Number(match[1]); value <= Number(match[2] ?? match[1]); value += 1) values.add(value);
  }
  return values;
}
