/**
 * The formula of KEDA's `scalingModifiers`: the arithmetic of the Expr language over trigger names. It knows no
 * metrics and no clock. What it cannot evaluate exactly as KEDA does is an error that names it, never a guess.
 */

type Value = number | boolean;

/** Evaluates with one number for each trigger name. A name without a value throws, as in KEDA it fails the metric. */
export interface Formula {
  names: readonly string[];
  evaluate(values: ReadonlyMap<string, number>): number;
}

type Node = (values: ReadonlyMap<string, number>) => Value;

const TOKEN = /\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|(\*\*|\?\?|\|\||&&|[<>=!]=|[-+*/%^<>!?:(),]))/y;

/** Loosest first. Source: the operator table of Expr's language definition. */
const BINARY: readonly (readonly string[])[] = [
  ['||', 'or'],
  ['&&', 'and'],
  ['==', '!=', '<', '>', '<=', '>='],
  ['+', '-'],
  ['*', '/', '%'],
  ['**', '^'],
];

const FUNCTIONS: Readonly<Record<string, (args: number[]) => number>> = {
  max: (args) => Math.max(...args),
  min: (args) => Math.min(...args),
  abs: ([value]) => Math.abs(value!),
  ceil: ([value]) => Math.ceil(value!),
  floor: ([value]) => Math.floor(value!),
  // Expr rounds half away from zero.
  round: ([value]) => Math.sign(value!) * Math.round(Math.abs(value!)),
};

/** Throws with the text and place of what is not understood. */
export function parseFormula(text: string): Formula {
  const tokens = tokenize(text);
  const names = new Set<string>();
  let at = 0;
  const peek = (): string | undefined => tokens[at];
  const take = (wanted: string): void => {
    if (peek() !== wanted) throw new Error(`formula "${text}": expected ${wanted}, found ${peek() ?? 'the end'}`);
    at += 1;
  };

  function ternary(): Node {
    const condition = binary(0);
    if (peek() !== '?') return condition;
    take('?');
    const yes = ternary();
    take(':');
    const no = ternary();
    return (values) => (asBoolean(condition(values)) ? yes(values) : no(values));
  }

  function binary(level: number): Node {
    const operators = BINARY[level];
    if (operators === undefined) return unary();
    let left = binary(level + 1);
    while (operators.includes(peek() ?? '')) {
      const operator = tokens[at++]!;
      const before = left;
      // Powers group to the right.
      const right = level === BINARY.length - 1 ? binary(level) : binary(level + 1);
      left = (values) => apply(operator, before, right, values);
    }
    return left;
  }

  function unary(): Node {
    const operator = peek();
    if (operator === '-' || operator === '+') {
      at += 1;
      const operand = unary();
      return (values) => (operator === '-' ? -1 : 1) * asNumber(operand(values));
    }
    if (operator === '!' || operator === 'not') {
      at += 1;
      const operand = unary();
      return (values) => !asBoolean(operand(values));
    }
    return primary();
  }

  function primary(): Node {
    const token = peek();
    if (token === undefined) throw new Error(`formula "${text}" ends too early`);
    at += 1;
    if (token === '(') {
      const inner = ternary();
      take(')');
      return inner;
    }
    if (/^\d/.test(token)) return () => Number(token);
    if (token === 'true' || token === 'false') return () => token === 'true';
    if (!/^[A-Za-z_]/.test(token)) throw new Error(`formula "${text}": unexpected ${token}`);
    if (peek() === '(') return call(token);
    names.add(token);
    return (values) => {
      const value = values.get(token);
      if (value === undefined) throw new Error(`formula "${text}": no value for ${token}`);
      return value;
    };
  }

  function call(name: string): Node {
    const body = FUNCTIONS[name];
    if (body === undefined) throw new Error(`formula "${text}": function ${name} is not known here`);
    take('(');
    const args = [ternary()];
    while (peek() === ',') {
      take(',');
      args.push(ternary());
    }
    take(')');
    return (values) => body(args.map((arg) => asNumber(arg(values))));
  }

  const root = ternary();
  if (at < tokens.length) throw new Error(`formula "${text}": unexpected ${tokens[at]}`);
  return { names: [...names], evaluate: (values) => asNumber(root(values)) };
}

function tokenize(text: string): string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const from = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null) throw new Error(`formula "${text}": cannot read from "${text.slice(from)}"`);
    tokens.push(match[0].trim());
  }
  return tokens;
}

function apply(operator: string, left: Node, right: Node, values: ReadonlyMap<string, number>): Value {
  switch (operator) {
    case '||':
    case 'or':
      return asBoolean(left(values)) || asBoolean(right(values));
    case '&&':
    case 'and':
      return asBoolean(left(values)) && asBoolean(right(values));
    case '==':
      return left(values) === right(values);
    case '!=':
      return left(values) !== right(values);
    default:
      return arithmetic(operator, asNumber(left(values)), asNumber(right(values)));
  }
}

function arithmetic(operator: string, left: number, right: number): Value {
  switch (operator) {
    case '+':
      return left + right;
    case '-':
      return left - right;
    case '*':
      return left * right;
    case '/':
      return left / right;
    case '%':
      return left % right;
    case '**':
    case '^':
      return left ** right;
    case '<':
      return left < right;
    case '>':
      return left > right;
    case '<=':
      return left <= right;
    case '>=':
      return left >= right;
    default:
      throw new Error(`operator ${operator} is not known here`);
  }
}

function asNumber(value: Value): number {
  if (typeof value !== 'number') throw new Error('a formula computes with numbers, not with true or false');
  return value;
}

function asBoolean(value: Value): boolean {
  if (typeof value !== 'boolean') throw new Error('a condition of a formula must be true or false');
  return value;
}
