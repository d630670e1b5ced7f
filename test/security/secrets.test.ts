/**
 * No secret is ever logged. Every process of every test is listened to (test/support/secret-watch.ts); here it is shown
 * that the watch hears, and pod and edge are given every chance to say what they should not.
 */

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { globSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPod } from '../../deploy/local/pod.ts';
import { generateSecret } from '../../pipeline/contract/signature.ts';
import { send } from '../support/edge-request.ts';
import { signBytes } from '../support/edge-credentials.ts';
import { trade } from '../support/malformed-corpus.ts';
import { RunningSystem } from '../support/running-system.ts';
import { plantSecret } from '../support/planted-secrets.ts';
import { SECRET_SETTINGS, secretsIn, takeSeen } from '../support/secret-watch.ts';
import { freePorts } from '../../deploy/local/free-ports.ts';
import { UserProcess } from '../support/user-process.ts';

const PRINT = 'console.log(process.env.MDP_EDGE_SECRETS); console.error(process.env.SAID)';

describe('the watch', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'mdp-secrets-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('hears a secret of its environment on standard output, however the process was started', async () => {
    const env = { MDP_EDGE_SECRETS: generateSecret() };
    await promisify(execFile)(process.execPath, ['-e', PRINT], { env });
    expect(takeSeen()).toEqual([expect.stringMatching(/^stdout of /)]);
    await once(spawn(process.execPath, ['-e', PRINT], { env, stdio: ['ignore', 'pipe', 'inherit'] }), 'close');
    expect(takeSeen()).toEqual([expect.stringMatching(/^stdout of /)]);
  });

  it('hears one that a test has planted, on standard error that nobody reads, and cut in two', async () => {
    const planted = `planted-${generateSecret()}`;
    plantSecret(planted);
    const env = { SAID: planted };
    await once(spawn(process.execPath, ['-e', PRINT], { env, stdio: ['ignore', 'ignore', 'inherit'] }), 'close');
    expect(takeSeen()).toEqual([expect.stringMatching(/^stderr of /)]);
    const halves =
      'process.stdout.write(process.env.SAID.slice(0, 9)); setTimeout(() => process.stdout.write(process.env.SAID.slice(9)), 50)';
    await promisify(execFile)(process.execPath, ['-e', halves], { env });
    expect(takeSeen()).toEqual([expect.stringMatching(/^stdout of /)]);
  });

  it('knows the secret in a file, the password in a URL, and the secrets in the credentials, and nothing harmless', async () => {
    const path = join(directory, 'secret');
    const secret = generateSecret();
    await writeFile(path, `${secret}\n`);
    await promisify(execFile)(process.execPath, ['-e', `console.log(${JSON.stringify(secret)})`], {
      env: { MDP_OPS_TOKEN_FILE: path },
    });
    expect(takeSeen()).toHaveLength(1);
    expect(secretsIn('postgres://pod:p%40ss-word-long@db:5432/ticks')).toEqual(['p%40ss-word-long', 'p@ss-word-long']);
    expect(secretsIn('sqlite:/var/data/ticks.db')).toEqual([]);
    const credentials = JSON.stringify({ ibkr: { secrets: ['whsec_one', 'whsec_two'], tokens: ['sha256:00'] } });
    expect(secretsIn(credentials)).toEqual(['whsec_one', 'whsec_two']);
  });

  it('listens in every test: no file starts a process past it', () => {
    expect(readFileSync('vitest.config.ts', 'utf8')).toContain("setupFiles: ['test/support/secret-watch.ts']");
    // A thread or a cluster of our own would print without being a process; a synchronous one has ended unheard.
    const past = globSync('{test,deploy}/**/*.ts').filter((file) => {
      return /\bcluster\.fork\(|\b(?:spawnSync|execFileSync|execSync)\([^)]*(?:pipeline\/main|POD_MAIN|workerd)/.test(
        readFileSync(file, 'utf8'),
      );
    });
    expect(past).toEqual([]);
    expect(SECRET_SETTINGS).toEqual(
      expect.arrayContaining([
        'MDP_STORE',
        'MDP_EDGE_SECRETS',
        'MDP_OPS_TOKEN',
        'MDP_FEEDBACK_TOKEN',
        'MDP_FEEDBACK_POLL_URL',
        'EDGE_SECRET',
        'PROVIDER_CREDENTIALS',
        'SCALING_TOKEN',
      ]),
    );
  });
});

