/**
 * `npm run bench -- hostile`: what a provider that behaves notices of those that do not. Its p99 with nobody else there,
 * and beside each of them, in one run; the edge in plain workerd before a real pod, all clients but the flooding one in this
 * one process, whose own delays count against the edge.
 */

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { Agent } from 'undici';
import { startPod } from '../../deploy/local/pod.ts';
import { bundleWorker, type RunningWorkerd, startWorkerd } from '../../deploy/local/workerd.ts';
import { tokenHash } from '../support/edge-credentials.ts';
import { median, pushBearing, quantile } from './push.ts';
import { BENCH_SECRET } from './targets.ts';
import { benchBodies, benchTrades } from './ticks.ts';

const GOOD = 'good';
const FLOODING = 'flooding';
/** Of the flooding provider, in ticks per second, and how many times that it sends. */
const BUDGET = 1_000;
const FLOOD_TIMES = 50;
const FLOOD_BATCH_TICKS = 100;
const FLOOD_SENDER = fileURLToPath(new URL('flood-sender.ts', import.meta.url));
/** Plain workerd needs two descriptors for each, of which a process has 20,000 here, and ends itself without any. */
const IDLE_SOCKETS = 9_000;
const SLOW_BODIES = 500;
/** One pause of the machine decides one p99, and the machine's own speed changes within a minute. */
const ROUNDS = 5;
const GOOD_REQUESTS = 500;
const GOOD_INTERVAL_MS = 10;
/** Each provider may have 1,000 sockets. */
const CROWD = Array.from({ length: Math.ceil(IDLE_SOCKETS / 900) }, (_, at) => `crowd${at}`);

/** Something hostile: begins, and is over when what it gave back is called. */
type Hostile = (edge: RunningWorkerd) => Promise<() => Promise<void> | void>;

const HOSTILE: Readonly<Record<string, Hostile>> = {
  [`${IDLE_SOCKETS} idle WebSockets of ${CROWD.length} providers`]: idleWebSockets,
  [`${IDLE_SOCKETS} idle connections`]: idleConnections,
  [`${SLOW_BODIES} bodies at 1 byte/s`]: slowBodies,
  [`a flood at ${FLOOD_TIMES} times a budget`]: flood,
};

export async function benchHostileEdge(): Promise<Record<string, string>[]> {
  const directory = await mkdtemp(join(tmpdir(), 'mdp-bench-hostile-'));
  const pod = await startPod({
    settings: {
      MDP_PORT: '0',
      MDP_STORE: `sqlite:${join(directory, 'pod.db')}`,
      MDP_EDGE_SECRETS: BENCH_SECRET,
      MDP_PROVIDERS: JSON.stringify({ [GOOD]: {}, [FLOODING]: { ticksPerSecond: BUDGET, burst: BUDGET } }),
    },
  });
  try {
    const names = [GOOD, FLOODING, ...CROWD];
    const bundlePath = await bundleWorker(join(directory, 'bundle'));
    const credentials = Object.fromEntries(names.map((name) => [name, { tokens: [tokenHash(`token-of-${name}`)] }]));
    const rows: Record<string, string>[] = [];
    for (const [name, begin] of Object.entries(HOSTILE)) {
      const rounds: Round[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        // A new one each time: plain workerd keeps descriptors of idle WebSockets after their end.
        await using stack = new AsyncDisposableStack();
        const edge = await startWorkerd({
          bundlePath,
          port: 0,
          bindings: {
            CLUSTER_URL: pod.url,
            EDGE_SECRET: BENCH_SECRET,
            PROVIDER_CREDENTIALS: JSON.stringify(credentials),
          },
          dataDir: await mkdtemp(join(directory, 'edge-')),
        });
        stack.defer(() => edge.stop());
        await goodP99Ms(edge); // warms it up
        const quietMs = await goodP99Ms(edge);
        const end = await begin(edge);
        rounds.push({ quietMs, besideMs: await goodP99Ms(edge) });
        await end();
      }
      rows.push({
        beside: name,
        'quiet p99 ms': median(rounds.map(({ quietMs }) => quietMs)).toFixed(1),
        'p99 ms': median(rounds.map(({ besideMs }) => besideMs)).toFixed(1),
        ratio: median(rounds.map(({ quietMs, besideMs }) => besideMs / quietMs)).toFixed(2),
      });
    }
    return rows;
  } finally {
    await pod.stop();
    await rm(directory, { recursive: true });
  }
}

