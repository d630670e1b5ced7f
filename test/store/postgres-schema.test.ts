/** Opening: ten pods at once, an older, a newer and a foreign database, and what makes waiting pointless. */

import { execFileSync, spawnSync } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { StoreOpenError } from '../../pipeline/sink/store.ts';
import { SCHEMA_VERSION } from '../../pipeline/store/postgres-schema.ts';
import { freePorts } from '../../deploy/local/free-ports.ts';
import { storeBatch, trades } from '../support/pod-batch.ts';
import { POSTGRES_BIN, type PostgresServer, startPostgres } from '../../deploy/local/postgres.ts';
import { onOwnDatabases } from './own-databases.ts';
import { postgresStores, type PostgresStores, until } from '../support/postgres-stores.ts';

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

let server: PostgresServer;
let stores: PostgresStores;

describe.skipIf(POSTGRES_BIN === undefined)('opening a PostgreSQL store (needs an installed PostgreSQL)', () => {
  onOwnDatabases((started, made) => {
    [server, stores] = [started, made];
  });

  it('ten times at once on an empty database makes the schema once, and all ten serve', async () => {
    // Seen failing: without the advisory lock every other of them did not open.
    const ten = Array.from({ length: 10 }, (_, at) => stores.create({ pod: `pod-${at}`, connections: 1 }));
    await Promise.all(ten.map((store) => store.open()));
    expect(ten.map((store) => store.isOpen)).toEqual(ten.map(() => true));
    expect(stores.events).toEqual([]);
    expect(await stores.rows('SELECT version FROM schema_version ORDER BY 1')).toEqual(
      Array.from({ length: SCHEMA_VERSION }, (_, at) => ({ version: at + 1 })),
    );
    const outcomes = await Promise.all(
      ten.map((store, at) => store.write([storeBatch(`b${at}`, trades(10, at * 10))])),
    );
    expect(outcomes.every(({ ok }) => ok)).toBe(true);
    expect(await stores.count('trades')).toBe(100);
  });

  it('of the first schema migrates it, keeps what is in it, and takes dead letters from then on', async () => {
    const first = await stores.open();
    await first.write([storeBatch('b1', trades(5))]);
    await first.close();
    await stores.rows('DROP TABLE dead_letters; DROP TABLE store_checks; DELETE FROM schema_version WHERE version > 1');
    const second = await stores.open();
    expect(await second.write([storeBatch('b1', trades(5))])).toMatchObject({ results: [{ again: true }] });
    expect(await second.write([storeBatch('b2', [{}])])).toMatchObject({ ok: true });
    expect([await stores.count('trades'), await stores.count('dead_letters')]).toEqual([5, 1]);
  });

  it('refuses a newer schema, and leaves it as it is', async () => {
    await stores.open();
    await stores.rows(`INSERT INTO schema_version VALUES (${SCHEMA_VERSION + 1}, now())`);
    const late = stores.create();
    await expect(late.open()).rejects.toThrow(StoreOpenError);
    await expect(stores.create().open()).rejects.toThrow(`schema version ${SCHEMA_VERSION + 1}`);
    expect(late.isOpen).toBe(false);
  });

  it('refuses wrong credentials and a database that is not there, without a word of the password', async () => {
    for (const url of [server.url(stores.database, 'postgres', 'hunter2'), server.url('nowhere', 'postgres')]) {
      const failure: unknown = await stores
        .create({ url })
        .open()
        .catch((cause: unknown) => cause);
      expect(failure).toBeInstanceOf(StoreOpenError);
      expect(String(failure)).toMatch(/28P01|3D000/);
      expect(String(failure)).not.toMatch(/hunter2|loopback-only/);
    }
    expect(stores.events).toEqual([]);
  });

  it('refuses what is no URL, without quoting it', async () => {
    const failure: unknown = await stores
      .create({ url: 'postgres://u:hunter2@[oops/db' })
      .open()
      .catch((cause: unknown) => cause);
    expect(failure).toBeInstanceOf(StoreOpenError);
    expect(inspect(failure)).not.toContain('hunter2');
  });

  it.skipIf(!hasOpenssl)(
    'encrypts as the URL says, and trusts the certificate that it names (needs openssl)',
    async () => {
      const files = await mkdtemp('/tmp/mdp-tls-');
      const [key, certificate] = [join(files, 'key.pem'), join(files, 'certificate.pem')];
      const self = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=test'];
      const names = ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate];
      execFileSync('openssl', ['req', ...self, ...names], { stdio: 'ignore' });
      await chmod(files, 0o755);
      await chmod(key, 0o600);
      execFileSync('chown', [server.owner, key]);
      await server.query('postgres', `ALTER SYSTEM SET ssl_cert_file = '${certificate}'`);
      await server.query('postgres', `ALTER SYSTEM SET ssl_key_file = '${key}'`);
      await server.query('postgres', 'ALTER SYSTEM SET ssl = on');
      await server.query('postgres', 'SELECT pg_reload_conf()');
      const url = `${server.url(stores.database)}?sslmode=verify-full`;
      const trusting = stores.create({ url: `${url}&sslrootcert=${certificate}`, pod: 'tls' });
      await until('the server speaks TLS', async () => {
        const [row] = await server.query('postgres', "SELECT current_setting('ssl') AS ssl");
        return row!['ssl'] === 'on';
      });
      await trusting.open();
      await trusting.write([storeBatch('b1', trades(5))]);
      const rows = await stores.rows(
        "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'mdp-pod-tls'",
      );
      expect(rows).toEqual([{ ssl: true }]);
      const wary = await stores.open({ url });
      expect(wary.isOpen).toBe(false);
      expect(stores.events[0]).toMatch(/SELF_SIGNED_CERT/);
      await rm(files, { recursive: true });
    },
  );

  it('refuses a database that cannot hold every symbol', async () => {
    await server.query('postgres', "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'");
    await expect(stores.create({ url: server.url('latin') }).open()).rejects.toThrow('LATIN1');
  });

  it('of a server that is not there resolves, says so, and answers writes and reads with an error', async () => {
    const [port] = await freePorts(1);
    const store = await stores.open({ url: `postgres://nobody:hunter2@127.0.0.1:${port}/none` });
    expect(store.isOpen).toBe(false);
    expect(stores.events[0]).toMatch(/^store_not_open: ECONNREFUSED/);
    expect(await store.write([storeBatch('b1', trades(1))])).toMatchObject({ ok: false, kind: 'unavailable' });
    const query = { provider: 'ibkr', symbol: 'AAPL', fromNs: 0n, toNs: 1n, limit: 1 };
    await expect(store.readTrades(query)).rejects.toThrow('ECONNREFUSED');
    expect(stores.events.join()).not.toContain('hunter2');
  });

  it('works for a role that may not create tables, once another has made them', async () => {
    await stores.open();
    const { database } = stores;
    await server.query(database, "CREATE ROLE writer LOGIN PASSWORD 'w'");
    await server.query(database, 'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO writer');
    const store = await stores.open({ url: server.url(database, 'writer', 'w') });
    expect(store.isOpen).toBe(true);
    // A day long gone gets no partition, which is said once, and its ticks the default one.
    for (const at of [1, 2]) {
      const batch = storeBatch(`b${at}`, [{ symbol: 'A', tsMs: 86_400_000, price: '1', size: '1', id: String(at) }]);
      expect(await store.write([batch])).toMatchObject({ ok: true });
    }
    expect(await stores.count('trades_default')).toBe(2);
    expect(stores.events).toEqual([expect.stringMatching(/^partition_not_created: trades_p19700102: 42501/)]);
  });

  it('waits for a role that lacks a right, and serves when it is given', async () => {
    await stores.open();
    const { database } = stores;
    await server.query(database, "CREATE ROLE reader LOGIN PASSWORD 'r'");
    await server.query(database, 'GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader');
    const store = await stores.open({ url: server.url(database, 'reader', 'r') });
    expect(store.isOpen).toBe(false);
    expect(stores.events).toEqual(['store_not_open: store_not_ready: this role lacks INSERT on trades']);
    await server.query(database, 'GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO reader');
    expect(await store.check()).toMatchObject({
      kind: 'unavailable',
      detail: 'store_not_ready: this role lacks DELETE on dead_letters',
    });
    await server.query(database, 'GRANT DELETE ON dead_letters TO reader');
    await until('the store opens', () => store.isOpen);
  });

  it('says when the server is set up to lose what it has committed', async () => {
    const careless = await startPostgres({ fsync: 'off' });
    try {
      const elsewhere = await postgresStores(careless);
      await elsewhere.open();
      expect(elsewhere.events).toEqual(['store_unsafe: fsync is off: a power cut can lose what was stored']);
      await elsewhere.close();
    } finally {
      await careless.remove();
    }
  });

  it('names each connection after its pod', async () => {
    await stores.open({ pod: 'mdp-7f9' });
    const store = await stores.open({ pod: 'mdp-7f9' });
    await store.write([storeBatch('b1', trades(1))]);
    const rows = await stores.rows(
      "SELECT DISTINCT application_name AS name FROM pg_stat_activity WHERE application_name LIKE 'mdp%'",
    );
    expect(rows).toEqual([{ name: 'mdp-pod-mdp-7f9' }]);
  });
});
