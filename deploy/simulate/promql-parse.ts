/**
 * The part of PromQL that scaling queries need, as a syntax tree. Knows no samples. What is outside of that part is
 * an error that quotes the query: a simulation of another query than the one shipped would be worth nothing.
 */

export type Matcher = { label: string; operator: '=' | '!=' | '=~' | '!~'; value: string };

export type PromNode =
  | { kind: 'number'; value: number }
  | { kind: 'selector'; metric: string; matchers: readonly Matcher[]; rangeSeconds: number | undefined }
  | { kind: 'aggregate'; operator: Aggregator; by: readonly string[]; of: PromNode }
  | { kind: 'call'; name: FunctionName; args: readonly PromNode[] }
  | {
      kind: 'binary';
      operator: string;
      bool: boolean;
      on: readonly string[] | undefined;
      left: PromNode;
      right: PromNode;
    };

export const AGGREGATORS = ['sum', 'max', 'min', 'avg', 'count'] as const;
export type Aggregator = (typeof AGGREGATORS)[number];
export const FUNCTION_NAMES = ['vector', 'rate', 'histogram_quantile', 'clamp_min', 'clamp_max', 'absent'] as const;
export type FunctionName = (typeof FUNCTION_NAMES)[number];

const TOKEN =
  /\s*(?:#[^\n]*\s*)*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?(?:ms|[smhd])?)|([A-Za-z_:][\w:]*)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(=~|!~|[=!<>]=|[-+*/%^<>=(){}[\],]))/y;

/** Loosest first, as PromQL has it. */
const BINARY: readonly (readonly string[])[] = [
  ['or'],
  ['and', 'unless'],
  ['==', '!=', '<', '>', '<=', '>='],
  ['+', '-'],
  ['*', '/', '%'],
];

const UNIT_SECONDS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400 };

export function parsePromql(query: string): PromNode {
  const tokens = tokenize(query);
  let at = 0;
  const peek = (): string | undefined => tokens[at];
  const fail = (why: string): never => {
    throw new Error(`the query "${query.trim()}" ${why}`);
  };
  const take = (wanted?: string): string => {
    const token = tokens[at];
    if (token === undefined || (wanted !== undefined && token !== wanted)) {
      fail(`needs ${wanted ?? 'more'} where there is ${token ?? 'its end'}`);
    }
    at += 1;
    return token!;
  };

  function labels(): string[] {
    take('(');
    const names: string[] = [];
    while (peek() !== ')') {
      names.push(take());
      if (peek() === ',') take();
    }
    take(')');
    return names;
  }

  function binary(level: number): PromNode {
    const operators = BINARY[level];
    if (operators === undefined) return unary();
    let left = binary(level + 1);
    while (operators.includes(peek() ?? '')) {
      const operator = take();
      const bool = peek() === 'bool' && take() === 'bool';
      const on = peek() === 'on' && take() === 'on' ? labels() : undefined;
      if (peek() === 'ignoring' || peek() === 'group_left') fail(`uses ${peek()}, which is not known here`);
      left = { kind: 'binary', operator, bool, on, left, right: binary(level + 1) };
    }
    return left;
  }

  function unary(): PromNode {
    if (peek() !== '-') return primary();
    take();
    const zero: PromNode = { kind: 'number', value: 0 };
    return { kind: 'binary', operator: '-', bool: false, on: undefined, left: zero, right: primary() };
  }

  function primary(): PromNode {
    const token = take();
    if (token === '(') {
      const inner = binary(0);
      take(')');
      return inner;
    }
    if (/^\d/.test(token)) return { kind: 'number', value: Number(token) };
    const aggregator = AGGREGATORS.find((name) => name === token);
    if (aggregator !== undefined) return aggregate(aggregator);
    if (peek() === '(') return call(token);
    if (!/^[A-Za-z_:]/.test(token)) fail(`has an unexpected ${token}`);
    return selector(token);
  }

  function aggregate(operator: Aggregator): PromNode {
    let by: string[] = [];
    if (peek() === 'by') {
      take();
      by = labels();
    }
    if (peek() === 'without') fail('uses without, which is not known here');
    take('(');
    const of = binary(0);
    take(')');
    if (peek() === 'by') {
      take();
      by = labels();
    }
    return { kind: 'aggregate', operator, by, of };
  }

  function call(token: string): PromNode {
    const name = FUNCTION_NAMES.find((known) => known === token);
    if (name === undefined) return fail(`uses ${token}(), which is not known here`);
    take('(');
    const args = [binary(0)];
    while (peek() === ',') {
      take();
      args.push(binary(0));
    }
    take(')');
    return { kind: 'call', name, args };
  }

  function selector(metric: string): PromNode {
    const matchers: Matcher[] = [];
    if (peek() === '{') {
      take();
      while (peek() !== '}') {
        const label = take();
        const operator = take() as Matcher['operator'];
        if (!['=', '!=', '=~', '!~'].includes(operator)) fail(`compares a label with ${operator}`);
        matchers.push({ label, operator, value: take().slice(1, -1) });
        if (peek() === ',') take();
      }
      take('}');
    }
    let rangeSeconds: number | undefined;
    if (peek() === '[') {
      take();
      rangeSeconds = durationSeconds(take());
      take(']');
    }
    return { kind: 'selector', metric, matchers, rangeSeconds };
  }

  const root = binary(0);
  if (at < tokens.length) fail(`has ${tokens[at]} where it should end`);
  return root;
}

/** Every metric name that a query reads. */
export function metricsOf(node: PromNode): string[] {
  switch (node.kind) {
    case 'number':
      return [];
    case 'selector':
      return [node.metric];
    case 'aggregate':
      return metricsOf(node.of);
    case 'call':
      return node.args.flatMap(metricsOf);
    case 'binary':
      return [...metricsOf(node.left), ...metricsOf(node.right)];
  }
}

function tokenize(query: string): string[] {
  const tokens: string[] = [];
  const end = query.trimEnd().length;
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < end) {
    const from = TOKEN.lastIndex;
    const match = TOKEN.exec(query);
    if (match === null) throw new Error(`the query "${query.trim()}" cannot be read from "${query.slice(from)}"`);
    tokens.push((match[1] ?? match[2] ?? match[3] ?? match[4])!);
  }
  return tokens;
}

/** `5m`, `20s`, `1500ms`. */
export function durationSeconds(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|[smhd])$/.exec(text);
  if (match === null) throw new Error(`"${text}" is no duration`);
  return Number(match[1]) * UNIT_SECONDS[match[2]!]!;
}
