/**
 * The PostgreSQL store beside the best bare bulk writer: the same statement with the same groups on as many
 * connections, each in a transaction, with no ledger and nothing else that a pod needs. Turn by turn in one run, on
 * a server of its own with fsync on, each in a new database; so the ratio is what the store itself costs.
 */

import { createHash } from 'node:crypto';
import { Client } from 'pg';
import { BATCH_MAX_TICKS, decodeBatch } from '../../pipeline/contract/batch.ts';
import { defaultRules } from '../../pipeline/contract/decode.ts';
import type { StoreBatch } from '../../pipeline/queue/delivery.ts';
import { WRITER_BOUNDS } from '../../pipeline/sink/writer-bounds.ts';
import { INSERT_TICKS, tradeRows } from '../../pipeline/store/postgres-rows.ts';
import { CONNECTIONS_DEFAULT, PostgresStore } from '../../pipeline/store/postgres.ts';
import { POSTGRES_BIN, type PostgresServer, startPostgres } from '../../deploy/local/postgres.ts';
import { median } from './push.ts';
import { benchBodies, benchTrades } from './ticks.ts';

const BATCH_TICKS = 1_000;
const PROVIDER = 'ibkr';

interface Figures {
  rowsPerSecond: number;
  /** Of this process, building and sending included. */
  cpuMicrosPerRow: number;
}

interface Round {
  bare: Figures;
  store: Figures;
}

/** `rounds` turns of bare writer and store, each with `rows` new rows; undefined where no PostgreSQL is installed. */
export async function benchPostgres(rounds: number, rows: number): Promise<Record<string, string> | undefined> {
  if (POSTGRES_BIN === undefined) return undefined;
  // A checkpoint in one turn and not in the other would decide the ratio.
  const server = await startPostgres({ max_wal_size: '8GB', checkpoint_timeout: '1h', shared_buffers: '256MB' });
  const results: Round[] = [];
  try {
    for (let round = 1; round <= rounds; round += 1) results.push(await oneRound(server, rows, round));
  } finally {
    await server.remove();
  }
  const of = (read: (one: Round) => number): number => median(results.map(read));
  return {
    'ticks a batch': String(BATCH_TICKS),
    'bare rows/s': of(({ bare }) => bare.rowsPerSecond).toFixed(0),
    'store rows/s': of(({ store }) => store.rowsPerSecond).toFixed(0),
    'store / bare': of(({ bare, store }) => store.rowsPerSecond / bare.rowsPerSecond).toFixed(2),
    'bare CPU us a row': of(({ bare }) => bare.cpuMicrosPerRow).toFixed(2),
    'store CPU us a row': of(({ store }) => store.cpuMicrosPerRow).toFixed(2),
    'store CPU cores': of(({ store }) => (store.cpuMicrosPerRow * store.rowsPerSecond) / 1e6).toFixed(2),
  };
}

async function oneRound(server: PostgresServer, rows: number, seed: number): Promise<Round> {
  // Of one day, whose partition the first of the warm-up makes.
  const warmUp = groupsOf(Math.ceil(rows / 10), seed, 'warm');
  const groups = groupsOf(rows, seed, 'run');
  const turns = [
    async (): Promise<Partial<Round>> => ({ bare: await bareTurn(server, warmUp, groups) }),
    async (): Promise<Partial<Round>> => ({ store: await storeTurn(server, warmUp, groups) }),
  ];
  // Who is first changes, should the second find the disk busy with the first.
  if (seed % 2 === 0) turns.reverse();
  const parts: Partial<Round>[] = [];
  for (const turn of turns) parts.push(await turn());
  return Object.assign({}, ...parts) as Round;
}

async function bareTurn(server: PostgresServer, warmUp: StoreBatch[][], groups: StoreBatch[][]): Promise<Figures> {
  const database = await server.createDatabase();
  const store = await openStore(server, database);
  for (const group of warmUp) await store.write(group);
  await store.close();
  const clients = Array.from(
    { length: CONNECTIONS_DEFAULT },
    () => new Client({ connectionString: server.url(database) }),
  );
  await Promise.all(clients.map((client) => client.connect()));
  const figures = await measure(groups, clients.length, async (group, at) => {
    const { key, rest } = tradeRows(group)!;
    const client = clients[at]!;
    await client.query('BEGIN');
    await client.query(INSERT_TICKS.trades, [...key, ...rest, new Date(), 'bare']);
    await client.query('COMMIT');
  });
  await Promise.all(clients.map((client) => client.end()));
  await expectRows(server, database, [...warmUp, ...groups]);
  return figures;
}

