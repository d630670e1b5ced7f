/**
 * Every setting of a pod by name, with default and meaning, and how a single one is read. A setting that does not
 * exist is a problem too; a secret may be given as the path of a file.
 */

import { readFileSync } from 'node:fs';
import { RATE_SCALE } from './contract/level.ts';
import { FUTURE_MAX_MS } from './contract/tick.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

interface Setting {
  name: string;
  fallback: string;
  /** One line for the settings table of the README. */
  meaning: string;
  secret?: true;
}

/** The table that the README shows; a test holds the two together. */
export const SETTINGS = [
  { name: 'MDP_HOST', fallback: '127.0.0.1', meaning: 'listen address' },
  { name: 'MDP_PORT', fallback: '8000', meaning: 'listen port; 0 takes a free one' },
  { name: 'MDP_STORE', fallback: 'sqlite:data/ticks.db', meaning: '`sqlite:PATH` or `postgres://…`', secret: true },
  { name: 'MDP_STORE_CONNECTIONS', fallback: '4', meaning: 'PostgreSQL: groups written at once, 1 to 64' },
  { name: 'MDP_STORE_TIMEOUT_MS', fallback: '5000', meaning: 'how long a call of the store may take' },
  { name: 'MDP_STORE_RETENTION_DAYS', fallback: '0', meaning: 'PostgreSQL: days of ticks that are kept; 0 keeps all' },
  {
    name: 'MDP_ANSWER_TIMEOUT_MS',
    fallback: '8000',
    meaning: 'a batch that is not stored by then is refused; less than the edge waits (10,000)',
  },
  {
    name: 'MDP_QUEUE_CAPACITY_TICKS',
    fallback: '10000',
    meaning: 'ticks that may wait for the store; a larger batch is 413',
  },
  { name: 'MDP_QUEUE_CAPACITY_BYTES', fallback: '67108864', meaning: 'bytes that may wait for the store' },
  {
    name: 'MDP_PROVIDERS',
    fallback: '{"ibkr":{}}',
    meaning:
      'JSON, name to `ticksPerSecond` (1,000,000), `burst` (twice that), `negativePrices` (false); `"*"` is any name not listed',
  },
  {
    name: 'MDP_EDGE_SECRETS',
    fallback: '',
    meaning: '`whsec_…` secrets, blank-separated, accepted on tick requests',
    secret: true,
  },
  { name: 'MDP_DEV', fallback: '0', meaning: '`1`: unsigned requests are accepted, on loopback only' },
  { name: 'MDP_DRAIN_TIMEOUT_MS', fallback: '20000', meaning: 'how long a drain may take' },
  { name: 'MDP_FUTURE_MAX_MS', fallback: String(FUTURE_MAX_MS), meaning: 'ticks further in the future are rejected' },
  {
    name: 'MDP_LEDGER_RETENTION_HOURS',
    fallback: '168',
    meaning: 'how long a batch id is recognised, and dead letters are kept',
  },
  {
    name: 'MDP_OPS_TOKEN',
    fallback: '',
    meaning: "bearer token for everybody's dead letters and receipts; none, only the edge may ask",
    secret: true,
  },
  {
    name: 'MDP_MEMORY_LIMIT_MIB',
    fallback: '0',
    meaning: 'memory at which the level is hard; 0: what the container may have',
  },
  { name: 'MDP_LOG_LEVEL', fallback: 'info', meaning: '`debug`, `info`, `warn` or `error`' },
  { name: 'MDP_POD_NAME', fallback: 'pod', meaning: 'written beside every tick it stores; the host name when not set' },
  {
    name: 'MDP_FEEDBACK_TOKEN',
    fallback: '',
    meaning: 'accepted on `POST /feedback`, as the password in its URL or as `?token=`; none, no feedback',
    secret: true,
  },
  { name: 'MDP_FB_ENABLE_FEEDBACK', fallback: '1', meaning: '`0` or `false`: `POST /feedback` accepts nothing' },
  {
    name: 'MDP_FEEDBACK_EXPIRY_MS',
    fallback: '60000',
    meaning: 'how long a word of a foreign store counts when no other follows',
  },
  {
    name: 'MDP_FEEDBACK_POLL_URL',
    fallback: '',
    meaning: '`/metrics` of a foreign store, whose `mds_coord_queue_depth` is read; none, nobody asks',
    secret: true,
  },
  { name: 'MDP_FEEDBACK_POLL_INTERVAL_MS', fallback: '5000', meaning: 'how often' },
  { name: 'MDP_FEEDBACK_POLL_CAPACITY', fallback: '10000', meaning: 'what that queue holds: the store does not tell' },
  { name: 'MDP_FB_SCALE_OK', fallback: String(RATE_SCALE.ok), meaning: 'rate scale at level ok, 0 to 1' },
  { name: 'MDP_FB_SCALE_SOFT', fallback: String(RATE_SCALE.soft), meaning: 'rate scale at level soft, 0 to 1' },
  { name: 'MDP_FB_SCALE_HARD', fallback: String(RATE_SCALE.hard), meaning: 'rate scale at level hard, 0 to 1' },
] as const satisfies readonly Setting[];

