/**
 * The edge in plain workerd before a pod, beside the same batches posted to the pod directly, turn by turn in one
 * run. What is between the two is what the edge costs: one more hop, a signature checked and one made.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningPod, startPod } from '../../deploy/local/pod.ts';
import { bundleWorker, startWorkerd } from '../../deploy/local/workerd.ts';
import { generateSecret, importSecret } from '../../pipeline/contract/signature.ts';
import { cpuSeconds, peakMiB } from './process-figures.ts';
import { median, type PushFigures, pushAll } from './push.ts';
import { BENCH_PROVIDER, BENCH_SECRET, benchPodSettings, edgeTargets, podTargets } from './targets.ts';
import { benchBodies, benchTrades } from './ticks.ts';

const IN_FLIGHT = 16;

function rate(one: PushFigures): number {
  return one.stored / one.seconds;
}

/** `rounds` turns of direct and through the edge, each with `ticks` new rows. */
export async function benchEdgeRelay(
  batchTicks: number,
  ticks: number,
  rounds: number,
): Promise<Record<string, string>> {
  const dir = await mkdtemp(join(tmpdir(), 'mdp-bench-edge-'));
  let pod: RunningPod | undefined;
  try {
    const providerSecret = generateSecret();
    const [podKey, providerKey] = await Promise.all([importSecret(BENCH_SECRET), importSecret(providerSecret)]);
    pod = await startPod({ settings: benchPodSettings(join(dir, 'pod.db')) });
    const edge = await startWorkerd({
      without: ['STATUS_BOARD'],
      bundlePath: await bundleWorker(join(dir, 'bundle')),
      port: 0,
      bindings: {
        CLUSTER_URL: pod.url,
        EDGE_SECRET: BENCH_SECRET,
        PROVIDER_CREDENTIALS: JSON.stringify({ [BENCH_PROVIDER]: { secrets: [providerSecret] } }),
      },
      dataDir: join(dir, 'edge'),
    });
    try {
      const direct: PushFigures[] = [];
      const relayed: PushFigures[] = [];
      let edgeCpuSeconds = 0;
      // Round 0 warms all three processes up and does not count.
      for (let round = 0; round <= rounds; round += 1) {
        const [podBodies, edgeBodies] = [2 * round + 1, 2 * round + 2].map((seed) =>
          benchBodies(benchTrades(round === 0 ? Math.ceil(ticks / 5) : ticks, seed), batchTicks),
        );
        const toPod = await podTargets(pod.url, podKey!, podBodies!, `direct-${round}`);
        const toEdge = await edgeTargets(edge.url, providerKey!, edgeBodies!, `edge-${round}`);
        const directFigures = await pushAll(toPod, IN_FLIGHT);
        const cpuBefore = await cpuSeconds(edge.pid);
        const relayedFigures = await pushAll(toEdge, IN_FLIGHT);
        if (round === 0) continue;
        edgeCpuSeconds += (await cpuSeconds(edge.pid)) - cpuBefore;
        direct.push(directFigures);
        relayed.push(relayedFigures);
      }
      return {
        'ticks a batch': String(batchTicks),
        'direct ticks/s': median(direct.map(rate)).toFixed(0),
        'edge ticks/s': median(relayed.map(rate)).toFixed(0),
        'edge / direct': median(relayed.map((one, at) => rate(one) / rate(direct[at]!))).toFixed(2),
        'direct p50 ms': median(direct.map((one) => one.p50Ms)).toFixed(1),
        'edge p50 ms': median(relayed.map((one) => one.p50Ms)).toFixed(1),
        'edge p99 ms': median(relayed.map((one) => one.p99Ms)).toFixed(1),
        'workerd CPU ms per 1,000': ((edgeCpuSeconds * 1_000_000) / (ticks * rounds)).toFixed(2),
        'workerd peak MiB': (await peakMiB(edge.pid)).toFixed(0),
      };
    } finally {
      await edge.stop();
    }
  } finally {
    await pod?.stop();
    await rm(dir, { recursive: true });
  }
}
