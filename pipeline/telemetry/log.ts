/**
 * One JSON line per event, to standard output. Nothing per tick or per batch; `warn` is what we recovered from,
 * `error` is what somebody must look at.
 */

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export type Log = (level: LogLevel, event: string, facts?: Readonly<Record<string, unknown>>) => void;

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

export function createLog(threshold: LogLevel, nowMs: () => number, write: (line: string) => void): Log {
  return (level, event, facts = {}) => {
    if (RANK[level] < RANK[threshold]) return;
    write(`${JSON.stringify({ time: new Date(nowMs()).toISOString(), level, event, ...facts })}\n`);
  };
}
