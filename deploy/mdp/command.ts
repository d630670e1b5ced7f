/** What the commands of `mdp` have in common: their shape, their exit codes, and how wrong usage is told. */

import type { ParseArgsConfig } from 'node:util';

export const EXIT_OK = 0;
/** The command did what it was asked, and what it found is not well. */
export const EXIT_NOT_WELL = 1;
export const EXIT_USAGE = 2;
/** 128 + SIGINT, as shells have it. */
export const EXIT_INTERRUPTED = 130;

/** A command, without its name. */
export interface Command {
  help: string;
  /** `args` is what stands behind the command's name. Resolves with the exit code; throws a {@link UsageError}. */
  run: (args: string[]) => Promise<number>;
}

/** Its message is for whoever typed the command. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** Flags that every command has. */
export const COMMON_OPTIONS = {
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const satisfies ParseArgsConfig['options'];

/** Without a slash at its end. Throws a {@link UsageError} for what is no address. */
export function httpUrl(text: string, flag: string): string {
  const url = URL.parse(text);
  if (url === null || !['http:', 'https:'].includes(url.protocol)) {
    throw new UsageError(`${flag} must be an http:// or https:// address`);
  }
  if (url.username !== '' || url.password !== '') throw new UsageError(`${flag} must not hold a name or a password`);
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

/** Throws a {@link UsageError} for anything else. */
export function wholeNumber(text: string, flag: string, least: number, most: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new UsageError(`${flag} must be a whole number of ${least} to ${most}`);
}

export function print(text: string): void {
  process.stdout.write(text);
}

/** One JSON value a line, for programs that read on while the command runs. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
