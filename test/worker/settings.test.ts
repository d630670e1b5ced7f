/** The edge's settings: what is refused, that all of it is reported, and that no secret is quoted. */

import { describe, expect, it } from 'vitest';
import { generateSecret } from '../../pipeline/contract/signature.ts';
import { SHELF_BOUNDS } from '../../worker/outbox/shelf.ts';
import { outboxBounds, parseSettings, PROVIDERS_MAX, settingsOf, socketIdleMs } from '../../worker/settings.ts';
import { makeCredentials, tokenHash } from '../support/edge-credentials.ts';

const good = makeCredentials().bindings();
const SECRET = generateSecret();

async function problemsOf(env: Record<string, unknown>): Promise<string[]> {
  const outcome = await parseSettings(env);
  return outcome.ok ? [] : outcome.problems.map(({ setting, detail }) => `${setting} ${detail}`);
}

function withProviders(providers: unknown): Record<string, unknown> {
  return { ...good, PROVIDER_CREDENTIALS: typeof providers === 'string' ? providers : JSON.stringify(providers) };
}

describe('good settings', () => {
  it('become keys and hashes, with as many keys for each provider as anybody has', async () => {
    const outcome = await parseSettings(good);
    if (!outcome.ok) throw new Error('refused');
    const { clusterUrl, providers, decoyKeys } = outcome.settings;
    expect(clusterUrl).toBe('http://cluster.test');
    expect([...providers.keys()]).toEqual(['ibkr', 'acme']);
    expect(providers.get('ibkr')!.tokenHashes).toHaveLength(2);
    expect([...providers.values()].map((provider) => provider.signingKeys.length)).toEqual([2, 2]);
    expect(decoyKeys).toHaveLength(2);
  });

  it('may come with bindings that are not text, and with the optional token', async () => {
    expect(await problemsOf({ ...good, OUTBOX: { get: () => undefined }, SCALING_TOKEN: 'x'.repeat(16) })).toEqual([]);
  });

  it('keep the path of the cluster and lose its last slash', async () => {
    const outcome = await parseSettings({ ...good, CLUSTER_URL: 'https://example.test/pods/' });
    expect(outcome.ok && outcome.settings.clusterUrl).toBe('https://example.test/pods');
  });

  it('are parsed once for each environment, and only one caller is told to log', async () => {
    const env = { ...good };
    const both = await Promise.all([settingsOf(env), settingsOf(env)]);
    const later = await settingsOf(env);
    expect(both.filter(({ first }) => first)).toHaveLength(1);
    expect(later.first).toBe(false);
    expect((await settingsOf({ ...good })).first).toBe(true);
  });
});

describe('the scaling token', () => {
  it.each([
    'short',
    'a'.repeat(513),
    'x'.repeat(15),
    `${'x'.repeat(16)} short`,
    `${'x'.repeat(16)},${'y'.repeat(16)}`,
    ' ',
  ])('is never %j', async (value) => {
    const [wrong, ...others] = await problemsOf({ ...good, SCALING_TOKEN: value });
    expect(wrong).toMatch(/^SCALING_TOKEN must be 1 to 4 tokens/);
    expect(others).toEqual([]);
    expect(value.trim() !== '' && wrong!.includes(value)).toBe(false);
  });

  it('may be several, for rotation', async () => {
    const four = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(16)).join(' ');
    const outcome = await parseSettings({ ...good, SCALING_TOKEN: four });
    expect(outcome.ok && outcome.settings.scalingTokens).toHaveLength(4);
    expect(await problemsOf({ ...good, SCALING_TOKEN: `${four} ${'e'.repeat(16)}` })).toHaveLength(1);
  });
});

describe('the idle time of sockets', () => {
  it('is ten minutes, and may be set', async () => {
    expect(socketIdleMs(good)).toBe(600_000);
    expect(socketIdleMs({ ...good, SOCKET_IDLE_SECONDS: '5' })).toBe(5_000);
    for (const value of ['0', '-1', 'x', '86401']) {
      expect(await problemsOf({ ...good, SOCKET_IDLE_SECONDS: value })).toHaveLength(1);
    }
  });
});

describe('the bounds of an outbox', () => {
  it('are its own, and may be set lower', () => {
    expect(outboxBounds(good)).toEqual(SHELF_BOUNDS);
    const lower = { ...good, OUTBOX_MAX_BYTES: '1000', OUTBOX_MAX_AGE_SECONDS: '60' };
    expect(outboxBounds(lower)).toEqual({ ...SHELF_BOUNDS, maxBytes: 1000, maxAgeMs: 60_000 });
  });

  it.each(['0', '-1', '1.5', '1e3', '', 'all', '4294967297'])('are never %j', async (value) => {
    expect(await problemsOf({ ...good, OUTBOX_MAX_BYTES: value })).toEqual([
      'OUTBOX_MAX_BYTES must be a whole number of 1 to 4294967296',
    ]);
    expect(outboxBounds({ ...good, OUTBOX_MAX_BYTES: value })).toEqual(SHELF_BOUNDS);
    expect(await problemsOf({ ...good, OUTBOX_MAX_AGE_SECONDS: value || 'x' })).toHaveLength(1);
  });
});

