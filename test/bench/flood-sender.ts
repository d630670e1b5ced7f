/**
 * A provider that floods, as a process of its own, so that the one that behaves waits for none of its turns. Arguments:
 * the ticks' URL, the token, batches per second, and ticks a batch. Prints how many batches were answered how when its
 * parent lets go of it.
 */

import { once } from 'node:events';
import { Agent } from 'undici';
import { pushBearing } from './push.ts';
import { benchBodies, benchTrades } from './ticks.ts';

/** Short, so that batches come one by one, and not some at once. */
const LOOK_MS = 1;
const UNANSWERED_MAX = 500;

const [url, token, perSecond, batchTicks] = process.argv.slice(2) as [string, string, string, string];
const [body] = benchBodies(benchTrades(Number(batchTicks), 1), Number(batchTicks));
const agent = new Agent({ connections: 32 });
const answers: Record<string, number> = {};
const unanswered = new Set<Promise<void>>();
let sent = 0;

async function push(batch: string): Promise<void> {
  const status = await pushBearing(token, url, batch, body!, agent);
  answers[status] = (answers[status] ?? 0) + 1;
}

const fromMs = performance.now();
const sending = setInterval(() => {
  const due = ((performance.now() - fromMs) / 1_000) * Number(perSecond);
  for (; sent < due && unanswered.size < UNANSWERED_MAX; sent += 1) {
    const pushing = push(`flood-${sent}`);
    unanswered.add(pushing);
    void pushing.finally(() => unanswered.delete(pushing));
  }
}, LOOK_MS);
await once(process.stdin.resume(), 'end');
clearInterval(sending);
await Promise.all(unanswered);
console.log(JSON.stringify(answers));
process.exit();
