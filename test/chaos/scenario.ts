/**
 * One story: a cluster under load, something that goes wrong for a while, and what came of it. A run ends in one line
 * of figures, and in what was found that must never be.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Row } from '../../deploy/local/postgres.ts';
import { until } from '../support/postgres-stores.ts';
import { newSeed, type Random, randomFrom } from '../support/random.ts';
import type { Cluster } from './cluster.ts';
import type { Ledger } from './ledger.ts';
import { Load } from './load.ts';

export const TICKS_PER_SECOND_DEFAULT = 5_000;
const BATCH_TICKS = 250;
/** Before the fault. */
const STEADY_BATCHES = 20;
/** A circuit, an outbox and a sender that have waited long wait for up to 10, 15 and 60 seconds more. */
const RECOVERY_MAX_MS = 120_000;
/** And what was held meanwhile has to be written, on a machine that is busy with other things. */
const RECOVERY_MAX_SHARE = 0.5;
/** After a recovery, for what is in flight. */
const SETTLED_MAX_MS = 75_000;
const LOOK_INTERVAL_MS = 100;
/** Held batches arrive oldest first, some at once: behind so many that have not, none has. */
const HELD_LOOKED_AT = 16;
/** A pod with nothing in hand has 90 MiB, a busy one 230; the edge holds what is on its way in workerd's own memory. */
const POD_MAX_MIB = 400;
const EDGE_MAX_MIB = 512;

/** A cluster that is set up, and what goes wrong with it. */
export interface Setting {
  cluster: Cluster;
  /** Goes on for about `forMs`; when it ends, the fault is over. May say more for the line of figures. */
  fault: (forMs: number, random: Random) => Promise<string | void>;
}

export interface Scenario {
  name: string;
  /** What happens, in a few words. */
  what: string;
  /** What this machine would need to have, or undefined where it has it all. */
  lacks: () => Promise<string | undefined> | string | undefined;
  /** How long the fault goes on unless told otherwise. */
  seconds: number;
  /** What it sets up, it leaves to `stack` to end. */
  set(stack: AsyncDisposableStack): Promise<Setting>;
}

export interface RunOptions {
  forMs?: number;
  ticksPerSecond?: number;
  batchTicks?: number;
  seed?: number;
}

export interface Outcome {
  line: string;
  /** Each a sentence; empty when every promise was kept. */
  broken: string[];
}

export async function run(scenario: Scenario, options: RunOptions = {}): Promise<Outcome> {
  const { forMs = scenario.seconds * 1000, ticksPerSecond = TICKS_PER_SECOND_DEFAULT, seed = newSeed() } = options;
  await using stack = new AsyncDisposableStack();
  const { cluster, fault } = await scenario.set(stack);
  const { credentials, edgeUrl } = cluster;
  const load = new Load({ to: edgeUrl, credentials, ticksPerSecond, batchTicks: options.batchTicks ?? BATCH_TICKS });
  const { ledger } = load;
  const broken: string[] = [];
  let recoverySeconds = Number.NaN;
  let said: string | void = undefined;
  try {
    await until('the load is steady', () => ledger.ticksStored >= STEADY_BATCHES * BATCH_TICKS);
    said = await fault(forMs, randomFrom(seed));
    recoverySeconds = await recovery(cluster, ledger, RECOVERY_MAX_MS + forMs * RECOVERY_MAX_SHARE);
  } catch (cause) {
    broken.push(cause instanceof Error ? (cause.stack ?? cause.message) : String(cause));
  }
  const { unsettled } = await load.end(SETTLED_MAX_MS);
  const found = await findingsOf(cluster, ledger, unsettled, broken.length === 0 ? RECOVERY_MAX_MS : 0);
  broken.push(...found.broken);
  if (broken.length > 0) broken.push(...cluster.log.slice(-5));
  return { line: `${scenario.name}: ${figures(cluster, ledger, found, recoverySeconds, said)}`, broken };
}

/** Seconds until everything works and everything that the edge has held is in the store. */
async function recovery(cluster: Cluster, ledger: Ledger, maxMs: number): Promise<number> {
  const overMs = performance.now();
  const deadlineMs = overMs + maxMs;
  let missing = '';
  while (performance.now() < deadlineMs) {
    const nowMs = performance.now();
    missing = await notWell(cluster, ledger, overMs);
    if (missing === '') return (nowMs - overMs) / 1000;
    await sleep(LOOK_INTERVAL_MS);
  }
  throw new Error(`not well again after ${maxMs / 1000} s: ${missing}`);
}

