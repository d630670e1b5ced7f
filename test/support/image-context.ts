/** A checkout to build the image from: the project's own files, among others that have no business in an image. */

import { chmodSync, cpSync, globSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const PROJECT = ['Dockerfile', '.dockerignore', 'LICENSE', 'package.json', 'package-lock.json', 'pipeline'];
const FOREIGN = [
  '.env',
  '.git/config',
  '.npmrc',
  'data/ticks.db',
  'id_ed25519',
  'node_modules/left-over/index.js',
  'node_modules/undici/index.js',
  'pipeline/.env',
  'pipeline/contract/.git/config',
  'pipeline/store/ticks.db',
  'pipeline/store/ticks.db-wal',
  'test/house.test.ts',
  'worker/index.ts',
];

/** In all foreign files and nowhere else. */
export const FOREIGN_TEXT = 'mdp-foreign-7b21';

/** Makes it in `directory`. Its files are readable for their owner only, as with a umask of 077. */
export function hostileCheckout(directory: string): void {
  for (const path of PROJECT) cpSync(path, join(directory, path), { recursive: true });
  for (const path of FOREIGN) {
    mkdirSync(join(directory, dirname(path)), { recursive: true });
    writeFileSync(join(directory, path), FOREIGN_TEXT);
  }
  for (const path of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    chmodSync(join(path.parentPath, path.name), path.isDirectory() ? 0o700 : 0o600);
  }
}

/** Every TypeScript file of the pipeline in `directory`. */
export function pipelineFiles(directory: string): string[] {
  return globSync('pipeline/**/*.ts', { cwd: directory }).toSorted();
}

/** Paths in node_modules of what the lock installs without development and optional dependencies. */
export function productionPackages(): string[] {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
    packages: Record<string, { dev?: true; optional?: true; devOptional?: true; peer?: true }>;
  };
  return Object.entries(packages)
    .filter(([path, { dev, optional, devOptional }]) => path !== '' && !dev && !optional && !devOptional)
    .map(([path]) => path)
    .toSorted();
}
