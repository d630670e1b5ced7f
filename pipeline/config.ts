/**
 * Every setting of a pod: its name, form, default and bounds. Read once at start; all problems are reported
 * together, and a setting that does not exist is one of them. Never quotes a secret.
 */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Budget } from './backpressure/token-bucket.ts';
import { BATCH_MAX_TICKS } from './contract/batch.ts';
import { isProvider, PROVIDER_RULE } from './contract/identity.ts';
import type { Level } from './contract/level.ts';
import { RATE_SCALE } from './contract/level.ts';
import { importSecret, SECRET_RULE, type SigningKey } from './contract/signature.ts';
import { FUTURE_MAX_MS } from './contract/tick.ts';

export interface ProviderOptions {
  budget: Budget;
  /** Prices of 0 and below are genuine: spreads, energy. */
  negativePrices: boolean;
}

export type StoreConfig =
  | { kind: 'sqlite'; path: string }
  | {
      kind: 'postgres';
      url: string;
      connections: number;
      callTimeoutMs: number;
      /** Undefined keeps all. */
      retentionDays: number | undefined;
    };

export interface Config {
  host: string;
  port: number;
  store: StoreConfig;
  queueCapacityTicks: number;
  queueCapacityBytes: number;
  providers: ReadonlyMap<string, ProviderOptions>;
  /** For names that `providers` does not list. */
  otherProviders: ProviderOptions;
  edgeKeys: readonly SigningKey[];
  /** Unsigned tick requests are accepted; only ever with a loopback `host`. */
  dev: boolean;
  drainTimeoutMs: number;
  futureMaxMs: number;
  ledgerRetentionMs: number;
  logLevel: LogLevel;
  podName: string;
  rateScale: Readonly<Record<Level, number>>;
  /** `POST /feedback` accepts nothing without it. */
  feedbackTokenHash: Uint8Array | undefined;
  feedbackExpiryMs: number;
}

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * The budget of a provider without one of its own: far above what a pod stores, so that only levels slow it.
 */
export const DEFAULT_BUDGET: Budget = { ticksPerSecond: 1_000_000, burst: 2_000_000 };

/**
 * Room for the largest batch there can be, 8 MiB of characters at two bytes each and 10,000 rows or rejections: a
 * smaller queue would refuse it for ever.
 */
const QUEUE_MIN_BYTES = 24 * 1024 * 1024;

/** Guessing one of these over HTTP takes longer than the universe has. */
const FEEDBACK_TOKEN_MIN_CHARS = 16;

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
  { name: 'MDP_STORE_TIMEOUT_MS', fallback: '5000', meaning: 'PostgreSQL: how long a call may take' },
  { name: 'MDP_STORE_RETENTION_DAYS', fallback: '0', meaning: 'PostgreSQL: days of ticks that are kept; 0 keeps all' },
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
  { name: 'MDP_LEDGER_RETENTION_HOURS', fallback: '168', meaning: 'how long a batch id is recognised' },
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
  { name: 'MDP_FB_SCALE_OK', fallback: String(RATE_SCALE.ok), meaning: 'rate scale at level ok, 0 to 1' },
  { name: 'MDP_FB_SCALE_SOFT', fallback: String(RATE_SCALE.soft), meaning: 'rate scale at level soft, 0 to 1' },
  { name: 'MDP_FB_SCALE_HARD', fallback: String(RATE_SCALE.hard), meaning: 'rate scale at level hard, 0 to 1' },
] as const satisfies readonly Setting[];

type SettingName = (typeof SETTINGS)[number]['name'];

/** What Kubernetes injects for a Service whose name starts with "mdp-"; not ours, and not a typing error. */
const SERVICE_VARIABLE = /^MDP_.*_(SERVICE_HOST|SERVICE_PORT\w*|PORT(_\d+_\w+)?)$/;

export type ConfigOutcome = { ok: true; config: Config } | { ok: false; problems: string[] };

/** Reads the environment, and the files that `NAME_FILE` settings of secrets point at. */
export async function readConfig(env: Readonly<Record<string, string | undefined>>): Promise<ConfigOutcome> {
  const problems = unknownSettings(env);
  const reader = new SettingReader(env, problems);
  const config: Config = {
    host: reader.text('MDP_HOST'),
    port: reader.integer('MDP_PORT', 0, 65_535),
    store: readStore(reader),
    queueCapacityTicks: reader.integer('MDP_QUEUE_CAPACITY_TICKS', 1, 10_000_000),
    queueCapacityBytes: reader.integer('MDP_QUEUE_CAPACITY_BYTES', QUEUE_MIN_BYTES, 16 * 1024 ** 3),
    ...readProviders(reader),
    edgeKeys: await readKeys(reader),
    dev: reader.oneOf('MDP_DEV', ['0', '1']) === '1',
    drainTimeoutMs: reader.integer('MDP_DRAIN_TIMEOUT_MS', 100, 600_000),
    futureMaxMs: reader.integer('MDP_FUTURE_MAX_MS', 0, 366 * 86_400_000),
    ledgerRetentionMs: reader.integer('MDP_LEDGER_RETENTION_HOURS', 1, 24 * 366) * 3_600_000,
    logLevel: reader.oneOf('MDP_LOG_LEVEL', LOG_LEVELS),
    podName: reader.text('MDP_POD_NAME'),
    rateScale: {
      ok: reader.share('MDP_FB_SCALE_OK'),
      soft: reader.share('MDP_FB_SCALE_SOFT'),
      hard: reader.share('MDP_FB_SCALE_HARD'),
    },
    feedbackTokenHash: readFeedbackToken(reader),
    feedbackExpiryMs: reader.integer('MDP_FEEDBACK_EXPIRY_MS', 1_000, 86_400_000),
  };
  checkRelations(config, problems);
  return problems.length === 0 ? { ok: true, config } : { ok: false, problems };
}

