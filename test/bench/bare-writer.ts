/**
 * The yardstick: the same rows into the same tables by SQLite alone, one prepared insert per row, 5,000 rows a
 * transaction, synchronous FULL. A process of its own: `node bare-writer.ts PATH COUNT SEED`; prints one JSON line.
 */

import { DatabaseSync } from 'node:sqlite';
import { migrate, PRAGMAS } from '../../pipeline/store/sqlite-schema.ts';
import { benchTrades } from './ticks.ts';

const ROWS_PER_TRANSACTION = 5_000;

const [path = '', count = '0', seed = '1'] = process.argv.slice(2);
const trades = benchTrades(Number(count), Number(seed));
const db = new DatabaseSync(path);
db.exec(PRAGMAS);
migrate(db, Date.now());
const insert = db.prepare('INSERT INTO trades VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');

const storedAtMs = Date.now();
const cpuBefore = process.cpuUsage();
const startMs = performance.now();
for (let at = 0; at < trades.length; at += ROWS_PER_TRANSACTION) {
  db.exec('BEGIN IMMEDIATE');
  for (const { symbol, tsNs, id, price, size, side, venue } of trades.slice(at, at + ROWS_PER_TRANSACTION)) {
    insert.run('ibkr', symbol, tsNs, id, price, size, side, venue, null, storedAtMs, 'bare');
  }
  db.exec('COMMIT');
}
const seconds = (performance.now() - startMs) / 1000;
const cpu = process.cpuUsage(cpuBefore);
db.close();
process.stdout.write(
  `${JSON.stringify({ rowsPerSecond: trades.length / seconds, cpuMs: (cpu.user + cpu.system) / 1000 })}\n`,
);
