/** A whole pod in this process, on a free loopback port; time, store and log are the test's. */

import { readConfig } from '../../pipeline/config.ts';
import type { Store } from '../../pipeline/sink/store.ts';
import { createPod } from '../../pipeline/topology.ts';
import { NOW_MS } from './pod-batch.ts';
import { VirtualClock } from './virtual-clock.ts';

export interface LoggedEvent {
  level: string;
  event: string;
  facts: Readonly<Record<string, unknown>>;
}

export interface ProcessPod {
  url: string;
  port: number;
  clock: VirtualClock;
  /** How far the pod's wall clock is ahead of `clock`: it may be set, and `clock` goes on. */
  wall: { aheadMs: number };
  memory: { share: number };
  logged: LoggedEvent[];
  start(): Promise<void>;
  drain(): Promise<boolean>;
}

/** Not yet started. Waits of the drain take no time, save its time limit, which never comes. */
export async function processPod(store: Store, settings: Readonly<Record<string, string>> = {}): Promise<ProcessPod> {
  const outcome = readConfig({ MDP_PORT: '0', MDP_DEV: '1', MDP_POD_NAME: 'pod-1', ...settings });
  if (!outcome.ok) throw new Error(outcome.problems.join('\n'));
  const { config } = outcome;
  const clock = new VirtualClock(NOW_MS);
  const wall = { aheadMs: 0 };
  const memory = { share: 0 };
  const logged: LoggedEvent[] = [];
  const pod = createPod({
    config,
    store,
    log: (level, event, facts = {}) => void logged.push({ level, event, facts }),
    nowMs: () => clock.nowMs + wall.aheadMs,
    steadyMs: () => clock.nowMs,
    random: () => 0.5,
    after: clock.after,
    memoryShare: () => memory.share,
    loopMs: () => 0,
    fetch,
    sleep: (ms) => (ms >= config.drainTimeoutMs ? new Promise(() => undefined) : Promise.resolve()),
  });
  const running: ProcessPod = { url: '', port: 0, clock, wall, memory, logged, start, drain: () => pod.drain() };
  return running;

  async function start(): Promise<void> {
    running.port = (await pod.start()).port;
    running.url = `http://127.0.0.1:${running.port}`;
  }
}

/** The books of one provider, as `/status` shows them. */
export interface ShownBooks {
  offered: number;
  stored: number;
  duplicate: number;
  rejected: number;
  refused: number;
  inFlight: number;
  residue: number;
}

export interface ShownStatus {
  phase: string;
  level: string;
  rateScale: number;
  queue: { depthTicks: number; capacityTicks: number; depthBytes: number; beingWrittenTicks: number };
  store: { kind: string; open: boolean };
  providers: Record<string, ShownBooks>;
}

export async function podStatus(url: string): Promise<ShownStatus> {
  return (await (await fetch(`${url}/status`)).json()) as ShownStatus;
}

/** What `waiting` becomes while the pod's time goes on, as fast as its sockets can follow. */
export async function timePasses<T>(pod: ProcessPod, waiting: Promise<T>): Promise<T> {
  const state = { isOver: false };
  const end = (): void => void (state.isOver = true);
  waiting.then(end, end);
  while (!state.isOver) await pod.clock.advance(20);
  return waiting;
}