type SettingName = (typeof SETTINGS)[number]['name'];

/** What Kubernetes injects for a Service whose name starts with "mdp-"; not ours, and not a typing error. */
const SERVICE_VARIABLE = /^MDP_.*_(SERVICE_HOST|SERVICE_PORT\w*|PORT(_\d+_\w+)?)$/;

/** A problem for each `MDP_` variable that is no setting: most likely a known one misspelt. */
export function unknownSettings(env: Readonly<Record<string, string | undefined>>): string[] {
  const names = new Set<string>(
    SETTINGS.flatMap((setting) => ('secret' in setting ? [setting.name, `${setting.name}_FILE`] : [setting.name])),
  );
  return Object.keys(env)
    .filter((name) => name.startsWith('MDP_') && !names.has(name) && !SERVICE_VARIABLE.test(name))
    .map((name) => `${name} is no setting of this pod`);
}

function fallbackOf(name: SettingName): string {
  return SETTINGS.find((setting) => setting.name === name)!.fallback;
}

/** Reads single settings; every complaint goes into `problems`, and a value of the right type comes back anyway. */
export class SettingReader {
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly problems: string[];

  constructor(env: Readonly<Record<string, string | undefined>>, problems: string[]) {
    this.#env = env;
    this.problems = problems;
  }

  text(name: SettingName): string {
    const given = this.#env[name];
    return given === undefined || given === '' ? fallbackOf(name) : given;
  }

  /** The setting or the content of the file that `NAME_FILE` names. */
  secret(name: SettingName): string {
    const file = this.#env[`${name}_FILE`];
    if (file === undefined || file === '') return this.text(name);
    if (this.#env[name]) this.problems.push(`${name} and ${name}_FILE are both set`);
    try {
      return readFileSync(file, 'utf8').trim();
    } catch (cause) {
      this.problems.push(`${name}_FILE cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
      return '';
    }
  }

  integer(name: SettingName, min: number, max: number): number {
    const text = this.text(name);
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    this.problems.push(`${name} must be an integer of ${min} to ${max}, not ${JSON.stringify(text)}`);
    return min;
  }

  share(name: SettingName): number {
    const text = this.text(name);
    const value = /^\d(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN;
    if (value >= 0 && value <= 1) return value;
    this.problems.push(`${name} must be a number of 0 to 1, not ${JSON.stringify(text)}`);
    // The default, so that the relations between the scales find no fault that is not there.
    return Number(fallbackOf(name));
  }

  oneOf<Choice extends string>(name: SettingName, choices: readonly Choice[]): Choice {
    const text = this.text(name);
    const choice = choices.find((one) => one === text);
    if (choice !== undefined) return choice;
    this.problems.push(`${name} must be one of ${choices.join(', ')}, not ${JSON.stringify(text)}`);
    return choices[0]!;
  }
}