function checkRelations(config: Config, problems: string[]): void {
  const { ok, soft, hard } = config.rateScale;
  if (!(ok >= soft && soft >= hard)) {
    problems.push('MDP_FB_SCALE_OK must be at least MDP_FB_SCALE_SOFT, and that at least MDP_FB_SCALE_HARD');
  }
  if (config.dev && !isLoopback(config.host)) {
    problems.push(`MDP_DEV=1 accepts unsigned requests and so needs a loopback MDP_HOST, not ${config.host}`);
  }
  const secretsComplaint = problems.some((problem) => problem.startsWith('MDP_EDGE_SECRETS'));
  if (!config.dev && config.edgeKeys.length === 0 && !secretsComplaint) {
    problems.push(
      'MDP_EDGE_SECRETS is missing: without one no tick request can be accepted (MDP_DEV=1 on loopback can)',
    );
  }
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function unknownSettings(env: Readonly<Record<string, string | undefined>>): string[] {
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
class SettingReader {
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

function readStore(reader: SettingReader): StoreConfig {
  const text = reader.secret('MDP_STORE');
  const connections = reader.integer('MDP_STORE_CONNECTIONS', 1, 64);
  const callTimeoutMs = reader.integer('MDP_STORE_TIMEOUT_MS', 100, 60_000);
  const retentionDays = reader.integer('MDP_STORE_RETENTION_DAYS', 0, 36_500) || undefined;
  if (/^postgres(ql)?:\/\//.test(text))
    return { kind: 'postgres', url: text, connections, callTimeoutMs, retentionDays };
  const path = text.startsWith('sqlite:') ? text.slice('sqlite:'.length) : '';
  // What was meant for a URL may hold a password: name its beginning alone.
  const scheme = text.split(':', 1)[0]!.slice(0, 20);
  if (path === '') reader.problems.push(`MDP_STORE must be sqlite:PATH or postgres://…; ${scheme}: is not supported`);
  return { kind: 'sqlite', path };
}

async function readKeys(reader: SettingReader): Promise<SigningKey[]> {
  const keys: SigningKey[] = [];
  const secrets = reader
    .secret('MDP_EDGE_SECRETS')
    .split(/\s+/)
    .filter((secret) => secret !== '');
  for (const [at, secret] of secrets.entries()) {
    const key = await importSecret(secret);
    if (key === undefined) reader.problems.push(`MDP_EDGE_SECRETS: secret ${at + 1} must be ${SECRET_RULE}`);
    else keys.push(key);
  }
  return keys;
}

/** Only its hash is kept: what is compared later has one length and is no secret. */
function readFeedbackToken(reader: SettingReader): Uint8Array | undefined {
  const enabled = ['1', 'true'].includes(reader.oneOf('MDP_FB_ENABLE_FEEDBACK', ['1', '0', 'true', 'false']));
  const token = reader.secret('MDP_FEEDBACK_TOKEN');
  if (token === '') return undefined;
  if (token.length < FEEDBACK_TOKEN_MIN_CHARS) {
    reader.problems.push(`MDP_FEEDBACK_TOKEN must be at least ${FEEDBACK_TOKEN_MIN_CHARS} characters long`);
  }
  return enabled ? new Uint8Array(createHash('sha256').update(token).digest()) : undefined;
}

function readProviders(reader: SettingReader): Pick<Config, 'providers' | 'otherProviders'> {
  const providers = new Map<string, ProviderOptions>();
  let otherProviders: ProviderOptions = { budget: DEFAULT_BUDGET, negativePrices: false };
  let given: unknown;
  try {
    given = JSON.parse(reader.text('MDP_PROVIDERS'));
  } catch {
    given = undefined;
  }
  if (!isRecord(given)) {
    reader.problems.push('MDP_PROVIDERS must be a JSON object of provider names');
    return { providers, otherProviders };
  }
  for (const [name, value] of Object.entries(given)) {
    const options = readProvider(name, value, reader.problems);
    if (name === '*') otherProviders = options;
    else if (isProvider(name)) providers.set(name, options);
    else
      reader.problems.push(
        `MDP_PROVIDERS: a provider name is ${PROVIDER_RULE}, not ${JSON.stringify(name.slice(0, 80))}`,
      );
  }
  return { providers, otherProviders };
}

function readProvider(name: string, value: unknown, problems: string[]): ProviderOptions {
  const options: ProviderOptions = { budget: DEFAULT_BUDGET, negativePrices: false };
  const where = `MDP_PROVIDERS: ${name.slice(0, 80)}`;
  if (!isRecord(value)) {
    problems.push(`${where} must be an object`);
    return options;
  }
  const budget = { ...DEFAULT_BUDGET };
  for (const [key, option] of Object.entries(value)) {
    if (key === 'ticksPerSecond' || key === 'burst') {
      if (typeof option === 'number' && option >= 1 && option <= 1e9) budget[key] = option;
      else problems.push(`${where}.${key} must be a number of 1 to 1000000000`);
    } else if (key === 'negativePrices') {
      if (typeof option === 'boolean') options.negativePrices = option;
      else problems.push(`${where}.negativePrices must be true or false`);
    } else {
      problems.push(`${where}.${key.slice(0, 80)} is no option of a provider`);
    }
  }
  // A burst that was not given covers a second, and one batch of the largest size in any case.
  if (!('burst' in value)) budget.burst = Math.max(budget.ticksPerSecond * 2, BATCH_MAX_TICKS);
  options.budget = budget;
  return options;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
