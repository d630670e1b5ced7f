/**
 * The Worker's entry: binds the runtime's own network, clock, chance and log to the routes and to the outbox. Decides
 * nothing.
 */

import { type AppParts, createApp } from './app.ts';
import { MeterObject } from './meter.ts';
import { outboxOf } from './outbox/calls.ts';
import { takeBack } from './outbox/overflow.ts';
import { OutboxObject } from './outbox.ts';
import { figuresOf } from './scaling/routes.ts';
import { loadOf } from './scaling/load.ts';
import { SocketsObject } from './sockets.ts';
import { StatusBoard as Board } from './status/board.ts';

const parts: AppParts = {
  fetch: (input, init) => fetch(input, init),
  nowMs: () => Date.now(),
  random: () => Math.random(),
  wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  log: (line) => (line.level === 'info' ? console.log : console.error)(JSON.stringify(line)),
};
const app = createApp(parts);

export class Outbox extends OutboxObject {
  constructor(ctx: DurableObjectState, env: object) {
    super(ctx, env, parts);
  }
}

export class StatusBoard extends Board {
  constructor(ctx: DurableObjectState, env: object) {
    super(ctx, env, { ...parts, load: async (env) => loadOf(await figuresOf(env)) });
  }
}

export class Meter extends MeterObject {
  constructor(ctx: DurableObjectState, env: object) {
    super(ctx, env, parts);
  }
}

export class Sockets extends SocketsObject {
  constructor(ctx: DurableObjectState, env: object) {
    super(ctx, env, parts);
  }
}

export default {
  fetch: app.fetch,
  /** The overflow, where a queue is bound. */
  async queue(batch: MessageBatch, env: object): Promise<void> {
    const outbox = outboxOf(env);
    if (outbox === undefined) batch.retryAll();
    else await takeBack(outbox, batch.messages);
  },
};
