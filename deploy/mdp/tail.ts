/** `mdp tail`: the newest stored ticks, as the pod reads them back, and then those that follow. */

import { parseArgs, styleText } from 'node:util';
import { isProvider, PROVIDER_RULE } from '../../pipeline/contract/identity.ts';
import { isObject } from './ask.ts';
import {
  type Command,
  COMMON_OPTIONS,
  EXIT_NOT_WELL,
  EXIT_OK,
  httpUrl,
  print,
  printJson,
  UsageError,
  wholeNumber,
} from './command.ts';
import { localSystem, POD_DEFAULT } from './local-system.ts';
import { askPod, PodError } from './pod.ts';
import { stoppedByUser } from './stopping.ts';

const LINES_DEFAULT = 10;
/** What a pod gives at most in one answer. */
const LINES_MAX = 1_000;
const SYMBOLS_MAX = 50;
/** Each costs the pod two reads a look. */
const SYMBOLS_UNNAMED = 20;
const SYMBOLS_EVERY_LOOKS = 5;
const INTERVAL_DEFAULT_MS = 1_000;
const KINDS = ['trades', 'quotes'] as const;
type Kind = (typeof KINDS)[number];

const HELP = `Shows the newest stored ticks of a provider, oldest first, and goes on with those that follow: did my data land?

  npx mdp tail PROVIDER [SYMBOL …] [options]

  SYMBOL            without any, the first ${SYMBOLS_UNNAMED} that the provider has, and new ones as they come
  --cluster URL     a pod; default ${POD_DEFAULT}
  --only KIND       ${KINDS.join(' or ')}; default: both
  --lines N         ticks of each symbol and kind to begin with, 0 to ${LINES_MAX}; default ${LINES_DEFAULT}
  --no-follow       end after these
  --interval MS     how often to look; default ${INTERVAL_DEFAULT_MS}
  --json            one tick a line, as it could be pushed again, with storedAt and pod

The last column is how long after its own time the tick was stored, and by which pod. Ticks are in the order of their own
time: one that comes after a later one of its symbol was shown is stored, and not shown.

Exit codes: 0 ended, or stopped by Ctrl-C; 1 the pod could not be asked; 2 wrong usage.

Examples
  npx mdp tail ibkr
  npx mdp tail demo AAPL MSFT --only trades --lines 3
  npx mdp tail ibkr AAPL --no-follow --json
`;

export const command: Command = { help: HELP, run };

interface Options {
  url: string;
  provider: string;
  symbols: readonly string[];
  kinds: readonly Kind[];
  lines: number;
  follow: boolean;
  intervalMs: number;
  json: boolean;
}

type Tick = Record<string, unknown> & { ts: string; id: string };

async function run(args: string[]): Promise<number> {
  const options = parse(args);
  const stopping = stoppedByUser();
  try {
    const feeds = new Map<string, Feed[]>();
    for (let number = 0; !stopping.signal.aborted; number += 1) {
      if (number % SYMBOLS_EVERY_LOOKS === 0) {
        for (const symbol of await symbolsOf(options)) {
          if (!feeds.has(symbol))
            feeds.set(
              symbol,
              options.kinds.map((kind) => new Feed(options, kind, symbol)),
            );
        }
      }
      const looks = await Promise.all([...feeds.values()].flat().map((feed) => feed.look()));
      const ticks = looks.flat().toSorted((left, right) => (left.ts < right.ts ? -1 : 1));
      for (const tick of ticks) {
        if (options.json) printJson(tick);
        else print(`${line(tick)}\n`);
      }
      if (!options.follow) break;
      await stopping.pause(options.intervalMs);
    }
    return EXIT_OK;
  } catch (error) {
    if (!(error instanceof PodError)) throw error;
    process.stderr.write(`mdp tail: ${error.message}\n`);
    return EXIT_NOT_WELL;
  }
}

/** Those that were named, else the first that there are. */
async function symbolsOf({ url, provider, symbols }: Options): Promise<readonly string[]> {
  if (symbols.length > 0) return symbols;
  const answer = await askPod(url, `/v1/symbols/${provider}?limit=${SYMBOLS_UNNAMED}`);
  const known = answer['symbols'];
  return Array.isArray(known) ? known.filter((symbol) => typeof symbol === 'string') : [];
}

/** One symbol's trades or quotes. Invariant: no tick comes out of it twice. */
class Feed {
  readonly #options: Options;
  readonly #path: string;
  /** The newest time that was shown, and which ticks of it. */
  #newestTs: string | undefined;
  #shownOfNewest = new Set<string>();

