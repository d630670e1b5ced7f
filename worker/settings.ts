/**
 * The edge's settings: turns the environment into keys and hashes once, and reports every problem at once.
 * Never quotes a value: most of them are secrets, and the rest may hold one by mistake.
 */

import { isProvider, PROVIDER_RULE } from '../pipeline/contract/identity.ts';
import { isToken, TOKEN_MAX_CHARS, tokenHash } from './auth.ts';
import { OUTBOX_MAX_AGE_SECONDS, OUTBOX_MAX_BYTES, SHELF_BOUNDS, type ShelfBounds } from './outbox/shelf.ts';
import { CANARY_PROVIDER } from './status/canary.ts';
import { parsePublication, STATUS_PROVIDERS, STATUS_PROVIDERS_RULE } from './status/publication.ts';
import {
  generateSecret,
  importSecret,
  SECRET_RULE,
  secretBytes,
  type SigningKey,
} from '../pipeline/contract/signature.ts';

export const PROVIDERS_MAX = 100;
/** Of each kind, for one provider: an old one, a new one, and as many again for a rotation that overlaps another. */
export const CREDENTIALS_PER_KIND_MAX = 4;
export const TOKEN_HASH_RULE = '"sha256:" and the 64 hexadecimal digits of the token\'s SHA-256';

/** What one provider may prove itself with. */
export interface ProviderCredentials {
  /** Never empty: filled up with decoys, so that every provider's wrong signature costs the same. */
  signingKeys: readonly SigningKey[];
  /** SHA-256 of each token, 32 bytes. */
  tokenHashes: readonly Uint8Array[];
}

export interface Settings {
  /** Without a trailing slash. */
  clusterUrl: string;
  edgeKey: SigningKey;
  providers: ReadonlyMap<string, ProviderCredentials>;
  /** SHA-256 of each token that may read the scaling figures; without any, nobody may. */
  scalingTokens: readonly Uint8Array[];
  /** What an unknown provider's signature is checked against: as many keys as anybody has, matching nothing. */
  decoyKeys: readonly SigningKey[];
}

export interface SettingProblem {
  /** The setting's name: safe to show to anybody. */
  setting: string;
  /** What is wrong with it, for the operator's log. */
  detail: string;
}

export type SettingsOutcome = { ok: true; settings: Settings } | { ok: false; problems: readonly SettingProblem[] };

const REQUIRED = ['CLUSTER_URL', 'EDGE_SECRET', 'PROVIDER_CREDENTIALS'] as const;
/** Lower bounds of one provider's outbox than those it has by itself. */
const OUTBOX_LIMITS = { OUTBOX_MAX_BYTES, OUTBOX_MAX_AGE_SECONDS } as const;
const SCALING_TOKEN = 'SCALING_TOKEN';
/** Shorter ones can be guessed. */
export const SCALING_TOKEN_MIN_CHARS = 16;
const SCALING_TOKEN_RULE =
  `1 to ${CREDENTIALS_PER_KIND_MAX} tokens with a blank between them, each of ${SCALING_TOKEN_MIN_CHARS} to ` +
  `${TOKEN_MAX_CHARS} of A-Z a-z 0-9 . _ ~ + / -`;
/** After so many seconds without a word a socket is closed. */
const SOCKET_IDLE = 'SOCKET_IDLE_SECONDS';
export const SOCKET_IDLE_DEFAULT_SECONDS = 600;
export const SOCKET_IDLE_MAX_SECONDS = 86_400;
/** Every text that the edge's environment may have. */
export const EDGE_SETTINGS: ReadonlySet<string> = new Set([
  ...REQUIRED,
  SCALING_TOKEN,
  STATUS_PROVIDERS,
  SOCKET_IDLE,
  ...Object.keys(OUTBOX_LIMITS),
]);
const UNNAMED = '(a name that is no identifier)';

const outcomes = new WeakMap<object, SettingsOutcome>();

