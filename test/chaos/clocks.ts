/** Wall clocks that step: of the pods, of one of them, of the edge. */

import { FaultyLibc, lacksCompiler } from '../support/faulty-libc.ts';
import { Cluster } from './cluster.ts';
import { watching } from './processes.ts';
import type { Scenario } from './scenario.ts';
import { scratch } from './scratch.ts';
import { SqliteFile } from './stores.ts';

const MINUTE_MS = 60_000;
/** Within the five minutes by which clocks may differ, and far beyond: forwards, backwards, and back to what is true. */
const POD_STEPS_MINUTES = [4, 0, -4, 0, 60, -60, 0];
/** Providers are refused by an edge whose clock is further off, and cannot tell why: they would have to give up. */
const EDGE_STEPS_MINUTES = [4, -4, 0, -4, 4, 0];

function stepping(
  name: string,
  what: string,
  whose: readonly (number | 'edge')[],
  minutes: readonly number[],
): Scenario {
  return {
    name,
    what,
    lacks: () => (lacksCompiler ? 'Linux and a C compiler' : undefined),
    seconds: 20,
    async set(stack) {
      const directory = await scratch(stack);
      const libc = stack.use(new FaultyLibc());
      const place = (who: number | 'edge') => (whose.includes(who) ? { under: libc.under('/nowhere') } : {});
      const cluster = stack.use(
        await Cluster.start({
          store: new SqliteFile(directory),
          pods: [place(0), place(1), place(2)],
          edge: place('edge'),
        }),
      );
      return {
        cluster,
        fault: async (forMs) => {
          for (const step of minutes) {
            libc.suffer({ clockStepMs: step * MINUTE_MS });
            await watching(cluster, forMs / minutes.length);
          }
          libc.heal();
          return `${minutes.length} steps`;
        },
      };
    },
  };
}

/** Clocks that were ahead are put right while the pods wait for their store: no wait may last until the old time. */
const PUT_RIGHT: Scenario = {
  name: 'clock-put-right',
  what: 'the clocks of all pods are 4 minutes ahead and are put right while the store fails',
  lacks: () => (lacksCompiler ? 'Linux and a C compiler' : undefined),
  seconds: 10,
  async set(stack) {
    const directory = await scratch(stack);
    const libc = stack.use(new FaultyLibc());
    const ahead = { clockStepMs: 4 * MINUTE_MS };
    libc.suffer(ahead);
    const place = { under: libc.under(directory) };
    const cluster = stack.use(await Cluster.start({ store: new SqliteFile(directory), pods: [place, place, place] }));
    return {
      cluster,
      fault: async (forMs) => {
        libc.suffer({ ...ahead, writeFails: 'EIO' });
        await watching(cluster, forMs / 2);
        libc.suffer({ writeFails: 'EIO' });
        await watching(cluster, forMs / 2);
        libc.heal();
      },
    };
  },
};

export const CLOCKS: readonly Scenario[] = [
  PUT_RIGHT,
  stepping(
    'clock-steps',
    'the clocks of all pods step by 4 and 60 minutes, forwards and backwards',
    [0, 1, 2],
    POD_STEPS_MINUTES,
  ),
  stepping('clock-skew', 'the clock of one pod does', [0], POD_STEPS_MINUTES),
  stepping(
    'edge-clock-steps',
    'the clock of the edge steps by 4 minutes, forwards and backwards',
    ['edge'],
    EDGE_STEPS_MINUTES,
  ),
];
