/**
 * The tables of one outbox, and the few words in which its statements are run. Knows SQLite only as a Durable Object
 * offers it: synchronous, and all that is done without an `await` between is durable together.
 */

export type SqlValue = ArrayBuffer | Uint8Array | string | number | null;
export type Row = Record<string, SqlValue>;

export interface Database {
  exec(query: string, ...bindings: SqlValue[]): Iterable<Row>;
  /** All or nothing. */
  transaction<Result>(work: () => Result): Result;
  /** Without its free pages. */
  sizeBytes(): number;
}

/** Of the tables below. A later one is reached by steps, each in a transaction; a newer one is refused. */
export const SCHEMA_VERSION = 1;

/**
 * `batches` without bodies, so that what is held can be counted and looked through on few pages. `seq` is the order of
 * arrival. A batch is held while `settled_ms` is null; `receipt` is the JSON of what became of it.
 */
const TABLES = [
  `CREATE TABLE batches (
    seq INTEGER PRIMARY KEY,
    batch TEXT NOT NULL,
    id_made INTEGER NOT NULL,
    body_hash BLOB NOT NULL,
    content_type TEXT NOT NULL,
    encoding TEXT,
    arrived_ms INTEGER NOT NULL,
    ticks INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_ms INTEGER NOT NULL DEFAULT 0,
    settled_ms INTEGER,
    dead INTEGER NOT NULL DEFAULT 0,
    receipt TEXT
  )`,
  'CREATE TABLE bodies (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)',
  'CREATE INDEX batches_by_id ON batches (batch)',
  'CREATE INDEX batches_held ON batches (seq, due_ms, arrived_ms, ticks, bytes) WHERE settled_ms IS NULL',
  'CREATE INDEX batches_settled ON batches (dead, settled_ms, bytes) WHERE settled_ms IS NOT NULL',
  'CREATE INDEX batches_dead ON batches (seq) WHERE dead = 1',
];

/** Runs statements and hands back whole results. */
export class Statements {
  readonly #db: Database;

  /** Makes the tables where there are none. Throws when they are of a newer version. */
  constructor(db: Database) {
    this.#db = db;
    db.transaction(() => {
      this.run('CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID');
      const version = Number(this.fact('schema_version') ?? 0);
      if (version > SCHEMA_VERSION)
        throw new Error(`the outbox has schema ${version}, this Worker knows ${SCHEMA_VERSION}`);
      if (version === SCHEMA_VERSION) return;
      for (const table of TABLES) this.run(table);
      this.setFact('schema_version', SCHEMA_VERSION);
    });
  }

  all(query: string, ...bindings: SqlValue[]): Row[] {
    return [...this.#db.exec(query, ...bindings)];
  }

  one(query: string, ...bindings: SqlValue[]): Row | undefined {
    return this.all(query, ...bindings)[0];
  }

  run(query: string, ...bindings: SqlValue[]): void {
    this.all(query, ...bindings);
  }

  transaction<Result>(work: () => Result): Result {
    return this.#db.transaction(work);
  }

  sizeBytes(): number {
    return this.#db.sizeBytes();
  }

  fact(name: string): string | number | undefined {
    return this.one('SELECT value FROM facts WHERE name = ?', name)?.['value'] as string | number | undefined;
  }

  setFact(name: string, value: string | number): void {
    this.run('INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)', name, value);
  }
}

export function number(row: Row, name: string): number {
  return Number(row[name]);
}

export function text(row: Row, name: string): string {
  return row[name] as string;
}

export function bytesOf(row: Row, name: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(row[name] as ArrayBuffer);
}