async function notWell(cluster: Cluster, ledger: Ledger, sinceMs: number): Promise<string> {
  cluster.notePeaks();
  if (cluster.service.ready.length < cluster.pods.length) return 'a pod is not ready';
  const looks = await Promise.all(cluster.pods.map((pod) => pod.look().catch(() => undefined)));
  if (looks.some((look) => look?.level !== 'ok')) return 'a pod is not at level ok';
  if (ledger.storedBegunMs <= sinceMs) return 'nothing that was sent since is stored';
  await askReceipts(cluster, ledger);
  return ledger.held.size === 0 ? '' : `${ledger.held.size} batches are held at the edge`;
}

/** What the edge says of the batches it holds, oldest first, until it is clear that the rest are waiting. */
export async function askReceipts(cluster: Cluster, ledger: Ledger, waitingMax = HELD_LOOKED_AT): Promise<number[]> {
  const buffered: number[] = [];
  let waiting = 0;
  for (const { number, provider, id } of ledger.held.values()) {
    const status = await cluster.receiptStatus(provider, id);
    if (status === 'stored') {
      ledger.arrived(number);
      continue;
    }
    if (status === 'buffered') buffered.push(number);
    waiting += 1;
    if (waiting >= waitingMax) break;
  }
  return buffered;
}

interface Findings {
  lost: number;
  twice: number;
  broken: string[];
}

/** What a load that has ended left behind: what is not as promised, each in a sentence. */
export async function findingsOf(
  cluster: Cluster,
  ledger: Ledger,
  unsettled: readonly string[],
  arriveMaxMs = RECOVERY_MAX_MS,
): Promise<Findings> {
  const arrived = async (): Promise<boolean> => (await askReceipts(cluster, ledger), ledger.held.size === 0);
  const broken: string[] = [];
  const note = (cause: unknown): void => void broken.push(String(cause));
  await until('all that was held at the edge is stored', arrived, arriveMaxMs).catch(note);
  // What the edge says it still holds is late, and not lost; of what it knows nothing, the store has to know.
  const late = await askReceipts(cluster, ledger, Number.POSITIVE_INFINITY);
  let rows: Row[] = [];
  let deadLetters = 0;
  try {
    rows = await cluster.store.rowsByBatch();
    deadLetters = await cluster.store.deadLetters();
  } catch (cause) {
    note(cause);
  }
  const { lost, twice, neverOffered } = ledger.compare(rows, new Set(late));
  const counts = {
    [`${lost} acknowledged ticks are not in the store`]: lost,
    [`${twice} ticks are in the store twice`]: twice,
    [`${neverOffered} ticks are in the store that nobody sent`]: neverOffered,
    [`${unsettled.length} batches were never acknowledged`]: unsettled.length,
    'there are dead letters': deadLetters,
    [`a pod had ${cluster.peakPodMiB.toFixed(0)} MiB`]: Math.max(0, cluster.peakPodMiB - POD_MAX_MIB),
    [`the edge had ${cluster.peakEdgeMiB.toFixed(0)} MiB`]: Math.max(0, cluster.peakEdgeMiB - EDGE_MAX_MIB),
  };
  broken.push(...Object.keys(counts).filter((sentence) => counts[sentence] !== 0));
  for (const [at, pod] of cluster.pods.entries()) {
    const look = await pod.look().catch(note);
    for (const [provider, { residue }] of Object.entries(look?.providers ?? {})) {
      if (residue !== 0) broken.push(`the books of pod ${at} are ${residue} ticks of ${provider} out of balance`);
    }
  }
  broken.push(...cluster.surprises, ...ledger.contradictions, ...ledger.failed);
  return { lost, twice, broken };
}

function figures(
  cluster: Cluster,
  ledger: Ledger,
  { lost, twice }: { lost: number; twice: number },
  recoverySeconds: number,
  said: string | void,
): string {
  const { refusedExplicitly, inexplicitAttempts } = ledger;
  const refused = refusedExplicitly + inexplicitAttempts;
  const explicit = refused === 0 ? '' : ` (${((100 * refusedExplicitly) / refused).toFixed(1)} % explicit)`;
  const { p50, p99 } = ledger.answerTimes.take();
  return [
    `${number(ledger.ticksAcknowledged)} ticks acknowledged, ${number(ledger.ticksBuffered)} of them by 202`,
    `${lost} lost, ${twice} twice`,
    `${refused} attempts refused${explicit}`,
    `recovery ${recoverySeconds.toFixed(1)} s`,
    `peak ${cluster.peakPodMiB.toFixed(0)} MiB a pod, ${cluster.peakEdgeMiB.toFixed(0)} MiB the edge`,
    `200 after p50 ${p50.toFixed(0)}, p99 ${p99.toFixed(0)} ms`,
    ...(said === undefined ? [] : [said]),
  ].join('; ');
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}
