/**
 * `npm run replay -- FILE`, which is also `mdp push`: the command line of the replay. Arguments, environment, Ctrl-C,
 * terminal and exit code are here; everything else is in `replay.ts`.
 */

import { stat } from 'node:fs/promises';
import { parseArgs, styleText } from 'node:util';
import { isProvider, PROVIDER_RULE } from '../../pipeline/contract/identity.ts';
import { accountText, progressText, succeeded } from './account.ts';
import { BATCH_TICKS_DEFAULT, BATCH_TICKS_MAX } from './batches.ts';
import { DEV_CREDENTIALS_PATH, findCredential, isLoopback, PROVIDER_DEFAULT, TO_DEFAULT } from './credentials.ts';
import { GIVE_UP_AFTER_DEFAULT_MS, IN_FLIGHT_DEFAULT, IN_FLIGHT_MAX } from './delivery.ts';
import { OptionError } from './pusher.ts';
import { newBook, replay, type ReplayOptions } from './replay.ts';

const EXIT_OK = 0;
const EXIT_NOT_ALL = 1;
const EXIT_USAGE = 2;
/** 128 + SIGINT, as shells have it. */
const EXIT_INTERRUPTED = 130;
const PROGRESS_EVERY_MS = 250;

/** `called`: how its reader calls it. */
export const replayHelp = (
  called: string,
): string => `Pushes a capture of real market data into an edge, as its provider would.

  ${called} FILE [options]

FILE  a raw WebSocket capture of Binance (trade, bookTicker) or Coinbase (match, ticker), or US equity ticks of
      LEAN (trades, quotes); plain, .gz or .zip. Other messages in it are counted by kind.

Where to, and as whom
  --to URL             the edge; default: that of "npm start", ${TO_DEFAULT}
  --provider NAME      default ${PROVIDER_DEFAULT}
  --secret whsec_…     signs each batch (Standard Webhooks); or the environment's MDP_PROVIDER_SECRET(_FILE)
  --token TEXT         a bearer token instead
                       without any: ${DEV_CREDENTIALS_PATH}, which "npm start" makes, towards this machine only

How
  --speed N|max        N times the captured pace; default max: as fast as the answers come
  --batch N            ticks in a batch, 1 to ${BATCH_TICKS_MAX}; default ${BATCH_TICKS_DEFAULT}
  --in-flight N        requests without an answer yet, 1 to ${IN_FLIGHT_MAX}; default ${IN_FLIGHT_DEFAULT}
  --gzip               compress the bodies
  --shuffle SEED       send the batches in a random order, the same for the same seed
  --batch-prefix TEXT  batch ids TEXT-0, TEXT-1, …; without it they follow from the file and --batch, so that
                       pushing a file again stores nothing twice
  --give-up-after SEC  end when no batch was settled for so long; default ${GIVE_UP_AFTER_DEFAULT_MS / 1000}
  --json               print the account as JSON

A batch that is refused (429, 503) is sent again after Retry-After, one without an answer after a growing pause:
always the same batch under the same id, so nothing is stored twice. Levels and credit are obeyed.

Exit codes: 0 all ticks are stored, duplicates, buffered or rejected one by one; 1 not all of them; 2 wrong usage;
130 stopped by Ctrl-C.

Examples
  ${called} btcusdt.gz
  ${called} btcusdt.gz --speed 10 --batch 100
  ${called} 20131007_trade.zip --to https://edge.example.com --provider lean --secret whsec_…
`;

type Parsed = { ok: true; options: ReplayOptions; json: boolean } | { ok: false; why: string } | { ok: 'help' };

if (import.meta.main) process.exitCode = await replayCommand(process.argv.slice(2), 'npm run replay --');

export async function replayCommand(args: string[], called: string): Promise<number> {
  const usage = (why: string): number => {
    process.stderr.write(`replay: ${why}\nSee ${called} --help\n`);
    return EXIT_USAGE;
  };
  const parsed = parse(args);
  if (parsed.ok === 'help') {
    process.stdout.write(replayHelp(called));
    return EXIT_OK;
  }
  if (!parsed.ok) return usage(parsed.why);
  const { options, json } = parsed;
  if (!(await isFile(options.file))) return usage(`${options.file} is not a file`);
  if ('token' in options.credential && options.to.startsWith('http:') && !isLoopback(options.to)) {
    process.stderr.write(`replay: the token goes to ${options.to} unencrypted: use https\n`);
  }
  const stop = stopOnInterrupt();
  const book = newBook(options);
  const endProgress = showProgress(() => progressText(book.snapshot(), book.lastLevel));
  try {
    const account = await replay({ ...options, book, stop });
    endProgress();
    process.stdout.write(json ? `${JSON.stringify(account, null, 2)}\n` : accountText(account));
    if (account.end === 'interrupted') return EXIT_INTERRUPTED;
    return succeeded(account) ? EXIT_OK : EXIT_NOT_ALL;
  } catch (error) {
    endProgress();
    // What options can be wrong in is only known to those who use them.
    if (error instanceof OptionError) return usage(error.message);
    throw error;
  }
}

