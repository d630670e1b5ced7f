/**
 * What others have written and we ship or run: each package is exactly the one that the lock names, none runs anything
 * when it is installed, and those that reach production have a licence that we have agreed to.
 */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { productionPackages } from '../support/image-context.ts';

interface Locked {
  version: string;
  resolved?: string;
  integrity?: string;
  license?: string;
  link?: boolean;
  hasInstallScript?: boolean;
}

const MANIFEST = JSON.parse(readFileSync('package.json', 'utf8')) as Record<string, Record<string, string>>;
const LOCK = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { packages: Record<string, Locked> };
const packages = Object.entries(LOCK.packages).filter(([path]) => path !== '');
const PAGE = readFileSync('docs/licences.md', 'utf8');

/** Licences that ask for their text and their notices to be kept, and for nothing else. */
const ALLOWED = new Set(['MIT', 'ISC', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD']);
/** Development packages that end up in what is deployed: the Worker's bundle has Hono in it. */
const BUNDLED = ['node_modules/hono'];

describe('the lock', () => {
  it('has a digest of every package, and takes none from anywhere but a registry', () => {
    expect(packages.length).toBeGreaterThan(200);
    const loose = packages.filter(
      ([, { integrity, resolved, link }]) =>
        link === true ||
        !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? '') ||
        (resolved ?? 'https:').split('//')[0] !== 'https:',
    );
    expect(loose.map(([path]) => path)).toEqual([]);
  });

  it('names no registry: a package is found by its name and known by its digest, wherever it comes from', () => {
    expect(packages.filter(([, { resolved }]) => resolved !== undefined).map(([path]) => path)).toEqual([]);
  });

  it('has the very versions that package.json asks for, each of them pinned', () => {
    const kinds = ['dependencies', 'devDependencies', 'optionalDependencies'];
    const asked = kinds.flatMap((kind) => Object.entries(MANIFEST[kind]!));
    expect(asked.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
    expect(asked.map(([name]) => [name, LOCK.packages[`node_modules/${name}`]?.version])).toEqual(asked);
  });

  it('allows no package to run a script when it is installed', () => {
    const withScripts = packages
      .filter(([, { hasInstallScript }]) => hasInstallScript)
      .map(([path]) => path.split('node_modules/').at(-1)!);
    expect(MANIFEST['allowScripts']).toEqual(Object.fromEntries(withScripts.map((name) => [name, false])));
    expect(readFileSync('.npmrc', 'utf8')).toContain('strict-allow-scripts=true');
    expect(readFileSync('Dockerfile', 'utf8')).toMatch(/npm ci .*--ignore-scripts/);
  });
});

describe('the packages in production', () => {
  const shipped = [...productionPackages(), ...BUNDLED].map((path) => {
    const installed = JSON.parse(readFileSync(`${path}/package.json`, 'utf8')) as {
      name: string;
      version: string;
      license?: string;
    };
    return { ...installed, locked: LOCK.packages[path]! };
  });

  // Seen failing with Apache-2.0 taken out of the list.
  it('have licences that we have agreed to, in the lock and in themselves', () => {
    expect(shipped.length).toBeGreaterThan(10);
    const others = shipped.filter(({ license, locked }) => license !== locked.license || !ALLOWED.has(license ?? ''));
    expect(others.map(({ name, license }) => [name, license])).toEqual([]);
  });

  it('are listed in docs/licences.md, with version and licence, and no others', () => {
    const rows = [...PAGE.matchAll(/^\| `([^`]+)` \| (\S+) \| (\S+) \|/gm)].map(
      ([, name, version, license]) => `${name} ${version} ${license}`,
    );
    const expected = shipped.map(({ name, version, license }) => `${name} ${version} ${license}`);
    expect(rows.toSorted()).toEqual(expected.toSorted());
  });

  it('are few: those that package.json names, and what those need', () => {
    expect(Object.keys(MANIFEST['dependencies']!)).toEqual(['pg', 'prom-client', 'undici']);
  });
});
