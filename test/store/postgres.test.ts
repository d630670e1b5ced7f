/** How the PostgreSQL store keeps what every store keeps: see store.test.ts. */

import { describe, expect, it } from 'vitest';
import type { StoreBatch } from '../../pipeline/queue/delivery.ts';
import type { Session } from '../../pipeline/store/postgres-session.ts';
import { writeGroup } from '../../pipeline/store/postgres-write.ts';
import { NOW_MS, quote, storeBatch, trade, trades } from '../support/pod-batch.ts';
import { POSTGRES_BIN, type PostgresServer } from '../../deploy/local/postgres.ts';
import { onOwnDatabases } from './own-databases.ts';
import type { PostgresStores } from '../support/postgres-stores.ts';

let server: PostgresServer;
let bench: PostgresStores;

describe.skipIf(POSTGRES_BIN === undefined)('the PostgreSQL store (needs an installed PostgreSQL)', () => {
  onOwnDatabases((started, made) => {
    [server, bench] = [started, made];
  });

  it('keeps the nanoseconds of a tick beside its microseconds', async () => {
    const times = ['1763908200123456789', '-1', '-9223372036000000000', '0'];
    const batch = storeBatch(
      'b1',
      times.map((tsNs, at) => trade({ tsMs: undefined, tsNs, id: `n${at}` })),
    );
    expect(await (await bench.open()).write([batch])).toMatchObject({ ok: true });
    expect(await bench.rows("SELECT ts::text || ' ' || ts_ns AS at FROM trades ORDER BY ts, ts_ns")).toEqual([
      { at: '1677-09-21 00:12:44+00 0' },
      { at: '1969-12-31 23:59:59.999999+00 999' },
      { at: '1970-01-01 00:00:00+00 0' },
      { at: '2025-11-23 14:30:00.123456+00 789' },
    ]);
  });

  it('writes a group with one statement for its ledger, one for each kind of tick, and one for its dead letters', async () => {
    await bench.open();
    const client = await server.connect(bench.database);
    const texts: string[] = [];
    const counting: Session = {
      query: (text, values) => (texts.push(text), client.query(text, values)),
    };
    const write = async (...batches: StoreBatch[]): Promise<string[]> => {
      texts.length = 0;
      await writeGroup(counting, batches, { storedAtMs: NOW_MS, pod: 'pod-1' });
      return texts.map((text) => /INSERT INTO (\w+)/.exec(text)?.[1] ?? text);
    };
    expect(await write(storeBatch('b1', trades(5)), storeBatch('b2', trades(5, 5)))).toEqual(['batches', 'trades']);
    expect(await write(storeBatch('b3', [trade({ id: 'x' }), {}, quote()]), storeBatch('b4', [{}, {}]))).toEqual([
      'batches',
      'trades',
      'quotes',
      'dead_letters',
    ]);
    expect(await write(storeBatch('b5', [{}]))).toEqual(['batches', 'dead_letters']);
  });
});
