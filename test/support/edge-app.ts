/** The edge's routes in memory: time, chance, waiting and the network are the test's. */

import { createApp } from '../../worker/app.ts';
import type { LogLine } from '../../worker/log.ts';
import type { Fetch } from '../../worker/relay.ts';
import { POD_HEADERS, STORED_BODY } from './edge-upstream.ts';

export const START_MS = Date.parse('2026-11-23T14:30:00Z');

export interface EdgeCall {
  url: string;
  init: RequestInit;
}

export interface MemoryEdge {
  request: (path: string, init?: RequestInit) => Promise<Response>;
  calls: EdgeCall[];
  waits: number[];
  logs: LogLine[];
  clock: { nowMs: number };
}

export interface MemoryEdgeOptions {
  relayTimeoutMs?: number;
  bodyReadTimeoutMs?: number;
  snapshotTimeoutMs?: number;
  offerTimeoutMs?: number;
  askTimeoutMs?: number;
}

/** `bindings` as the Worker's environment; `cluster` answers what the edge sends. Waiting moves the clock. */
export function memoryEdge(
  bindings: Record<string, unknown>,
  cluster: Fetch = podStored,
  options: MemoryEdgeOptions = {},
): MemoryEdge {
  const edge = { calls: [] as EdgeCall[], waits: [] as number[], logs: [] as LogLine[], clock: { nowMs: START_MS } };
  const app = createApp({
    fetch: (url, init) => {
      edge.calls.push({ url, init });
      return cluster(url, init);
    },
    nowMs: () => edge.clock.nowMs,
    random: () => 0.5,
    wait: (ms) => {
      edge.waits.push(ms);
      edge.clock.nowMs += ms;
      return Promise.resolve();
    },
    log: (line) => void edge.logs.push(line),
    ...options,
  });
  return { ...edge, request: async (path, init) => app.request(path, init, bindings) };
}

export function podStored(): Promise<Response> {
  return Promise.resolve(new Response(STORED_BODY, { headers: POD_HEADERS }));
}

export function podAnswers(body: string | ReadableStream<Uint8Array> | null, init: ResponseInit): Fetch {
  return () => Promise.resolve(new Response(body, init));
}

/** Never answers, until the caller's deadline. */
export function podHangs(_: string, init: RequestInit): Promise<Response> {
  return new Promise((_resolve, reject) => {
    init.signal!.addEventListener('abort', () => reject(init.signal!.reason as Error));
  });
}

export function podRefusesConnections(): Promise<Response> {
  return Promise.reject(new TypeError('connect ECONNREFUSED'));
}

/** A byte stream as the platform's bodies are: `pieces` pieces of 64 KiB, then the end, or nothing more ever. */
export function byteStream(pieces: number, end: 'close' | 'hang' | 'error' = 'close'): ReadableStream<Uint8Array> {
  let left = pieces;
  return new ReadableStream({
    type: 'bytes',
    pull(controller) {
      if (left > 0) {
        left -= 1;
        controller.enqueue(new Uint8Array(65_536).fill(0x20));
      } else if (end === 'close') {
        controller.close();
        controller.byobRequest?.respond(0);
      } else if (end === 'error') {
        controller.error(new Error('connection reset'));
      } else {
        return new Promise(() => undefined);
      }
      return undefined;
    },
  });
}
