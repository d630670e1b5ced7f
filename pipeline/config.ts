/**
 * What a pod's settings mean: read once at start into one configuration, with their bounds and the relations between
 * them; all problems are reported together. Never quotes a secret.
 */

import { createHash } from 'node:crypto';
import type { Budget } from './backpressure/token-bucket.ts';
import { BATCH_MAX_TICKS } from './contract/batch.ts';
import { isProvider, PROVIDER_RULE } from './contract/identity.ts';
import type { Level } from './contract/level.ts';
import { SECRET_RULE, type SigningKey } from './contract/signature.ts';
import { LOG_LEVELS, type LogLevel, SettingReader, unknownSettings } from './settings.ts';
import { PodKey } from './signing-key.ts';

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
      /** Undefined keeps all. */
      retentionDays: number | undefined;
    };

export interface Config {
  host: string;
  port: number;
  store: StoreConfig;
  /** A call of the store has ended within this. */
  storeTimeoutMs: number;
  /** A sender has its answer within this. */
  answerTimeoutMs: number;
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
  /** Where a foreign store shows how full it is; undefined: nobody asks. */
  feedbackPoll: { url: string; intervalMs: number; capacity: number } | undefined;
  /** For the dead letters and receipts of every provider; without it only the edge may ask. */
  opsTokenHash: Uint8Array | undefined;
  /** Undefined: what the container may have, or no limit. */
  memoryLimitBytes: number | undefined;
}

/**
 * The budget of a provider without one of its own: far above what a pod stores, so that only levels slow it.
 */
export const DEFAULT_BUDGET: Budget = { ticksPerSecond: 1_000_000, burst: 2_000_000 };

/**
 * Room for the largest batch there can be: a body of 8 MiB, its characters once more at two bytes each or as the bytes
 * of rejected ticks, and 10,000 rows or rejections. A smaller queue would refuse it for ever.
 */
const QUEUE_MIN_BYTES = 40 * 1024 * 1024;

/** Guessing one of these over HTTP takes longer than the universe has. */
const TOKEN_MIN_CHARS = 16;

export type ConfigOutcome = { ok: true; config: Config } | { ok: false; problems: string[] };

/** Reads the environment, and the files that `NAME_FILE` settings of secrets point at. */
export function readConfig(env: Readonly<Record<string, string | undefined>>): ConfigOutcome {
  const problems = unknownSettings(env);
  const reader = new SettingReader(env, problems);
  const config: Config = {
    host: reader.text('MDP_HOST'),
    port: reader.integer('MDP_PORT', 0, 65_535),
    store: readStore(reader),
    storeTimeoutMs: reader.integer('MDP_STORE_TIMEOUT_MS', 100, 60_000),
    answerTimeoutMs: reader.integer('MDP_ANSWER_TIMEOUT_MS', 200, 120_000),
    queueCapacityTicks: reader.integer('MDP_QUEUE_CAPACITY_TICKS', 1, 10_000_000),
    queueCapacityBytes: reader.integer('MDP_QUEUE_CAPACITY_BYTES', QUEUE_MIN_BYTES, 16 * 1024 ** 3),
    ...readProviders(reader),
    edgeKeys: readKeys(reader),
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
    feedbackPoll: readFeedbackPoll(reader),
    opsTokenHash: readToken(reader, 'MDP_OPS_TOKEN'),
    memoryLimitBytes: reader.integer('MDP_MEMORY_LIMIT_MIB', 0, 1024 * 1024) * 1024 * 1024 || undefined,
  };
  checkRelations(config, problems);
  return problems.length === 0 ? { ok: true, config } : { ok: false, problems };
}

