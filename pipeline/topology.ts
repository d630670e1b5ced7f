/**
 * How a pod is put together: source -> queue -> writer -> store, and the settlement's way back to the sender.
 * Starts and drains it; reads no environment, no signal and no clock of its own.
 */

import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { FeedbackBoard } from './backpressure/feedback.ts';
import { Throttle } from './backpressure/throttle.ts';
import type { Config, StoreConfig } from './config.ts';
import { BoundedQueue } from './queue/bounded-queue.ts';
import type { Delivery } from './queue/delivery.ts';
import type { Store } from './sink/store.ts';
import { Writer, WRITER_BOUNDS, type WriterBounds } from './sink/writer.ts';
import { takeFeedback } from './source/feedback.ts';
import { type Answer, createHttpServer, type Route } from './source/http.ts';
import { readQuotes, readTrades } from './source/read-back.ts';
import { TickIntake } from './source/ticks.ts';
import { Books, residue, sum } from './telemetry/books.ts';
import type { Log } from './telemetry/log.ts';
import { createMetrics } from './telemetry/metrics.ts';
import { health, metrics, type OpsParts, type Phase, ready, SERVICE_NAME, status } from './telemetry/ops.ts';
import { RateMeter } from './telemetry/rate-meter.ts';

/** Between `/ready` turning 503 and the last idle connection being closed, so that a balancer has looked. */
const READY_LINGER_MS = 250;
/** For the last answers to leave, once nothing is held any more. */
const CLOSE_LINGER_MS = 1_000;

export interface Pod {
  /** Opens the store and listens; throws what the store or the socket threw. */
  start(): Promise<{ port: number }>;
  /** Takes nothing new, settles what is held, closes. False: not everything could be settled in time. */
  drain(): Promise<boolean>;
}

export interface PodParts {
  config: Config;
  store: Store;
  log: Log;
  nowMs: () => number;
  sleep: (ms: number) => Promise<void>;
}

