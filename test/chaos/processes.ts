/** Processes that end, stop and are replaced: pods, edge and store. */

import { setTimeout as sleep } from 'node:timers/promises';
import { lacksPrometheus, startPrometheus } from '../../deploy/local/prometheus.ts';
import { POSTGRES_BIN, type PostgresServer } from '../../deploy/local/postgres.ts';
import type { Random } from '../support/random.ts';
import { Cluster, type Pod } from './cluster.ts';
import type { Scenario } from './scenario.ts';
import { PostgresDatabase, SqliteFile } from './stores.ts';
import { scratch } from './scratch.ts';

/** From the end of one kill to the next. */
const BETWEEN_KILLS_MAX_MS = 800;
/** What a rollout waits for a new pod to be ready, at most. */
const ROLLOUT_STEP_MAX_MS = 10_000;

export const noPostgres = (): string | undefined =>
  POSTGRES_BIN === undefined ? 'an installed PostgreSQL' : undefined;

/** What goes wrong with a cluster for that long. */
type Strike<With> = (cluster: Cluster, forMs: number, random: Random, also: With) => Promise<string | void>;

interface Told<With> extends Pick<Scenario, 'name' | 'what'> {
  seconds?: number;
  lacks?: Scenario['lacks'];
  strike: Strike<With>;
}

function onSqlite({ name, what, seconds = 20, lacks = () => undefined, strike }: Told<AsyncDisposableStack>): Scenario {
  return {
    name,
    what,
    lacks,
    seconds,
    async set(stack) {
      const cluster = stack.use(await Cluster.start({ store: new SqliteFile(await scratch(stack)) }));
      return { cluster, fault: (forMs, random) => strike(cluster, forMs, random, stack) };
    },
  };
}

function onPostgres({ name, what, seconds = 20, strike }: Told<PostgresServer>): Scenario {
  return {
    name,
    what,
    lacks: noPostgres,
    seconds,
    async set(stack) {
      const store = stack.use(await PostgresDatabase.start());
      const cluster = stack.use(await Cluster.start({ store }));
      return { cluster, fault: (forMs, random) => strike(cluster, forMs, random, store.server) };
    },
  };
}

/** Again and again for that long; how often. */
async function repeatedly(forMs: number, random: Random, once: (time: number) => Promise<void>): Promise<number> {
  let times = 0;
  for (const overMs = performance.now() + forMs; performance.now() < overMs;) {
    times += 1;
    await once(times);
    await sleep(random.below(BETWEEN_KILLS_MAX_MS));
  }
  return times;
}