function checkRelations(config: Config, problems: string[]): void {
  const { ok, soft, hard } = config.rateScale;
  if (!(ok >= soft && soft >= hard)) {
    problems.push('MDP_FB_SCALE_OK must be at least MDP_FB_SCALE_SOFT, and that at least MDP_FB_SCALE_HARD');
  }
  if (config.storeTimeoutMs >= config.answerTimeoutMs) {
    problems.push(
      `MDP_STORE_TIMEOUT_MS (${config.storeTimeoutMs}) must be less than MDP_ANSWER_TIMEOUT_MS (${config.answerTimeoutMs}): a batch that is being written is answered by its write`,
    );
  }
  const poll = config.feedbackPoll;
  if (poll !== undefined && poll.intervalMs * 2 > config.feedbackExpiryMs) {
    problems.push('MDP_FEEDBACK_POLL_INTERVAL_MS must be at most half of MDP_FEEDBACK_EXPIRY_MS');
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

function readStore(reader: SettingReader): StoreConfig {
  const text = reader.secret('MDP_STORE');
  const connections = reader.integer('MDP_STORE_CONNECTIONS', 1, 64);
  const retentionDays = reader.integer('MDP_STORE_RETENTION_DAYS', 0, 36_500) || undefined;
  if (/^postgres(ql)?:\/\//.test(text)) return { kind: 'postgres', url: text, connections, retentionDays };
  const path = text.startsWith('sqlite:') ? text.slice('sqlite:'.length) : '';
  // What was meant for a URL may hold a password: name its beginning alone.
  const scheme = text.split(':', 1)[0]!.slice(0, 20);
  if (path === '') reader.problems.push(`MDP_STORE must be sqlite:PATH or postgres://…; ${scheme}: is not supported`);
  return { kind: 'sqlite', path };
}

function readKeys(reader: SettingReader): SigningKey[] {
  const keys: SigningKey[] = [];
  const secrets = reader
    .secret('MDP_EDGE_SECRETS')
    .split(/\s+/)
    .filter((secret) => secret !== '');
  for (const [at, secret] of secrets.entries()) {
    const key = PodKey.of(secret);
    if (key === undefined) reader.problems.push(`MDP_EDGE_SECRETS: secret ${at + 1} must be ${SECRET_RULE}`);
    else keys.push(key);
  }
  return keys;
}

function readFeedbackToken(reader: SettingReader): Uint8Array | undefined {
  const enabled = ['1', 'true'].includes(reader.oneOf('MDP_FB_ENABLE_FEEDBACK', ['1', '0', 'true', 'false']));
  const hash = readToken(reader, 'MDP_FEEDBACK_TOKEN');
  return enabled ? hash : undefined;
}

/** Only its hash is kept: what is compared later has one length and is no secret. */
function readToken(reader: SettingReader, name: 'MDP_FEEDBACK_TOKEN' | 'MDP_OPS_TOKEN'): Uint8Array | undefined {
  const token = reader.secret(name);
  if (token === '') return undefined;
  if (token.length < TOKEN_MIN_CHARS) {
    reader.problems.push(`${name} must be at least ${TOKEN_MIN_CHARS} characters long`);
  }
  return new Uint8Array(createHash('sha256').update(token).digest());
}

function readFeedbackPoll(reader: SettingReader): Config['feedbackPoll'] {
  const text = reader.secret('MDP_FEEDBACK_POLL_URL');
  const intervalMs = reader.integer('MDP_FEEDBACK_POLL_INTERVAL_MS', 500, 3_600_000);
  const capacity = reader.integer('MDP_FEEDBACK_POLL_CAPACITY', 1, 1_000_000_000);
  if (text === '') return undefined;
  const url = URL.parse(text);
  if (url === null || !['http:', 'https:'].includes(url.protocol)) {
    reader.problems.push('MDP_FEEDBACK_POLL_URL must begin with http:// or https://');
    return undefined;
  }
  try {
    decodeURIComponent(url.username + url.password);
  } catch {
    reader.problems.push('MDP_FEEDBACK_POLL_URL: user and password must be percent-encoded UTF-8');
    return undefined;
  }
  return { url: text, intervalMs, capacity };
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