export function createPod({ config, store, log, nowMs, sleep }: PodParts): Pod {
  const startedAtMs = nowMs();
  let phase: Phase = 'starting';
  const queue = new BoundedQueue<Delivery>(config.queueCapacityTicks, config.queueCapacityBytes);
  const writer = new Writer(queue, store, writerBounds(config.store));
  const budgets = new Map([...config.providers].map(([name, options]) => [name, options.budget]));
  const throttle = new Throttle(budgets, config.otherProviders.budget, config.rateScale);
  const books = new Books(config.providers.keys(), (provider) =>
    log('warn', 'provider_labels_full', { provider, detail: 'further providers share the label "other"' }),
  );
  const isStoreOpen = (): boolean => store.isOpen;
  const written = new RateMeter(nowMs());
  const storedTicks = (): number => {
    let total = 0;
    for (const [, one] of books.entries()) total += one.stored + one.duplicate;
    return total;
  };

  const board = new FeedbackBoard(config.feedbackExpiryMs);
  const observe = (): void => {
    throttle.observe(queue.depthTicks / queue.capacityTicks, store.isOpen, board.level(nowMs()));
  };
  const intake = new TickIntake({
    queue,
    throttle,
    books,
    edgeKeys: config.edgeKeys,
    acceptUnsigned: config.dev,
    futureMaxMs: config.futureMaxMs,
    negativePrices: (provider) => (config.providers.get(provider) ?? config.otherProviders).negativePrices,
    isDraining: () => phase === 'draining',
    isStoreOpen,
    secondsToDrain: (ticks) => {
      const perSecond = written.perSecond(storedTicks(), nowMs());
      return perSecond > 0 ? ticks / perSecond : undefined;
    },
    observe,
    wake: () => writer.wake(),
    nowMs,
  });

  const podMetrics = createMetrics({
    books,
    level: () => (observe(), throttle.level),
    rateScale: () => (observe(), throttle.rateScale),
    depthTicks: () => queue.depthTicks,
    coordinators: () => board.coordinators(nowMs()),
    depthBytes: () => queue.depthBytes,
    capacityTicks: queue.capacityTicks,
    storeOpen: isStoreOpen,
  });
  const ops: OpsParts = { phase: () => phase, isStoreOpen, snapshot, metrics: podMetrics };

  const routes: Route[] = [
    {
      method: 'POST',
      pattern: /^\/v1\/ticks\/([^/]+)$/,
      handle: (request, [provider = '']) => timed(intake.handle(request, provider)),
    },
    { method: 'GET', pattern: /^\/v1\/trades\/([^/]+)\/([^/]+)$/, handle: readTrades(store) },
    { method: 'GET', pattern: /^\/v1\/quotes\/([^/]+)\/([^/]+)$/, handle: readQuotes(store) },
    {
      method: 'POST',
      pattern: /^\/feedback$/,
      handle: (request, _parts, url) =>
        takeFeedback({ board, tokenHash: config.feedbackTokenHash, nowMs }, request, url),
    },
    { method: 'GET', pattern: /^\/health$/, handle: health },
    { method: 'GET', pattern: /^\/ready$/, handle: () => ready(ops) },
    { method: 'GET', pattern: /^\/status$/, handle: () => status(ops) },
    { method: 'GET', pattern: /^\/metrics$/, handle: () => metrics(ops) },
  ];
  const server = createHttpServer(routes, (cause) =>
    log('error', 'unforeseen', { detail: cause instanceof Error ? cause.stack : String(cause) }),
  );

  return { start, drain };

  async function timed(answering: Promise<Answer>): Promise<Answer> {
    const sinceMs = nowMs();
    const answer = await answering;
    podMetrics.answerSeconds.observe({ status: String(answer.status) }, (nowMs() - sinceMs) / 1000);
    return answer;
  }

  async function start(): Promise<{ port: number }> {
    await store.open();
    await listen(server, config.port, config.host);
    const { port } = server.address() as AddressInfo;
    phase = 'serving';
    if (config.dev) log('warn', 'unsigned_requests_accepted', { detail: 'MDP_DEV=1, on loopback only' });
    log('info', 'Application startup complete', {
      host: config.host,
      port,
      store: config.store.kind,
      pod: config.podName,
    });
    return { port };
  }

  async function drain(): Promise<boolean> {
    phase = 'draining';
    log('info', 'draining', { depthTicks: queue.depthTicks, inFlightTicks: writer.ticksInFlight });
    const settled = await Promise.race([
      writer.idle().then(() => true),
      sleep(config.drainTimeoutMs).then(() => false),
    ]);
    await sleep(READY_LINGER_MS);
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    // Every settlement has been answered within this; what is still open is a body that trickles in.
    await Promise.race([closed, sleep(CLOSE_LINGER_MS)]);
    server.closeAllConnections();
    await store.close();
    log(settled ? 'info' : 'error', 'drained', { settled, depthTicks: queue.depthTicks });
    return settled;
  }

  function snapshot(): Record<string, unknown> {
    observe();
    const providers: Record<string, unknown> = {};
    for (const [provider, one] of books.entries()) {
      providers[provider] = {
        offered: one.offered,
        stored: one.stored,
        duplicate: one.duplicate,
        rejected: sum(one.rejected),
        refused: sum(one.refused),
        inFlight: one.inFlight,
        residue: residue(one),
      };
    }
    return {
      service: SERVICE_NAME,
      pod: config.podName,
      phase,
      uptimeSeconds: Math.round((nowMs() - startedAtMs) / 1000),
      level: throttle.level,
      rateScale: throttle.rateScale,
      reasons: throttle.reasons,
      queue: {
        depthTicks: queue.depthTicks,
        capacityTicks: queue.capacityTicks,
        depthBytes: queue.depthBytes,
        capacityBytes: queue.capacityBytes,
        beingWrittenTicks: writer.ticksInFlight,
      },
      store: { kind: config.store.kind, open: store.isOpen },
      providers,
    };
  }
}

/** Each of several connections is kept busy; one file wants one group ahead and no more. */
function writerBounds(store: StoreConfig): WriterBounds {
  return store.kind === 'postgres' ? { ...WRITER_BOUNDS, inFlightMaxGroups: store.connections } : WRITER_BOUNDS;
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