describe('a pod that logs all it can', () => {
  const password = `password-${generateSecret().slice(6, 30).replaceAll(/\W/g, 'x')}`;

  it('says why its store cannot be reached, and why its settings are wrong, without a secret in it', async () => {
    const [port] = await freePorts(1);
    const MDP_STORE = `postgres://pod:${password}@127.0.0.1:${port}/ticks`;
    const common = {
      MDP_PORT: '0',
      MDP_LOG_LEVEL: 'debug',
      MDP_STORE,
      MDP_FEEDBACK_POLL_URL: `http://u:${password}@127.0.0.1:${port}/metrics`,
      MDP_FEEDBACK_POLL_INTERVAL_MS: '500',
    };
    const wrong = [
      { MDP_EDGE_SECRETS: `${generateSecret()}x whsec_${password}` },
      { MDP_EDGE_SECRETS: generateSecret(), MDP_STORE: `mysql://pod:${password}@db/ticks` },
      { MDP_EDGE_SECRETS: generateSecret(), MDP_OPS_TOKEN: 'short-token!', MDP_PROVIDERS: `{"${password}"` },
    ];
    plantSecret(password);
    for (const settings of wrong) {
      const log: string[] = [];
      await expect(startPod({ settings: { ...common, ...settings }, onLog: (line) => log.push(line) })).rejects.toThrow(
        'the pod ended with code',
      );
      expect(log.join('\n')).toMatch(/wrong_settings|store_cannot_open/);
    }
    expect(takeSeen()).toEqual([]);
  });
});

describe('pod and edge', () => {
  let system: RunningSystem;
  const tokens = { ops: `ops-${generateSecret()}`, feedback: `feedback-${generateSecret()}` };

  beforeAll(async () => {
    system = await RunningSystem.start(
      ['ibkr'],
      { MDP_LOG_LEVEL: 'debug', MDP_OPS_TOKEN: tokens.ops, MDP_FEEDBACK_TOKEN: tokens.feedback },
      [],
    );
  });
  afterAll(() => system?.[Symbol.asyncDispose]());

  it('neither log nor answer a secret, wherever a request has it', async () => {
    const { secret, token } = system.providers['ibkr']!;
    const all = [secret, token, system.edgeSecret, tokens.ops, tokens.feedback];
    const body = `${trade()}\n`;
    for (const url of [system.pod.url, system.edge.url]) {
      for (const one of all) {
        const asText = encodeURIComponent(one);
        const signed = await signBytes(secret, 'b', Buffer.from(body));
        const requests = [
          send(`${url}/v1/ticks/${asText}`, 'POST', signed, [body]),
          send(`${url}/v1/ticks/ibkr?token=${asText}`, 'POST', { ...signed, 'webhook-id': one }, [body]),
          send(
            `${url}/v1/ticks/ibkr`,
            'POST',
            { ...signed, 'webhook-signature': one, authorization: `Bearer ${one}` },
            [one],
          ),
          send(`${url}/v1/ticks/ibkr`, 'POST', { ...signed, 'content-type': one, 'content-encoding': one }, [body]),
          send(`${url}/v1/dead-letters/ibkr?after=${asText}`, 'GET', { authorization: `Bearer ${one}` }),
          send(`${url}/v1/trades/ibkr/${asText}?limit=${asText}`, 'GET', {}),
          send(`${url}/feedback?token=${asText}`, 'POST', {}, [`{"coordinator_id":"${one}"`]),
          send(`${url}/${asText}`, 'GET', { authorization: one, cookie: one }),
        ];
        for (const answer of await Promise.all(requests)) {
          for (const hidden of all) expect(answer.text).not.toContain(hidden);
        }
      }
      for (const path of ['/health', '/status', '/metrics', '/']) {
        const { text } = await send(url + path, 'GET', {});
        for (const hidden of all) expect(text).not.toContain(hidden);
      }
    }
    expect(system.log.length).toBeGreaterThan(0);
    expect(takeSeen()).toEqual([]);
  });
});

describe('npm start', () => {
  it('prints none of the secrets that it has made: they are in a file', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'mdp-secrets-start-'));
    const [pod, edge] = await freePorts(2);
    const start = new UserProcess({
      file: join(process.cwd(), 'deploy/local/start.ts'),
      cwd: directory,
      env: { MDP_PORT: String(pod), EDGE_PORT: String(edge), MDP_STORE: `sqlite:${join(directory, 'ticks.db')}` },
    });
    try {
      await start.prints(/curl/);
      const credentials = readFileSync(globSync(join(directory, '**/dev-credentials.json'))[0]!, 'utf8');
      const { edgeSecret, providers } = JSON.parse(credentials) as {
        edgeSecret: string;
        providers: Record<string, { secret: string }>;
      };
      for (const secret of [edgeSecret, ...Object.values(providers).map((one) => one.secret)]) {
        expect(start.output).not.toContain(secret);
      }
    } finally {
      await start[Symbol.asyncDispose]();
      await rm(directory, { recursive: true, force: true });
    }
  });
});