/**
 * The settings of `env`, parsed once for each environment object. `first` is true for the one caller that should log.
 * Only the finished outcome is kept: a promise kept here would belong to the request that began it, and would
 * never settle for the others if that request is cancelled.
 */
export async function settingsOf(env: object): Promise<{ outcome: SettingsOutcome; first: boolean }> {
  const known = outcomes.get(env);
  if (known !== undefined) return { outcome: known, first: false };
  const outcome = await parseSettings(env);
  const first = !outcomes.has(env);
  outcomes.set(env, outcome);
  return { outcome, first };
}

/**
 * Reads every setting and reports all problems together. Bindings that are not text (a namespace, a queue) are
 * the platform's and are left alone; an unknown text is refused, since it is most likely a known one misspelt.
 */
export async function parseSettings(env: object): Promise<SettingsOutcome> {
  const given = env as Record<string, unknown>;
  const problems: SettingProblem[] = [];
  for (const [name, value] of Object.entries(given)) {
    if (typeof value === 'string' && !EDGE_SETTINGS.has(name)) {
      problems.push({ setting: /^\w{1,64}$/.test(name) ? name : UNNAMED, detail: 'is not a setting of the edge' });
    }
  }
  for (const name of REQUIRED) {
    const value = given[name];
    if (typeof value !== 'string' || value === '') problems.push({ setting: name, detail: 'is missing' });
  }
  for (const name of ['OUTBOX_MAX_BYTES', 'OUTBOX_MAX_AGE_SECONDS'] as const) {
    if (given[name] !== undefined && outboxLimit(given, name) === undefined) {
      problems.push({ setting: name, detail: `must be a whole number of 1 to ${OUTBOX_LIMITS[name]}` });
    }
  }
  if (given[SOCKET_IDLE] !== undefined && wholeUpTo(given[SOCKET_IDLE], SOCKET_IDLE_MAX_SECONDS) === undefined) {
    problems.push({ setting: SOCKET_IDLE, detail: `must be a whole number of 1 to ${SOCKET_IDLE_MAX_SECONDS}` });
  }
  const published = given[STATUS_PROVIDERS];
  if (typeof published === 'string' && parsePublication(published) === undefined) {
    problems.push({ setting: STATUS_PROVIDERS, detail: `must be ${STATUS_PROVIDERS_RULE}` });
  }
  const secrets = new OwnedValues();
  const clusterUrl = parseClusterUrl(given['CLUSTER_URL'], problems);
  const edgeKey = await parseEdgeSecret(given['EDGE_SECRET'], secrets, problems);
  const providers = await parseProviders(given['PROVIDER_CREDENTIALS'], secrets, problems);
  const scalingTokens = await parseScalingTokens(given[SCALING_TOKEN], problems);
  if (problems.length > 0 || clusterUrl === undefined || edgeKey === undefined) return { ok: false, problems };
  return { ok: true, settings: { clusterUrl, edgeKey, scalingTokens, ...(await withDecoys(providers)) } };
}

/** Several of them while one takes the place of another. */
async function parseScalingTokens(value: unknown, problems: SettingProblem[]): Promise<Uint8Array[]> {
  if (typeof value !== 'string' || value === '') return [];
  const tokens = value.split(' ').filter((text) => text !== '');
  const areGood = tokens.every((text) => text.length >= SCALING_TOKEN_MIN_CHARS && isToken(text));
  if (areGood && tokens.length > 0 && tokens.length <= CREDENTIALS_PER_KIND_MAX)
    return Promise.all(tokens.map(tokenHash));
  problems.push({ setting: SCALING_TOKEN, detail: `must be ${SCALING_TOKEN_RULE}` });
  return [];
}

