/** What the rehearsal reads of a SQLite file: every pod's promises are held against it. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, onTestFinished, test } from 'vitest';
import { openStore } from '../../deploy/rehearse/store.ts';
import { migrate } from '../../pipeline/store/sqlite-schema.ts';

test('the SQLite store of the rehearsal tells the rows, the ids and the ledger of the one provider', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'mdp-rehearsal-store-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  await using store = await openStore('sqlite', directory);
  const db = new DatabaseSync(store.setting.slice('sqlite:'.length));
  migrate(db, 0);
  const trade = db.prepare(
    `INSERT INTO trades (provider, symbol, ts, id, price, size, stored_at_ms, pod) VALUES (?, 'AAPL', ?, ?, 1, 1, 9, 'p')`,
  );
  // The third repeats an id at another time; the fourth was never made.
  for (const [ts, id] of [
    [1, '0'],
    [1, '1'],
    [2, '1'],
    [3, '7'],
  ] as const)
    trade.run('ibkr', ts, id);
  trade.run('acme', 1, '2');
  db.prepare(
    `INSERT INTO batches (provider, batch, body_hash, stored, duplicates, rejected, ignored_fields, stored_at_ms, pod)
     VALUES ('ibkr', 'b', x'00', 4, 0, '[]', 0, 9, 'p')`,
  ).run();
  db.close();
  expect(await store.trades('ibkr', 5)).toEqual({ rows: 4, ids: 2 });
  expect(await store.batches('ibkr')).toEqual([{ id: 'b', storedTicks: 4, storedAtMs: 9, pod: 'p' }]);
});
