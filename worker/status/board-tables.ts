/**
 * The board's tables in its SQLite: facts and watches as they are now, minutes, days, incidents. Reads and writes
 * them, prunes what is too old, and judges nothing.
 */

import type { Facts } from './facts.ts';
import { dayOf, type DayCounts, HISTORY_DAYS, minuteOf } from './history.ts';
import type { Incident, Watch } from './incidents.ts';
import type { State } from './judge.ts';

export const MINUTES_KEPT = 48 * 60;
/** More than are shown, so that a change of the clock or of the page loses nothing. */
export const DAYS_KEPT = HISTORY_DAYS + 40;
export const INCIDENTS_KEPT = 500;
const DAY_MS = 86_400_000;

/** The part of a Durable Object's SQLite storage that is used. */
export interface BoardSql {
  exec(query: string, ...bindings: (string | number | null)[]): Iterable<Record<string, unknown>>;
}

/** One minute: the worst state of each component within it, and figures as they were last. */
export interface MinuteSample {
  minute: number;
  states: Record<string, State>;
  ticksPerSecond: number | null;
  delayMs: number | null;
}

/** What the isolates are given to judge and show. */
export interface BoardRecord {
  facts: Facts;
  days: DayCounts[];
  /** Newest first. */
  incidents: Incident[];
  /** The last hour, oldest first; minutes that nobody measured are missing. */
  minutes: Pick<MinuteSample, 'minute' | 'ticksPerSecond'>[];
}

/** Everything about one board but its measuring. */
export class BoardTables {
  readonly #sql: BoardSql;

  constructor(sql: BoardSql) {
    this.#sql = sql;
    sql.exec('CREATE TABLE IF NOT EXISTS now (name TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID');
    sql.exec('CREATE TABLE IF NOT EXISTS minutes (minute INTEGER PRIMARY KEY, json TEXT NOT NULL)');
    sql.exec(
      `CREATE TABLE IF NOT EXISTS days (day TEXT, component TEXT, operational INTEGER NOT NULL DEFAULT 0,
       degraded INTEGER NOT NULL DEFAULT 0, outage INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (day, component)) WITHOUT ROWID`,
    );
    sql.exec(
      `CREATE TABLE IF NOT EXISTS incidents (id TEXT PRIMARY KEY, started_ms INTEGER NOT NULL, ended_ms INTEGER,
       json TEXT NOT NULL) WITHOUT ROWID`,
    );
    sql.exec('CREATE INDEX IF NOT EXISTS incidents_by_start ON incidents (started_ms)');
  }

  facts(): Facts | undefined {
    return this.#now('facts') as Facts | undefined;
  }

  watches(): Record<string, Watch> {
    return (this.#now('watches') as Record<string, Watch> | undefined) ?? {};
  }

  keepNow(facts: Facts, watches: Record<string, Watch>): void {
    this.#keep('facts', facts);
    this.#keep('watches', watches);
  }

  lastMinute(): MinuteSample | undefined {
    const [row] = this.#sql.exec('SELECT json FROM minutes ORDER BY minute DESC LIMIT 1');
    return row === undefined ? undefined : (JSON.parse(row['json'] as string) as MinuteSample);
  }

  keepMinute(sample: MinuteSample): void {
    const json = JSON.stringify(sample);
    this.#sql.exec(
      'INSERT INTO minutes VALUES (?, ?) ON CONFLICT DO UPDATE SET json = excluded.json',
      sample.minute,
      json,
    );
  }

  /** Adds a minute that is over to its day. */
  rollUp({ minute, states }: MinuteSample): void {
    const day = dayOf(minute * 60_000);
    for (const [component, state] of Object.entries(states)) {
      if (state === 'unknown') continue;
      this.#sql.exec(
        `INSERT INTO days (day, component, ${state}) VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET ${state} = ${state} + 1`,
        day,
        component,
      );
    }
  }

  keepIncident(incident: Incident): void {
    this.#sql.exec(
      `INSERT INTO incidents VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET ended_ms = excluded.ended_ms, json = excluded.json`,
      incident.id,
      incident.startedMs,
      incident.endedMs,
      JSON.stringify(incident),
    );
  }

  /** Forgets what is older than what can be shown; open incidents stay. */
  prune(nowMs: number): void {
    this.#sql.exec('DELETE FROM minutes WHERE minute < ?', minuteOf(nowMs) - MINUTES_KEPT);
    const firstMs = nowMs - DAYS_KEPT * DAY_MS;
    this.#sql.exec('DELETE FROM days WHERE day < ?', dayOf(firstMs));
    this.#sql.exec(
      `DELETE FROM incidents WHERE ended_ms IS NOT NULL AND (ended_ms < ? OR id NOT IN
       (SELECT id FROM incidents ORDER BY started_ms DESC LIMIT ?))`,
      firstMs,
      INCIDENTS_KEPT,
    );
  }

  record(facts: Facts, nowMs: number, incidentsMax: number): BoardRecord {
    const incidents = [...this.#sql.exec('SELECT json FROM incidents ORDER BY started_ms DESC LIMIT ?', incidentsMax)];
    const minutes = [
      ...this.#sql.exec('SELECT json FROM minutes WHERE minute > ? ORDER BY minute', minuteOf(nowMs) - 60),
    ];
    return {
      facts,
      days: [...this.#sql.exec('SELECT * FROM days ORDER BY day')] as unknown as DayCounts[],
      incidents: incidents.map((row) => JSON.parse(row['json'] as string) as Incident),
      minutes: minutes.map((row) => {
        const { minute, ticksPerSecond } = JSON.parse(row['json'] as string) as MinuteSample;
        return { minute, ticksPerSecond };
      }),
    };
  }

  #now(name: string): unknown {
    const [row] = this.#sql.exec('SELECT json FROM now WHERE name = ?', name);
    return row === undefined ? undefined : JSON.parse(row['json'] as string);
  }

  #keep(name: string, value: unknown): void {
    const json = JSON.stringify(value);
    this.#sql.exec('INSERT INTO now VALUES (?, ?) ON CONFLICT DO UPDATE SET json = excluded.json', name, json);
  }
}