/** The bounds of each provider's outbox; a setting that is missing or wrong leaves the bound where it is. */
export function outboxBounds(env: object): ShelfBounds {
  const given = env as Record<string, unknown>;
  return {
    ...SHELF_BOUNDS,
    maxBytes: outboxLimit(given, 'OUTBOX_MAX_BYTES') ?? SHELF_BOUNDS.maxBytes,
    maxAgeMs: (outboxLimit(given, 'OUTBOX_MAX_AGE_SECONDS') ?? OUTBOX_MAX_AGE_SECONDS) * 1000,
  };
}

function outboxLimit(given: Record<string, unknown>, name: keyof typeof OUTBOX_LIMITS): number | undefined {
  return wholeUpTo(given[name], OUTBOX_LIMITS[name]);
}

export function socketIdleMs(env: object): number {
  const given = (env as Record<string, unknown>)[SOCKET_IDLE];
  return (wholeUpTo(given, SOCKET_IDLE_MAX_SECONDS) ?? SOCKET_IDLE_DEFAULT_SECONDS) * 1000;
}

/** A whole number of 1 to `max`, as text. */
function wholeUpTo(value: unknown, max: number): number | undefined {
  if (typeof value !== 'string' || !/^[1-9]\d{0,15}$/.test(value)) return undefined;
  return Number(value) <= max ? Number(value) : undefined;
}

function parseClusterUrl(value: unknown, problems: SettingProblem[]): string | undefined {
  if (typeof value !== 'string' || value === '') return undefined;
  const wrong = (detail: string): undefined => void problems.push({ setting: 'CLUSTER_URL', detail });
  const url = URL.parse(value);
  if (url === null) return wrong('is not a URL');
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return wrong('must begin with https:// or http://');
  if (url.username !== '' || url.password !== '') return wrong('must not hold a user name or a password');
  if (url.search !== '' || url.hash !== '') return wrong('must end with its path: no "?" and no "#"');
  return url.href.replace(/\/+$/, '');
}

async function parseEdgeSecret(
  value: unknown,
  secrets: OwnedValues,
  problems: SettingProblem[],
): Promise<SigningKey | undefined> {
  if (typeof value !== 'string' || value === '') return undefined;
  const key = await importSecret(value);
  if (key === undefined) problems.push({ setting: 'EDGE_SECRET', detail: `must be ${SECRET_RULE}` });
  else secrets.claim(String(secretBytes(value)), EDGE_OWNER);
  return key;
}

const EDGE_OWNER = 'the edge itself (EDGE_SECRET)';

interface ParsedProvider {
  signingKeys: SigningKey[];
  tokenHashes: Uint8Array[];
}

async function parseProviders(
  value: unknown,
  secrets: OwnedValues,
  problems: SettingProblem[],
): Promise<Map<string, ParsedProvider>> {
  const providers = new Map<string, ParsedProvider>();
  if (typeof value !== 'string' || value === '') return providers;
  const wrong = (detail: string): void => void problems.push({ setting: 'PROVIDER_CREDENTIALS', detail });
  const entries = jsonEntries(value);
  if (entries === undefined) {
    wrong('must be a JSON object of provider names');
    return providers;
  }
  if (entries.length === 0) wrong('names no provider');
  if (entries.length > PROVIDERS_MAX) wrong(`names more than ${PROVIDERS_MAX} providers`);
  const tokens = new OwnedValues();
  for (const [index, [name, entry]] of entries.slice(0, PROVIDERS_MAX).entries()) {
    // The name is shown only when it has a name's form: a secret in the wrong place has not.
    if (name === CANARY_PROVIDER) wrong(`${name} is the edge's own, for ticks that test the way`);
    else if (!isProvider(name)) wrong(`name number ${index + 1} is no provider name: ${PROVIDER_RULE}`);
    else providers.set(name, await parseProvider(name, entry, secrets, tokens, wrong));
  }
  return providers;
}

