/**
 * Which providers the public may see as components: none, unless `STATUS_PROVIDERS` names them. Their names are
 * theirs; what cannot be read publishes nobody.
 */

import { isProvider } from '../../pipeline/contract/identity.ts';
import { CANARY_PROVIDER } from './canary.ts';

export const STATUS_PROVIDERS = 'STATUS_PROVIDERS';
export const STATUS_PROVIDERS_RULE = 'a JSON list of at most 20 provider names, or "*" for all of them';
/** Each costs the page about 2 KB. */
export const PROVIDERS_SHOWN_MAX = 20;

export type Publication = { all: true } | { all: false; names: readonly string[] };

export const NOBODY: Publication = { all: false, names: [] };

/** The publication of a setting's text; `undefined` when it breaks {@link STATUS_PROVIDERS_RULE}. */
export function parsePublication(text: string | undefined): Publication | undefined {
  if (text === undefined || text.trim() === '') return NOBODY;
  if (text.trim() === '*' || text.trim() === '"*"') return { all: true };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value) || value.length > PROVIDERS_SHOWN_MAX) return undefined;
  const names: unknown[] = value;
  return names.every((name) => typeof name === 'string' && isProvider(name))
    ? { all: false, names: names as string[] }
    : undefined;
}

/** As the environment says. */
export function publicationOf(env: object | undefined): Publication {
  const text = (env as Record<string, unknown> | undefined)?.[STATUS_PROVIDERS];
  return (typeof text === 'string' ? parsePublication(text) : NOBODY) ?? NOBODY;
}

/** Those of `heard` that may be shown. */
export function shownProviders(publication: Publication, heard: readonly string[]): string[] {
  const shown = publication.all ? heard : heard.filter((name) => publication.names.includes(name));
  return shown
    .filter((name) => name !== CANARY_PROVIDER)
    .toSorted()
    .slice(0, PROVIDERS_SHOWN_MAX);
}
