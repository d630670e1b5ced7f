/** `mdp dead-letters`: what a pod's store keeps of rejected ticks, and offering them to it once more. */

import { parseArgs, styleText } from 'node:util';
import { isProvider, PROVIDER_RULE } from '../../pipeline/contract/identity.ts';
import { isObject, shown } from './ask.ts';
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
import { localSystem, POD_DEFAULT, tokenFor } from './local-system.ts';
import { askPod, PodError } from './pod.ts';

const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1_000_000;
/** What a pod gives, or replays, at most in one answer. */
const PAGE_MAX = 1_000;

const HELP = `Lists the ticks that were rejected, oldest first, each with its reason and its own bytes; or offers them to the store
once more, under the identity that they would have had. Those that it takes are no dead letters any longer.

  npx mdp dead-letters list PROVIDER [options]
  npx mdp dead-letters replay PROVIDER [options]

  --batch ID        those of one batch
  --limit N         so many at most; default ${LIMIT_DEFAULT}
  --cluster URL     a pod; default ${POD_DEFAULT}
  --token TEXT      the operator's (MDP_OPS_TOKEN of the pods); or MDP_OPS_TOKEN in the environment;
                    without either, that of "npm start", towards this machine only
  --json            list: one dead letter a line; replay: {"replayed","stored","duplicates","rejected"}

Before a replay, mend what they were rejected for: the provider's options, a rule of the store. Again is harmless.

Exit codes: 0 done; 1 some stayed dead letters, or the pod could not be asked; 2 wrong usage.

Examples
  npx mdp dead-letters list ibkr --limit 20
  npx mdp dead-letters list ibkr --json --limit 100000 > dead.ndjson
  npx mdp dead-letters replay ibkr --batch 2026-11-23-0042
`;

export const command: Command = { help: HELP, run };

interface Options {
  verb: 'list' | 'replay';
  url: string;
  provider: string;
  batch: string | undefined;
  limit: number;
  token: string | undefined;
  json: boolean;
}

async function run(args: string[]): Promise<number> {
  const options = parse(args);
  try {
    return await (options.verb === 'list' ? list(options) : replay(options));
  } catch (error) {
    if (!(error instanceof PodError)) throw error;
    process.stderr.write(`mdp dead-letters: ${error.message}\n`);
    return EXIT_NOT_WELL;
  }
}

/** One answer of the pod after another, until `limit` letters were in them. */
async function* pages(options: Options): AsyncGenerator<Record<string, unknown>> {
  const { verb, url, provider, batch, token } = options;
  const path = `/v1/dead-letters/${provider}${verb === 'replay' ? '/replay' : ''}`;
  let after: string | undefined;
  for (let left = options.limit; left > 0; left -= PAGE_MAX) {
    const query = new URLSearchParams({ limit: String(Math.min(left, PAGE_MAX)) });
    if (batch !== undefined) query.set('batch', batch);
    if (after !== undefined) query.set('after', after);
    const page = await askPod(url, `${path}?${query.toString()}`, { method: verb === 'list' ? 'GET' : 'POST', token });
    yield page;
    const { next } = page;
    if (typeof next !== 'string') return;
    after = next;
  }
}

async function list(options: Options): Promise<number> {
  let shown = 0;
  let more = false;
  for await (const { deadLetters, next } of pages(options)) {
    more = typeof next === 'string';
    for (const letter of Array.isArray(deadLetters) ? deadLetters.filter(isObject) : []) {
      shown += 1;
      if (options.json) printJson(letter);
      else print(letterText(letter));
    }
  }
  if (!options.json) {
    print(
      shown === 0 ? `no dead letters of ${options.provider}\n` : `${shown} shown${more ? ', there are more' : ''}\n`,
    );
  }
  return EXIT_OK;
}

function letterText(letter: Record<string, unknown>): string {
  const text = (member: string): string => shown(letter[member] ?? '');
  const place = `${text('batch')}/${text('index')}`;
  const reason = styleText('yellow', text('reason'), { stream: process.stdout });
  const tick = letter['tick'] === undefined ? `${text('tickBase64')} (base64)` : text('tick');
  const cut = letter['cut'] === true ? ` … (${text('sizeBytes')} bytes)` : '';
  return `${text('deadAt')}  ${place}  ${reason}: ${text('detail')}\n    ${tick}${cut}\n`;
}

async function replay(options: Options): Promise<number> {
  const total = { replayed: 0, stored: 0, duplicates: 0, rejected: [] as Record<string, unknown>[] };
  for await (const page of pages(options)) {
    for (const member of ['replayed', 'stored', 'duplicates'] as const) total[member] += Number(page[member]);
    if (Array.isArray(page['rejected'])) total.rejected.push(...page['rejected'].filter(isObject));
  }
  if (options.json) {
    printJson(total);
  } else {
    for (const { batch, index, reason, detail } of total.rejected) {
      print(`${shown(batch)}/${shown(index)}  ${shown(reason)}: ${shown(detail)}\n`);
    }
    const { replayed, stored, duplicates, rejected } = total;
    print(`${replayed} replayed: ${stored} stored, ${duplicates} duplicates, ${rejected.length} stay dead letters\n`);
  }
  return total.rejected.length === 0 ? EXIT_OK : EXIT_NOT_WELL;
}

function parse(args: string[]): Options {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...COMMON_OPTIONS,
      batch: { type: 'string' },
      limit: { type: 'string', default: String(LIMIT_DEFAULT) },
      cluster: { type: 'string' },
      token: { type: 'string' },
    },
  });
  const [verb, provider, ...more] = positionals;
  if (verb !== 'list' && verb !== 'replay') throw new UsageError('list or replay?');
  if (provider === undefined) throw new UsageError('which PROVIDER?');
  if (!isProvider(provider)) throw new UsageError(`PROVIDER must be ${PROVIDER_RULE}`);
  if (more.length > 0) throw new UsageError(`one PROVIDER at a time, not also ${more.join(' ')}`);
  const local = localSystem(process.cwd());
  const url = httpUrl(values.cluster ?? local.podUrl, '--cluster');
  return {
    verb,
    url,
    provider,
    batch: values.batch,
    limit: wholeNumber(values.limit, '--limit', 1, LIMIT_MAX),
    token: tokenFor(url, values.token, process.env['MDP_OPS_TOKEN'], local.opsToken),
    json: values.json,
  };
}