async function parseProvider(
  name: string,
  entry: unknown,
  secrets: OwnedValues,
  tokens: OwnedValues,
  wrong: (detail: string) => void,
): Promise<ParsedProvider> {
  const parsed: ParsedProvider = { signingKeys: [], tokenHashes: [] };
  if (!isObject(entry)) {
    wrong(`${name}: must be an object with "secrets", "tokens" or both`);
    return parsed;
  }
  const unknown = Object.keys(entry).filter((key) => key !== 'secrets' && key !== 'tokens').length;
  if (unknown > 0) wrong(`${name}: ${unknown} unknown member(s); there are only "secrets" and "tokens"`);
  const secretTexts = textList(entry['secrets']);
  const tokenTexts = textList(entry['tokens']);
  if (secretTexts === undefined)
    wrong(`${name}: "secrets" must be a list of at most ${CREDENTIALS_PER_KIND_MAX} texts`);
  if (tokenTexts === undefined) wrong(`${name}: "tokens" must be a list of at most ${CREDENTIALS_PER_KIND_MAX} texts`);
  if (secretTexts?.length === 0 && tokenTexts?.length === 0) wrong(`${name}: has neither a secret nor a token`);
  for (const [index, text] of (secretTexts ?? []).entries()) {
    const key = await importSecret(text);
    if (key === undefined) {
      wrong(`${name}: secret number ${index + 1} must be ${SECRET_RULE}`);
      continue;
    }
    // Its bytes: two spellings in base64 are one secret.
    const owner = secrets.claim(String(secretBytes(text)), name);
    if (owner !== undefined) wrong(`${name}: secret number ${index + 1} is also that of ${owner}`);
    parsed.signingKeys.push(key);
  }
  for (const [index, text] of (tokenTexts ?? []).entries()) {
    const hash = parseTokenHash(text);
    if (hash === undefined) {
      wrong(`${name}: token number ${index + 1} must be ${TOKEN_HASH_RULE}`);
      continue;
    }
    const owner = tokens.claim(text.toLowerCase(), name);
    if (owner !== undefined) wrong(`${name}: token number ${index + 1} is also that of ${owner}`);
    parsed.tokenHashes.push(hash);
  }
  return parsed;
}

/** Each value belongs to the first owner that claimed it. */
class OwnedValues {
  readonly #owners = new Map<string, string>();

  /** The other owner that has `value` already, or `undefined` when it is now `owner`'s. */
  claim(value: string, owner: string): string | undefined {
    const before = this.#owners.get(value);
    if (before === undefined) this.#owners.set(value, owner);
    return before === undefined || before === owner ? undefined : before;
  }
}

function parseTokenHash(text: string): Uint8Array | undefined {
  const digits = /^sha256:([0-9a-f]{64})$/i.exec(text)?.[1];
  if (digits === undefined) return undefined;
  return Uint8Array.from({ length: 32 }, (_, at) => Number.parseInt(digits.slice(at * 2, at * 2 + 2), 16));
}

async function withDecoys(parsed: Map<string, ParsedProvider>): Promise<Pick<Settings, 'providers' | 'decoyKeys'>> {
  const most = Math.max(1, ...[...parsed.values()].map((provider) => provider.signingKeys.length));
  const decoyKeys: SigningKey[] = [];
  while (decoyKeys.length < most) decoyKeys.push((await importSecret(generateSecret()))!);
  const providers = new Map<string, ProviderCredentials>();
  for (const [name, { signingKeys, tokenHashes }] of parsed) {
    providers.set(name, { signingKeys: [...signingKeys, ...decoyKeys.slice(signingKeys.length)], tokenHashes });
  }
  return { providers, decoyKeys };
}

function jsonEntries(text: string): [string, unknown][] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? Object.entries(value) : undefined;
  } catch {
    return undefined; // the parser's message quotes the text
  }
}

/** A list of texts, empty when absent; `undefined` when it is anything else or too long. */
function textList(value: unknown): string[] | undefined {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > CREDENTIALS_PER_KIND_MAX) return undefined;
  return value.every((text) => typeof text === 'string') ? value : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
