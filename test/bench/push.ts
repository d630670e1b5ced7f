/**
 * The load of a benchmark: a fixed number of requests in flight, the next one as soon as one is answered, until
 * all bodies are answered. Closed loop, bounded by the bodies it is given.
 */

import { Agent, request } from 'undici';

export interface PushTarget {
  /** Where one batch goes. */
  url: string;
  /** Headers of the batch at this place; made before the clock starts. */
  headers: Record<string, string>;
  body: Buffer;
}

export interface PushFigures {
  seconds: number;
  stored: number;
  p50Ms: number;
  p99Ms: number;
}

/** Throws on any answer that is not `expected`. */
export async function pushAll(targets: readonly PushTarget[], inFlight: number, expected = 200): Promise<PushFigures> {
  const agent = new Agent({ connections: inFlight, pipelining: 1 });
  const answerMs: number[] = [];
  let next = 0;
  let stored = 0;
  const startMs = performance.now();
  const worker = async (): Promise<void> => {
    while (next < targets.length) {
      const { url, headers, body } = targets[next]!;
      next += 1;
      const sentMs = performance.now();
      const answer = await request(url, { method: 'POST', dispatcher: agent, headers, body });
      const text = await answer.body.text();
      if (answer.statusCode !== expected) throw new Error(`${answer.statusCode}: ${text.slice(0, 300)}`);
      answerMs.push(performance.now() - sentMs);
      stored += (JSON.parse(text) as { stored?: number }).stored ?? 0;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  const seconds = (performance.now() - startMs) / 1000;
  await agent.close();
  return { seconds, stored, p50Ms: quantile(answerMs, 0.5), p99Ms: quantile(answerMs, 0.99) };
}

/** One batch under a bearer token, read off; the status of its answer. */
export async function pushBearing(
  token: string,
  url: string,
  batch: string,
  body: Buffer,
  agent: Agent,
): Promise<number> {
  const answer = await request(url, {
    method: 'POST',
    dispatcher: agent,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-ndjson', 'idempotency-key': batch },
    body,
  });
  await answer.body.dump();
  return answer.statusCode;
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}
