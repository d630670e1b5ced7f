/**
 * A Worker with the status routes alone: what the edge's own entry does for them, with a shorter pace, and doors
 * through which a test says what an isolate saw, who sends, and what goes wrong inside the board.
 */

import { Hono } from 'hono';
import { StatusBoard as Board, type BoardState, type BoardWorld } from '../../worker/status/board.ts';
import { BoardClient, StatusReporter } from '../../worker/status/board-client.ts';
import { type Pace, PACE } from '../../worker/status/pace.ts';
import { mountStatus } from '../../worker/status/routes.ts';
import type { BatchFate } from '../../worker/status/tally.ts';

interface StatusEnv {
  /** All intervals are this share of the real ones. */
  PACE_SHARE: string;
  /** `1`: every second request gets what no network gives. */
  FAULTY: string;
  STATUS_PROVIDERS: string;
}

/** Not settings of the edge: hidden from its check that every text is a known setting. */
const OWN = ['PACE_SHARE', 'FAULTY', 'STATUS_PROVIDERS'] as const;

function paceOf(env: StatusEnv): Pace {
  const share = Number(env.PACE_SHARE);
  const scaled = Object.entries(PACE).map(([name, ms]) => [name, Math.round((ms as number) * share)]);
  return Object.fromEntries(scaled) as Pace;
}

let looks = 0;

function worldOf(env: StatusEnv): BoardWorld {
  return {
    fetch: (input, init) => {
      looks += 1;
      if (env.FAULTY === '1' && looks % 2 === 0) return undefined as never;
      return fetch(input, init);
    },
    nowMs: () => Date.now(),
    random: () => Math.random(),
    wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    log: (line) => console.log(JSON.stringify(line)),
    pace: paceOf(env),
  };
}

export class StatusBoard extends Board {
  constructor(state: BoardState, env: StatusEnv) {
    const settings = { ...env };
    for (const name of OWN) Object.defineProperty(settings, name, { enumerable: false });
    super(state, settings, worldOf(env));
  }
}

let app: Hono<{ Bindings: StatusEnv }> | undefined;

function createApp(env: StatusEnv): Hono<{ Bindings: StatusEnv }> {
  const world = worldOf(env);
  const board = new BoardClient(world);
  const reporter = new StatusReporter(board, world);
  const created = new Hono<{ Bindings: StatusEnv }>();
  created.post('/note/:provider/:fate', (c) => {
    const { provider, fate } = c.req.param();
    const scope = { env: c.env, waitUntil: (work: Promise<unknown>) => c.executionCtx.waitUntil(work) };
    if (fate === 'failed') reporter.noteFailure(scope);
    else reporter.noteAnswer(scope, { provider, fate: fate as BatchFate, ticks: 100, level: 'ok' });
    return c.body(null, 204);
  });
  mountStatus(created, { board, nowMs: world.nowMs, pace: paceOf(env) });
  return created;
}

export default {
  fetch: (request: Request, env: StatusEnv, scope: { waitUntil(work: Promise<unknown>): void }) => {
    app ??= createApp(env);
    return app.fetch(request, env, scope as never);
  },
};
