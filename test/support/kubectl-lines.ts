/**
 * Lines that begin with kubectl, as documents and hints have them, against what the manifests hold: does each name an
 * object, a label, a key, a port, a container, a file that is there? Pure. What stands in capitals is the reader's to
 * fill in.
 */

/** What there is, from the manifests. */
export interface Known {
  /** `kind/name`, kinds in lower case. */
  objects: ReadonlySet<string>;
  /** `name=value` of pods, and of namespaces that a policy asks for. */
  labels: ReadonlySet<string>;
  secretKeys: ReadonlySet<string>;
  containers: ReadonlySet<string>;
  ports: ReadonlySet<string>;
  fileExists: (path: string) => boolean;
}

const KINDS: Readonly<Record<string, string>> = {
  po: 'pod',
  pods: 'pod',
  deploy: 'deployment',
  deployments: 'deployment',
  svc: 'service',
  services: 'service',
  ep: 'endpoints',
  ns: 'namespace',
  hpa: 'horizontalpodautoscaler',
};
const KNOWN_KINDS = new Set([
  'pod',
  'deployment',
  'service',
  'endpoints',
  'namespace',
  'horizontalpodautoscaler',
  'scaledobject',
  'servicemonitor',
  'secret',
]);
/** Flags that take the next word. */
const VALUED = new Set(['-n', '--namespace', '-l', '-f', '-k', '-o', '-c', '--context']);
/** Of others in the cluster: the scaler's, the scraper's and the ingress controller's. */
const FOREIGN = new Set(['namespace/ingress-nginx', 'namespace/keda', 'namespace/monitoring', 'service/prometheus']);
const FOREIGN_LABELS = new Set(['app=keda-operator']);

interface Line {
  verb: string;
  words: string[];
  flags: [flag: string, value: string][];
}

export function readKubectl(line: string): Line {
  const tokens = line
    .replaceAll(/\\\n\s*/g, ' ')
    .split(/ \| | && | &$/)[0]!
    .match(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)!
    .slice(1)
    .map((token) => token.replace(/[.,:;)?]+$/, ''));
  const words: string[] = [];
  const flags: [string, string][] = [];
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at]!;
    if (!token.startsWith('-')) words.push(token);
    else if (VALUED.has(token)) flags.push([token, tokens[(at += 1)] ?? '']);
    else flags.push([token.split('=')[0]!, token.slice(token.indexOf('=') + 1)]);
  }
  const [verb = '', ...rest] = words;
  return { verb, words: rest, flags };
}

/** What this line names and nobody has; empty when all is there. */
export function kubectlTroubles(line: string, known: Known): string[] {
  const { verb, words, flags } = readKubectl(line);
  return [...flags.flatMap(([flag, value]) => flagTroubles(flag, value, known)), ...verbTroubles(verb, words, known)];
}

function flagTroubles(flag: string, value: string, known: Known): string[] {
  switch (flag) {
    case '-n':
    case '--namespace':
      return objectTroubles('namespace', value, known);
    case '-l':
      return known.labels.has(value) || FOREIGN_LABELS.has(value) ? [] : [`no pod has the label ${value}`];
    case '-f':
    case '-k':
      return value === '-' || /[A-Z]/.test(value) || known.fileExists(value) ? [] : [`${value} is not there`];
    case '--from-literal': {
      const key = value.split('=')[0]!;
      return known.secretKeys.has(key) ? [] : [`no manifest reads the key ${key}`];
    }
    default:
      return [];
  }
}

function verbTroubles(verb: string, words: readonly string[], known: Known): string[] {
  const [first = '', second = '', third = ''] = words;
  switch (verb) {
    case 'get':
    case 'describe':
    case 'delete':
    case 'edit':
      return first.includes('/') ? pathTroubles(first, known) : objectTroubles(first, second, known);
    case 'apply':
    case 'kustomize':
    case 'replace':
    case 'config':
      return [];
    case 'logs':
      return isReaders(first) || first === '' ? [] : objectTroubles('pod', first, known);
    case 'create':
      return first === 'secret' ? objectTroubles('secret', third, known) : objectTroubles(first, second, known);
    case 'label':
      return known.labels.has(third) ? objectTroubles(first, second, known) : [`no policy asks for ${third}`];
    case 'rollout':
      return pathTroubles(second, known);
    case 'set':
      return [
        ...pathTroubles(second, known),
        ...(known.containers.has(third.split('=')[0]!) ? [] : [`no container ${third}`]),
      ];
    case 'port-forward': {
      const port = second.split(':').at(-1)!;
      const trouble = pathTroubles(first, known);
      const [kind, name] = first.split('/');
      const foreign = FOREIGN.has(`${kindOf(kind!)}/${name}`);
      return foreign || known.ports.has(port) ? trouble : [...trouble, `nothing listens on ${port}`];
    }
    default:
      return [`kubectl ${verb} is not known here`];
  }
}

function pathTroubles(path: string, known: Known): string[] {
  const [kind = '', name = ''] = path.split('/');
  return objectTroubles(kind, name, known);
}

/** A word of prose after the line is no name: those here have a dash, or are namespaces and the like. */
function objectTroubles(kind: string, name: string, known: Known): string[] {
  const of = kindOf(kind);
  if (!KNOWN_KINDS.has(of)) return [`no kind ${kind}`];
  const isName = of === 'namespace' || name.includes('-');
  if (!isName || isReaders(name) || name === '') return [];
  return known.objects.has(`${of}/${name}`) || FOREIGN.has(`${of}/${name}`) ? [] : [`no ${of} ${name}`];
}

function kindOf(kind: string): string {
  return KINDS[kind] ?? kind;
}

function isReaders(word: string): boolean {
  return /^[A-Z]+$/.test(word);
}
