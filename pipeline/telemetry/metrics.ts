/**
 * What Prometheus sees. Every value is read from the running parts at the moment of the scrape, so none can be
 * stale, and each is there before the first tick. Names of the rollout guide are kept as they are.
 */

import { Histogram } from 'prom-client';
import { LEVEL_NUMBER, type Level } from '../contract/level.ts';
import { type Books, type ProviderBooks, residue } from './books.ts';
import { EXPOSITION_CONTENT_TYPE, expositionText, type Family, type Sample } from './exposition.ts';
import { processFamilies } from './process.ts';

/** The running parts, as metrics look at them. */
export interface Observed {
  books: Books;
  levelOf(provider: string): Level;
  rateScaleOf(provider: string): number;
  depthTicks(): number;
  /** Foreign stores that told how full they are, and not too long ago. */
  coordinators(): ReadonlyMap<string, { queueSize: number }>;
  depthBytes(): number;
  capacityTicks: number;
  /** How long what waits takes to be written at the present rate; undefined while nothing is being written. */
  queueDelaySeconds(): number | undefined;
  circuit(): CircuitState;
  demand(): Iterable<{ provider: string; path: string; ticksPerSecond: number }>;
  /** Undefined until it is known. */
  capacityTicksPerSecond(): number | undefined;
}

export interface Metrics {
  readonly contentType: string;
  scrape(): Promise<string>;
  answerSeconds: Histogram<'status'>;
  storeWriteSeconds: Histogram<'outcome'>;
  batchTicks: Histogram;
  eventToCommitSeconds: Histogram<'provider'>;
}

