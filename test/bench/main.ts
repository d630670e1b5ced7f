/**
 * `npm run bench [-- --quick]`: how fast the system is, as ratios within one run. `npm run bench -- hostile`: what a
 * provider that behaves notices of others that do not.
 */

import { cpus } from 'node:os';
import { benchCredit } from './credit.ts';
import { benchEdgeFastPath, benchOutbox } from './edge-fast-path.ts';
import { benchEdgeRelay } from './edge-relay.ts';
import { benchHostileEdge } from './hostile-edge.ts';
import { benchPodIntake } from './pod-intake.ts';
import { benchPostgres } from './postgres.ts';
import { benchProviders } from './providers.ts';

const quick = process.argv.includes('--quick');
const rounds = quick ? 1 : 3;
const ticks = quick ? 120_000 : 600_000;
const warmUpTicks = quick ? 120_000 : 900_000;

console.log(`Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model ?? 'unknown'})\n`);
if (process.argv.includes('hostile')) {
  console.log(
    'A provider that pushes 50 ticks every 10 ms through the edge, and its p99 beside others, medians of five rounds:',
  );
  console.table(await benchHostileEdge());
  process.exit();
}
console.log(`Medians of ${rounds} rounds.\n`);
console.log('Pod intake, HTTP to synced commit to answer, signed, 16 requests in flight; client on the same cores:');
const intake: Record<string, string>[] = [];
for (const batchTicks of [100, 500, 1_000]) {
  const share = batchTicks === 100 ? 1 / 4 : 1;
  intake.push(await benchPodIntake(batchTicks, ticks * share, warmUpTicks * share, rounds));
}
console.table(intake);

console.log(
  '\nCredit: 16 requests of 1,000 ticks in flight, signed, as the replay tool sends; client on the same cores:',
);
console.table(await benchCredit(ticks / 2, warmUpTicks / 3, rounds));

console.log('\n64 requests of 100 ticks in flight at level ok, from one provider and from 64:');
console.table([await benchProviders(ticks / 200, ticks / 200, rounds)]);

console.log('\nThe edge in plain workerd before the same pod, beside posting to the pod directly:');
const relay: Record<string, string>[] = [];
for (const batchTicks of [100, 500, 1_000]) {
  relay.push(await benchEdgeRelay(batchTicks, batchTicks === 100 ? ticks / 4 : ticks / 2, rounds));
}
console.table(relay);

console.log('\nThe edge beside a bare Worker, 64 KB bodies of 740 ticks, before an upstream that only drains:');
console.table(await benchEdgeFastPath(400, quick ? 2 : 14));

console.log('\nThe same bodies into the outbox of one provider, with no cluster there:');
console.table([await benchOutbox(quick ? 400 : 800, quick ? 2 : 5)]);

const postgres = await benchPostgres(rounds, quick ? 80_000 : 240_000);
if (postgres === undefined) {
  console.log('\nPostgreSQL: skipped, there is none on this machine.');
} else {
  console.log('\nThe PostgreSQL store beside the same bulk insert alone, 4 connections:');
  console.table([postgres]);
}
