/** What PostgreSQL and those beside us may do: kill, stop, cut, lock, refuse. Nothing acknowledged is lost or doubled. */

import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { BatchResult, StoreBatch } from '../../pipeline/queue/delivery.ts';
import { inTransaction } from '../../pipeline/store/postgres-session.ts';
import type { PostgresStore } from '../../pipeline/store/postgres.ts';
import { NOW_MS, quote, storeBatch, trade, trades } from '../support/pod-batch.ts';
import { POSTGRES_BIN, type PostgresServer, startPostgres } from '../../deploy/local/postgres.ts';
import { postgresStores, type PostgresStores, until } from '../support/postgres-stores.ts';
import { mayMount } from '../support/small-disk.ts';

let server: PostgresServer;
let stores: PostgresStores;

async function write(store: PostgresStore, ...batches: StoreBatch[]): Promise<BatchResult[]> {
  const outcome = await store.write(batches);
  if (!outcome.ok) throw new Error(outcome.detail);
  return outcome.results;
}

/** A server that was killed recovers before it answers, on a disk that others use. */
const HEALING_TIMEOUT_MS = 45_000;

/** Offers a batch until it is stored, as a sender does; whether it had to be offered again. */
async function insist(store: PostgresStore, batch: StoreBatch): Promise<BatchResult> {
  for (;;) {
    const outcome = await store.write([batch]);
    if (outcome.ok) return outcome.results[0]!;
    await until('the store is open', () => store.isOpen, HEALING_TIMEOUT_MS);
  }
}

/** Ends when `count` connections of pods wait for a lock. */
async function waitsForLock(count = 1): Promise<void> {
  const waiting =
    "SELECT count(*)::int4 AS n FROM pg_stat_activity WHERE application_name LIKE 'mdp-pod%' AND wait_event_type = 'Lock'";
  await until(`${count} wait for a lock`, async () => Number((await stores.rows(waiting))[0]!['n']) >= count);
}

function sockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
}

const CLAIM = `INSERT INTO batches VALUES ('ibkr', 'b1', $1, 3, 0, '[]', 0, now(), 'pod-9')`;
const HOLD_TRADE = `INSERT INTO trades (provider, symbol, ts, ts_ns, id, price, size, stored_at, pod)
  VALUES ('ibkr', 'AAPL', $1, 0, $2, 1, 1, now(), 'pod-9')`;

