/**
 * A pod as pipeline/main.ts makes it, from the same environment and over the same SQLite and HTTP, whose store obeys
 * the process that started it: each message is the {@link StoreFault} from now on, and is answered when it counts.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig } from '../../pipeline/config.ts';
import { SqliteStore } from '../../pipeline/store/sqlite.ts';
import { createLog } from '../../pipeline/telemetry/log.ts';
import { garbageCollector, MemoryMeter, usedBytes } from '../../pipeline/telemetry/memory.ts';
import { createPod } from '../../pipeline/topology.ts';
import { FaultyStore, type StoreFault } from './faulty-pod-store.ts';

const nowMs = Date.now;
const outcome = readConfig(process.env);
if (!outcome.ok) throw new Error(outcome.problems.join('\n'));
const { config } = outcome;
if (config.store.kind !== 'sqlite') throw new Error('only a store of SQLite can be faulty');
const log = createLog(config.logLevel, nowMs, (line) => void process.stdout.write(line));
const store = new FaultyStore(
  new SqliteStore({
    path: config.store.path,
    pod: config.podName,
    callTimeoutMs: config.storeTimeoutMs,
    ledgerRetentionMs: config.ledgerRetentionMs,
    nowMs,
    onEvent: (level, event, detail) => log(level, event, { detail }),
  }),
);
const memory = new MemoryMeter({
  limitBytes: config.memoryLimitBytes ?? 0,
  nowMs,
  usedBytes,
  collectGarbage: garbageCollector(),
});
const pod = createPod({
  config,
  store,
  log,
  nowMs,
  steadyMs: () => performance.now(),
  random: Math.random,
  sleep: (ms) => sleep(ms),
  after: (ms, then) => {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
  memoryShare: () => memory.share(),
  loopMs: () => performance.eventLoopUtilization().active,
  fetch,
});

let stopping = false;
process.on('SIGTERM', () => {
  if (stopping) return;
  stopping = true;
  void pod.drain().then((settled) => process.exit(settled ? 0 : 1));
});
process.on('message', (fault: StoreFault) => {
  store.obey(fault);
  process.send!('obeyed');
});
// A parent that is gone cannot stop us.
process.on('disconnect', () => process.exit(1));

const { port } = await pod.start();
process.send!({ port });