async function storeTurn(server: PostgresServer, warmUp: StoreBatch[][], groups: StoreBatch[][]): Promise<Figures> {
  const database = await server.createDatabase();
  const store = await openStore(server, database);
  for (const group of warmUp) await store.write(group);
  const figures = await measure(groups, CONNECTIONS_DEFAULT, async (group) => {
    const outcome = await store.write(group);
    if (!outcome.ok) throw new Error(outcome.detail);
  });
  await store.close();
  await expectRows(server, database, [...warmUp, ...groups]);
  return figures;
}

async function openStore(server: PostgresServer, database: string): Promise<PostgresStore> {
  const store = new PostgresStore({
    url: server.url(database),
    pod: 'bench',
    // Long enough for a busy machine: a group that times out would be measured as one that went fast.
    callTimeoutMs: 60_000,
    ledgerRetentionMs: 7 * 86_400_000,
    nowMs: Date.now,
    random: Math.random,
    onEvent: (_, event, detail) => console.error(event, detail),
  });
  await store.open();
  return store;
}

/** Hands out `groups` to `inFlight` writers at once. */
async function measure(
  groups: readonly StoreBatch[][],
  inFlight: number,
  write: (group: StoreBatch[], writer: number) => Promise<void>,
): Promise<Figures> {
  const waiting = [...groups];
  const cpuBefore = process.cpuUsage();
  const startMs = performance.now();
  const writer = async (at: number): Promise<void> => {
    for (let group = waiting.shift(); group !== undefined; group = waiting.shift()) await write(group, at);
  };
  await Promise.all(Array.from({ length: inFlight }, (_, at) => writer(at)));
  const seconds = (performance.now() - startMs) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  const rows = countTicks(groups);
  return { rowsPerSecond: rows / seconds, cpuMicrosPerRow: (cpu.user + cpu.system) / rows };
}

async function expectRows(server: PostgresServer, database: string, groups: readonly StoreBatch[][]): Promise<void> {
  const [row] = await server.query(database, 'SELECT count(*)::int4 AS n FROM trades');
  if (row!['n'] !== countTicks(groups)) throw new Error(`${String(row!['n'])} of ${countTicks(groups)} rows are there`);
  // The next turn starts without what this one left to be written.
  await server.query('postgres', 'CHECKPOINT');
}

function countTicks(groups: readonly StoreBatch[][]): number {
  return groups.flat().reduce((sum, { ticks }) => sum + ticks, 0);
}

/** Groups as the writer takes them from a full queue. */
function groupsOf(rows: number, seed: number, name: string): StoreBatch[][] {
  const trades = benchTrades(rows, seed).map((trade) => ({ ...trade, id: `${name}${trade.id}` }));
  const batches = benchBodies(trades, BATCH_TICKS).map((body, at) => batchOf(body, `${name}-${at}`));
  const groupBatches = WRITER_BOUNDS.groupMaxTicks / BATCH_TICKS;
  return Array.from({ length: Math.ceil(batches.length / groupBatches) }, (_, at) =>
    batches.slice(at * groupBatches, (at + 1) * groupBatches),
  );
}

function batchOf(body: Buffer, batchId: string): StoreBatch {
  const decoded = decodeBatch(body, 'ndjson', BATCH_MAX_TICKS, defaultRules(Date.now()));
  if (!decoded.ok) throw new Error(decoded.detail);
  const { columns, rejected, rejectedBytes, ignoredFields, ticks } = decoded.batch;
  const bodyHash = new Uint8Array(createHash('sha256').update(body).digest());
  return { provider: PROVIDER, batchId, bodyHash, ticks, columns, rejected, rejectedBytes, ignoredFields };
}
