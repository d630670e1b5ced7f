/** Processes that end, stop and are replaced: pods, edge and store. */

import { setTimeout as sleep } from 'node:timers/promises';
import { lacksPrometheus, startPrometheus } from '../support/prometheus-server.ts';
import { POSTGRES_BIN } from '../support/postgres-server.ts';
import type { Random } from '../support/random.ts';
import { Cluster, type Pod } from './cluster.ts';
import type { Scenario } from './scenario.ts';
import { PostgresDatabase, SqliteFile } from './stores.ts';
import { scratch } from './scratch.ts';

/** From the end of one kill to the next. */
const BETWEEN_KILLS_MAX_MS = 800;
/** What a rollout waits for a new pod to be ready, at most. */
const ROLLOUT_STEP_MAX_MS = 10_000;

const nothing = (): undefined => undefined;
export const noPostgres = (): string | undefined =>
  POSTGRES_BIN === undefined ? 'an installed PostgreSQL' : undefined;

async function sqliteCluster(stack: AsyncDisposableStack): Promise<Cluster> {
  return stack.use(await Cluster.start({ store: new SqliteFile(await scratch(stack)) }));
}

async function postgresCluster(stack: AsyncDisposableStack): Promise<{ cluster: Cluster; store: PostgresDatabase }> {
  const store = stack.use(await PostgresDatabase.start());
  return { cluster: stack.use(await Cluster.start({ store })), store };
}

/** Again and again for that long; how often. */
async function repeatedly(forMs: number, random: Random, once: () => Promise<void>): Promise<number> {
  let times = 0;
  for (const overMs = performance.now() + forMs; performance.now() < overMs; times += 1) {
    await once();
    await sleep(random.below(BETWEEN_KILLS_MAX_MS));
  }
  return times;
}