  readonly #kind: Kind;
  #looked = false;

  constructor(options: Options, kind: Kind, symbol: string) {
    this.#options = options;
    this.#kind = kind;
    this.#path = `/v1/${kind}/${options.provider}/${encodeURIComponent(symbol)}`;
  }

  /** The first time the newest, then those that follow; oldest first. */
  look(): Promise<Tick[]> {
    const isFirst = !this.#looked;
    this.#looked = true;
    return isFirst ? this.#newest() : this.#next();
  }

  async #newest(): Promise<Tick[]> {
    const ticks = await this.#ask(`limit=${Math.max(1, this.#options.lines)}`);
    this.#shown(ticks);
    return this.#options.lines === 0 ? [] : ticks;
  }

  async #next(): Promise<Tick[]> {
    const from = this.#newestTs === undefined ? '' : `&from=${encodeURIComponent(this.#newestTs)}`;
    const ticks = await this.#ask(`limit=${LINES_MAX}${from}`);
    if (ticks.length === LINES_MAX) {
      process.stderr.write(`mdp tail: more than ${LINES_MAX} between two looks; the oldest are not shown\n`);
    }
    const fresh = ticks.filter(({ ts, id }) => ts !== this.#newestTs || !this.#shownOfNewest.has(id));
    this.#shown(fresh);
    return fresh;
  }

  /** Oldest first. */
  async #ask(query: string): Promise<Tick[]> {
    const answer = await askPod(this.#options.url, `${this.#path}?${query}`);
    const ticks = answer[this.#kind];
    return (Array.isArray(ticks) ? ticks.filter(isTick) : []).toReversed();
  }

  #shown(ticks: readonly Tick[]): void {
    const last = ticks.at(-1);
    if (last === undefined) return;
    if (last.ts !== this.#newestTs) this.#shownOfNewest = new Set();
    this.#newestTs = last.ts;
    for (const { ts, id } of ticks) if (ts === last.ts) this.#shownOfNewest.add(id);
  }
}

function isTick(value: unknown): value is Tick {
  return isObject(value) && typeof value['ts'] === 'string' && typeof value['id'] === 'string';
}

function line(tick: Tick): string {
  const text = (member: string): string => (typeof tick[member] === 'string' ? tick[member] : '-');
  const what =
    tick['type'] === 'quote'
      ? `${text('bidPrice')} x ${text('bidSize')}  ${text('askPrice')} x ${text('askSize')}`
      : `${text('price')} x ${text('size')}${tick['side'] === undefined ? '' : `  ${text('side')}`}`;
  const lateMs = Date.parse(text('storedAt')) - Date.parse(tick.ts);
  const stored = `${lateMs >= 0 ? '+' : ''}${lateMs} ms  ${text('pod')}`;
  const head = `${tick.ts.padEnd(30)}  ${text('type').padEnd(5)}  ${text('symbol').padEnd(10)}`;
  return `${head}  ${what.padEnd(44)}  ${styleText('dim', stored, { stream: process.stdout })}`;
}

function parse(args: string[]): Options {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    allowNegative: true,
    options: {
      ...COMMON_OPTIONS,
      cluster: { type: 'string' },
      only: { type: 'string' },
      lines: { type: 'string', default: String(LINES_DEFAULT) },
      follow: { type: 'boolean', default: true },
      interval: { type: 'string', default: String(INTERVAL_DEFAULT_MS) },
    },
  });
  const [provider, ...symbols] = positionals;
  if (provider === undefined) throw new UsageError('which PROVIDER?');
  if (!isProvider(provider)) throw new UsageError(`PROVIDER must be ${PROVIDER_RULE}`);
  if (symbols.length > SYMBOLS_MAX) throw new UsageError(`at most ${SYMBOLS_MAX} symbols at a time`);
  const { only } = values;
  const kinds = KINDS.filter((kind) => only === undefined || kind === only);
  if (kinds.length === 0) throw new UsageError(`--only must be ${KINDS.join(' or ')}`);
  return {
    url: httpUrl(values.cluster ?? localSystem(process.cwd()).podUrl, '--cluster'),
    provider,
    symbols: [...new Set(symbols)],
    kinds,
    lines: wholeNumber(values.lines, '--lines', 0, LINES_MAX),
    follow: values.follow,
    intervalMs: wholeNumber(values.interval, '--interval', 100, 3_600_000),
    json: values.json,
  };
}
