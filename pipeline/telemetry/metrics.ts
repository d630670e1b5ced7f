/**
 * What Prometheus sees. Every value is read from the running parts at the moment of the scrape, so none can be
 * stale, and each is there before the first tick. Names of the rollout guide are kept as they are.
 */

import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { LEVEL_NUMBER, type Level } from '../contract/level.ts';
import { type Books, type ProviderBooks, residue } from './books.ts';
import { collectProcessMetrics } from './process.ts';

/** The running parts, as metrics look at them. */
export interface Observed {
  books: Books;
  level(): Level;
  rateScale(): number;
  depthTicks(): number;
  /** Foreign stores that told how full they are, and not too long ago. */
  coordinators(): ReadonlyMap<string, { queueSize: number }>;
  depthBytes(): number;
  capacityTicks: number;
  storeOpen(): boolean;
}

export interface Metrics {
  readonly contentType: string;
  scrape(): Promise<string>;
  answerSeconds: Histogram<'status'>;
}

export function createMetrics(observed: Observed): Metrics {
  const registry = new Registry();
  collectProcessMetrics(registry);
  const { books } = observed;
  const registers = [registry];

  gauge(
    'pipeline_rate_scale_factor',
    "Current rate scale factor: the share of a provider's budget that is admitted (1, 0.5, 0). Below 1 for long: the store is slower than the demand.",
    ['provider'],
    (set) => {
      for (const [provider] of books.entries()) set({ provider }, observed.rateScale());
    },
  );
  gauge(
    'pipeline_backpressure_state',
    'Backpressure state of a provider: 0 ok, 1 soft, 2 hard (nothing is admitted). Look at queue depth and store state for the reason.',
    ['provider'],
    (set) => {
      for (const [provider] of books.entries()) set({ provider }, LEVEL_NUMBER[observed.level()]);
    },
  );
  gauge(
    'pipeline_feedback_queue_depth',
    'Queue depth: ticks that wait for the store, read at scrape time. Over half of the capacity the level turns soft.',
    ['source'],
    (set) => {
      set({ source: 'store_coordinator' }, observed.depthTicks());
      // The foreign ones are named apart, so that the guide's query sees this pod's own depth alone.
      for (const [id, { queueSize }] of observed.coordinators()) set({ source: `feedback:${id}` }, queueSize);
    },
  );
  gauge('pipeline_queue_capacity_ticks', 'Ticks that may wait for the store (MDP_QUEUE_CAPACITY_TICKS).', [], (set) =>
    set({}, observed.capacityTicks),
  );
  gauge('pipeline_queue_depth_bytes', 'Bytes that wait for the store.', [], (set) => set({}, observed.depthBytes()));
  gauge(
    'pipeline_store_open',
    'Whether the store can be written to: 1 or 0. At 0 the pod is not ready and refuses every batch.',
    [],
    (set) => set({}, Number(observed.storeOpen())),
  );
  gauge('pipeline_in_flight_ticks', 'Ticks offered and not yet answered.', ['provider'], (set) => {
    for (const [provider, one] of books.entries()) set({ provider }, one.inFlight);
  });
  gauge(
    'pipeline_balance_residue_ticks',
    'Offered minus stored, duplicate, rejected, refused and in flight. Anything but 0 is a defect: report it.',
    ['provider'],
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
    'pipeline_ticks_refused_total',
    'Ticks that were not taken now, by reason; their sender still holds them and was told to wait.',
    (one) => one.refused,
  );

  const answerSeconds = new Histogram({
    name: 'pipeline_answer_seconds',
    help: 'Time from the first byte of a tick request to its answer, by HTTP status.',
    labelNames: ['status'] as const,
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers,
  });

  return { contentType: registry.contentType, scrape: () => registry.metrics(), answerSeconds };

  function gauge(
    name: string,
    help: string,
    labelNames: string[],
    read: (set: (labels: Record<string, string>, value: number) => void) => void,
  ): void {
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        read((labels, value) => this.set(labels, value));
      },
    });
  }

  function counter(name: string, help: string, read: (one: ProviderBooks) => number): void {
    new Counter({
      name,
      help,
      labelNames: ['provider'],
      registers,
      collect() {
        this.reset();
        for (const [provider, one] of books.entries()) this.inc({ provider }, read(one));
      },
    });
  }

  function countersBy(name: string, help: string, read: (one: ProviderBooks) => ReadonlyMap<string, number>): void {
    new Counter({
      name,
      help,
      labelNames: ['provider', 'reason'],
      registers,
      collect() {
        this.reset();
        for (const [provider, one] of books.entries()) {
          for (const [reason, count] of read(one)) this.inc({ provider, reason }, count);
        }
      },
    });
  }
}
