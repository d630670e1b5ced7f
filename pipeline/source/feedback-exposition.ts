/**
 * Reads the queue depths out of a foreign store's /metrics, and nothing else. The text may be anybody's: what is not
 * a sample of that one metric is passed over, in time linear in its length. Pure.
 * Source: Prometheus text exposition format 0.0.4; the label is the original coordinator's.
 */

import { COORDINATORS_MAX } from '../backpressure/feedback.ts';
import { COORDINATOR_ID_MAX_CHARS } from '../contract/feedback.ts';
import { isPrintable } from '../contract/tick.ts';

const METRIC = 'mds_coord_queue_depth';
const COORDINATOR_LABEL = 'coord_id';

const LABEL = /\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?/y;
/** The end of the labels, the value, and perhaps a timestamp. */
const VALUE = /\s*\}\s*(\S+)(?:\s+-?\d+)?\s*$/y;
const DECIMAL = /^(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;

/**
 * Depth by coordinator, in items. Of a coordinator with several series the deepest counts; of more than
 * {@link COORDINATORS_MAX} coordinators the first ones do.
 */
export function readQueueDepths(text: string): Map<string, number> {
  const depths = new Map<string, number>();
  for (let start = 0; start < text.length;) {
    const newline = text.indexOf('\n', start);
    const end = newline === -1 ? text.length : newline;
    if (text.startsWith(METRIC, start)) {
      const sample = readSample(text.slice(start + METRIC.length, end));
      if (sample !== undefined) {
        const known = depths.get(sample.coordinatorId);
        if (known !== undefined || depths.size < COORDINATORS_MAX) {
          depths.set(sample.coordinatorId, Math.max(known ?? 0, sample.depth));
        }
      }
    }
    start = end + 1;
  }
  return depths;
}

/** From after the metric's name to the end of the line. */
function readSample(rest: string): { coordinatorId: string; depth: number } | undefined {
  const open = /^\s*\{/.exec(rest);
  if (open === null) return undefined;
  let at = open[0].length;
  let coordinatorId: string | undefined;
  for (;;) {
    LABEL.lastIndex = at;
    const label = LABEL.exec(rest);
    if (label === null) break;
    if (label[1] === COORDINATOR_LABEL) coordinatorId = unescaped(label[2]!);
    at = LABEL.lastIndex;
  }
  VALUE.lastIndex = at;
  const value = VALUE.exec(rest)?.[1];
  if (coordinatorId === undefined || value === undefined) return undefined;
  if (!isPrintable(coordinatorId, COORDINATOR_ID_MAX_CHARS) || !DECIMAL.test(value)) return undefined;
  const depth = Math.round(Number(value));
  return Number.isSafeInteger(depth) ? { coordinatorId, depth } : undefined;
}

function unescaped(value: string): string {
  return value.replaceAll(/\\(.)/g, (_all, char: string) => (char === 'n' ? '\n' : char));
}
