/** `mdp top`: looks at a pod again and again, and keeps showing what happened in between. */

import { parseArgs } from 'node:util';
import { ask } from './ask.ts';
import {
  type Command,
  COMMON_OPTIONS,
  EXIT_NOT_WELL,
  EXIT_OK,
  httpUrl,
  print,
  printJson,
  wholeNumber,
} from './command.ts';
import { parseExposition } from './exposition.ts';
import { localSystem, POD_DEFAULT } from './local-system.ts';
import { readPodStatus } from './pod-status.ts';
import { stoppedByUser } from './stopping.ts';
import { figuresOf, type Look, topText } from './top-view.ts';

const INTERVAL_DEFAULT_MS = 2_000;
/** Home, and what follows is new; what was longer is cleared at the end of each line and of the screen. */
const HOME = '\u001B[H';
const CLEAR_LINE = '\u001B[K';
const CLEAR_BELOW = '\u001B[J';
const OTHER_SCREEN = '\u001B[?1049h\u001B[?25l';
const OWN_SCREEN = '\u001B[?25h\u001B[?1049l';

const HELP = `Shows live what a pod does: level and its reasons, queue, answer times, and for each provider what came, what was stored
and what was not, a second, from its /status and /metrics.

  npx mdp top [options]

  --cluster URL     a pod; default ${POD_DEFAULT}
  --interval MS     how often to look; default ${INTERVAL_DEFAULT_MS}
  --once            look twice, show it, and end
  --json            one object a line, every rate under its own name

"residue" is what the books are off by, and 0; anything else is a defect. "dead" are ticks that were rejected and kept:
npx mdp dead-letters list PROVIDER. Through a Service each look may meet another pod: use a port-forward.

Exit codes: 0 ended, or stopped by Ctrl-C; 1 the pod could not be asked (--once, --json or no terminal); 2 wrong usage.

Examples
  npx mdp top
  npx mdp top --once
  npx mdp top --json --interval 10000 >> pod.ndjson
`;

export const command: Command = { help: HELP, run };

async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      ...COMMON_OPTIONS,
      cluster: { type: 'string' },
      interval: { type: 'string', default: String(INTERVAL_DEFAULT_MS) },
      once: { type: 'boolean', default: false },
    },
  });
  const url = httpUrl(values.cluster ?? localSystem(process.cwd()).podUrl, '--cluster');
  const intervalMs = wholeNumber(values.interval, '--interval', 100, 3_600_000);
  const live = process.stdout.isTTY && !values.json && !values.once;
  const stopping = stoppedByUser();
  if (live) print(OTHER_SCREEN);
  try {
    let before: Look | undefined;
    while (!stopping.signal.aborted) {
      const now = await look(url);
      if ('why' in now) {
        if (!live) {
          process.stderr.write(`mdp top: ${now.why}\n`);
          return EXIT_NOT_WELL;
        }
        print(screen(`${now.why}\nlooking again every ${intervalMs / 1000} s; Ctrl-C ends\n`));
      } else if (before !== undefined) {
        const figures = figuresOf(before, now);
        if (values.json) printJson(figures);
        else
          print(
            live
              ? screen(topText(figures, process.stdout, process.stdout.rows))
              : `${topText(figures, process.stdout)}\n`,
          );
        if (values.once) return EXIT_OK;
      }
      before = 'why' in now ? undefined : now;
      await stopping.pause(intervalMs);
    }
    return EXIT_OK;
  } finally {
    if (live) print(OWN_SCREEN);
  }
}

function screen(text: string): string {
  return HOME + text.replaceAll('\n', `${CLEAR_LINE}\n`) + CLEAR_BELOW;
}

async function look(url: string): Promise<Look | { why: string }> {
  const [status, metrics] = await Promise.all([ask(`${url}/status`), ask(`${url}/metrics`)]);
  if (!status.ok) return { why: `${url}: ${status.why}` };
  if (!metrics.ok) return { why: `${url}/metrics: ${metrics.why}` };
  const read = readPodStatus(status.text);
  if (read === undefined) return { why: `${url}/status is not that of a pod` };
  try {
    return { status: read, families: parseExposition(metrics.text), atMs: performance.now() };
  } catch (error) {
    return { why: `${url}/metrics cannot be parsed: ${error instanceof Error ? error.message : String(error)}` };
  }
}
