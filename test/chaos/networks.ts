/**
 * Networks that lose, delay, slow down and cut: each process that suffers has a network namespace of its own, and the
 * kernel does it. Delay alone is the Service's, byte by byte: not every kernel has netem.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { NetSpace } from '../support/net-space.ts';
import { POSTGRES_BIN } from '../../deploy/local/postgres.ts';
import type { Random } from '../support/random.ts';
import { Cluster } from './cluster.ts';
import { watching } from './processes.ts';
import type { Scenario } from './scenario.ts';
import { scratch } from './scratch.ts';
import { PostgresDatabase, SqliteFile } from './stores.ts';

const EVERYWHERE = '0.0.0.0';
const DELAYS_MS = [50, 200, 1_000];

let mayHaveSpaces: boolean | undefined;

function noSpaces(): string | undefined {
  mayHaveSpaces ??= NetSpace.mayBeHad();
  return mayHaveSpaces ? undefined : 'network namespaces with iptables and tc';
}

interface Network {
  cluster: Cluster;
  /** Of each pod, on the way to its Service and, with PostgreSQL, to its store. */
  pods: readonly NetSpace[];
  /** Of the edge, on the way to its providers and to the Service. */
  edge: NetSpace;
  servicePort: number;
  postgresPort: number | undefined;
}

async function network(stack: AsyncDisposableStack, store: 'sqlite' | 'postgres'): Promise<Network> {
  const pods = [0, 1, 2].map(() => stack.use(NetSpace.make()));
  const edge = stack.use(NetSpace.make());
  const database =
    store === 'postgres' && POSTGRES_BIN !== undefined
      ? stack.use(await PostgresDatabase.startOpen(pods.map(({ inside }) => inside)))
      : undefined;
  const cluster = stack.use(
    await Cluster.start({
      store: database ?? new SqliteFile(await scratch(stack)),
      pods: pods.map(({ inside, outside, under }) => ({
        host: inside,
        under,
        ...(database === undefined ? {} : { settings: database.settingsBehind(outside) }),
      })),
      edge: { host: edge.inside, under: edge.under },
      service: { listen: EVERYWHERE, host: edge.outside },
    }),
  );
  const servicePort = Number(new URL(cluster.service.url).port);
  return { cluster, pods, edge, servicePort, postgresPort: database?.port };
}

interface Told {
  name: string;
  what: string;
  seconds?: number;
  store?: 'sqlite' | 'postgres';
  strike: (network: Network, forMs: number, random: Random) => Promise<string | void>;
}

function onNetwork({ name, what, seconds = 20, store = 'sqlite', strike }: Told): Scenario {
  return {
    name,
    what,
    lacks: () =>
      noSpaces() ?? (store === 'postgres' && POSTGRES_BIN === undefined ? 'an installed PostgreSQL' : undefined),
    seconds,
    async set(stack) {
      const all = await network(stack, store);
      return {
        cluster: all.cluster,
        fault: async (forMs, random) => {
          try {
            return await strike(all, forMs, random);
          } finally {
            for (const space of [...all.pods, all.edge]) space.heal();
            all.cluster.service.delayMs = 0;
          }
        },
      };
    },
  };
}

export const NETWORKS: readonly Scenario[] = [
  onNetwork({
    name: 'net-loss',
    what: 'one packet of ten is lost on the way to every pod and back, and between edge and Service',
    async strike({ cluster, pods, edge, servicePort }, forMs) {
      for (const pod of pods) pod.suffer({ lossShare: 0.1 });
      edge.suffer({ lossShare: 0.1, port: servicePort });
      await watching(cluster, forMs);
    },
  }),
  onNetwork({
    name: 'net-delay',
    what: `every answer and every request takes ${DELAYS_MS.join(', ')} ms more`,
    async strike({ cluster }, forMs) {
      for (const delayMs of DELAYS_MS) {
        cluster.service.delayMs = delayMs;
        await watching(cluster, forMs / DELAYS_MS.length);
      }
    },
  }),
  onNetwork({
    name: 'net-partition',
    what: 'pod after pod is cut off from everything, then all of them from the edge',
    async strike({ cluster, pods, edge, servicePort }, forMs, random) {
      const partMs = forMs / (pods.length + 1);
      for (const pod of pods) {
        pod.suffer({ cut: ['in', 'out'] });
        await watching(cluster, partMs + random.below(200));
        pod.heal();
      }
      edge.suffer({ cut: ['in', 'out'], port: servicePort });
      await watching(cluster, partMs);
    },
  }),
  onNetwork({
    name: 'net-half-open',
    what: 'requests still reach the pods and no answer leaves them; then the other way round',
    async strike({ cluster, pods }, forMs) {
      for (const direction of ['out', 'in'] as const) {
        for (const pod of pods) pod.suffer({ cut: [direction] });
        await watching(cluster, forMs / 2);
      }
    },
  }),
  onNetwork({
    name: 'net-slow',
    what: 'the links of all pods carry 1 Mbit/s, less than what is pushed',
    async strike({ cluster, pods }, forMs) {
      for (const pod of pods) pod.suffer({ kbitPerSecond: 1_000 });
      await watching(cluster, forMs);
    },
  }),
  onNetwork({
    name: 'net-store',
    what: 'pods lose packets on the way to PostgreSQL, then it is cut off from one of them, then from all',
    store: 'postgres',
    async strike({ cluster, pods, postgresPort }, forMs) {
      const port = postgresPort!;
      for (const pod of pods) pod.suffer({ lossShare: 0.1, port });
      await watching(cluster, forMs / 3);
      pods[0]!.suffer({ cut: ['in', 'out'], port });
      for (const pod of pods.slice(1)) pod.heal();
      await watching(cluster, forMs / 3);
      for (const pod of pods) pod.suffer({ cut: ['in', 'out'], port });
      await sleep(forMs / 3);
    },
  }),
];
