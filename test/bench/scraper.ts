/**
 * Scrapes a pod like a Prometheus in a hurry, until its standard input ends; then prints the milliseconds that each
 * scrape took, as JSON. A process of its own, for the one that makes the load is too busy to be a clock:
 * `node scraper.ts URL INTERVAL_MS`.
 */

import { constants, setPriority } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'undici';

const [url = '', intervalMs = '100'] = process.argv.slice(2);
try {
  // A Prometheus does not share its cores with the load: what it waits for is the pod, and not a core for itself.
  setPriority(constants.priority.PRIORITY_HIGH);
} catch {
  // Not everybody may; then the figures hold that wait, too.
}
const took: number[] = [];
const over = new AbortController();
process.stdin.resume().on('end', () => over.abort());

// One kept connection, as a Prometheus has; `fetch` would add a millisecond of this process to each figure.
const { origin, pathname: path } = new URL(url);
const client = new Client(origin);

async function scrape(): Promise<void> {
  await (await client.request({ method: 'GET', path })).body.text();
}

// The first ones start this process up, and say so.
for (let warm = 0; warm < 5; warm += 1) await scrape();
process.stdout.write('\n');
while (!over.signal.aborted) {
  const startMs = performance.now();
  await scrape();
  took.push(performance.now() - startMs);
  await sleep(Number(intervalMs));
}
process.stdout.write(JSON.stringify(took));
await client.close();