interface Round {
  quietMs: number;
  besideMs: number;
}

let bodiesMade = 0;

/** Of {@link GOOD_REQUESTS} batches of 50 ticks, one after another. Throws when one is not stored. */
async function goodP99Ms(edge: RunningWorkerd): Promise<number> {
  bodiesMade += 1;
  const bodies = benchBodies(benchTrades(GOOD_REQUESTS * 50, bodiesMade), 50);
  const agent = new Agent({ connections: 1 });
  const tookMs: number[] = [];
  for (const [at, body] of bodies.entries()) {
    const sentMs = performance.now();
    const status = await pushBearing(
      `token-of-${GOOD}`,
      `${edge.url}/v1/ticks/${GOOD}`,
      `good-${bodiesMade}-${at}`,
      body,
      agent,
    );
    if (status !== 200) throw new Error(`the good provider was answered ${status}`);
    tookMs.push(performance.now() - sentMs);
    await pause(GOOD_INTERVAL_MS);
  }
  await agent.close();
  return quantile(tookMs, 0.99);
}

function authorized(provider: string): { authorization: string } {
  return { authorization: `Bearer token-of-${provider}` };
}

async function idleWebSockets(edge: RunningWorkerd): Promise<() => void> {
  const sockets: Socket[] = [];
  const counts = { open: 0, refused: 0 };
  const openOne = async (at: number): Promise<void> => {
    const provider = CROWD[at % CROWD.length]!;
    const socket = await opened(edge);
    sockets.push(socket);
    const head = [
      `GET /v1/ticks/${provider}/ws HTTP/1.1`,
      'host: edge',
      `authorization: ${authorized(provider).authorization}`,
      'upgrade: websocket',
      'connection: Upgrade',
      'sec-websocket-version: 13',
      'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n`);
    const status = await new Promise<string>((resolve) =>
      socket.once('data', (data) => resolve(String(data).slice(9, 12))),
    );
    counts[status === '101' ? 'open' : 'refused'] += 1;
  };
  for (let at = 0; at < IDLE_SOCKETS; at += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, more) => openOne(at + more)));
  }
  if (counts.open < IDLE_SOCKETS) throw new Error(`${counts.open} of ${IDLE_SOCKETS} sockets were opened`);
  return () => ended(sockets);
}

async function idleConnections(edge: RunningWorkerd): Promise<() => void> {
  const sockets: Socket[] = [];
  for (let at = 0; at < IDLE_SOCKETS; at += 100) {
    sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => opened(edge)))));
  }
  return () => ended(sockets);
}

async function slowBodies(edge: RunningWorkerd): Promise<() => void> {
  const sockets = await Promise.all(Array.from({ length: SLOW_BODIES }, () => opened(edge)));
  for (const [at, socket] of sockets.entries()) {
    const provider = CROWD[at % CROWD.length]!;
    const head = [
      `POST /v1/ticks/${provider} HTTP/1.1`,
      'host: edge',
      `authorization: ${authorized(provider).authorization}`,
      'content-type: application/x-ndjson',
      'content-length: 60000',
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n`);
  }
  const dripping = setInterval(() => {
    for (const socket of sockets) if (socket.writable) socket.write(' ');
  }, 1_000);
  await pause(2_000);
  return () => {
    clearInterval(dripping);
    ended(sockets);
  };
}

async function flood(edge: RunningWorkerd): Promise<() => Promise<void>> {
  const perSecond = (BUDGET * FLOOD_TIMES) / FLOOD_BATCH_TICKS;
  const told = [`${edge.url}/v1/ticks/${FLOODING}`, `token-of-${FLOODING}`, perSecond, FLOOD_BATCH_TICKS].map(String);
  const sender = spawn(process.execPath, [FLOOD_SENDER, ...told], { stdio: ['pipe', 'pipe', 'inherit'] });
  const answered = text(sender.stdout);
  await pause(2_000);
  return async () => {
    sender.stdin.end();
    const answers = JSON.parse(await answered) as Record<string, number>;
    const refused = answers['429'] ?? 0;
    if (refused < (answers['200'] ?? 0)) throw new Error(`that was no flood: ${JSON.stringify(answers)}`);
  };
}

function opened(edge: RunningWorkerd): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(edge.port, '127.0.0.1', () => resolve(socket));
    socket.on('error', reject);
  });
}

function ended(sockets: readonly Socket[]): void {
  for (const socket of sockets) socket.destroy();
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
