/**
 * The status board: the one Durable Object that measures, remembers and is asked. Works by itself by alarm, which is
 * set again before anything that could fail, and by every visit. Reached through its binding alone; never judges for
 * the public: readers do that from the facts and their age.
 */

import type { Fetch } from '../relay.ts';
import { type Settings, settingsOf } from '../settings.ts';
import { type BoardSql, BoardTables } from './board-tables.ts';
import { sendCanary } from './canary.ts';
import { clusterCheck } from './cluster-check.ts';
import { type Facts, isGoodCanary, isGoodCheck, type Load, measured, noFacts } from './facts.ts';
import { minuteOf, worstOf } from './history.ts';
import { NO_WATCH, silenceIncident, type Watch, watchStep } from './incidents.ts';
import { freshCanary, judge } from './judge.ts';
import { type Pace, PACE } from './pace.ts';
import { publicationOf, shownProviders } from './publication.ts';
import { askForSnapshot, SNAPSHOT_TIMEOUT_MS } from './snapshot.ts';
import { type EdgeReport, ticksPerSecond, withReport } from './window.ts';

export const RECORD_PATH = '/record';
export const REPORT_PATH = '/report';
/** As many as the Statuspage shape gives at once. */
export const INCIDENTS_GIVEN_MAX = 50;
const LOAD_TIMEOUT_MS = 2_000;

/** The part of a Durable Object's state that is used. */
export interface BoardState {
  storage: {
    sql: BoardSql;
    getAlarm(): Promise<number | null>;
    setAlarm(atMs: number): Promise<void>;
  };
}

/** The world outside. */
export interface BoardWorld {
  fetch: Fetch;
  nowMs: () => number;
  random: () => number;
  wait: (ms: number) => Promise<void>;
  log: (line: { level: 'info' | 'warn' | 'error'; event: string; [fact: string]: unknown }) => void;
  /** What is on its way, from whoever counts it; absent, ticks are those that isolates report. */
  load?: (env: object) => Promise<Load | undefined>;
  pace?: Pace;
}

/** Invariant: after any event an alarm is set, no later than one beat ahead. */
export class StatusBoard {
  readonly #storage: BoardState['storage'];
  readonly #env: object;
  readonly #world: BoardWorld;
  readonly #pace: Pace;
  readonly #tables: BoardTables;
  #facts: Facts;
  #watches: Record<string, Watch>;
  #canarySentMs = Number.NEGATIVE_INFINITY;

  constructor(state: BoardState, env: object, world: BoardWorld) {
    this.#storage = state.storage;
    this.#env = env;
    this.#world = world;
    this.#pace = world.pace ?? PACE;
    this.#tables = new BoardTables(state.storage.sql);
    this.#facts = this.#tables.facts() ?? noFacts(world.nowMs());
    this.#watches = this.#tables.watches();
  }