function parse(args: string[]): Parsed {
  let given: ReturnType<typeof parseFlags>;
  try {
    given = parseFlags(args);
  } catch (error) {
    return { ok: false, why: error instanceof Error ? error.message : String(error) };
  }
  const { values, positionals } = given;
  if (values.help === true) return { ok: 'help' };
  const [file, ...more] = positionals;
  if (file === undefined) return { ok: false, why: 'which FILE?' };
  if (more.length > 0) return { ok: false, why: `one FILE at a time, not also ${more.join(' ')}` };
  const { provider } = values;
  if (!isProvider(provider)) return { ok: false, why: `--provider must be ${PROVIDER_RULE}` };
  const batchTicks = wholeNumber(values.batch);
  if (batchTicks === undefined) return { ok: false, why: '--batch must be a whole number' };
  const inFlightMax = wholeNumber(values['in-flight']);
  if (inFlightMax === undefined) return { ok: false, why: '--in-flight must be a whole number' };
  const giveUpAfterSeconds = wholeNumber(values['give-up-after']);
  if (giveUpAfterSeconds === undefined) return { ok: false, why: '--give-up-after must be whole seconds' };
  const speed = values.speed === 'max' ? 'max' : positiveNumber(values.speed);
  if (speed === undefined) return { ok: false, why: '--speed must be a number above 0, or max' };
  const { to, secret, token } = values;
  const found = findCredential({ to, provider, secret, token }, process.env, process.cwd());
  if (!found.ok) return { ok: false, why: found.why };
  const options: ReplayOptions = {
    file,
    to: found.to,
    provider,
    credential: found.credential,
    batchTicks,
    inFlightMax,
    speed,
    gzip: values.gzip === true,
    giveUpAfterMs: giveUpAfterSeconds * 1000,
  };
  if (values.shuffle !== undefined) options.shuffleSeed = values.shuffle;
  if (values['batch-prefix'] !== undefined) options.batchPrefix = values['batch-prefix'];
  return { ok: true, options, json: values.json === true };
}

// oxlint-disable-next-line typescript/explicit-function-return-type -- the flags are the type
function parseFlags(args: string[]) {
  return parseArgs({
    args,
    allowPositionals: true,
    options: {
      to: { type: 'string' },
      provider: { type: 'string', default: PROVIDER_DEFAULT },
      secret: { type: 'string' },
      token: { type: 'string' },
      speed: { type: 'string', default: 'max' },
      batch: { type: 'string', default: String(BATCH_TICKS_DEFAULT) },
      'in-flight': { type: 'string', default: String(IN_FLIGHT_DEFAULT) },
      gzip: { type: 'boolean' },
      shuffle: { type: 'string' },
      'batch-prefix': { type: 'string' },
      'give-up-after': { type: 'string', default: String(GIVE_UP_AFTER_DEFAULT_MS / 1000) },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
}

function wholeNumber(text: string): number | undefined {
  return /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

function positiveNumber(text: string): number | undefined {
  const value = /^\d{1,9}(\.\d{1,9})?$/.test(text) ? Number(text) : 0;
  return value > 0 ? value : undefined;
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

/** The first Ctrl-C ends the replay with its account; the second ends the process, as the default has it. */
function stopOnInterrupt(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  return stop.signal;
}

/** Rewrites one line of the terminal; does nothing where the output goes to a file or a pipe. */
function showProgress(text: () => string): () => void {
  if (!process.stderr.isTTY) return () => {};
  const clear = '\r\u001B[2K';
  const timer = setInterval(() => {
    const shown = text().slice(0, Math.max(1, process.stderr.columns - 1));
    process.stderr.write(clear + styleText('dim', shown));
  }, PROGRESS_EVERY_MS);
  return () => {
    clearInterval(timer);
    process.stderr.write(clear);
  };
}