describe.skipIf(POSTGRES_BIN === undefined)('the PostgreSQL store under faults (needs an installed PostgreSQL)', () => {
  beforeAll(async () => {
    server = await startPostgres({ deadlock_timeout: '500ms' });
  });
  afterAll(() => server?.remove());
  beforeEach(async () => {
    stores = await postgresStores(server);
  });
  afterEach(async () => {
    server.resume();
    await server.disconnect();
    await stores.close();
  });

  describe('several pods', () => {
    it('that write the same batch at once store it once and give the same receipt', async () => {
      const pods = await Promise.all([1, 2, 3].map((pod) => stores.open({ pod: `pod-${pod}` })));
      for (let round = 0; round < 20; round += 1) {
        const batch = storeBatch(`b${round}`, [trade(), trade(), ...trades(20, round * 10)]);
        const results = (await Promise.all(pods.map((pod) => write(pod, batch)))).flat();
        expect(results.filter((result) => result.outcome === 'stored' && !result.again)).toHaveLength(1);
        expect(new Set(results.map((result) => JSON.stringify({ ...result, again: true }))).size).toBe(1);
      }
      // 2 without an id in each of 20, and ids 0 to 209.
      expect(await stores.count('trades')).toBe(20 * 2 + 210);
    });

    it('that write the same batch wait for the one that was first, and answer from what it stored', async () => {
      const pod = await stores.open();
      const batch = storeBatch('b1', trades(3));
      const first = await server.connect(stores.database);
      await first.query('BEGIN');
      await first.query(CLAIM, [batch.bodyHash]);
      const [same, other] = [write(pod, batch), write(pod, storeBatch('b1', trades(4)))];
      await waitsForLock(2);
      await first.query('COMMIT');
      expect(await same).toMatchObject([{ outcome: 'stored', again: true, receipt: { stored: 3 } }]);
      expect(await other).toEqual([{ outcome: 'conflict' }]);
      // They were the first one's to store.
      expect(await stores.count('trades')).toBe(0);
    });

    it('that write the same batch take it over when the one that was first gives up', async () => {
      const pod = await stores.open();
      const batch = storeBatch('b1', trades(3));
      const first = await server.connect(stores.database);
      await first.query('BEGIN');
      await first.query(CLAIM, [batch.bodyHash]);
      const second = write(pod, batch);
      await waitsForLock();
      await first.query('ROLLBACK');
      expect(await second).toMatchObject([{ again: false, receipt: { stored: 3 } }]);
    });

    it('that bring the same ticks in opposite orders never end in a deadlock', async () => {
      const pods = await Promise.all([1, 2, 3, 4].map((pod) => stores.open({ pod: `pod-${pod}` })));
      const all = Array.from({ length: 600 }, (_, at) =>
        (at % 4 === 0 ? quote : trade)({ id: at, symbol: `S${at % 7}` }),
      );
      for (let round = 0; round < 8; round += 1) {
        const ticks = all.map((tick) => ({ ...tick, tsMs: NOW_MS + round }));
        // Seen failing: without ORDER BY in the INSERT, "40P01: deadlock detected" in the first rounds.
        await Promise.all(
          pods.map((pod, at) => {
            const mine = at % 2 === 0 ? ticks : ticks.toReversed();
            const halves = [
              storeBatch(`h${round}-${at % 2}`, mine.slice(0, 300)),
              storeBatch(`r${round}-${at}`, mine.slice(300)),
            ];
            return write(pod, ...(at % 2 === 0 ? halves : halves.toReversed()));
          }),
        );
      }
      expect((await stores.count('trades')) + (await stores.count('quotes'))).toBe(8 * 600);
      expect(stores.events).toEqual([]);
    });
  });

  it('says contention when a deadlock ends its write, keeps nothing of it, and stays open', async () => {
    const pod = await stores.open();
    const other = await server.connect(stores.database);
    const at = new Date(NOW_MS);
    // Longer than the store's, so that the store is the one that is chosen.
    await other.query("SET deadlock_timeout = '20s'");
    await other.query('BEGIN');
    await other.query(HOLD_TRADE, [at, '7']);
    const batch = storeBatch('b1', trades(10));
    const outcome = pod.write([batch]);
    await waitsForLock();
    const theirs = other.query(HOLD_TRADE, [at, '3']);
    expect(await outcome).toMatchObject({ ok: false, kind: 'contention', detail: expect.stringMatching(/^40P01/) });
    await theirs;
    await other.query('ROLLBACK');
    expect([pod.isOpen, await stores.count('trades'), await stores.count('batches')]).toEqual([true, 0, 0]);
    expect(await write(pod, batch)).toMatchObject([{ again: false, receipt: { stored: 10 } }]);
  });

  it('gives up a lock within its time, says contention, and stays open', async () => {
    const pod = await stores.open({ callTimeoutMs: 500 });
    const other = await server.connect(stores.database);
    await other.query('BEGIN; LOCK TABLE trades');
    const batch = storeBatch('b1', trades(10));
    expect(await pod.write([batch])).toMatchObject({
      ok: false,
      kind: 'contention',
      detail: expect.stringMatching(/^55P03/),
    });
    await other.query('COMMIT');
    expect(pod.isOpen).toBe(true);
    expect(await write(pod, batch)).toMatchObject([{ again: false }]);
    expect(stores.events).toEqual([]);
  });

  it('commits with synchronous_commit on, or what is stronger, whatever the server is set to', async () => {
    for (const [set, seen] of [
      ['off', 'on'],
      ['local', 'on'],
      ['remote_apply', 'remote_apply'],
    ]) {
      const fresh = await postgresStores(server);
      await server.query('postgres', `ALTER DATABASE ${fresh.database} SET synchronous_commit = ${set}`);
      const pod = await fresh.open();
      await fresh.rows(`
        CREATE TABLE seen (setting text);
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
        CREATE TRIGGER see AFTER INSERT ON batches FOR EACH ROW EXECUTE FUNCTION see();`);
      await write(pod, storeBatch('b1', trades(1)));
      expect(await fresh.rows('SELECT setting FROM seen')).toEqual([{ setting: seen }]);
      await fresh.close();
    }
  });

  it('calls a write whose COMMIT fails no success', async () => {
    const pod = await stores.open();
    // A deferred trigger fails at COMMIT itself.
    await stores.rows(`
      CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '23000'; END $$;
      CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON batches DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail();`);
    expect(await pod.write([storeBatch('b1', trades(1))])).toMatchObject({ ok: false, kind: 'data' });
    // Seen failing: a rehearsal that did not ask for what is put off to the COMMIT said "stored".
    expect(await pod.rehearse(storeBatch('b1', trades(1)))).toMatchObject({ ok: false, kind: 'data' });
    await stores.rows('DROP TRIGGER fail ON batches');
    expect(await write(pod, storeBatch('b1', trades(1)))).toMatchObject([{ again: false }]);
  });

  it('takes no COMMIT for one that the server answers with ROLLBACK', async () => {
    const client = await server.connect(stores.database);
    const limits = { statementMs: 1_000, lockMs: 1_000 };
    const committed = inTransaction(client, limits, async () => {
      await client.query('SELECT 1 / 0').catch(() => {});
    });
    await expect(committed).rejects.toThrow('the transaction ended with ROLLBACK');
  });

  it('ends a call by its deadline while the server is stopped, and heals when it goes on', async () => {
    const pod = await stores.open({ callTimeoutMs: 1_000 });
    const batch = storeBatch('b1', trades(10));
    await write(pod, storeBatch('b0', trades(10, 100)));
    server.pause();
    const sinceMs = performance.now();
    const [written, read] = await Promise.allSettled([
      pod.write([batch]),
      pod.readTrades({ provider: 'ibkr', symbol: 'AAPL', fromNs: 0n, toNs: 1n, limit: 1 }),
    ]);
    expect(performance.now() - sinceMs).toBeLessThan(1_500);
    expect(written).toMatchObject({
      value: { ok: false, kind: 'unavailable', detail: expect.stringContaining('in time') },
    });
    expect(read).toMatchObject({ reason: { code: 'call_timeout' } });
    expect(pod.isOpen).toBe(false);
    server.resume();
    await until('the store is open', () => pod.isOpen);
    expect(await insist(pod, batch)).toMatchObject({ receipt: { stored: 10 } });
    expect([await stores.count('trades'), await stores.count('batches')]).toEqual([20, 2]);
  });

  it('closes in its time while the server is stopped, and leaves no connection behind', async () => {
    await until('those of other tests are gone', () => sockets() === 0);
    const pod = await stores.open({ callTimeoutMs: 500 });
    await write(pod, storeBatch('b0', trades(10)));
    // One connection is at rest, the other in use.
    await pod.readTrades({ provider: 'ibkr', symbol: 'AAPL', fromNs: 0n, toNs: 1n, limit: 1 });
    server.pause();
    // Seen failing: without the sockets being destroyed the one at rest stayed for as long as the server was stopped.
    const sinceMs = performance.now();
    const last = pod.write([storeBatch('b1', trades(10, 10))]);
    await pod.close();
    expect(performance.now() - sinceMs).toBeLessThan(1_500);
    expect(await last).toMatchObject({ ok: false });
    await until('the sockets are gone', () => sockets() === 0);
  });

  it('ends the writes under way before it closes', async () => {
    const pod = await stores.open();
    const writes = Array.from({ length: 12 }, (_, at) => pod.write([storeBatch(`b${at}`, trades(50, at * 50))]));
    await pod.close();
    expect((await Promise.all(writes)).every(({ ok }) => ok)).toBe(true);
    expect(await stores.count('trades')).toBe(600);
  });

  it('survives its connections being terminated one by one', async () => {
    const pod = await stores.open();
    const terminate =
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'mdp-pod%' ORDER BY random() LIMIT 1";
    let terminated = 0;
    const sender = async (from: number): Promise<void> => {
      for (let at = from; at < 160; at += 4) {
        await insist(pod, storeBatch(`b${at}`, trades(50, at * 50)));
        if (at % 8 === 0) terminated += (await stores.rows(terminate)).length;
      }
    };
    await Promise.all([sender(0), sender(1), sender(2), sender(3)]);
    expect(terminated).toBeGreaterThan(10);
    expect([await stores.count('trades'), await stores.count('batches')]).toEqual([160 * 50, 160]);
    await until('the store is open', () => pod.isOpen);
  });

  it('is closed while its rights are revoked, and opens by itself when they are given back', async () => {
    const { database } = stores;
    await (await stores.open()).close();
    await server.query(database, "CREATE ROLE pusher LOGIN PASSWORD 'p'");
    await server.query(database, 'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO pusher');
    const pod = await stores.open({ url: server.url(database, 'pusher', 'p') });
    await write(pod, storeBatch('b0', trades(5)));
    await server.query(database, 'REVOKE INSERT ON trades FROM pusher');
    const batch = storeBatch('b1', trades(10));
    expect(await pod.write([batch])).toMatchObject({
      ok: false,
      kind: 'unavailable',
      detail: expect.stringMatching(/^42501/),
    });
    expect(pod.isOpen).toBe(false);
    await server.query(database, 'GRANT INSERT ON trades TO pusher');
    await until('the store is open', () => pod.isOpen);
    expect(await write(pod, batch)).toMatchObject([{ receipt: { stored: 5, duplicates: 5 } }]);
    expect(stores.events.filter((event) => event.startsWith('store_')).map((event) => event.split(':')[0])).toEqual([
      'store_lost',
      'store_back',
    ]);
  });

  it('opens by itself when a server that was away at the start comes', async () => {
    await server.stop();
    const pod = await stores.open();
    expect(pod.isOpen).toBe(false);
    await server.start();
    await until('the store is open', () => pod.isOpen);
    expect(await write(pod, storeBatch('b1', trades(1)))).toMatchObject([{ again: false }]);
  });

  it('notices that the server has gone without a write', async () => {
    const pod = await stores.open();
    await write(pod, storeBatch('b0', trades(1)));
    await server.stop();
    await until('the store is closed', () => !pod.isOpen);
    await server.start();
    await until('the store is open', () => pod.isOpen);
    expect(stores.events.at(-1)).toMatch(/^store_back/);
  });

  it('sends a tick that cannot be written back as data, and its neighbours are taken without it', async () => {
    const pod = await stores.open();
    const poisoned = storeBatch('b1', trades(40));
    poisoned.columns.trades!.symbol[39] = 60_000;
    const good = storeBatch('b2', trades(40, 100));
    expect(await pod.write([good, poisoned])).toMatchObject({
      ok: false,
      kind: 'data',
      detail: expect.stringMatching(/^23502/),
    });
    expect([pod.isOpen, await stores.count('trades')]).toEqual([true, 0]);
    expect(await write(pod, good)).toMatchObject([{ receipt: { stored: 40 } }]);
  });
});

