/**
 * Reads the Prometheus text format 0.0.4 strictly: every line is understood or it throws, every sample belongs to
 * the family whose HELP and TYPE stand right above it, no series is there twice.
 */

export interface Family {
  name: string;
  help: string;
  type: string;
  samples: { name: string; labels: Record<string, string>; value: number }[];
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const HELP = new RegExp(`^# HELP (${NAME}) (.+)$`);
const TYPE = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram|summary)$`);
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)$`);
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\["\\n])*)"(?:,|$)/y;

export function parseExposition(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  const families = new Map<string, Family>();
  const series = new Set<string>();
  let current: Family | undefined;
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue;
    const help = HELP.exec(line);
    if (help !== null) {
      if (families.has(help[1]!)) throw new Error(`family ${help[1]} twice`);
      const family: Family = { name: help[1]!, help: help[2]!, type: '', samples: [] };
      families.set(family.name, family);
      current = family;
      continue;
    }
    const type = TYPE.exec(line);
    if (type !== null) {
      if (current === undefined || current.name !== type[1] || current.type !== '')
        throw new Error(`TYPE out of place: ${line}`);
      current.type = type[2]!;
      continue;
    }
    const sample = SAMPLE.exec(line);
    if (sample === null || current === undefined || current.type === '') throw new Error(`not understood: ${line}`);
    const [, name = '', labels = '', value = ''] = sample;
    if (!belongs(name, current)) throw new Error(`${name} stands under ${current.name}`);
    if (series.has(`${name}{${labels}}`)) throw new Error(`series twice: ${line}`);
    series.add(`${name}{${labels}}`);
    current.samples.push({ name, labels: parseLabels(labels), value: parseValue(value) });
  }
  return families;
}

/** The one sample of `family` with these labels; throws when there is none. */
export function sampleOf(
  families: Map<string, Family>,
  family: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const wanted = Object.entries(labels);
  const found = families
    .get(family)
    ?.samples.find(
      (one) =>
        Object.keys(one.labels).length === wanted.length && wanted.every(([name, value]) => one.labels[name] === value),
    );
  if (found === undefined) throw new Error(`no ${family}${JSON.stringify(labels)}`);
  return found.value;
}

function belongs(sample: string, { name, type }: Family): boolean {
  if (type === 'histogram') return [`${name}_bucket`, `${name}_sum`, `${name}_count`].includes(sample);
  if (type === 'summary') return [name, `${name}_sum`, `${name}_count`].includes(sample);
  return sample === name;
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const match = LABEL.exec(text);
    if (match === null) throw new Error(`labels not understood: ${text}`);
    labels[match[1]!] = match[2]!.replaceAll(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char));
  }
  return labels;
}

function parseValue(text: string): number {
  if (text === '+Inf') return Number.POSITIVE_INFINITY;
  if (text === '-Inf') return Number.NEGATIVE_INFINITY;
  if (text === 'NaN' || text === 'Nan') return Number.NaN;
  const value = Number(text);
  if (text === '' || Number.isNaN(value)) throw new Error(`not a number: ${text}`);
  return value;
}
