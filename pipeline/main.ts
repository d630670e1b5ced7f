/**
 * A pod: `node pipeline/main.ts`. The only file that reads the environment, the clock and signals.
 * Exit codes: 0 drained; 1 could not start, or not everything was settled in time; 2 wrong settings.
 */

import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig } from './config.ts';
import { type Store, StoreOpenError } from './sink/store.ts';
import { PostgresStore } from './store/postgres.ts';
import { SqliteStore } from './store/sqlite.ts';
import { createLog } from './telemetry/log.ts';
import { garbageCollector, MemoryMeter, usedBytes } from './telemetry/memory.ts';
import { createPod } from './topology.ts';

const nowMs = Date.now;
const steadyMs = (): number => performance.now();
const write = (line: string): void => void process.stdout.write(line);
// Whoever reads the log may be gone; that is no reason to drop what is held.
process.stdout.on('error', () => undefined);

const outcome = readConfig({ MDP_POD_NAME: hostname(), ...process.env });
if (!outcome.ok) {
  createLog('info', nowMs, write)('error', 'wrong_settings', { problems: outcome.problems });
  process.exit(2);
}
const { config } = outcome;
const log = createLog(config.logLevel, nowMs, write);
const store = createStore();
const memory = new MemoryMeter({
  limitBytes: config.memoryLimitBytes ?? process.constrainedMemory(),
  nowMs: steadyMs,
  usedBytes,
  collectGarbage: garbageCollector(),
});
const pod = createPod({
  config,
  store,
  log,
  nowMs,
  steadyMs,
  random: Math.random,
  sleep: (ms) => sleep(ms),
  after: (ms, then) => {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
  memoryShare: () => memory.share(),
  loopMs: () => performance.eventLoopUtilization().active,
  openFilesMax: openFilesMax(),
  fetch,
});

/** The limit that Node has raised as far as it may. */
function openFilesMax(): number | undefined {
  // Without looking names up; unknown to the types.
  Object.assign(process.report, { excludeNetwork: true });
  const { userLimits } = process.report.getReport() as { userLimits?: { open_files?: { soft: number | 'unlimited' } } };
  const limit = userLimits?.open_files?.soft;
  return typeof limit === 'number' ? limit : undefined;
}

function createStore(): Store {
  const { ledgerRetentionMs, podName, storeTimeoutMs } = config;
  const common = {
    pod: podName,
    ledgerRetentionMs,
    callTimeoutMs: storeTimeoutMs,
    nowMs,
    onEvent: (level: 'warn' | 'error', event: string, detail: string) => log(level, event, { detail }),
  };
  if (config.store.kind === 'sqlite') return new SqliteStore({ ...common, path: config.store.path });
  const { url, connections, retentionDays } = config.store;
  const random = Math.random;
  return new PostgresStore({ ...common, url, connections, tickRetentionDays: retentionDays, random });
}

let stopping = false;
async function stop(signal: NodeJS.Signals): Promise<void> {
  // A second signal changes nothing: the drain under way ends by itself, within its time limit.
  if (stopping) return;
  stopping = true;
  log('info', 'signal', { signal });
  process.exit((await pod.drain()) ? 0 : 1);
}
process.on('SIGTERM', (signal) => void stop(signal));
process.on('SIGINT', (signal) => void stop(signal));

try {
  await pod.start();
} catch (cause) {
  const detail = cause instanceof Error ? cause.message : String(cause);
  log('error', cause instanceof StoreOpenError ? 'store_cannot_open' : 'cannot_start', { detail });
  process.exit(1);
}