export const PROCESSES: readonly Scenario[] = [
  {
    name: 'kill-pods',
    what: 'kill -9 of one pod of three, again and again, each started again at once',
    lacks: nothing,
    seconds: 20,
    async set(stack) {
      const cluster = await sqliteCluster(stack);
      return {
        cluster,
        fault: async (forMs, random) => {
          const kills = await repeatedly(forMs, random, async () => {
            const pod = random.pick(cluster.pods);
            await pod.kill();
            await pod.start();
          });
          return `${kills} kills`;
        },
      };
    },
  },
  {
    name: 'kill-all-pods',
    what: 'kill -9 of all pods at once, again and again',
    lacks: nothing,
    seconds: 20,
    async set(stack) {
      const cluster = await sqliteCluster(stack);
      return {
        cluster,
        fault: async (forMs, random) => {
          const kills = await repeatedly(forMs, random, async () => {
            await Promise.all(cluster.pods.map((pod) => pod.kill()));
            await Promise.all(cluster.pods.map((pod) => pod.start()));
          });
          return `${kills} times all of them`;
        },
      };
    },
  },
  {
    name: 'kill-edge',
    what: 'kill -9 of the edge, again and again, every third time with the pods gone',
    lacks: nothing,
    seconds: 20,
    async set(stack) {
      const cluster = await sqliteCluster(stack);
      return {
        cluster,
        fault: async (forMs, random) => {
          let kills = 0;
          await repeatedly(forMs, random, async () => {
            kills += 1;
            const away = kills % 3 === 0 ? cluster.pods : [];
            await Promise.all(away.map((pod) => pod.kill()));
            if (away.length > 0) await sleep(random.below(BETWEEN_KILLS_MAX_MS));
            await cluster.killEdge();
            await cluster.startEdge();
            await Promise.all(away.map((pod) => pod.start()));
          });
          return `${kills} kills`;
        },
      };
    },
  },
  {
    name: 'kill-store',
    what: 'kill -9 of PostgreSQL, again and again, each time started again',
    lacks: noPostgres,
    seconds: 20,
    async set(stack) {
      const { cluster, store } = await postgresCluster(stack);
      return {
        cluster,
        fault: async (forMs, random) => {
          const kills = await repeatedly(forMs, random, async () => {
            await store.server.kill9();
            await store.server.start();
            await sleep(BETWEEN_KILLS_MAX_MS);
          });
          return `${kills} kills`;
        },
      };
    },
  },
  {
    name: 'store-away',
    what: 'PostgreSQL is stopped, and started again when the time is over',
    lacks: noPostgres,
    seconds: 60,
    async set(stack) {
      const { cluster, store } = await postgresCluster(stack);
      return {
        cluster,
        fault: async (forMs) => {
          await store.server.kill9();
          await watching(cluster, forMs);
          await store.server.start();
          return `away for ${(forMs / 1000).toFixed(0)} s`;
        },
      };
    },
  },
  {
    name: 'stop-pod',
    what: 'SIGSTOP of one pod, and SIGCONT when the time is over',
    lacks: nothing,
    seconds: 30,
    async set(stack) {
      const cluster = await sqliteCluster(stack);
      return {
        cluster,
        fault: (forMs) =>
          stopped([cluster.pods[0]!.pid], async () => {
            await watching(cluster, forMs);
          }),
      };
    },
  },
  {
    name: 'stop-edge',
    what: 'SIGSTOP of the edge, and SIGCONT when the time is over',
    lacks: nothing,
    seconds: 30,
    async set(stack) {
      const cluster = await sqliteCluster(stack);
      return { cluster, fault: (forMs) => stopped([cluster.edgePid], () => sleep(forMs)) };
    },
  },
  {
    name: 'stop-store',
    what: 'SIGSTOP of PostgreSQL and all its processes, and SIGCONT when the time is over',
    lacks: noPostgres,
    seconds: 30,
    async set(stack) {
      const { cluster, store } = await postgresCluster(stack);
      return {
        cluster,
        fault: async (forMs) => {
          store.server.pause();
          try {
            await watching(cluster, forMs);
          } finally {
            store.server.resume();
          }
        },
      };
    },
  },
  {
    name: 'rolling-restart',
    what: 'pod after pod is drained and replaced, again and again',
    lacks: nothing,
    seconds: 20,
    async set(stack) {
      const cluster = await sqliteCluster(stack);
      return {
        cluster,
        fault: async (forMs) => {
          let rollouts = 0;
          for (const overMs = performance.now() + forMs; performance.now() < overMs; rollouts += 1) {
            for (const pod of cluster.pods) await replaced(cluster, pod);
          }
          return `${rollouts} rollouts of ${cluster.pods.length} pods`;
        },
      };
    },
  },
  {
    name: 'prometheus-gone',
    what: 'the Prometheus that scrapes the pods ends, and another one begins when the time is over',
    lacks: () => (lacksPrometheus ? 'an installed Prometheus' : undefined),
    seconds: 10,
    async set(stack) {
      const cluster = await sqliteCluster(stack);
      const targets = cluster.pods.map((pod) => new URL(pod.url).host);
      const scrape = [{ job_name: 'pods', static_configs: [{ targets }] }];
      return {
        cluster,
        fault: async (forMs) => {
          const before = await startPrometheus(scrape);
          await seen(before, cluster.pods.length);
          await before[Symbol.asyncDispose]();
          await watching(cluster, forMs);
          const after = stack.use(await startPrometheus(scrape));
          await seen(after, cluster.pods.length);
          return 'the next one saw all pods';
        },
      };
    },
  },
];

/** Waits, and looks how much memory is used meanwhile. */
export async function watching(cluster: Cluster, forMs: number): Promise<void> {
  for (const overMs = performance.now() + forMs; performance.now() < overMs;) {
    cluster.notePeaks();
    await sleep(Math.min(200, Math.max(0, overMs - performance.now())));
  }
}

async function stopped(pids: readonly number[], then: () => Promise<void>): Promise<void> {
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  try {
    await then();
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT');
  }
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
