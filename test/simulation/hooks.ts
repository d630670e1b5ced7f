/**
 * Between the real code and the modules it imports: `node:http`, `node:zlib` and `cloudflare:workers` are simulated
 * where the product imports them, and one source text may be changed, to plant a bug. The product's files stay as they
 * are.
 */

import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

export interface SourceChange {
  /** Below the root of the project. */
  file: string;
  /** Has to be there exactly once: a change of the product must not disarm the planted bug unseen. */
  find: string;
  replace: string;
}

const ROOT = new URL('../../', import.meta.url);
/** Which module stands in for which, in files below which folder. */
const STAND_INS: readonly { specifier: string; importedBelow: string; module: string }[] = [
  { specifier: 'node:http', importedBelow: 'pipeline/', module: 'test/simulation/modules/http.ts' },
  { specifier: 'node:zlib', importedBelow: 'pipeline/', module: 'test/simulation/modules/zlib.ts' },
  { specifier: 'cloudflare:workers', importedBelow: 'worker/', module: 'test/simulation/modules/workers.ts' },
];

/** To be called once, before anything of the product is imported. */
export function installHooks(changes: readonly SourceChange[]): void {
  const left = new Set(changes);
  registerHooks({
    resolve(specifier, context, next) {
      const parent = context.parentURL ?? '';
      for (const { specifier: real, importedBelow, module } of STAND_INS) {
        if (specifier === real && parent.startsWith(new URL(importedBelow, ROOT).href)) {
          return { url: new URL(module, ROOT).href, format: 'module-typescript', shortCircuit: true };
        }
      }
      // The same routes from a router that is made for few requests: isolates do not live long here.
      if (specifier === 'hono') return next('hono/quick', context);
      return next(specifier, context);
    },
    load(url, context, next) {
      const ours = changes.filter(({ file }) => new URL(file, ROOT).href === url);
      const loaded = next(url, context);
      if (ours.length === 0) return loaded;
      let source = Buffer.from(loaded.source as Uint8Array).toString();
      for (const change of ours) {
        source = changed(source, change);
        left.delete(change);
      }
      return { ...loaded, source };
    },
  });
  process.once('beforeExit', () => {
    if (left.size > 0) throw new Error(`never imported: ${[...left].map(({ file }) => file).join(', ')}`);
  });
}

/** Throws unless the anchor is there exactly once. */
export function changed(source: string, { file, find, replace }: SourceChange): string {
  const pieces = source.split(find);
  if (pieces.length !== 2) {
    throw new Error(`${fileURLToPath(new URL(file, ROOT))} has this ${pieces.length - 1} times, not once:\n${find}`);
  }
  return pieces.join(replace);
}
