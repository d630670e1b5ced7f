/**
 * The edge in plain workerd beside a bare Worker that verifies and forwards, turn by turn in one run, before an upstream
 * that only drains: what all of the edge's care costs. And how many batches a second an outbox takes when there is no
 * cluster at all.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorker, type EdgeObject, type RunningWorkerd, startWorkerd } from '../../deploy/local/workerd.ts';
import { generateSecret, importSecret, type SigningKey } from '../../pipeline/contract/signature.ts';
import { freePorts } from '../../deploy/local/free-ports.ts';
import { type DrainingUpstream, startDrainingUpstream } from '../support/draining-upstream.ts';
import { cpuSeconds } from './process-figures.ts';
import { median, type PushFigures, pushAll } from './push.ts';
import { BENCH_PROVIDER, BENCH_SECRET, edgeTargets } from './targets.ts';
import { benchTrades } from './ticks.ts';

const IN_FLIGHT = 16;
/** Of each contender: two processes of one Worker differ by as much as what is looked for. */
const PROCESSES = 3;
/** With the short ticks below a body of 64 KB. */
const BATCH_TICKS = 740;
const ALL_OBJECTS: readonly EdgeObject[] = ['OUTBOX', 'STATUS_BOARD', 'METER', 'SOCKETS'];

const PROVIDER_SECRET = generateSecret();

interface Contender {
  name: string;
  workers: RunningWorkerd[];
  turns: PushFigures[];
  cpuSeconds: number;
}

/** `rounds` turns of each process of each contender, `batches` a turn. */
export async function benchEdgeFastPath(batches: number, rounds: number): Promise<Record<string, string>[]> {
  await using world = await World.start();
  const clusterUrl = await world.drainingUpstream();
  const bare = (signs: string) => ({
    PROVIDER_SECRET,
    EDGE_SECRET: BENCH_SECRET,
    CLUSTER_URL: clusterUrl,
    SIGNS: signs,
  });
  const bareWorker = fileURLToPath(new URL('bare-worker.js', import.meta.url));
  const contenders: Contender[] = [];
  for (const [name, bundlePath, bindings, without] of [
    ['bare', bareWorker, bare('0'), ALL_OBJECTS],
    ['bare, signs as well', bareWorker, bare('1'), ALL_OBJECTS],
    ['edge', world.bundlePath, edgeBindings(clusterUrl), []],
  ] as const) {
    const workers: RunningWorkerd[] = [];
    for (let at = 0; at < PROCESSES; at += 1) {
      workers.push(await world.workerd(`${name} ${at}`, bundlePath, bindings, without));
    }
    contenders.push({ name, workers, turns: [], cpuSeconds: 0 });
  }
  const bodies = shortBodies(batches, 1);
  // The first turn of each process warms it up and does not count.
  for (let turn = 0; turn < (rounds + 1) * PROCESSES; turn += 1) {
    for (const contender of contenders) {
      const { name, workers } = contender;
      const worker = workers[turn % PROCESSES]!;
      const targets = await edgeTargets(worker.url, await world.key, bodies, `turn-${turn}`);
      const cpuBefore = await cpuSeconds(worker.pid);
      const figures = await pushAll(targets, IN_FLIGHT);
      if (figures.stored !== batches) throw new Error(`${name}: ${figures.stored} of ${batches} came through`);
      if (turn < PROCESSES) continue;
      contender.turns.push(figures);
      contender.cpuSeconds += (await cpuSeconds(worker.pid)) - cpuBefore;
    }
  }
  const [plain, signing] = contenders as [Contender, Contender, Contender];
  return contenders.map((one) => ({
    worker: one.name,
    'batches/s': median(one.turns.map(({ seconds }) => batches / seconds)).toFixed(0),
    'of bare': share(one, plain),
    'of bare that signs': share(one, signing),
    'p50 ms': median(one.turns.map(({ p50Ms }) => p50Ms)).toFixed(1),
    'p99 ms': median(one.turns.map(({ p99Ms }) => p99Ms)).toFixed(1),
    'CPU ms per batch': ((one.cpuSeconds * 1_000) / (batches * one.turns.length)).toFixed(2),
  }));
}