describe.skipIf(POSTGRES_BIN === undefined)('the PostgreSQL store whose server is killed (needs PostgreSQL)', () => {
  // After a kill a server syncs the files of all its databases: those of the tests above would be thousands.
  let own: PostgresServer;
  let killed: PostgresStores;
  beforeAll(async () => {
    own = await startPostgres();
    killed = await postgresStores(own);
  });
  afterAll(async () => {
    await killed?.close();
    await own?.remove();
  });

  it('loses nothing that it acknowledged when the postmaster is killed, doubles nothing, and heals by itself', async () => {
    const pod = await killed.open();
    const batches = Array.from({ length: 120 }, (_, at) =>
      storeBatch(`b${at}`, [trade(), trade(), ...trades(100, at * 50)]),
    );
    const acknowledged: StoreBatch[] = [];
    let restarted: Promise<void> | undefined;
    const waiting = [...batches];
    const sender = async (): Promise<void> => {
      for (let batch = waiting.shift(); batch !== undefined; batch = waiting.shift()) {
        await insist(pod, batch);
        acknowledged.push(batch);
        if (acknowledged.length === 40) restarted = killAndStart();
      }
    };
    const killAndStart = async (): Promise<void> => {
      await own.kill9();
      const before = acknowledged.map(({ batchId }) => batchId);
      await own.start();
      const known = new Set((await killed.rows('SELECT batch FROM batches')).map(({ batch }) => batch));
      expect(before.filter((batchId) => !known.has(batchId))).toEqual([]);
    };
    await Promise.all([sender(), sender(), sender(), sender()]);
    await restarted;
    expect([await killed.count('batches'), await killed.count('trades')]).toEqual([120, 120 * 2 + 119 * 50 + 100]);
    const [sum] = await killed.rows(
      'SELECT sum(stored)::int4 AS stored, sum(stored + duplicates)::int4 AS offered FROM batches',
    );
    expect(sum).toEqual({ stored: 120 * 2 + 119 * 50 + 100, offered: 120 * 102 });
    expect(killed.events.map((event) => event.split(':')[0])).toEqual(
      expect.arrayContaining(['store_lost', 'store_back']),
    );
  }, 60_000);
});

