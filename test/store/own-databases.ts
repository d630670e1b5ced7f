/** What tests of the PostgreSQL store alone begin with. Apart from its support, which also runs outside of a test. */

import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { type PostgresServer, startPostgres } from '../../deploy/local/postgres.ts';
import { postgresStores, type PostgresStores } from '../support/postgres-stores.ts';

/** Within a `describe`: one server for all its tests, and for each of them stores on a database of their own. */
export function onOwnDatabases(use: (server: PostgresServer, stores: PostgresStores) => void): void {
  let server: PostgresServer | undefined;
  let stores: PostgresStores | undefined;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server?.remove());
  beforeEach(async () => {
    stores = await postgresStores(server!);
    use(server!, stores);
  });
  afterEach(() => stores?.close());
}
