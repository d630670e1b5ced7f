/** The queue behind a full outbox. The queue itself is stood in for: the local one is an array in memory, too. */

import { describe, expect, it } from 'vitest';
import type { OfferedBatch } from '../../../worker/outbox/calls.ts';
import {
  OVERFLOW_BODY_MAX_BYTES,
  type OverflowMessage,
  REDELIVERY_MAX_SECONDS,
  takeBack,
} from '../../../worker/outbox/overflow.ts';
import { memoryEdge, podRefusesConnections, START_MS } from '../../support/edge-app.ts';
import { makeCredentials } from '../../support/edge-credentials.ts';
import { memoryNamespace, NDJSON, nextOf } from '../../support/edge-outbox.ts';

const bindings = makeCredentials().bindings();
const TICK = '{"symbol":"AAPL","tsMs":1763908200123,"price":"187.23","size":"100"}\n';

function overflowing(maxBytes: number) {
  const queue: OfferedBatch[] = [];
  const control = { broken: false, silent: false };
  const overflow = {
    send: (message: OfferedBatch, options: unknown) => {
      expect(options).toEqual({ contentType: 'v8' });
      if (control.silent) return new Promise<never>(() => undefined);
      if (control.broken) return Promise.reject(new Error('queue is away'));
      queue.push(structuredClone(message));
      return Promise.resolve();
    },
  };
  const outboxes = memoryNamespace(() => START_MS, { maxBytes });
  const edge = memoryEdge({ ...bindings, OUTBOX: outboxes.namespace, OVERFLOW: overflow }, podRefusesConnections, {
    offerTimeoutMs: 50,
  });
  const push = (batch: string, body: string | Uint8Array<ArrayBuffer> = TICK): Promise<Response> =>
    edge.request('/v1/ticks/ibkr', {
      method: 'POST',
      headers: { authorization: 'Bearer ibkr-token-new', 'content-type': NDJSON, 'idempotency-key': batch },
      body,
    });
  return { ...outboxes, held: outboxes.of('ibkr'), queue, overflow: control, push };
}

/** As the platform hands it over; says what became of it. */
function message(body: OfferedBatch, attempts = 1) {
  const fate: { acked: boolean; retry: number | undefined } = { acked: false, retry: undefined };
  const delivered: OverflowMessage = {
    body,
    attempts,
    ack: () => (fate.acked = true),
    retry: ({ delaySeconds }) => (fate.retry = delaySeconds),
  };
  return { fate, delivered };
}

describe('a batch that the outbox has no room for', () => {
  it('is refused when the queue does not say in time that it has it', async () => {
    // Seen failing: without the time limit its sender was held for as long as the queue was silent.
    const edge = overflowing(0);
    edge.overflow.silent = true;
    const answer = await edge.push('b1');
    expect([answer.status, answer.headers.has('retry-after')]).toEqual([503, true]);
  });

  it('is 202 when the queue takes it, and is let go there only when the outbox has it', async () => {
    const edge = overflowing(100);
    expect((await edge.push('b1')).status).toBe(202);
    expect((await edge.push('b2')).status).toBe(202);
    expect(edge.queue).toMatchObject([{ provider: 'ibkr', batch: 'b2', ticks: 1, promised: true }]);
    const early = message(edge.queue[0]!, 3);
    await takeBack(edge.namespace, [early.delivered]);
    expect(early.fate).toEqual({ acked: false, retry: 180 });

    edge.held.shelf.settle(nextOf(edge.held), { stored: 1, duplicates: 0, rejected: [] }, START_MS);
    const later = message(edge.queue[0]!, 500);
    await takeBack(edge.namespace, [later.delivered]);
    expect(later.fate).toEqual({ acked: true, retry: undefined });
    expect(nextOf(edge.held)).toMatchObject({ batch: 'b2', ticks: 1 });
  });

  it('is 503 when it fits no message, or the queue fails', async () => {
    const edge = overflowing(10);
    const large = crypto.getRandomValues(new Uint8Array(60_000));
    const larger = new Uint8Array(OVERFLOW_BODY_MAX_BYTES + 1);
    for (let at = 0; at < larger.length; at += 1) larger[at] = large[(at * 7919) % large.length]! ^ (at & 0xff);
    expect((await edge.push('large', larger)).status).toBe(503);
    edge.overflow.broken = true;
    expect((await edge.push('b1')).status).toBe(503);
    expect(edge.queue).toEqual([]);
  });
});

describe('a message of the queue', () => {
  it('that comes again changes nothing, and one whose id is another body by now is a dead letter', async () => {
    const edge = overflowing(10);
    await edge.push('b1');
    const [queued] = edge.queue;
    const roomy = memoryNamespace(() => START_MS);
    for (let times = 0; times < 2; times += 1) {
      const { fate, delivered } = message(queued!);
      await takeBack(roomy.namespace, [delivered]);
      expect(fate.acked).toBe(true);
    }
    const other = message({ ...queued!, bodyHash: new Uint8Array(32) });
    await takeBack(roomy.namespace, [other.delivered]);
    expect(other.fate.acked).toBe(true);
    const { shelf, archive } = roomy.of('ibkr');
    expect(shelf.totals().batches).toBe(1);
    expect(archive.deadLetters(10)).toMatchObject([{ batch: 'b1', reason: 'batch-conflict' }]);
  });

  it('stays in the queue while the outbox fails, later and later, and does not hold up the next', async () => {
    const edge = overflowing(10);
    await edge.push('b1');
    let calls = 0;
    const outbox = memoryNamespace(() => START_MS);
    outbox.control.broken = () => {
      calls += 1;
      outbox.control.broken = undefined;
      return Promise.reject(new Error('overloaded'));
    };
    const first = message(edge.queue[0]!, 1_000);
    const second = message({ ...edge.queue[0]!, batch: 'b2' });
    await takeBack(outbox.namespace, [first.delivered, second.delivered]);
    expect(calls).toBe(1);
    expect(first.fate).toEqual({ acked: false, retry: REDELIVERY_MAX_SECONDS });
    expect(second.fate.acked).toBe(true);
  });
});