  /** `GET /record` and `POST /report`, from isolates of this Worker. */
  async fetch(request: Request): Promise<Response> {
    await this.#ensureAlarm();
    const { pathname } = new URL(request.url);
    const nowMs = this.#world.nowMs();
    if (pathname === RECORD_PATH) {
      return Response.json(this.#tables.record(this.#facts, nowMs, INCIDENTS_GIVEN_MAX));
    }
    if (pathname !== REPORT_PATH) return new Response(null, { status: 404 });
    // Kept in memory until the next beat: a crash loses seconds of counts, which the next minute makes good.
    const report = JSON.parse(await request.text()) as EdgeReport;
    this.#facts = withReport(this.#facts, report, nowMs, this.#pace.windowMs);
    return new Response(null, { status: 204 });
  }

  /** Never throws: the platform gives up an alarm that keeps failing. */
  async alarm(): Promise<void> {
    await this.#guarded('alarm-not-set', () => this.#storage.setAlarm(this.#world.nowMs() + this.#pace.beatMs));
    await this.#guarded('beat-failed', () => this.#beat());
    await this.#guarded('alarm-not-set', () => this.#ensureAlarm());
  }

  /** Sets the alarm when there is none, or one that should have come long ago. */
  async #ensureAlarm(): Promise<void> {
    const nowMs = this.#world.nowMs();
    const atMs = await this.#storage.getAlarm();
    if (atMs !== null && atMs > nowMs - this.#pace.staleMs && atMs <= nowMs + this.#pace.beatMs) return;
    await this.#storage.setAlarm(nowMs);
  }

  async #beat(): Promise<void> {
    const { outcome } = await settingsOf(this.#env);
    const lastBeatMs = this.#facts.beatMs;
    this.#facts = { ...this.#facts, setUp: outcome.ok };
    if (outcome.ok) {
      const { settings } = outcome;
      await Promise.all([this.#look(settings), this.#sendCanaryIfDue(settings), this.#askForLoad()]);
    } else {
      this.#facts = { ...this.#facts, beatMs: this.#world.nowMs() };
    }
    this.#settle(lastBeatMs);
  }

  async #look({ clusterUrl }: Settings): Promise<void> {
    const timeoutMs = Math.min(SNAPSHOT_TIMEOUT_MS, this.#pace.canaryTimeoutMs);
    const outcome = await askForSnapshot(this.#world.fetch, clusterUrl, timeoutMs);
    const atMs = this.#world.nowMs();
    const check = clusterCheck(outcome, atMs);
    this.#facts = { ...this.#facts, beatMs: atMs, cluster: measured(this.#facts.cluster, check, isGoodCheck(check)) };
  }

  async #sendCanaryIfDue(settings: Settings): Promise<void> {
    const { canaryMs, canaryTimeoutMs, beatMs } = this.#pace;
    const sentMs = this.#world.nowMs();
    // Alarms do not come to the millisecond; and a clock that was set back must not end the canaries.
    if (Math.abs(sentMs - this.#canarySentMs) < canaryMs - beatMs / 2) return;
    this.#canarySentMs = sentMs;
    const { fetch, nowMs, random, wait } = this.#world;
    const parts = { fetch, nowMs, random, wait, relayTimeoutMs: canaryTimeoutMs };
    const result = await sendCanary(parts, settings, canaryMs);
    this.#facts = { ...this.#facts, canary: measured(this.#facts.canary, result, isGoodCanary(result)) };
  }

  async #askForLoad(): Promise<void> {
    const { load, wait } = this.#world;
    if (load === undefined) return;
    await this.#guarded('load-not-known', async () => {
      const known = await Promise.race([load(this.#env), wait(LOAD_TIMEOUT_MS).then(() => undefined)]);
      if (known !== undefined) this.#facts = { ...this.#facts, load: { atMs: this.#world.nowMs(), ...known } };
    });
  }

  /** Judges what was measured, for incidents and history, and keeps it: all in one go, without waiting. */
  #settle(lastBeatMs: number | null): void {
    const nowMs = this.#world.nowMs();
    // Of providers that are not shown, neither history nor incidents are kept.
    const providers = shownProviders(publicationOf(this.#env), Object.keys(this.#facts.providers));
    const judged = judge(this.#facts, providers, nowMs, this.#pace);
    const newly = judged.filter(({ id }) => this.#facts.judgedSinceMs[id] === undefined);
    if (newly.length > 0) {
      const since = Object.fromEntries(newly.map(({ id }) => [id, nowMs]));
      this.#facts = { ...this.#facts, judgedSinceMs: { ...this.#facts.judgedSinceMs, ...since } };
    }
    if (lastBeatMs !== null && nowMs - lastBeatMs > this.#pace.staleMs) {
      this.#tables.keepIncident(silenceIncident(crypto.randomUUID(), lastBeatMs, nowMs));
    }
    for (const one of judged) {
      const step = watchStep(this.#watches[one.id] ?? NO_WATCH, one, nowMs, this.#pace, () => crypto.randomUUID());
      this.#watches[one.id] = step.watch;
      if (step.changed !== null) this.#tables.keepIncident(step.changed);
    }
    const last = this.#tables.lastMinute();
    const minute = minuteOf(nowMs);
    const isNew = last === undefined || last.minute < minute;
    if (isNew && last !== undefined) this.#tables.rollUp(last);
    this.#tables.keepMinute({
      minute,
      states: worstOf(last?.minute === minute ? last.states : {}, judged),
      ticksPerSecond: ticksPerSecond(this.#facts, nowMs, this.#pace),
      delayMs: freshCanary(this.#facts, nowMs, this.#pace)?.tookMs ?? null,
    });
    if (isNew) this.#tables.prune(nowMs);
    this.#tables.keepNow(this.#facts, this.#watches);
  }

  async #guarded(event: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (cause) {
      this.#world.log({ level: 'error', event: `status-${event}`, cause: String(cause) });
    }
  }
}
