/** Disks that are full, that fail, that may only be read, and whose power is cut. */

import { setTimeout as sleep } from 'node:timers/promises';
import { FaultyLibc, lacksCompiler, type LibcFaults } from '../support/faulty-libc.ts';
import { LoopDisk } from '../support/loop-disk.ts';
import { until } from '../support/postgres-stores.ts';
import { mayMount, SmallDisk } from '../support/small-disk.ts';
import { Cluster } from './cluster.ts';
import { noPostgres, watching } from './processes.ts';
import type { Scenario } from './scenario.ts';
import { scratch } from './scratch.ts';
import { type ClusterStore, PostgresDatabase, SqliteFile } from './stores.ts';

const DISK_MIB = 512;
/** Between two cuts of the power. */
const POWERED_MIN_MS = 500;
const POWERED_MAX_MS = 2_500;

const noCompiler = (): string | undefined => (lacksCompiler ? 'Linux and a C compiler' : undefined);
const noSmallDisk = (): string | undefined => (mayMount() ? undefined : 'the right to mount');
const noLoopDisk = async (): Promise<string | undefined> =>
  (await LoopDisk.mayBeHad()) ? undefined : 'the right to mount ext4 from a file, and python3';

/** The disk below all pods, or below the edge, that fails as told until the time is over. */
function failing(name: string, what: string, faults: LibcFaults, whose: 'pods' | 'edge'): Scenario {
  return {
    name,
    what,
    lacks: noCompiler,
    seconds: 10,
    async set(stack) {
      const directory = await scratch(stack);
      const libc = stack.use(new FaultyLibc());
      const place = { under: libc.under(directory) };
      const cluster = stack.use(
        await Cluster.start({
          store: new SqliteFile(directory),
          ...(whose === 'pods' ? { pods: [place, place, place] } : { edge: { ...place, dataDir: directory } }),
        }),
      );
      return {
        cluster,
        fault: async (forMs) => {
          // An edge has something to hold only while no pod takes it.
          if (whose === 'edge') await Promise.all(cluster.pods.map((pod) => pod.kill()));
          libc.suffer(faults);
          await watching(cluster, forMs);
          libc.heal();
          if (whose === 'edge') await Promise.all(cluster.pods.map((pod) => pod.start()));
        },
      };
    },
  };
}

/** Cuts the power of the disk and ends everything on the machine, and starts it again. */
function powerLoss(name: string, what: string, parts: PowerParts): Scenario {
  return {
    name,
    what,
    lacks: parts.lacks,
    seconds: 20,
    async set(stack) {
      const disk = stack.use(LoopDisk.make(DISK_MIB));
      const store = stack.use(await parts.store(disk));
      const under = parts.under?.(stack, disk);
      const place = under === undefined ? {} : { under };
      const cluster = stack.use(await Cluster.start({ store, pods: [place, place, place] }));
      disk.sync();
      return {
        cluster,
        fault: async (forMs, random) => {
          let cuts = 0;
          for (const overMs = performance.now() + forMs; performance.now() < overMs; cuts += 1) {
            await sleep(random.between(POWERED_MIN_MS, POWERED_MAX_MS));
            disk.cutPower();
            await Promise.all(cluster.pods.map((pod) => pod.kill()));
            await parts.storeOff?.(store);
            disk.powerOn();
            await parts.storeOn?.(store);
            await Promise.all(cluster.pods.map((pod) => pod.start()));
          }
          return `power cut ${cuts} times`;
        },
      };
    },
  };
}

interface PowerParts {
  lacks: Scenario['lacks'];
  store: (disk: LoopDisk) => Promise<ClusterStore>;
  storeOff?: (store: ClusterStore) => Promise<void>;
  storeOn?: (store: ClusterStore) => Promise<void>;
  under?: (stack: AsyncDisposableStack, disk: LoopDisk) => readonly string[];
}

const serverOf = (store: ClusterStore): PostgresDatabase['server'] => (store as PostgresDatabase).server;

/** What the harness would show if a pod answered before its store had synced. Not among the scenarios: it must fail. */
export const LYING_DISK: Scenario = powerLoss('lying-disk', 'the power is cut of a disk that did not sync', {
  lacks: async () => noCompiler() ?? (await noLoopDisk()),
  store: async (disk) => new SqliteFile(disk.space),
  under: (stack, disk) => {
    const libc = stack.use(new FaultyLibc());
    libc.suffer({ syncLies: true });
    return libc.under(disk.space);
  },
});

export const DISKS: readonly Scenario[] = [
  {
    name: 'disk-full',
    what: 'the disk of the store is full, and has room again when the time is over',
    lacks: noSmallDisk,
    seconds: 10,
    async set(stack) {
      const disk = stack.use(await SmallDisk.mount(DISK_MIB, '0:0'));
      const cluster = stack.use(await Cluster.start({ store: new SqliteFile(disk.space) }));
      return {
        cluster,
        fault: async (forMs) => {
          const overMs = performance.now() + forMs;
          disk.fill();
          await until('no pod is ready', () => cluster.service.ready.length === 0);
          await watching(cluster, overMs - performance.now());
          disk.free();
        },
      };
    },
  },
  {
    name: 'edge-disk-full',
    what: 'no pod is there, and the disk on which the edge holds batches is full; then both are well again',
    lacks: noSmallDisk,
    seconds: 10,
    async set(stack) {
      const disk = stack.use(await SmallDisk.mount(DISK_MIB, '0:0'));
      const store = new SqliteFile(await scratch(stack));
      const cluster = stack.use(await Cluster.start({ store, edge: { dataDir: disk.space } }));
      return {
        cluster,
        fault: async (forMs) => {
          await Promise.all(cluster.pods.map((pod) => pod.kill()));
          await sleep(forMs / 3);
          disk.fill();
          await watching(cluster, forMs / 3);
          disk.free();
          await watching(cluster, forMs / 3);
          await Promise.all(cluster.pods.map((pod) => pod.start()));
        },
      };
    },
  },
  failing('disk-fails', 'reads and writes of the store fail with EIO', { readFails: 'EIO', writeFails: 'EIO' }, 'pods'),
  failing('disk-read-only', 'the file system of the store becomes read-only', { writeFails: 'EROFS' }, 'pods'),
  failing('edge-disk-fails', 'no pod is there, and writes of the edge fail with EIO', { writeFails: 'EIO' }, 'edge'),
  powerLoss('power-loss', 'the power of pods and SQLite is cut, again and again: what was not synced is gone', {
    lacks: noLoopDisk,
    store: async (disk) => new SqliteFile(disk.space),
  }),
  powerLoss('power-loss-postgres', 'the power of pods and PostgreSQL is cut, again and again', {
    lacks: async () => noPostgres() ?? (await noLoopDisk()),
    store: (disk) => PostgresDatabase.start(disk.space),
    storeOff: (store) => serverOf(store).kill9(),
    storeOn: (store) => serverOf(store).start(),
  }),
];
