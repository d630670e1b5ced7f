/** The least role of the runbook, made by its very lines on a real PostgreSQL: enough for all a pod does, and no more. */

import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PostgresStore } from '../../pipeline/store/postgres.ts';
import { NOW_MS, quote, storeBatch, trade, trades } from '../support/pod-batch.ts';
import { POSTGRES_BIN, type PostgresServer, startPostgres } from '../../deploy/local/postgres.ts';
import { postgresStores, type PostgresStores, until, WEEK_MS } from '../support/postgres-stores.ts';

const RUNBOOK = readFileSync('deploy/README.md', 'utf8');
const GRANTS = /^## The least role$[\s\S]*?^```sql\n([\s\S]*?)^```$/m.exec(RUNBOOK)?.[1] ?? '';
const PASSWORD = 'choose one';
const ALL_TIME = { fromNs: 0n, toNs: 2n ** 62n, limit: 100 };

describe.skipIf(POSTGRES_BIN === undefined)('the least role of the runbook (needs an installed PostgreSQL)', () => {
  let server: PostgresServer;
  let stores: PostgresStores;
  let pod: PostgresStore;

  beforeAll(async () => {
    server = await startPostgres();
    stores = await postgresStores(server);
    await (await stores.open()).close();
    await server.query(stores.database, GRANTS);
    pod = await stores.open({ url: server.url(stores.database, 'mdp_pod', encodeURIComponent(PASSWORD)) });
  });
  afterAll(async () => {
    await stores?.close();
    await server?.remove();
  });

  it('stores trades and quotes, recognises a batch again, and reads all back', async () => {
    const batch = storeBatch('b1', [...trades(10), quote({ id: 'q' }), trade({ price: '-1' })]);
    expect(await pod.write([batch])).toMatchObject({ ok: true, results: [{ again: false, receipt: { stored: 11 } }] });
    expect(await pod.write([batch])).toMatchObject({ ok: true, results: [{ again: true }] });
    expect(await pod.readTrades({ provider: 'ibkr', symbol: 'AAPL', ...ALL_TIME })).toHaveLength(10);
    expect(await pod.readQuotes({ provider: 'ibkr', symbol: 'AAPL', ...ALL_TIME })).toHaveLength(1);
    expect(await pod.readLedger('ibkr', 'b1')).toBeDefined();
    expect(await pod.check()).toBeNull();
  });

  it('rehearses, keeps a dead letter, and replays it', async () => {
    expect(await pod.rehearse(storeBatch('b2', trades(1, 100)))).toMatchObject({ ok: true });
    expect(await pod.readDeadLetters({ provider: 'ibkr', limit: 10 })).toHaveLength(1);
    expect(
      await pod.replay(storeBatch('b1', [...trades(10), quote({ id: 'q' }), trade({ id: 'mended' })])),
    ).toMatchObject({ ok: true });
    expect(stores.events.filter((event) => !event.startsWith('partition_not_created'))).toEqual([]);
  });

  it('forgets what is older than its retention', async () => {
    stores.clock.nowMs = NOW_MS + 2 * WEEK_MS;
    await pod.maintain();
    await until('the ledger is empty', async () => (await stores.count('batches')) === 0);
    stores.clock.nowMs = NOW_MS;
    // Making partitions ahead and dropping old ones is the owner's, and is said; nothing else is missing.
    expect(stores.events.filter((event) => !event.startsWith('partition'))).toEqual([]);
  });

  it.each([
    'DELETE FROM trades',
    'UPDATE trades SET price = 0',
    'TRUNCATE quotes',
    'DROP TABLE trades',
    'ALTER TABLE batches ADD COLUMN x int',
    'CREATE TABLE mine (x int)',
    'INSERT INTO schema_version VALUES (99, now())',
    'CREATE ROLE another',
    'SELECT * FROM pg_authid',
    "COPY trades TO PROGRAM 'cat'",
    "SELECT pg_read_file('/etc/passwd')",
    'SET ROLE postgres',
  ])('may not %s', async (statement) => {
    // A superuser's connection that is the role from here on, and cannot take that back within the statement.
    await expect(
      server.query(stores.database, `BEGIN; SET LOCAL SESSION AUTHORIZATION mdp_pod; ${statement}; COMMIT`),
    ).rejects.toThrow(/permission denied|must be (owner|superuser)/);
  });

  it('cannot do with any of its rights taken away', async () => {
    const grants = [...GRANTS.matchAll(/^GRANT ([A-Z, ]+) ON ([a-z_, ]+) TO/gm)].flatMap(([, rights, tables]) =>
      tables!.split(', ').flatMap((table) => rights!.split(', ').map((right) => ({ right, table }))),
    );
    expect(grants.length).toBeGreaterThan(10);
    const needless: string[] = [];
    for (const { right, table } of grants) {
      await server.query(stores.database, `REVOKE ${right} ON ${table} FROM mdp_pod`);
      const works = await everything(`without-${right}-${table}`);
      await server.query(stores.database, `GRANT ${right} ON ${table} TO mdp_pod`);
      if (works) needless.push(`${right} on ${table}`);
    }
    expect(needless).toEqual([]);
  });

  /** Whether a new pod of the role can do all that a pod does. */
  async function everything(batch: string): Promise<boolean> {
    const events: string[] = [];
    const one = stores.create({
      url: server.url(stores.database, 'mdp_pod', encodeURIComponent(PASSWORD)),
      onEvent: (_, event) => void events.push(event),
    });
    try {
      await one.open();
      const written = storeBatch(batch, [trade({ id: batch }), quote({ id: batch }), trade({ price: '-1' })]);
      if (!(await one.write([written])).ok || !(await one.replay(written)).ok) return false;
      await one.readTrades({ provider: 'ibkr', symbol: 'AAPL', ...ALL_TIME });
      await one.readQuotes({ provider: 'ibkr', symbol: 'AAPL', ...ALL_TIME });
      await one.readDeadLetters({ provider: 'ibkr', limit: 1 });
      await one.readLedger('ibkr', batch);
      stores.clock.nowMs = NOW_MS + 2 * WEEK_MS;
      await one.maintain();
      return events.every((event) => event.startsWith('partition'));
    } catch {
      return false;
    } finally {
      stores.clock.nowMs = NOW_MS;
      await one.close();
    }
  }
});
