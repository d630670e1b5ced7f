/**
 * How many ticks a body holds, without looking into them: lines of NDJSON, elements of a JSON array. Agrees with the
 * pod's decoder on every body that it can cut into ticks; a test holds the two against each other.
 */

import type { BodyFormat } from '../../pipeline/contract/batch.ts';

const QUOTE = 34;
const COMMA = 44;
const BACKSLASH = 92;

/** At most `maxTicks`; `undefined` when there are more. An array that breaks off counts as far as it goes. */
export function countTicks(body: Uint8Array, format: BodyFormat, maxTicks: number): number | undefined {
  const start = body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf ? 3 : 0;
  return format === 'ndjson' ? countLines(body, start, maxTicks) : countElements(body, start, maxTicks);
}

function countLines(body: Uint8Array, start: number, maxTicks: number): number | undefined {
  let ticks = 0;
  for (let at = skipBlanks(body, start); at < body.length;) {
    if (ticks === maxTicks) return undefined;
    ticks += 1;
    const newline = body.indexOf(10, at);
    at = skipBlanks(body, newline < 0 ? body.length : newline);
  }
  return ticks;
}

/** Every structural byte is ASCII, and no other character has such a byte in it: bytes will do. */
function countElements(body: Uint8Array, start: number, maxTicks: number): number | undefined {
  let at = skipBlanks(body, start);
  if (at === body.length) return 0;
  // Something else than an array is one thing that the pod will reject.
  if (body[at] !== 0x5b) return 1;
  at = skipBlanks(body, at + 1);
  if (body[at] === 0x5d || at === body.length) return at === body.length ? 1 : 0;
  let ticks = 1;
  let depth = 0;
  for (; at < body.length; at += 1) {
    const code = body[at]!;
    if (code === QUOTE) at = endOfString(body, at);
    else if (code === 0x7b || code === 0x5b) depth += 1;
    else if (code === 0x7d || code === 0x5d) {
      if (depth > 0) depth -= 1;
      else if (code === 0x5d) break;
    } else if (code === COMMA && depth === 0) {
      ticks += 1;
      if (ticks > maxTicks) return undefined;
    }
  }
  return ticks;
}

/** The place of the quote that closes the one at `start`, or the body's length. */
function endOfString(body: Uint8Array, start: number): number {
  for (let at = start + 1; at < body.length; at += 1) {
    const code = body[at]!;
    if (code === BACKSLASH) at += 1;
    else if (code === QUOTE) return at;
  }
  return body.length;
}

function skipBlanks(body: Uint8Array, start: number): number {
  let at = start;
  while (at < body.length && isBlank(body[at]!)) at += 1;
  return at;
}

function isBlank(code: number): boolean {
  return code === 32 || code === 13 || code === 9 || code === 10;
}