/** The median over the turns of one rate as a share of another's in the same turn. */
function share(one: Contender, other: Contender): string {
  return median(one.turns.map(({ seconds }, at) => other.turns[at]!.seconds / seconds)).toFixed(2);
}

/** `rounds` turns of `batches` into the outbox of one provider, with no cluster there. */
export async function benchOutbox(batches: number, rounds: number): Promise<Record<string, string>> {
  await using world = await World.start();
  const [nobody] = (await freePorts(1)) as [number];
  const worker = await world.workerd('edge', world.bundlePath, edgeBindings(`http://127.0.0.1:${nobody}`), []);
  const bodies = shortBodies(batches, 2);
  const figures: PushFigures[] = [];
  let cpu = 0;
  for (let round = 0; round <= rounds; round += 1) {
    const targets = await edgeTargets(worker.url, await world.key, bodies, `round-${round}`);
    const cpuBefore = await cpuSeconds(worker.pid);
    const one = await pushAll(targets, IN_FLIGHT, 202);
    if (round === 0) continue;
    figures.push(one);
    cpu += (await cpuSeconds(worker.pid)) - cpuBefore;
  }
  return {
    'batches/s': median(figures.map(({ seconds }) => batches / seconds)).toFixed(0),
    'p50 ms': median(figures.map(({ p50Ms }) => p50Ms)).toFixed(1),
    'p99 ms': median(figures.map(({ p99Ms }) => p99Ms)).toFixed(1),
    'CPU ms per batch': ((cpu * 1_000) / (batches * rounds)).toFixed(2),
  };
}

function shortBodies(batches: number, seed: number): Buffer[] {
  const lines = benchTrades(batches * BATCH_TICKS, seed).map(({ symbol, tsNs, id, price, size }) => {
    const fields = { symbol, tsMs: Number(tsNs / 1_000_000n), id, price: price.toFixed(2), size: String(size) };
    return `${JSON.stringify(fields)}\n`;
  });
  return Array.from({ length: batches }, (_, at) =>
    Buffer.from(lines.slice(at * BATCH_TICKS, (at + 1) * BATCH_TICKS).join('')),
  );
}

function edgeBindings(clusterUrl: string): Record<string, string> {
  return {
    CLUSTER_URL: clusterUrl,
    EDGE_SECRET: BENCH_SECRET,
    PROVIDER_CREDENTIALS: JSON.stringify({ [BENCH_PROVIDER]: { secrets: [PROVIDER_SECRET] } }),
  };
}

/** Invariant: every process that it started is gone once it was disposed of. */
class World implements AsyncDisposable {
  readonly bundlePath: string;
  readonly key: Promise<SigningKey>;
  readonly #directory: string;
  readonly #workers: RunningWorkerd[] = [];
  #upstream: DrainingUpstream | undefined;

  private constructor(directory: string, bundlePath: string) {
    this.#directory = directory;
    this.bundlePath = bundlePath;
    this.key = importSecret(PROVIDER_SECRET).then((key) => key!);
  }

  static async start(): Promise<World> {
    const directory = await mkdtemp(join(tmpdir(), 'mdp-bench-edge-'));
    return new World(directory, await bundleWorker(join(directory, 'bundle')));
  }

  async workerd(
    name: string,
    bundlePath: string,
    bindings: Record<string, string>,
    without: readonly EdgeObject[],
  ): Promise<RunningWorkerd> {
    const dataDir = join(this.#directory, name.replaceAll(/\W/g, '-'));
    const worker = await startWorkerd({ bundlePath, port: 0, bindings, dataDir, without });
    this.#workers.push(worker);
    return worker;
  }

  async drainingUpstream(): Promise<string> {
    this.#upstream = await startDrainingUpstream();
    return this.#upstream.url;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop()));
    this.#upstream?.[Symbol.dispose]();
    await rm(this.#directory, { recursive: true });
  }
}
