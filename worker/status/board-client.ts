/**
 * An isolate's way to the status board: reads its record, tells it what the isolate has seen. The board away is an
 * older record, never an error; that record's age then speaks for itself.
 */

import { Paced, type RequestScope } from '../paced.ts';
import type { Fetch } from '../relay.ts';
import { type BoardWorld, RECORD_PATH, REPORT_PATH } from './board.ts';
import type { BoardRecord } from './board-tables.ts';
import { PACE } from './pace.ts';
import { EdgeTally, type NotedAnswer } from './tally.ts';
import type { EdgeReport } from './window.ts';

/** The binding's name in wrangler.toml. */
export const STATUS_BOARD = 'STATUS_BOARD';
const BOARD_NAME = 'status';
const BOARD_URL = 'http://status-board';

export const RECORD_TIMEOUT_MS = 3_000;

/** The part of a Durable Object namespace that is used. */
export interface BoardNamespace {
  getByName(name: string): { fetch: Fetch };
}

export type ClientWorld = Pick<BoardWorld, 'nowMs' | 'wait' | 'log' | 'pace'>;

type ReporterWorld = Pick<ClientWorld, 'nowMs' | 'wait' | 'pace'>;

export class BoardClient {
  readonly #world: ClientWorld;
  #record: BoardRecord | undefined;
  #askedMs = Number.NEGATIVE_INFINITY;

  constructor(world: ClientWorld) {
    this.#world = world;
  }

  /** The newest record this isolate can get; `undefined` when it never had one. */
  async record(env: object | undefined): Promise<BoardRecord | undefined> {
    const { nowMs, wait, log, pace = PACE } = this.#world;
    const board = boardOf(env);
    if (board === undefined) return undefined;
    const justAsked = Math.abs(nowMs() - this.#askedMs) < pace.recordMs;
    if (this.#record !== undefined && justAsked) return this.#record;
    this.#askedMs = nowMs();
    try {
      const asked = board.fetch(BOARD_URL + RECORD_PATH, {}).then(async (response) => {
        if (response.ok) return JSON.parse(await response.text()) as BoardRecord;
        throw new Error(`the board answered ${response.status}`);
      });
      const late = wait(RECORD_TIMEOUT_MS).then(() => {
        throw new Error('the board did not answer in time');
      });
      this.#record = await Promise.race([asked, late]);
    } catch (cause) {
      log({ level: 'warn', event: 'status-board-lost', cause: String(cause) });
    }
    return this.#record;
  }

  /** False when the board did not take it. */
  async report(env: object, report: EdgeReport): Promise<boolean> {
    try {
      const init = { method: 'POST', body: JSON.stringify(report) };
      return (await boardOf(env)?.fetch(BOARD_URL + REPORT_PATH, init))?.ok ?? true;
    } catch {
      return false;
    }
  }
}

/**
 * Collects what this isolate sees and tells the board at most every `reportMs`, after the answer has gone. A batch
 * costs a few additions; one in five seconds also a promise.
 */
export class StatusReporter {
  readonly #client: BoardClient;
  readonly #pace: Paced;
  readonly #tally = new EdgeTally();

  constructor(client: BoardClient, world: ReporterWorld) {
    this.#client = client;
    this.#pace = new Paced(world, (world.pace ?? PACE).reportMs);
  }

  noteAnswer(scope: RequestScope, answer: NotedAnswer): void {
    if (!(STATUS_BOARD in scope.env)) return;
    this.#tally.noteAnswer(answer);
    this.#pace.ask(scope, (env) => this.#report(env));
  }

  noteFailure(scope: RequestScope): void {
    if (!(STATUS_BOARD in scope.env)) return;
    this.#tally.noteFailure();
    this.#pace.ask(scope, (env) => this.#report(env));
  }

  async #report(env: object): Promise<void> {
    if (this.#tally.isEmpty) return;
    const report = this.#tally.take();
    if (!(await this.#client.report(env, report))) this.#tally.putBack(report);
  }
}

function boardOf(env: object | undefined): { fetch: Fetch } | undefined {
  const namespace = (env as Record<string, unknown> | undefined)?.[STATUS_BOARD] as BoardNamespace | undefined;
  return namespace?.getByName(BOARD_NAME);
}
