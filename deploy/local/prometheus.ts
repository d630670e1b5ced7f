/**
 * A real Prometheus of our own: in a temporary directory, on a free loopback port, with the configuration and rules that
 * it is given. For the rehearsal and the tests; where none is installed {@link lacksPrometheus} is true.
 */

import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePorts } from './free-ports.ts';

/** Replays nothing and has no data: a loaded machine needs a second or two. */
const START_TIMEOUT_MS = 30_000;
const LOOK_INTERVAL_MS = 50;
const SCRAPE_TIMEOUT_MAX_SECONDS = 4;
const run = promisify(execFile);

export const lacksPrometheus = ['prometheus', 'promtool'].some(
  (program) => spawnSync(program, ['--version']).error !== undefined,
);

export interface PrometheusSample {
  labels: Readonly<Record<string, string>>;
  /** Of an instant vector; NaN and infinities are as Prometheus has them. */
  value: number;
}

export interface PrometheusRuleState {
  name: string;
  health: 'unknown' | 'ok' | 'err';
  lastError?: string;
}

/** Invariant: not running any more after it was disposed of, and its directory gone. */
export interface PrometheusServer extends AsyncDisposable {
  readonly url: string;
  /** An instant query, as of now or `atSeconds`, with a vector or a scalar; throws what Prometheus has against it. */
  query(expression: string, atSeconds?: number): Promise<PrometheusSample[]>;
  /** Every name that any series has. */
  metricNames(): Promise<Set<string>>;
  rules(): Promise<PrometheusRuleState[]>;
}

export interface TargetGroup {
  targets: string[];
  labels?: Record<string, string>;
}

interface ScrapeConfig {
  job_name: string;
  static_configs?: TargetGroup[];
  /** Files of target groups, as JSON; a change counts at once. */
  file_sd_configs?: { files: string[] }[];
  metrics_path?: string;
  honor_labels?: boolean;
  authorization?: { type: 'Bearer'; credentials: string };
}

/** How it differs from one that begins now and scrapes every second. */
export interface PrometheusOptions {
  scrapeIntervalSeconds?: number;
  /** What it has scraped before, as OpenMetrics text with times. */
  history?: string;
}

/** `rules` is the text of a rules file. Resolves when it is ready. */
export async function startPrometheus(
  scrapeConfigs: readonly ScrapeConfig[],
  rules = 'groups: []\n',
  { scrapeIntervalSeconds = 1, history }: PrometheusOptions = {},
): Promise<PrometheusServer> {
  const directory = await mkdtemp(join(tmpdir(), 'mdp-prometheus-'));
  if (history !== undefined) {
    const [from, to] = [join(directory, 'history.txt'), join(directory, 'data')];
    await writeFile(from, history);
    await run('promtool', ['tsdb', 'create-blocks-from', 'openmetrics', from, to]);
  }
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  await writeFile(join(directory, 'rules.yaml'), rules);
  // JSON is YAML.
  const config = {
    global: {
      scrape_interval: `${scrapeIntervalSeconds}s`,
      scrape_timeout: `${Math.min(scrapeIntervalSeconds, SCRAPE_TIMEOUT_MAX_SECONDS)}s`,
      evaluation_interval: '1s',
    },
    rule_files: ['rules.yaml'],
    scrape_configs: scrapeConfigs,
  };
  await writeFile(join(directory, 'prometheus.yml'), JSON.stringify(config));
  const flags = {
    'config.file': join(directory, 'prometheus.yml'),
    'storage.tsdb.path': join(directory, 'data'),
    'web.listen-address': `127.0.0.1:${port}`,
    'log.level': 'warn',
  };
  const child = spawn(
    'prometheus',
    Object.entries(flags).map(([name, value]) => `--${name}=${value}`),
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => (log = (log + chunk.toString()).slice(-4_000)));
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const server: PrometheusServer = { url, query, metricNames, rules: ruleStates, [Symbol.asyncDispose]: stop };
  try {
    await ready();
  } catch (cause) {
    await stop();
    throw cause;
  }
  return server;

  async function ready(): Promise<void> {
    const deadlineMs = Date.now() + START_TIMEOUT_MS;
    while (!(await answers())) {
      if (child.exitCode !== null) throw new Error(`Prometheus ended with ${child.exitCode}:\n${log}`);
      if (Date.now() > deadlineMs) throw new Error(`Prometheus was not ready within ${START_TIMEOUT_MS} ms:\n${log}`);
      await sleep(LOOK_INTERVAL_MS);
    }
  }

  async function answers(): Promise<boolean> {
    try {
      return (await fetch(`${url}/-/ready`)).ok;
    } catch {
      return false;
    }
  }

  async function query(expression: string, atSeconds?: number): Promise<PrometheusSample[]> {
    const body = new URLSearchParams({ query: expression });
    if (atSeconds !== undefined) body.set('time', String(atSeconds));
    const data = await ask<{ resultType: string; result: unknown }>('/api/v1/query', { method: 'POST', body });
    if (data.resultType === 'scalar') return [{ labels: {}, value: Number((data.result as [number, string])[1]) }];
    if (data.resultType !== 'vector') throw new Error(`"${expression}" is a ${data.resultType}`);
    const vector = data.result as { metric: Record<string, string>; value: [number, string] }[];
    return vector.map(({ metric, value }) => ({ labels: metric, value: numberOf(value[1]) }));
  }

  async function metricNames(): Promise<Set<string>> {
    return new Set(await ask<string[]>('/api/v1/label/__name__/values'));
  }

  async function ruleStates(): Promise<PrometheusRuleState[]> {
    const { groups } = await ask<{ groups: { rules: PrometheusRuleState[] }[] }>('/api/v1/rules');
    return groups.flatMap((group) => group.rules);
  }

  async function ask<Data>(path: string, init: RequestInit = {}): Promise<Data> {
    const answer = await fetch(url + path, init);
    const { data, error } = (await answer.json()) as { data: Data; error?: string };
    if (error !== undefined) throw new Error(error);
    return data;
  }

  async function stop(): Promise<void> {
    process.removeListener('exit', kill);
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    }
    await rm(directory, { recursive: true, force: true });
  }
}

function numberOf(text: string): number {
  return Number(text.replace('+', '').replace('Inf', 'Infinity'));
}
