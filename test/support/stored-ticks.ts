/** The store's file, read by a connection of our own: what is in it is stored, whatever a pod may say. */

import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Batch } from '../../deploy/replay/batches.ts';
import type { TickInput } from '../../pipeline/contract/tick.ts';

export class StoredTicks implements Disposable {
  readonly #db: DatabaseSync;
  readonly #has: Record<'trade' | 'quote', StatementSync>;

  constructor(path: string) {
    this.#db = new DatabaseSync(path, { readOnly: true });
    const where = 'WHERE provider = ? AND symbol = ? AND ts = ? AND id = ?';
    this.#has = {
      trade: this.#db.prepare(`SELECT 1 FROM trades ${where}`),
      quote: this.#db.prepare(`SELECT 1 FROM quotes ${where}`),
    };
  }

  /** Rows of one provider, or of all. */
  counts(provider?: string): { trades: number; quotes: number } {
    return { trades: this.#count('trades', provider), quotes: this.#count('quotes', provider) };
  }

  /** Entries of the batch ledger. */
  batches(provider?: string): number {
    return this.#count('batches', provider);
  }

  batchIds(provider: string): string[] {
    const rows = this.#db.prepare('SELECT batch FROM batches WHERE provider = ?').all(provider);
    return rows.map((row) => String(row['batch']));
  }

  /** Ids in the order of their commits; those of one millisecond, which are one group, by id. */
  batchOrder(provider: string): string[] {
    const rows = this.#db
      .prepare('SELECT batch FROM batches WHERE provider = ? ORDER BY stored_at_ms, length(batch), batch')
      .all(provider);
    return rows.map((row) => String(row['batch']));
  }

  /** Identities of the batch's ticks that are not stored. */
  missing(provider: string, batch: Batch): string[] {
    const missing: string[] = [];
    for (const [index, tick] of ticksOf(batch).entries()) {
      const id = tick.id === undefined ? `~${batch.id}/${index}` : String(tick.id);
      const tsNs = nanoseconds(tick);
      const row = this.#has[tick.type ?? 'trade'].get(provider, tick.symbol, tsNs, id);
      if (row === undefined) missing.push(`${tick.type} ${tick.symbol} ${tsNs} ${id}`);
    }
    return missing;
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }

  #count(table: 'trades' | 'quotes' | 'batches', provider: string | undefined): number {
    const statement = this.#db.prepare(`SELECT count(*) AS rows FROM ${table} WHERE ? IN (provider, '')`);
    return Number(statement.get(provider ?? '')!['rows']);
  }
}

/** Keeps every other connection from committing, until it is let go; closed by whoever took it. */
export class WriteLock implements Disposable {
  readonly #db: DatabaseSync;

  constructor(path: string) {
    this.#db = new DatabaseSync(path, { timeout: 5_000 });
    this.#db.exec('BEGIN IMMEDIATE');
  }

  letGo(): void {
    this.#db.exec('ROLLBACK');
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }
}

function ticksOf({ body }: Batch): TickInput[] {
  const lines = new TextDecoder().decode(body).trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as TickInput);
}

/** Of a tick as the replay writes it: milliseconds, or nanoseconds as text. */
function nanoseconds(tick: TickInput): bigint {
  if (tick.tsNs !== undefined) return BigInt(tick.tsNs);
  if (tick.tsMs === undefined) throw new Error('the replay of this capture writes tsMs or tsNs');
  return BigInt(tick.tsMs) * 1_000_000n;
}