const canMount = POSTGRES_BIN !== undefined && mayMount();

describe.skipIf(!canMount)('the PostgreSQL store on a full disk (needs PostgreSQL and the right to mount)', () => {
  it('says unavailable while there is no room, loses and doubles nothing, and goes on when there is', async () => {
    const small = await mkdtemp('/tmp/mdp-disk-');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m,mode=777', 'tmpfs', small]);
    let own: PostgresServer | undefined;
    try {
      own = await startPostgres({ checkpoint_timeout: '30s' });
      const space = join(small, 'space');
      mkdirSync(space, { mode: 0o777 });
      execFileSync('chown', [own.owner, space]);
      await own.query('postgres', `CREATE TABLESPACE small LOCATION '${space}'`);
      const elsewhere = await postgresStores(own, 'TABLESPACE small');
      const pod = await elsewhere.open();
      const batches = Array.from({ length: 60 }, (_, at) => storeBatch(`b${at}`, trades(1_000, at * 1_000)));
      let failed: Awaited<ReturnType<PostgresStore['write']>> | undefined;
      let next = 0;
      while (failed === undefined && next < batches.length) {
        const outcome = await pod.write([batches[next]!]);
        if (outcome.ok) next += 1;
        else failed = outcome;
      }
      expect(failed).toMatchObject({ kind: 'unavailable', detail: expect.stringMatching(/^53100/) });
      expect([await elsewhere.count('trades'), await elsewhere.count('batches')]).toEqual([next * 1_000, next]);
      execFileSync('mount', ['-o', 'remount,size=200m', small]);
      for (; next < batches.length; next += 1) await insist(pod, batches[next]!);
      expect([await elsewhere.count('trades'), await elsewhere.count('batches')]).toEqual([60_000, 60]);
      await elsewhere.close();
    } finally {
      await own?.remove();
      execFileSync('umount', [small]);
      await rm(small, { recursive: true, force: true });
    }
  }, 60_000);
});
