/**
 * What one line of a capture turns out to be. Shared by the readers of all formats; does no reading itself.
 */

import type { TickInput } from '../../../pipeline/contract/tick.ts';

export type Reading =
  | {
      kind: 'tick';
      tick: TickInput;
      /** When it was captured (or, where the capture does not say, when it happened): epoch milliseconds. */
      atMs: number;
      /** Something the account should say about it; ticks with the same note are counted together. */
      note?: string;
    }
  /** A genuine message that is neither a trade nor a quote, by its own name. */
  | { kind: 'not_understood'; name: string }
  /** The recorder's own frames and blank lines: not market data at all. */
  | { kind: 'frame' }
  /** A line that breaks its format. */
  | { kind: 'unreadable' };

/** Reads the lines of one capture in order. Never throws on a line, whatever it holds. */
export type LineReader = (line: string) => Reading;

/** One family of captures: how its lines are recognised, and how they are read. */
export interface CaptureFormat {
  name: string;
  /** Whether `line`, found in a file called `fileName`, is of this format. */
  recognises: (line: string, fileName: string) => boolean;
  /** A reader for the file called `fileName`. */
  reader: (fileName: string) => LineReader;
}

export const FRAME: Reading = { kind: 'frame' };
export const UNREADABLE: Reading = { kind: 'unreadable' };

/** A JSON object, or `undefined` for any other text. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  const value = parseJson(text);
  return isObject(value) ? value : undefined;
}

/** Any JSON value; `undefined`, which no JSON text means, when it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