const CIRCUIT_NUMBER = { closed: 0, half_open: 1, open: 2 } as const;
export type CircuitState = keyof typeof CIRCUIT_NUMBER;

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export function createMetrics(observed: Observed): Metrics {
  const { books } = observed;
  const read: (() => Family)[] = [...processFamilies()];
  /** Fed where things happen; all else is read from the state. */
  const histograms: Pick<Histogram, 'get'>[] = [];

  gauge(
    'pipeline_rate_scale_factor',
    "Current rate scale factor: the share of a provider's budget that is admitted (1, 0.5, 0). Below 1 for long: the store is slower than the demand.",
    (set) => {
      for (const [provider] of books.entries()) set({ provider }, observed.rateScaleOf(provider));
    },
  );
  gauge(
    'pipeline_backpressure_state',
    'Backpressure state of a provider: 0 ok, 1 soft, 2 hard (nothing is admitted). Look at queue depth and store state for the reason.',
    (set) => {
      for (const [provider] of books.entries()) set({ provider }, LEVEL_NUMBER[observed.levelOf(provider)]);
    },
  );
  gauge(
    'pipeline_feedback_queue_depth',
    'Queue depth: ticks that wait for the store, read at scrape time. Over half of the capacity the level turns soft.',
    (set) => {
      set({ source: 'store_coordinator' }, observed.depthTicks());
      // The foreign ones are named apart, so that the guide's query sees this pod's own depth alone.
      for (const [id, { queueSize }] of observed.coordinators()) set({ source: `feedback:${id}` }, queueSize);
    },
  );
  gauge('pipeline_queue_capacity_ticks', 'Ticks that may wait for the store (MDP_QUEUE_CAPACITY_TICKS).', (set) =>
    set({}, observed.capacityTicks),
  );
  gauge('pipeline_queue_depth_bytes', 'Bytes that wait for the store.', (set) => set({}, observed.depthBytes()));
  gauge(
    'pipeline_queue_delay_seconds',
    'Seconds that what waits will take to be written at the present rate: the delay a new tick meets.',
    (set) => set({}, observed.queueDelaySeconds() ?? 0),
  );
  gauge(
    'pipeline_store_open',
    'Whether the store can be written to: 1 or 0. At 0 the pod is not ready and refuses every batch.',
    (set) => set({}, Number(observed.circuit() !== 'open')),
  );
  gauge(
    'pipeline_store_circuit_state',
    'State of the circuit before the store: 0 closed, 1 half open (a probe decides), 2 open (nothing is tried).',
    (set) => set({}, CIRCUIT_NUMBER[observed.circuit()]),
  );
  gauge(
    'pipeline_demand_ticks_per_second',
    'Ticks per second that came for the first time, over 20 s, before any throttle: the demand to scale on. Those of path "edge" the edge has counted too.',
    (set) => {
      for (const { provider, path, ticksPerSecond } of observed.demand()) set({ provider, path }, ticksPerSecond);
    },
  );
  gauge(
    'pipeline_pod_capacity_ticks_per_second',
    "What this pod could store, told from what it does store and how busy that keeps it. Absent until it was busy once. The scaler's figure should be near it.",
    (set) => {
      const ticksPerSecond = observed.capacityTicksPerSecond();
      if (ticksPerSecond !== undefined) set({}, ticksPerSecond);
    },
  );
  gauge('pipeline_in_flight_ticks', 'Ticks offered and not yet answered.', (set) => {
    for (const [provider, one] of books.entries()) set({ provider }, one.inFlight);
  });
  gauge(
    'pipeline_balance_residue_ticks',
    'Offered minus stored, duplicate, rejected, refused and in flight. Anything but 0 is a defect: report it.',
    (set) => {
      for (const [provider, one] of books.entries()) set({ provider }, residue(one));
    },
  );

  counter(
    'pipeline_ticks_offered_total',
    'Ticks that arrived in readable batches, re-sent ones included.',
    (one) => one.offered,
  );
  counter('pipeline_ticks_stored_total', 'Ticks committed and synced by this pod.', (one) => one.stored);
  counter(
    'pipeline_ticks_duplicate_total',
    'Ticks that were stored before: harmless; many of them mean that senders repeat themselves.',
    (one) => one.duplicate,
  );
  countersBy(
    'pipeline_ticks_rejected_total',
    'Ticks that are invalid, by reason; their sender was told which and why.',
    (one) => one.rejected,
  );
  countersBy(
    'pipeline_dead_letters_total',
    'Ticks set aside in the store with their reason, by reason. Look at them under /v1/dead-letters/PROVIDER.',
    (one) => one.deadLetters,
  );
  countersBy(
    'pipeline_ticks_refused_total',
    'Ticks that were not taken now, by reason; their sender still holds them and was told to wait.',
    (one) => one.refused,
  );

  const histogram = <Label extends string>(
    name: string,
    help: string,
    labelNames: Label[],
    buckets: number[],
  ): Histogram<Label> => {
    const made = new Histogram({ name, help, labelNames, buckets, registers: [] });
    histograms.push(made);
    return made;
  };
  return {
    contentType: EXPOSITION_CONTENT_TYPE,
    scrape: async () => {
      const fed = await Promise.all(
        histograms.map(async (histogram) => ({ ...(await histogram.get()), type: 'histogram' })),
      );
      return expositionText([...read.map((family) => family()), ...fed]);
    },
    answerSeconds: histogram(
      'pipeline_answer_seconds',
      'Time from the first byte of a tick request to its answer, by HTTP status.',
      ['status'],
      SECONDS,
    ),
    storeWriteSeconds: histogram(
      'pipeline_store_write_seconds',
      'Time of one call that writes a group of batches, by outcome (stored, unavailable, contention, data).',
      ['outcome'],
      SECONDS,
    ),
    batchTicks: histogram(
      'pipeline_batch_ticks',
      'Ticks of a batch as it was sent. Small ones cost more for each tick: ask their provider for larger ones.',
      [],
      [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000],
    ),
    eventToCommitSeconds: histogram(
      'pipeline_event_to_commit_seconds',
      "Age of a batch's newest tick when it was committed, by its own timestamp: the delay that readers see.",
      ['provider'],
      [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600],
    ),
  };

  function gauge(
    name: string,
    help: string,
    tell: (set: (labels: Sample['labels'], value: number) => void) => void,
  ): void {
    read.push(() => {
      const values: Sample[] = [];
      tell((labels, value) => values.push({ labels, value }));
      return { name, help, type: 'gauge', values };
    });
  }

  function counter(name: string, help: string, valueOf: (one: ProviderBooks) => number): void {
    read.push(() => {
      const values = Array.from(books.entries(), ([provider, one]) => ({ labels: { provider }, value: valueOf(one) }));
      return { name, help, type: 'counter', values };
    });
  }

  function countersBy(name: string, help: string, valuesOf: (one: ProviderBooks) => ReadonlyMap<string, number>): void {
    read.push(() => {
      const values: Sample[] = [];
      for (const [provider, one] of books.entries()) {
        for (const [reason, value] of valuesOf(one)) values.push({ labels: { provider, reason }, value });
      }
      return { name, help, type: 'counter', values };
    });
  }
}
