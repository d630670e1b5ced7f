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
import { Writer } from './sink/writer.ts';
import { WRITER_BOUNDS, type WriterBounds } from './sink/writer-bounds.ts';
import { type Access, mayRead } from './source/access.ts';
import { listDeadLetters, replayDeadLetters } from './source/dead-letters.ts';
import { CONNECTIONS_MAX, connectionsMaxOf } from './source/connections.ts';
import { takeFeedback } from './source/feedback.ts';
import { FeedbackPoller } from './source/feedback-poller.ts';
import { type Answer, createHttpServer, type Handler, type Route } from './source/http.ts';
import { readQuotes, readSymbols, readTrades } from './source/read-back.ts';
import { ReadTurns } from './source/read-turns.ts';
import { readReceipt } from './source/receipts.ts';
import { TickIntake } from './source/ticks.ts';
import { Books } from './telemetry/books.ts';
import { CapacityMeter } from './telemetry/capacity.ts';
import { DemandMeter } from './telemetry/demand.ts';
import type { Log } from './telemetry/log.ts';
import { createMetrics } from './telemetry/metrics.ts';
import { health, metrics, type OpsParts, type Phase, ready, status } from './telemetry/ops.ts';
import { RateMeter } from './telemetry/rate-meter.ts';
import { snapshot } from './telemetry/snapshot.ts';

/** Between `/ready` turning 503 and the last idle connection being closed, so that a balancer has looked. */
const READY_LINGER_MS = 250;
/** For the last answers to leave, once nothing is held any more. */
const CLOSE_LINGER_MS = 1_000;
/** For the store to close. What it has committed is durable, and what it hangs on has been answered. */
const STORE_CLOSE_MAX_MS = 1_000;
/** Beyond the deadline that a store keeps by itself. */
const STORE_CALL_GRACE_MS = 1_000;
/** One look at a foreign store's metrics. */
const POLL_TIMEOUT_MS = 2_000;

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
  /** What time it is. It may be set, forwards and backwards, and so measures nothing. */
  nowMs: () => number;
  /** Since some moment or other; only ever goes on. All waits, deadlines and rates are of this one. */
  steadyMs: () => number;
  /** 0 up to, but not, 1. */
  random: () => number;
  sleep: (ms: number) => Promise<void>;
  /** Calls `then` after so long; the result takes it back. */
  after: (ms: number, then: () => void) => () => void;
  /** Memory of this process as a share of what it may have; 0 where there is no limit. */
  memoryShare: () => number;
  /** Milliseconds in which the event loop was busy, since the start. */
  loopMs: () => number;
  /** Descriptors that this process may have; undefined: as many as it likes. */
  openFilesMax?: number | undefined;
  fetch: typeof fetch;
}

