/**
 * `npm start`: the whole system on this machine, with credentials of its own, until Ctrl-C.
 * `npm run demo` adds a synthetic provider. Takes MDP_… settings, MDP_STORE and MDP_PORT among them, and EDGE_PORT.
 */

import { createServer } from 'node:net';
import { parseArgs } from 'node:util';
import {
  DEV_PROVIDERS,
  devCredentials,
  type DevCredentials,
  providerCredentials,
  withoutPassword,
} from './dev-credentials.ts';
import { runDemo } from './demo.ts';
import { progressLine, type PodStatus } from './progress.ts';
import { type RunningSystem, startSystem } from './system.ts';

const CREDENTIALS_PATH = 'data/dev-credentials.json';
/** What the edge holds while the pod is away is kept here. */
const EDGE_DATA_DIR = 'data/edge';
const PROGRESS_INTERVAL_MS = 1_000;
/** Where no terminal rewrites the line, it is printed this often. */
const PLAIN_PROGRESS_EVERY = 10;
const STATUS_TIMEOUT_MS = 2_000;

const { values: flags } = parseArgs({
  options: { demo: { type: 'boolean', default: false }, seed: { type: 'string', default: '1' } },
});

const edgePort = portSetting('EDGE_PORT', 8787);
const podPort = portSetting('MDP_PORT', 8000);
await Promise.all([checkFree('EDGE_PORT', edgePort), checkFree('MDP_PORT', podPort)]);
const credentials = await devCredentials(CREDENTIALS_PATH, {
  edgeUrl: `http://127.0.0.1:${edgePort}`,
  podUrl: `http://127.0.0.1:${podPort}`,
});
const stopping = new AbortController();
let demo: Promise<void> | undefined;
let progress: NodeJS.Timeout | undefined;
const starting = start(credentials);
// From the first process on: pod and edge are in groups of their own, and a Ctrl-C alone would leave them behind.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop());
const system = await starting;
if (!stopping.signal.aborted) run(system);

function run({ edge, pod }: RunningSystem): void {
  if (flags.demo) {
    const credential = { secret: credentials.providers.demo.secret };
    demo = runDemo({ edgeUrl: edge.url, credential, seed: Number(flags.seed), stop: stopping.signal });
  }
  print(welcome(system, credentials));
  progress = showProgress(system);
  void pod.exited.then((code) => {
    if (!stopping.signal.aborted) fail(`the pod ended by itself (exit ${code})`);
  });
  void edge.exited.then(() => {
    if (!stopping.signal.aborted) fail('the edge ended by itself');
  });
}

async function start(credentials: DevCredentials): Promise<RunningSystem> {
  const given = Object.entries(process.env).filter(([name]) => name.startsWith('MDP_'));
  const settings = Object.fromEntries(given) as Record<string, string>;
  const hasOpsToken = 'MDP_OPS_TOKEN' in settings || 'MDP_OPS_TOKEN_FILE' in settings;
  try {
    return await startSystem({
      edgePort,
      podSettings: {
        ...(hasOpsToken ? {} : { MDP_OPS_TOKEN: credentials.opsToken }),
        ...settings,
        MDP_PORT: String(podPort),
      },
      edgeSecret: credentials.edgeSecret,
      scalingToken: credentials.scalingToken,
      providerCredentials: providerCredentials(credentials),
      edgeDataDir: EDGE_DATA_DIR,
      onLog: (from, line) => {
        if (/"level":"(warn|error)"/.test(line)) print(`${from}: ${line}`);
      },
    });
  } catch (cause) {
    // A Ctrl-C in a terminal also reaches wrangler, which then bundles nothing: that is no failure.
    if (stopping.signal.aborted) process.exit(0);
    return fail(cause instanceof Error ? cause.message : String(cause));
  }
}

async function stop(): Promise<void> {
  if (stopping.signal.aborted) return;
  stopping.abort();
  clearInterval(progress);
  print('\nstopping: the pod finishes what it holds …');
  const running = await starting;
  await demo;
  const code = await running.stop();
  print(
    code === 0
      ? 'stopped; everything that was acknowledged is in the store or the outbox'
      : `the pod ended with exit ${code}`,
  );
  process.exit(code === 0 ? 0 : 1);
}

function welcome({ edge, pod }: RunningSystem, { providers }: DevCredentials): string {
  const tick = `{"symbol":"AAPL","ts":"${new Date().toISOString()}","id":"1","price":"187.23","size":"100"}`;
  return `
  edge     ${edge.url}    providers push here; in a browser, the public status
  pod      ${pod.url}    GET /health, /ready, /status, /metrics
  store    ${withoutPassword(process.env['MDP_STORE'] ?? 'sqlite:data/ticks.db')}
  outbox   ${EDGE_DATA_DIR}    what the edge holds while the pod is away
  secrets  ${CREDENTIALS_PATH} (providers: ${DEV_PROVIDERS.join(', ')}; tokens of operator and scaler)

Push a tick, and read it back:

  curl -i ${edge.url}/v1/ticks/ibkr -H 'authorization: Bearer ${providers.ibkr.token}' \\
    -H 'content-type: application/x-ndjson' -H 'idempotency-key: hello-${Date.now()}' \\
    --data-binary '${tick}'

  curl '${pod.url}/v1/trades/ibkr/AAPL?limit=1'

Replay a capture:  npm run replay -- FILE        Stop: Ctrl-C
`;
}

function showProgress({ pod }: RunningSystem): NodeJS.Timeout {
  let last: PodStatus | undefined;
  let turn = 0;
  return setInterval(() => {
    void (async () => {
      const now = await askStatus(pod.url);
      const text = progressLine(last, now);
      last = now ?? last;
      turn += 1;
      if (process.stdout.isTTY) process.stdout.write(`\r\u001B[2K${text}`);
      else if (turn % PLAIN_PROGRESS_EVERY === 0) print(text);
    })();
  }, PROGRESS_INTERVAL_MS);
}

async function askStatus(podUrl: string): Promise<PodStatus | undefined> {
  try {
    const answer = await fetch(`${podUrl}/status`, { signal: AbortSignal.timeout(STATUS_TIMEOUT_MS) });
    return { ...((await answer.json()) as Omit<PodStatus, 'atMs'>), atMs: performance.now() };
  } catch {
    return undefined;
  }
}

function portSetting(name: string, fallback: number): number {
  const text = process.env[name] ?? '';
  if (text === '') return fallback;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port >= 1 && port <= 65_535)) fail(`${name} must be a port number of 1 to 65535, not ${JSON.stringify(text)}`);
  return port;
}

/** Says which setting to change, before two processes have been started for nothing. */
function checkFree(name: string, port: number): Promise<void> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => fail(`port ${port} is taken: set ${name} to a free one`));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve()));
  });
}

function print(text: string): void {
  const clear = process.stdout.isTTY ? '\r\u001B[2K' : '';
  process.stdout.write(`${clear}${text}\n`);
}

function fail(message: string): never {
  process.stderr.write(`\n${message}\n`);
  process.exit(1);
}
