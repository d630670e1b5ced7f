/** A database with the stand-in for TimescaleDB, as that would be there after CREATE EXTENSION. */

import { readFileSync } from 'node:fs';
import type { PostgresServer } from '../../deploy/local/postgres.ts';

const STAND_IN = readFileSync(new URL('timescaledb-stand-in.sql', import.meta.url), 'utf8');

/**
 * Entered into the catalogue by hand: CREATE EXTENSION wants its files in the server's own directory, where what is
 * installed on the machine would be changed for the time of a test.
 */
export async function addTimescaleStandIn(server: PostgresServer, database: string, schema = 'public'): Promise<void> {
  await server.query(
    database,
    `CREATE SCHEMA IF NOT EXISTS ${schema};
     SET search_path = ${schema};
     ${STAND_IN}
     GRANT USAGE ON SCHEMA ${schema} TO PUBLIC;
     INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
       VALUES (1, 'timescaledb', 'postgres'::regrole, '${schema}'::regnamespace, false, 'stand-in');`,
  );
}
