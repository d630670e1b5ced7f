/**
 * The whole system on loopback, as real processes: one pod, and the edge in plain workerd before it.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningPod, startPod } from './pod.ts';
import { bundleWorker, type EdgeObject, type RunningWorkerd, startWorkerd } from './workerd.ts';

export interface SystemOptions {
  /** 0 takes a free port. */
  edgePort: number;
  /** `MDP_…` settings of the pod, without `MDP_EDGE_SECRETS`. */
  podSettings: Readonly<Record<string, string>>;
  edgeSecret: string;
  /** The Worker's PROVIDER_CREDENTIALS. */
  providerCredentials: string;
  /** Who may read the edge's scaling figures; without it there are none to read. */
  scalingToken?: string;
  /** Where the edge keeps its outbox from one start to the next; without it, until this system ends. */
  edgeDataDir?: string;
  /** Durable Objects that this edge is to do without. */
  without?: readonly EdgeObject[];
  onLog?: (from: 'pod' | 'edge', line: string) => void;
}

export interface RunningSystem {
  pod: RunningPod;
  edge: RunningWorkerd;
  /** Ends the edge, then drains the pod; resolves with the pod's exit code. */
  stop(): Promise<number | null>;
}

/** Starts both and resolves when both answer; what had started is stopped again when the other cannot. */
export async function startSystem(options: SystemOptions): Promise<RunningSystem> {
  const { onLog = () => {} } = options;
  const dir = await mkdtemp(join(tmpdir(), 'mdp-edge-'));
  const removeDir = (): Promise<void> => rm(dir, { recursive: true, force: true });
  const [pod, bundle] = await Promise.allSettled([
    startPod({
      settings: { ...options.podSettings, MDP_EDGE_SECRETS: options.edgeSecret },
      onLog: (line) => onLog('pod', line),
    }),
    bundleWorker(join(dir, 'bundle')),
  ]);
  if (pod.status === 'rejected' || bundle.status === 'rejected') {
    if (pod.status === 'fulfilled') await pod.value.stop();
    await removeDir();
    throw pod.status === 'rejected' ? pod.reason : bundle.status === 'rejected' ? bundle.reason : undefined;
  }
  try {
    const edge = await startWorkerd({
      bundlePath: bundle.value,
      port: options.edgePort,
      bindings: {
        CLUSTER_URL: pod.value.url,
        EDGE_SECRET: options.edgeSecret,
        PROVIDER_CREDENTIALS: options.providerCredentials,
        ...(options.scalingToken === undefined ? {} : { SCALING_TOKEN: options.scalingToken }),
      },
      dataDir: options.edgeDataDir ?? join(dir, 'edge'),
      without: options.without ?? [],
      onLine: (line) => onLog('edge', line),
    });
    return {
      pod: pod.value,
      edge,
      async stop() {
        await edge.stop();
        const code = await pod.value.stop();
        await removeDir();
        return code;
      },
    };
  } catch (cause) {
    await pod.value.stop();
    await removeDir();
    throw cause;
  }
}