describe('wrong settings', () => {
  it('are all reported at once', async () => {
    const problems = await problemsOf({
      CLUSTER_URL: 'ftp://pods',
      EDGE_SECRET: 'whsec_c2hvcnQ=',
      PROVIDER_CREDENTIALS: '{"ibkr":{"secrets":["whsec_x"],"key":1},"A":{},"b":{}}',
      CLUSTER_ULR: 'https://pods',
    });
    expect(problems.map((problem) => problem.split(' ', 1)[0])).toEqual([
      'CLUSTER_ULR',
      'CLUSTER_URL',
      'EDGE_SECRET',
      'PROVIDER_CREDENTIALS',
      'PROVIDER_CREDENTIALS',
      'PROVIDER_CREDENTIALS',
      'PROVIDER_CREDENTIALS',
    ]);
  });

  it('that are missing or empty are named', async () => {
    const missing = ['CLUSTER_URL is missing', 'EDGE_SECRET is missing', 'PROVIDER_CREDENTIALS is missing'];
    expect(await problemsOf({})).toEqual(missing);
    expect(await problemsOf({ CLUSTER_URL: '', EDGE_SECRET: '', PROVIDER_CREDENTIALS: '' })).toEqual(missing);
  });

  it.each([
    ['not a URL', 'pods:8000:1'],
    ['with another scheme', 'file:///etc'],
    ['with a password', 'https://user:hunter2@pods'],
    ['with a query', 'https://pods/?a=1'],
    ['with a fragment', 'https://pods/#a'],
  ])('for the cluster: a URL %s', async (_, url) => {
    const problems = await problemsOf({ ...good, CLUSTER_URL: url });
    expect(problems).toHaveLength(1);
    expect(problems.join()).not.toContain('hunter2');
  });

  it.each([
    ['no JSON', '{"ibkr":', /must be a JSON object/],
    ['an array', [], /must be a JSON object/],
    ['nobody', {}, /names no provider/],
    ['a name with capitals', { IBKR: { tokens: [tokenHash('a')] } }, /name number 1 is no provider name/],
    ['a prototype for a name', '{"__proto__":{"tokens":[]}}', /name number 1 is no provider name/],
    ['no object', { ibkr: 'whsec_' }, /ibkr: must be an object/],
    ['neither secret nor token', { ibkr: {} }, /ibkr: has neither/],
    ['a secret that is no list', { ibkr: { secrets: SECRET } }, /"secrets" must be a list/],
    ['a number among the tokens', { ibkr: { tokens: [1] } }, /"tokens" must be a list/],
    ['too many secrets', { ibkr: { secrets: Array.from({ length: 5 }, generateSecret) } }, /at most 4/],
    ['a token in the clear', { ibkr: { tokens: ['hunter2'] } }, /token number 1 must be "sha256:"/],
    ['a short secret', { ibkr: { secrets: [SECRET, 'whsec_aGVsbG8='] } }, /secret number 2 must be "whsec_"/],
    ['an unknown member', { ibkr: { secrets: [SECRET], token: ['x'] } }, /1 unknown member/],
    [
      'one secret for two',
      { a: { secrets: [SECRET] }, b: { secrets: [SECRET] } },
      /b: secret number 1 is also that of a$/,
    ],
    [
      'one secret for two, spelt differently',
      { a: { secrets: [SECRET] }, b: { secrets: [SECRET.replaceAll('=', '')] } },
      /b: secret number 1 is also that of a$/,
    ],
    [
      'one token for two, spelt differently',
      { a: { tokens: [tokenHash('t')] }, b: { tokens: [tokenHash('t').toUpperCase().replace('SHA', 'sha')] } },
      /b: token number 1 is also that of a$/,
    ],
    ['the secret of the edge', { a: { secrets: [good['EDGE_SECRET']] } }, /is also that of the edge itself/],
  ])('for the providers: %s', async (_, providers, said) => {
    const problems = await problemsOf(withProviders(providers));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(said);
    for (const secret of [SECRET, 'hunter2', good['EDGE_SECRET']!]) expect(problems.join()).not.toContain(secret);
  });

  it('name more providers than there may be', async () => {
    const names = Array.from({ length: PROVIDERS_MAX + 1 }, (_, at) => [`p${at}`, { tokens: [tokenHash(`t${at}`)] }]);
    expect(await problemsOf(withProviders(Object.fromEntries(names)))).toEqual([
      `PROVIDER_CREDENTIALS names more than ${PROVIDERS_MAX} providers`,
    ]);
  });

  it('that hold a secret where a name belongs do not show it', async () => {
    const problems = await problemsOf({ ...withProviders({ [SECRET]: {} }), [SECRET]: 'x' });
    expect(problems).toHaveLength(2);
    expect(problems.join()).not.toContain(SECRET.slice(6, 20));
  });
});
