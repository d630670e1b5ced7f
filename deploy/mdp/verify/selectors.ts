/**
 * Which series an expression of PromQL asks for, whatever it does with them. It does not check the expression: that is
 * Prometheus' work. Source: Prometheus' documentation, "Querying basics" and "Operators".
 */

export interface Selector {
  metric: string;
  /** Labels that a series must have to match: those of a matcher that the empty text does not match. */
  labels: readonly string[];
}

const TOKEN =
  /#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|\[[^\]]*\]|=~|!~|!=|[A-Za-z_:][\w:]*|\d[\w.]*|[{}()=,]/g;
/** A list of labels in parentheses follows. */
const GROUPING = new Set(['by', 'without', 'on', 'ignoring', 'group_left', 'group_right']);
const WORDS = new Set(['and', 'or', 'unless', 'atan2', 'bool', 'offset', 'inf', 'nan', 'start', 'end']);

export function selectorsOf(expression: string): Selector[] {
  const tokens = (expression.match(TOKEN) ?? []).filter((token) => !/^[#[]/.test(token));
  const selectors: Selector[] = [];
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at]!;
    const next = tokens[at + 1];
    if (GROUPING.has(token)) {
      if (next === '(') at = tokens.indexOf(')', at);
    } else if (token === '{') {
      // A selector without a name before it has one within.
      const matchers = matchersOf(tokens, at);
      const name = matchers.find(({ label, operator }) => label === '__name__' && operator === '=');
      if (name !== undefined) selectors.push({ metric: name.value, labels: needed(matchers) });
      at = tokens.indexOf('}', at);
    } else if (/^[A-Za-z_:]/.test(token) && !WORDS.has(token.toLowerCase())) {
      // What is called or grouped is a function or an aggregation.
      if (next === '(' || next === 'by' || next === 'without') continue;
      const matchers = next === '{' ? matchersOf(tokens, at + 1) : [];
      selectors.push({ metric: token, labels: needed(matchers) });
      if (next === '{') at = tokens.indexOf('}', at);
    }
  }
  return selectors;
}

interface Matcher {
  label: string;
  operator: string;
  value: string;
}

/** Of the braces that open at `from`. */
function matchersOf(tokens: readonly string[], from: number): Matcher[] {
  const inside = tokens.slice(from + 1, tokens.indexOf('}', from)).filter((token) => token !== ',');
  const matchers: Matcher[] = [];
  for (let at = 0; at + 2 < inside.length; at += 3) {
    matchers.push({ label: inside[at]!, operator: inside[at + 1]!, value: inside[at + 2]!.slice(1, -1) });
  }
  return matchers;
}

function needed(matchers: readonly Matcher[]): string[] {
  return matchers
    .filter(({ label, operator, value }) => {
      if (label === '__name__') return false;
      return operator === '=' ? value !== '' : operator === '=~' && !matchesNothing(value);
    })
    .map(({ label }) => label);
}

/** Whether the empty text matches; an expression that this engine does not know is taken to need its label. */
function matchesNothing(pattern: string): boolean {
  try {
    return new RegExp(`^(?:${pattern.replaceAll('\\\\', '\\')})$`).test('');
  } catch {
    return false;
  }
}