export const PROCESSES: readonly Scenario[] = [
  onSqlite({
    name: 'kill-pods',
    what: 'kill -9 of one pod of three, again and again, each started again at once',
    async strike({ pods }, forMs, random) {
      const kills = await repeatedly(forMs, random, async () => {
        const pod = random.pick(pods);
        await pod.kill();
        await pod.start();
      });
      return `${kills} kills`;
    },
  }),
  onSqlite({
    name: 'kill-all-pods',
    what: 'kill -9 of all pods at once, again and again',
    async strike({ pods }, forMs, random) {
      const kills = await repeatedly(forMs, random, async () => {
        await Promise.all(pods.map((pod) => pod.kill()));
        await Promise.all(pods.map((pod) => pod.start()));
      });
      return `${kills} times all of them`;
    },
  }),
  onSqlite({
    name: 'kill-edge',
    what: 'kill -9 of the edge, again and again, every third time with the pods gone',
    async strike(cluster, forMs, random) {
      const kills = await repeatedly(forMs, random, async (time) => {
        const away = time % 3 === 0 ? cluster.pods : [];
        await Promise.all(away.map((pod) => pod.kill()));
        if (away.length > 0) await sleep(random.below(BETWEEN_KILLS_MAX_MS));
        await cluster.killEdge();
        await cluster.startEdge();
        await Promise.all(away.map((pod) => pod.start()));
      });
      return `${kills} kills`;
    },
  }),
  onPostgres({
    name: 'kill-store',
    what: 'kill -9 of PostgreSQL, again and again, each time started again',
    async strike(_, forMs, random, server) {
      const kills = await repeatedly(forMs, random, async () => {
        await server.kill9();
        await server.start();
        await sleep(BETWEEN_KILLS_MAX_MS);
      });
      return `${kills} kills`;
    },
  }),
  onPostgres({
    name: 'store-away',
    what: 'PostgreSQL is killed, and started again when the time is over',
    seconds: 60,
    async strike(cluster, forMs, _, server) {
      await server.kill9();
      await watching(cluster, forMs);
      await server.start();
      return `away for ${(forMs / 1000).toFixed(0)} s`;
    },
  }),
  onSqlite({
    name: 'stop-pod',
    what: 'SIGSTOP of one pod, and SIGCONT when the time is over',
    seconds: 30,
    strike: (cluster, forMs) => stopped(cluster.pods[0]!.pid, () => watching(cluster, forMs)),
  }),
  onSqlite({
    name: 'stop-edge',
    what: 'SIGSTOP of the edge, and SIGCONT when the time is over',
    seconds: 30,
    strike: (cluster, forMs) => stopped(cluster.edgePid, () => watching(cluster, forMs)),
  }),
  onPostgres({
    name: 'stop-store',
    what: 'SIGSTOP of PostgreSQL and all its processes, and SIGCONT when the time is over',
    seconds: 30,
    async strike(cluster, forMs, _, server) {
      server.pause();
      await watching(cluster, forMs).finally(() => server.resume());
    },
  }),
  onSqlite({
    name: 'rolling-restart',
    what: 'pod after pod is drained and replaced, again and again',
    async strike(cluster, forMs, random) {
      const rollouts = await repeatedly(forMs, random, async () => {
        for (const pod of cluster.pods) await replaced(cluster, pod);
      });
      return `${rollouts} rollouts of ${cluster.pods.length} pods`;
    },
  }),
  onSqlite({
    name: 'prometheus-gone',
    what: 'the Prometheus that scrapes the pods ends, and another one begins when the time is over',
    seconds: 10,
    lacks: () => (lacksPrometheus ? 'an installed Prometheus' : undefined),
    async strike(cluster, forMs, _, stack) {
      const targets = cluster.pods.map((pod) => new URL(pod.url).host);
      const scrape = [{ job_name: 'pods', static_configs: [{ targets }] }];
      const before = await startPrometheus(scrape);
      await seen(before, cluster.pods.length);
      await before[Symbol.asyncDispose]();
      await watching(cluster, forMs);
      const after = stack.use(await startPrometheus(scrape));
      await seen(after, cluster.pods.length);
      return 'the next one saw all pods';
    },
  }),
];

/** Waits, and looks how much memory is used meanwhile. */
export async function watching(cluster: Cluster, forMs: number): Promise<void> {
  for (const overMs = performance.now() + forMs; performance.now() < overMs;) {
    cluster.notePeaks();
    await sleep(Math.min(200, Math.max(0, overMs - performance.now())));
  }
}

async function stopped(pid: number, then: () => Promise<void>): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  await then().finally(() => process.kill(pid, 'SIGCONT'));
}

/** As a rollout does it: the next begins when this one is ready. */
async function replaced(cluster: Cluster, pod: Pod): Promise<void> {
  await pod.drain();
  await pod.start();
  for (const overMs = performance.now() + ROLLOUT_STEP_MAX_MS; performance.now() < overMs;) {
    if (cluster.service.ready.includes(pod.url)) return;
    await sleep(50);
  }
}

async function seen(prometheus: { query(expression: string): Promise<unknown[]> }, pods: number): Promise<void> {
  while ((await prometheus.query('up == 1')).length < pods) await sleep(100);
}
