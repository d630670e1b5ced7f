import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type Config, DEFAULT_BUDGET, isLoopback, readConfig } from '../pipeline/config.ts';
import { SETTINGS } from '../pipeline/settings.ts';
import { BATCH_MAX_TICKS, UNPACKED_MAX_BYTES } from '../pipeline/contract/batch.ts';
import { generateSecret } from '../pipeline/contract/signature.ts';
import { PodKey } from '../pipeline/signing-key.ts';

const SECRET = generateSecret();
const directory = mkdtempSync(join(tmpdir(), 'mdp-config-'));
afterAll(() => rmSync(directory, { recursive: true }));

type Env = Record<string, string | undefined>;

/** With the one setting that has no default. */
function config(env: Env = {}): Config {
  const outcome = readConfig({ MDP_EDGE_SECRETS: SECRET, ...env });
  if (!outcome.ok) throw new Error(outcome.problems.join('\n'));
  return outcome.config;
}

function problems(env: Env): string[] {
  const outcome = readConfig({ MDP_EDGE_SECRETS: SECRET, ...env });
  return outcome.ok ? [] : outcome.problems;
}

function fileOf(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

describe('the defaults', () => {
  it('are those that manifests, scripts and people rely on', () => {
    // Source: design.md, sections 4, 6 and 11; rollout guide, "Expected Behavior".
    expect(config()).toEqual({
      host: '127.0.0.1',
      port: 8000,
      store: { kind: 'sqlite', path: 'data/ticks.db' },
      storeTimeoutMs: 5_000,
      answerTimeoutMs: 8_000,
      queueCapacityTicks: 10_000,
      queueCapacityBytes: 64 * 1024 * 1024,
      providers: new Map([['ibkr', { budget: DEFAULT_BUDGET, negativePrices: false }]]),
      otherProviders: { budget: DEFAULT_BUDGET, negativePrices: false },
      edgeKeys: [expect.any(PodKey)],
      dev: false,
      drainTimeoutMs: 20_000,
      futureMaxMs: 300_000,
      ledgerRetentionMs: 7 * 86_400_000,
      logLevel: 'info',
      podName: 'pod',
      rateScale: { ok: 1, soft: 0.5, hard: 0 },
      feedbackTokenHash: undefined,
      feedbackExpiryMs: 60_000,
      feedbackPoll: undefined,
      opsTokenHash: undefined,
      memoryLimitBytes: undefined,
    });
  });

  it('stand for settings that are empty, too', () => {
    const empty = Object.fromEntries(SETTINGS.map(({ name }) => [name, '']));
    expect(config({ ...empty, MDP_EDGE_SECRETS: SECRET })).toEqual(config());
  });

  it('pass their own checks, each given in words', () => {
    const given = Object.fromEntries(SETTINGS.map(({ name, fallback }) => [name, fallback]));
    expect(config({ ...given, MDP_EDGE_SECRETS: SECRET })).toEqual(config());
  });

  it('leave room in bytes for the largest batch in the smallest queue', () => {
    const { queueCapacityBytes } = config({ MDP_QUEUE_CAPACITY_BYTES: '41943040' });
    expect(queueCapacityBytes).toBeGreaterThan(3 * UNPACKED_MAX_BYTES + BATCH_MAX_TICKS * 240);
    expect(problems({ MDP_QUEUE_CAPACITY_BYTES: '41943039' })).toHaveLength(1);
  });
});

describe('what is wrong', () => {
  it('is reported all at once, each setting by its name', () => {
    // Seen failing, as it was: 16, for a bad MDP_EDGE_SECRETS was also called missing.
    const found = problems({
      MDP_PORT: '65536',
      MDP_STORE: 'mysql://user:hunter2@db',
      MDP_QUEUE_CAPACITY_TICKS: '0',
      MDP_QUEUE_CAPACITY_BYTES: '1e9',
      MDP_PROVIDERS: '[]',
      MDP_EDGE_SECRETS: 'hunter2',
      MDP_DEV: 'yes',
      MDP_DRAIN_TIMEOUT_MS: '-1',
      MDP_FUTURE_MAX_MS: '1.5',
      MDP_LEDGER_RETENTION_HOURS: '0',
      MDP_LOG_LEVEL: 'loud',
      MDP_FB_SCALE_OK: '2',
      MDP_FB_SCALE_SOFT: 'half',
      MDP_FB_SCALE_HARD: '-0',
      MDP_PROT: '8000',
    });
    expect(found).toHaveLength(15);
    const names = found.map((problem) => /^MDP_\w+/.exec(problem)?.[0]);
    expect(new Set(names).size).toBe(15);
    expect(found.join()).not.toContain('hunter2');
  });

  it('is each single value outside of its bounds', () => {
    for (const port of ['-1', '65536', '8000 ', '0x50', '8e3', 'http', '٣']) {
      expect(problems({ MDP_PORT: port }), port).toHaveLength(1);
    }
    for (const [name, value] of [
      ['MDP_STORE', 'sqlite:'],
      ['MDP_STORE', 'ticks.db'],
      ['MDP_DRAIN_TIMEOUT_MS', '99'],
      ['MDP_DRAIN_TIMEOUT_MS', '600001'],
      ['MDP_LEDGER_RETENTION_HOURS', '8785'],
      ['MDP_FB_SCALE_OK', '1.1'],
      ['MDP_FB_SCALE_OK', '.5'],
      ['MDP_DEV', 'true'],
    ] as const) {
      expect(problems({ [name]: value }), `${name}=${value}`).toHaveLength(1);
    }
    expect(config({ MDP_PORT: '0' }).port).toBe(0);
    expect(config({ MDP_PORT: '65535' }).port).toBe(65_535);
  });

  it('is a relation between scales that stands on its head', () => {
    expect(problems({ MDP_FB_SCALE_SOFT: '0.2', MDP_FB_SCALE_HARD: '0.3' })).toEqual([
      expect.stringContaining('MDP_FB_SCALE_SOFT'),
    ]);
    const same = config({ MDP_FB_SCALE_OK: '0.5', MDP_FB_SCALE_SOFT: '0.5', MDP_FB_SCALE_HARD: '0.5' });
    expect(same.rateScale).toEqual({ ok: 0.5, soft: 0.5, hard: 0.5 });
  });
});

describe('the time limits', () => {
  it('have to fit into each other: a call of the store into the answer, two looks at a foreign store into their expiry', () => {
    expect(problems({ MDP_STORE_TIMEOUT_MS: '8000' })).toEqual([expect.stringContaining('MDP_ANSWER_TIMEOUT_MS')]);
    expect(problems({ MDP_STORE_TIMEOUT_MS: '7999' })).toEqual([]);
    const poll = { MDP_FEEDBACK_POLL_URL: 'http://store:9090/metrics', MDP_FEEDBACK_EXPIRY_MS: '9999' };
    expect(problems(poll)).toEqual([expect.stringContaining('MDP_FEEDBACK_POLL_INTERVAL_MS')]);
    expect(problems({ ...poll, MDP_FEEDBACK_EXPIRY_MS: '10000' })).toEqual([]);
  });
});

describe('what others may ask', () => {
  it('takes a token of its own, of which only the hash is kept', () => {
    expect(problems({ MDP_OPS_TOKEN: 'short' })).toEqual([expect.stringMatching(/^MDP_OPS_TOKEN must be/)]);
    const { opsTokenHash } = config({ MDP_OPS_TOKEN_FILE: fileOf('ops', 'a-long-enough-token\n') });
    expect(opsTokenHash).toHaveLength(32);
  });

  it('is a poll of a foreign store only with a URL that can be one, which is not quoted', () => {
    expect(config({ MDP_FEEDBACK_POLL_URL: 'https://u:p@store/metrics' }).feedbackPoll).toEqual({
      url: 'https://u:p@store/metrics',
      intervalMs: 5_000,
      capacity: 10_000,
    });
    for (const url of ['ftp://u:hunter2@store', 'http://u:hunter2%zz@store', 'http://hunter2%ff@store', 'hunter2']) {
      expect(problems({ MDP_FEEDBACK_POLL_URL: url }), url).toEqual([expect.not.stringContaining('hunter2')]);
    }
  });
});

describe('a name', () => {
  it('that begins with MDP_ and is no setting is refused, without its value', () => {
    // Seen failing: without the check a misspelt MDP_EDGE_SECRET left the pod with no secret and no complaint.
    expect(problems({ MDP_EDGE_SECRET: 'hunter2', mdp_port: '1', PORT: '1' })).toEqual([
      'MDP_EDGE_SECRET is no setting of this pod',
    ]);
    expect(problems({ MDP_PORT_FILE: '/x' })).toHaveLength(1);
  });

  it.each([
    'MDP_PIPELINE_SERVICE_HOST',
    'MDP_PIPELINE_SERVICE_PORT',
    'MDP_PIPELINE_SERVICE_PORT_HTTP',
    'MDP_PIPELINE_PORT',
    'MDP_PIPELINE_PORT_8000_TCP',
    'MDP_PIPELINE_PORT_8000_TCP_ADDR',
    'MDP_PIPELINE_PORT_8000_TCP_PORT',
    'MDP_PIPELINE_PORT_8000_TCP_PROTO',
  ])('that Kubernetes injects for a Service, %s, is ignored', (name) => {
    expect(problems({ [name]: 'tcp://10.0.0.1:8000' })).toEqual([]);
  });
});

describe('secrets', () => {
  it('are several, separated by any blanks, for rotation', () => {
    expect(
      config({ MDP_EDGE_SECRETS: `  ${SECRET}\n${generateSecret()}\t${generateSecret()} ` }).edgeKeys,
    ).toHaveLength(3);
  });

  it('that break the rule are named by their place and never quoted', () => {
    const found = problems({ MDP_EDGE_SECRETS: `${SECRET} whsec_hunter2 hunter3` });
    expect(found).toHaveLength(2);
    expect(found[0]).toContain('secret 2');
    expect(found[1]).toContain('secret 3');
    expect(found.join()).not.toMatch(/hunter|whsec_[A-Za-z0-9+/]/);
  });

  it('come from a file when NAME_FILE names one', () => {
    const env = {
      MDP_EDGE_SECRETS: undefined,
      MDP_EDGE_SECRETS_FILE: fileOf('secrets', `${SECRET}\n${generateSecret()}\n`),
    };
    expect(config(env).edgeKeys).toHaveLength(2);
  });

  it('are a problem when the file cannot be read, holds none, or stands beside the setting itself', () => {
    const alone = { MDP_EDGE_SECRETS: undefined };
    expect(problems({ ...alone, MDP_EDGE_SECRETS_FILE: join(directory, 'nowhere') })).toEqual([
      expect.stringContaining('MDP_EDGE_SECRETS_FILE cannot be read'),
    ]);
    expect(problems({ ...alone, MDP_EDGE_SECRETS_FILE: fileOf('empty', '\n') })).toEqual([
      expect.stringContaining('MDP_EDGE_SECRETS is missing'),
    ]);
    expect(problems({ MDP_EDGE_SECRETS_FILE: fileOf('both', SECRET) })).toEqual([expect.stringContaining('both set')]);
  });

  it('are needed, save for development', () => {
    expect(problems({ MDP_EDGE_SECRETS: '' })).toEqual([expect.stringContaining('MDP_EDGE_SECRETS is missing')]);
    expect(problems({ MDP_EDGE_SECRETS: '', MDP_DEV: '1' })).toEqual([]);
  });
});

describe('MDP_STORE', () => {
  const URL_WITH_PASSWORD = 'postgres://mdp:hunter2hunter2@db.example:5432/ticks?sslmode=verify-full';

  const postgres = { kind: 'postgres', url: URL_WITH_PASSWORD, connections: 4 };

  it('may be a PostgreSQL, with connections, deadline and retention of its own, also from a file', () => {
    const file = fileOf('store', `${URL_WITH_PASSWORD}\n`);
    for (const given of [{ MDP_STORE: URL_WITH_PASSWORD }, { MDP_STORE_FILE: file }]) {
      expect(config(given).store).toEqual({ ...postgres, retentionDays: undefined });
    }
    const set = { MDP_STORE_CONNECTIONS: '8', MDP_STORE_TIMEOUT_MS: '900', MDP_STORE_RETENTION_DAYS: '30' };
    expect(config({ MDP_STORE: URL_WITH_PASSWORD, ...set }).store).toEqual({
      ...postgres,
      connections: 8,
      retentionDays: 30,
    });
  });

  it('that is neither is named by its scheme alone, for it may hold a password', () => {
    const found = problems({ MDP_STORE: URL_WITH_PASSWORD.replace('postgres', 'mysql') });
    expect(found).toEqual([expect.stringContaining('mysql:')]);
    expect(found.join()).not.toContain('hunter2');
  });
});

describe('MDP_FEEDBACK_TOKEN', () => {
  const TOKEN = 'a-token-of-sixteen';

  it('is kept as a hash, and not at all where feedback is switched off', () => {
    expect(config({ MDP_FEEDBACK_TOKEN: TOKEN }).feedbackTokenHash).toHaveLength(32);
    for (const off of ['0', 'false']) {
      const { feedbackTokenHash } = config({ MDP_FEEDBACK_TOKEN: TOKEN, MDP_FB_ENABLE_FEEDBACK: off });
      expect(feedbackTokenHash).toBeUndefined();
    }
  });

  it('is a problem when it is short enough to guess, and is not quoted', () => {
    const found = problems({ MDP_FEEDBACK_TOKEN: 'short-token' });
    expect(found).toEqual([expect.stringContaining('MDP_FEEDBACK_TOKEN')]);
    expect(found.join()).not.toContain('short-token');
  });
});

describe('MDP_DEV', () => {
  it.each(['127.0.0.1', '127.9.9.9', '::1', 'localhost'])('is allowed on %s', (host) => {
    expect(problems({ MDP_DEV: '1', MDP_HOST: host })).toEqual([]);
    expect(isLoopback(host)).toBe(true);
  });

  it.each(['0.0.0.0', '::', '10.0.0.1', 'pod-7', '127.0.0.1.evil.example', 'localhost.evil.example', '128.0.0.1'])(
    'is refused on %s',
    (host) => {
      expect(problems({ MDP_DEV: '1', MDP_HOST: host })).toEqual([expect.stringContaining('loopback')]);
      expect(problems({ MDP_DEV: '0', MDP_HOST: host })).toEqual([]);
    },
  );
});

const read = (value: unknown): Config => config({ MDP_PROVIDERS: JSON.stringify(value) });

describe('MDP_PROVIDERS', () => {
  it('gives each provider its budget and options, and "*" those of everybody else', () => {
    const { providers, otherProviders } = read({
      ibkr: { ticksPerSecond: 50_000, burst: 100_000 },
      power: { negativePrices: true },
      '*': { ticksPerSecond: 5, burst: 7 },
    });
    expect([...providers]).toEqual([
      ['ibkr', { budget: { ticksPerSecond: 50_000, burst: 100_000 }, negativePrices: false }],
      ['power', { budget: DEFAULT_BUDGET, negativePrices: true }],
    ]);
    expect(otherProviders).toEqual({ budget: { ticksPerSecond: 5, burst: 7 }, negativePrices: false });
  });

  it('makes a burst that was not given large enough for two seconds and for the largest batch', () => {
    const { providers } = read({ slow: { ticksPerSecond: 10 }, fast: { ticksPerSecond: 40_000 } });
    expect([...providers.values()].map(({ budget }) => budget.burst)).toEqual([BATCH_MAX_TICKS, 80_000]);
  });

  it('reports each thing that is wrong with it', () => {
    const wrong = {
      IBKR: {},
      a: 5,
      b: { ticksPerSecond: 0 },
      c: { burst: '9' },
      d: { negativePrices: 'no' },
      e: { ticksPerSec: 1 },
      f: { ticksPerSecond: 1e10 },
    };
    const found = problems({ MDP_PROVIDERS: JSON.stringify(wrong) });
    expect(found).toHaveLength(7);
    expect(found.every((problem) => problem.startsWith('MDP_PROVIDERS'))).toBe(true);
    for (const text of ['{', 'null', '[]', '"ibkr"', '7']) {
      expect(problems({ MDP_PROVIDERS: text }), text).toHaveLength(1);
    }
  });

  it('cannot be led astray by names that every object has', () => {
    expect([...read({ constructor: {}, valueof: {} }).providers.keys()]).toEqual(['constructor', 'valueof']);
    expect(problems({ MDP_PROVIDERS: '{"__proto__":{}}' })).toHaveLength(1);
  });
});