export function createPod({
  config,
  store,
  log,
  nowMs,
  steadyMs,
  random,
  sleep,
  after,
  memoryShare,
  loopMs,
  openFilesMax,
  fetch,
}: PodParts): Pod {
  const startedAtMs = steadyMs();
  let phase: Phase = 'starting';
  const queue = new BoundedQueue<Delivery>(config.queueCapacityTicks, config.queueCapacityBytes);
  const budgets = new Map([...config.providers].map(([name, options]) => [name, options.budget]));
  const throttle = new Throttle(budgets, config.otherProviders.budget, config.rateScale);
  const books = new Books(config.providers.keys(), (provider) =>
    log('warn', 'provider_labels_full', { provider, detail: 'further providers share the label "other"' }),
  );
  const board = new FeedbackBoard(config.feedbackExpiryMs);
  const writer: Writer = new Writer({
    queue,
    store,
    bounds: writerBounds(config.store, config.storeTimeoutMs),
    nowMs: steadyMs,
    random,
    after,
    onEvent: log,
    onWrite: (seconds, outcome) => podMetrics.storeWriteSeconds.observe({ outcome }, seconds),
  });
  const demand = new DemandMeter(config.providers.keys());
  const capacity = new CapacityMeter();
  const written = new RateMeter(steadyMs());
  const growth = { ticks: 0, perSecond: 0 };
  const secondsToDrain = (ticks: number): number | undefined => {
    // Groups come in lumps, and a store that is away comes back as fast as it was: a count that stands still says nothing.
    if (books.writtenTicks !== growth.ticks) {
      growth.ticks = books.writtenTicks;
      growth.perSecond = written.perSecond(growth.ticks, steadyMs());
    }
    return growth.perSecond > 0 ? ticks / growth.perSecond : undefined;
  };
  const observe = (): void => {
    throttle.observe({ queue, circuit: writer.circuit, feedback: board.level(steadyMs()), memoryShare: memoryShare() });
  };
  const isStoreOpen = (): boolean => writer.circuit !== 'open';
  const rulesOf = (provider: string) => ({
    nowMs: nowMs(),
    futureMaxMs: config.futureMaxMs,
    negativePrices: (config.providers.get(provider) ?? config.otherProviders).negativePrices,
  });

  const podMetrics = createMetrics({
    books,
    levelOf: (provider) => (observe(), throttle.levelOf(provider)),
    rateScaleOf: (provider) => (observe(), throttle.rateScaleOf(provider)),
    depthTicks: () => queue.depthTicks,
    coordinators: () => board.coordinators(steadyMs()),
    depthBytes: () => queue.depthBytes,
    capacityTicks: queue.capacityTicks,
    queueDelaySeconds: () => secondsToDrain(queue.depthTicks),
    circuit: () => writer.circuit,
    demand: () => demand.perSecond(steadyMs()),
    capacityTicksPerSecond: () => {
      const work = { ticks: books.writtenTicks, writingMs: writer.writingMs, loopMs: loopMs() };
      return capacity.ticksPerSecond(work, steadyMs());
    },
  });
  const intake = new TickIntake({
    queue,
    throttle,
    books,
    edgeKeys: config.edgeKeys,
    acceptUnsigned: config.dev,
    rulesOf,
    isDraining: () => phase === 'draining',
    isStoreOpen,
    creditOf: (provider) => {
      if (throttle.levelOf(provider) !== 'ok') return 0;
      return throttle.creditOf(provider) + queue.depthTicksOf(provider) + writer.ticksInFlight(provider);
    },
    storeRetrySeconds: () => writer.retryInMs / 1000,
    answerTimeoutMs: config.answerTimeoutMs,
    onBatch: ({ provider, batchId, ticks, isEdges }) => {
      podMetrics.batchTicks.observe(ticks);
      demand.arrived(books.labelOf(provider), isEdges ? 'edge' : 'direct', `${provider}/${batchId}`, ticks, steadyMs());
    },
    onCommit: (provider, newestTsMs) => {
      if (newestTsMs === undefined) return;
      const ageSeconds = Math.max(0, nowMs() - newestTsMs) / 1000;
      podMetrics.eventToCommitSeconds.observe({ provider: books.labelOf(provider) }, ageSeconds);
    },
    secondsToDrain,
    observe,
    wake: () => writer.wake(),
    nowMs,
    steadyMs,
  });
  const ops: OpsParts = {
    phase: () => phase,
    isStoreOpen,
    snapshot: () => {
      observe();
      return snapshot({ config, startedAtMs, nowMs: steadyMs(), phase, throttle, queue, writer, books });
    },
    metrics: podMetrics,
  };
  const access: Access = { edgeKeys: config.edgeKeys, opsTokenHash: config.opsTokenHash, open: config.dev, nowMs };
  const connectionsMax = connectionsMaxOf(openFilesMax);
  const server = createHttpServer(
    routes(),
    (cause) => log('error', 'unforeseen', { detail: cause instanceof Error ? cause.stack : String(cause) }),
    { connectionsMax, onCuts: (cuts) => log('warn', 'connections_cut', { connectionsMax, ...cuts }) },
  );
  const poller =
    config.feedbackPoll === undefined
      ? undefined
      : new FeedbackPoller({
          board,
          ...config.feedbackPoll,
          timeoutMs: POLL_TIMEOUT_MS,
          fetch,
          after,
          nowMs: steadyMs,
          log,
        });

  return { start, drain };

  function routes(): Route[] {
    const deadLetters = { store, books, rulesOf, nowMs };
    // Whoever floods the one kind is not in the way of the other.
    const [openTurns, guardedTurns] = [new ReadTurns(), new ReadTurns()];
    const open = (handle: Handler): Handler => openTurns.inTurn(handle);
    const guarded = (handle: Handler): Handler => guardedBy(access, guardedTurns.inTurn(handle));
    return [
      {
        method: 'POST',
        pattern: /^\/v1\/ticks\/([^/]+)$/,
        handle: (request, [provider = '']) => timed(intake.handle(request, provider)),
      },
      { method: 'GET', pattern: /^\/v1\/symbols\/([^/]+)$/, handle: open(readSymbols(store)) },
      { method: 'GET', pattern: /^\/v1\/trades\/([^/]+)\/([^/]+)$/, handle: open(readTrades(store)) },
      { method: 'GET', pattern: /^\/v1\/quotes\/([^/]+)\/([^/]+)$/, handle: open(readQuotes(store)) },
      { method: 'GET', pattern: /^\/v1\/receipts\/([^/]+)\/([^/]+)$/, handle: guarded(readReceipt(store)) },
      { method: 'GET', pattern: /^\/v1\/dead-letters\/([^/]+)$/, handle: guarded(listDeadLetters(store)) },
      {
        method: 'POST',
        pattern: /^\/v1\/dead-letters\/([^/]+)\/replay$/,
        handle: guardedBy(access, replayDeadLetters(deadLetters)),
      },
      {
        method: 'POST',
        pattern: /^\/feedback$/,
        handle: (request, _parts, url) =>
          takeFeedback({ board, tokenHash: config.feedbackTokenHash, nowMs: steadyMs }, request, url),
      },
      { method: 'GET', pattern: /^\/health$/, handle: health },
      { method: 'GET', pattern: /^\/ready$/, handle: () => ready(ops) },
      { method: 'GET', pattern: /^\/status$/, handle: () => status(ops) },
      { method: 'GET', pattern: /^\/metrics$/, handle: () => metrics(ops) },
    ];
  }

  async function timed(answering: Promise<Answer>): Promise<Answer> {
    const sinceMs = steadyMs();
    const answer = await answering;
    podMetrics.answerSeconds.observe({ status: String(answer.status) }, (steadyMs() - sinceMs) / 1000);
    return answer;
  }

  async function start(): Promise<{ port: number }> {
    await store.open();
    await listen(server, config.port, config.host);
    const { port } = server.address() as AddressInfo;
    phase = 'serving';
    poller?.start();
    if (config.dev) log('warn', 'unsigned_requests_accepted', { detail: 'MDP_DEV=1, on loopback only' });
    if (connectionsMax < CONNECTIONS_MAX) {
      log('warn', 'few_descriptors', {
        openFilesMax,
        connectionsMax,
        detail: `${CONNECTIONS_MAX} connections want more`,
      });
    }
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
    log('info', 'draining', { depthTicks: queue.depthTicks, inFlightTicks: writer.ticksInFlight() });
    await poller?.stop();
    const settled = await Promise.race([
      writer.idle().then(() => true),
      sleep(config.drainTimeoutMs).then(() => false),
    ]);
    // Whoever still waits is told so; a connection that just ends is no answer.
    if (!settled) writer.abandon('this pod had to end before the store committed the batch');
    await sleep(READY_LINGER_MS);
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    // Every settlement has been answered within this; what is still open is a body that trickles in.
    await Promise.race([closed, sleep(CLOSE_LINGER_MS)]);
    server.closeAllConnections();
    await Promise.race([store.close(), sleep(STORE_CLOSE_MAX_MS)]);
    log(settled ? 'info' : 'error', 'drained', { settled, depthTicks: queue.depthTicks });
    return settled;
  }
}

/** For those who may look at the provider that the path names first. */
function guardedBy(access: Access, handle: Handler): Handler {
  return async (request, parts, url) => (await mayRead(access, request, parts[0] ?? '')) ?? handle(request, parts, url);
}

/** Each of several connections is kept busy; one file wants one group ahead and no more. */
function writerBounds(store: StoreConfig, storeTimeoutMs: number): WriterBounds {
  const bounds = { ...WRITER_BOUNDS, callTimeoutMs: storeTimeoutMs + STORE_CALL_GRACE_MS };
  if (store.kind === 'sqlite') return bounds;
  return {
    ...bounds,
    inFlightMaxGroups: store.connections,
    pipelineMaxWaitMs: POSTGRES_PIPELINE_MAX_WAIT_MS,
    pipelineMaxWriteMs: Number.POSITIVE_INFINITY,
  };
}

/** A commit of the server takes a few of these; while one waits for it, another connection is free. */
const POSTGRES_PIPELINE_MAX_WAIT_MS = 10;

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
