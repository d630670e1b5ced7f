/** A store of a cluster's own, of either kind: what its pods are told, and what SQL finds in it past them. */

import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type PostgresServer, type Row, startPostgres } from '../../deploy/local/postgres.ts';
import { dayOf, partitionName } from '../../pipeline/store/postgres-partitions.ts';
import { TICK_TABLES } from '../../pipeline/store/postgres-rows.ts';
import { ROWS_BY_BATCH } from '../support/serial-ticks.ts';

/** Every pod has its connections; the server's own limit is a hundred. */
const CONNECTIONS_PER_POD = '4';
const DAY_SECONDS = 86_400;

export interface ClusterStore extends AsyncDisposable {
  /** Of the pods. */
  readonly settings: Readonly<Record<string, string>>;
  rowsByBatch(): Promise<Row[]>;
  deadLetters(): Promise<number>;
}

const DEAD_LETTERS = 'SELECT count(*) AS letters FROM dead_letters';

/** One file that all pods of one machine share. */
export class SqliteFile implements ClusterStore {
  readonly settings: Readonly<Record<string, string>>;
  readonly #path: string;

  constructor(directory: string) {
    this.#path = join(directory, 'ticks.db');
    this.settings = { MDP_STORE: `sqlite:${this.#path}` };
  }

  async rowsByBatch(): Promise<Row[]> {
    return this.#read(ROWS_BY_BATCH);
  }

  async deadLetters(): Promise<number> {
    return Number(this.#read(DEAD_LETTERS)[0]!['letters']);
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #read(sql: string): Row[] {
    using db = new DatabaseSync(this.#path, { readOnly: true });
    return db.prepare(sql).all();
  }
}

/** A server and one database on it. */
export class PostgresDatabase implements ClusterStore {
  readonly settings: Readonly<Record<string, string>>;
  readonly server: PostgresServer;
  readonly #database: string;

  private constructor(server: PostgresServer, database: string) {
    this.server = server;
    this.#database = database;
    this.settings = this.settingsBehind('127.0.0.1');
  }

  static async start(parent?: string): Promise<PostgresDatabase> {
    const server = await startPostgres({}, parent);
    return new PostgresDatabase(server, await server.createDatabase());
  }

  /** One that these addresses may come to as well. */
  static async startOpen(addresses: readonly string[]): Promise<PostgresDatabase> {
    const server = await startPostgres({ listen_addresses: '0.0.0.0' });
    const [row] = await server.query('postgres', 'SHOW hba_file');
    const lines = addresses.map((address) => `host all all ${address}/32 scram-sha-256\n`);
    await appendFile(String(row!['hba_file']), lines.join(''));
    await server.query('postgres', 'SELECT pg_reload_conf()');
    return new PostgresDatabase(server, await server.createDatabase());
  }

  get port(): number {
    return Number(new URL(this.server.url(this.#database)).port);
  }

  /** Of pods that find it at this address. */
  settingsBehind(host: string): Record<string, string> {
    const url = this.server.url(this.#database).replace('127.0.0.1', host);
    return { MDP_STORE: url, MDP_STORE_CONNECTIONS: CONNECTIONS_PER_POD };
  }

  rowsByBatch(): Promise<Row[]> {
    return this.server.query(this.#database, ROWS_BY_BATCH);
  }

  /**
   * Partitions of so many UTC days from that of this time on. Pods under load that meet a new day at once may not get to
   * make its own: its ticks are then in the default one, from which they do not go by being dropped.
   */
  async makeDays(firstMs: number, count: number): Promise<void> {
    const first = dayOf(firstMs);
    const days = Array.from({ length: count }, (_, at) => first + at);
    const statements = TICK_TABLES.flatMap((table) =>
      days.map((day) => {
        const range = `FROM (to_timestamp(${day * DAY_SECONDS})) TO (to_timestamp(${(day + 1) * DAY_SECONDS}))`;
        return `CREATE TABLE ${partitionName(table, day)} PARTITION OF ${table} FOR VALUES ${range}`;
      }),
    );
    await this.server.query(this.#database, statements.join(';'));
  }

  /** The ticks of the UTC day of this time. */
  async dropDay(dayMs: number): Promise<void> {
    for (const table of TICK_TABLES) {
      await this.server.query(this.#database, `DROP TABLE ${partitionName(table, dayOf(dayMs))}`);
    }
  }

  async deadLetters(): Promise<number> {
    const [row] = await this.server.query(this.#database, DEAD_LETTERS);
    return Number(row!['letters']);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.remove();
  }
}
