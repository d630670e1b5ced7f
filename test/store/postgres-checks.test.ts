/** Rules on the tables, of partitions and of an operator; and the check, which looks for a server that was lost. */

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { partitionName, dayOf } from '../../pipeline/store/postgres-partitions.ts';
import { NOW_MS, storeBatch, trade, trades } from '../support/pod-batch.ts';
import { POSTGRES_BIN, type PostgresServer, startPostgres } from '../../deploy/local/postgres.ts';
import { postgresStores, type PostgresStores, until } from '../support/postgres-stores.ts';

const DAY_MS = 86_400_000;

let server: PostgresServer;
let stores: PostgresStores;

describe.skipIf(POSTGRES_BIN === undefined)('the PostgreSQL store (needs an installed PostgreSQL)', () => {
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server?.remove());
  beforeEach(async () => {
    stores = await postgresStores(server);
  });
  afterEach(async () => {
    server.resume();
    await stores.close();
  });

  describe('a CHECK', () => {
    it("of an operator's own makes its tick one of data, and its neighbours are stored without it", async () => {
      const pod = await stores.open();
      await stores.rows("ALTER TABLE trades ADD CONSTRAINT cheap CHECK (price < 1000 OR symbol <> 'AAPL')");
      const dear = storeBatch('b2', [trade({ id: 'dear', price: '5000' })]);
      const refused = { ok: false, kind: 'data', detail: expect.stringMatching(/^23514: .*cheap/) as string };
      expect(await pod.write([storeBatch('b1', trades(10)), dear])).toMatchObject(refused);
      expect(await pod.rehearse(dear)).toMatchObject(refused);
      expect(await pod.replay(dear)).toMatchObject(refused);
      expect([pod.isOpen, await stores.count('trades'), await stores.count('batches')]).toEqual([true, 0, 0]);
      expect(await pod.write([storeBatch('b1', trades(10))])).toMatchObject({ ok: true });
      expect(stores.events).toEqual([]);
    });

    it('of a partition that was attached meanwhile costs a second try and nothing else', async () => {
      const pod = await stores.open();
      const day = dayOf(NOW_MS) - 10;
      const name = partitionName('trades', day);
      const [from, to] = [day, day + 1].map((one) => new Date(one * DAY_MS).toISOString());
      // The default partition takes no more rows of that day, as when a partition was attached after the first look.
      await stores.rows(`
        CREATE SEQUENCE tries;
        CREATE FUNCTION first_try() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF nextval('tries') = 1 THEN RAISE check_violation; END IF; RETURN new; END $$;
        CREATE TABLE ${name} PARTITION OF trades FOR VALUES FROM ('${from}') TO ('${to}');
        CREATE TRIGGER first_try BEFORE INSERT ON ${name} FOR EACH ROW EXECUTE FUNCTION first_try();`);
      // Seen failing: without the second try, and with a check taken for one of data at once.
      const batch = storeBatch('b1', [trade({ tsMs: day * DAY_MS, id: '1' })]);
      expect(await pod.write([batch])).toMatchObject({ ok: true, results: [{ again: false, receipt: { stored: 1 } }] });
      expect(await stores.rows('SELECT last_value::int4 AS tries FROM tries')).toEqual([{ tries: 2 }]);
      expect(await stores.count('trades')).toBe(1);
    });
  });

  describe('a check', () => {
    it('waits for the probe under way, or brings the next one forward, and there is never a second one', async () => {
      const gate = await startGate(new URL(server.url(stores.database)));
      const url = server.url(stores.database).replace(/:\d+\//, `:${gate.port}/`);
      const pod = await stores.open({ url, callTimeoutMs: 400 });
      for (let round = 0; round < 4; round += 1) {
        const sinceMs = performance.now();
        const failures = await Promise.all([pod.check(), pod.check(), pod.check()]);
        // Half of a backoff of seconds would be more.
        expect(performance.now() - sinceMs).toBeLessThan(700);
        for (const failure of failures) expect(failure).toMatchObject({ ok: false, kind: 'unavailable' });
      }
      // One for the opening, one for each round. Seen failing: with a contact of its own for each check, 13.
      expect([gate.held(), pod.isOpen]).toEqual([5, false]);
      gate.pass();
      await until('a check succeeds', async () => (await pod.check()) === null);
      expect(pod.isOpen).toBe(true);
      expect(await pod.write([storeBatch('b1', trades(1))])).toMatchObject({ ok: true });
      await pod.close();
      await gate.close();
    });

    it('probes no more after the store was closed', async () => {
      const pod = await stores.open();
      await pod.close();
      expect(await pod.check()).toEqual({ ok: false, kind: 'unavailable', detail: 'the store is closed' });
      expect(pod.isOpen).toBe(false);
    });

    it('is unavailable where the role may not write, and says so with its reason', async () => {
      await (await stores.open()).close();
      await server.query(stores.database, "CREATE ROLE checker LOGIN PASSWORD 'c'");
      await server.query(
        stores.database,
        'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO checker',
      );
      const pod = await stores.open({ url: server.url(stores.database, 'checker', 'c') });
      expect(await pod.check()).toBeNull();
      await server.query(stores.database, 'REVOKE INSERT ON store_checks FROM checker');
      expect(await pod.check()).toMatchObject({
        kind: 'unavailable',
        detail: expect.stringMatching(/^42501/) as string,
      });
      expect(pod.isOpen).toBe(false);
      await server.query(stores.database, 'GRANT INSERT ON store_checks TO checker');
      await until('a check succeeds', async () => (await pod.check()) === null);
      expect(pod.isOpen).toBe(true);
    });
  });
});

interface Gate {
  port: number;
  /** Connections that were let in and not through. */
  held(): number;
  /** Lets new connections through, and ends those that are held. */
  pass(): void;
  close(): Promise<void>;
}

/** Accepts connections on the way to `target` and answers nothing, as a server that has stopped does. */
async function startGate(target: URL): Promise<Gate> {
  const sockets = new Set<Socket>();
  let held = 0;
  let passing = false;
  const listener = createServer((socket) => {
    sockets.add(socket.on('error', () => {}).once('close', () => sockets.delete(socket)));
    if (!passing) {
      held += 1;
      // What is not read does not end.
      socket.resume();
      return;
    }
    const through = connect(Number(target.port), target.hostname);
    through.on('error', () => socket.destroy());
    socket.pipe(through).pipe(socket);
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const endAll = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (listener.address() as AddressInfo).port,
    held: () => held,
    pass: () => ((passing = true), endAll()),
    close: () => (endAll(), new Promise((resolve) => listener.close(() => resolve()))),
  };
}
