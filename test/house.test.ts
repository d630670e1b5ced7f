/** The house of design.md section 9: which file may know which, and which may touch the world outside. */

import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FILES = globSync(['worker/**/*.ts', 'pipeline/**/*.ts', 'deploy/**/*.ts'], { cwd: ROOT }).sort();

interface Room {
  /** Paths, or beginnings of paths, that files of this room may import beside their own room. */
  knows: readonly string[];
  packages?: readonly string[];
  /** Whether `node:` modules may be imported. */
  node?: true;
}

/** The longest beginning that fits a file is its room. A file that fits none fails the test. */
const ROOMS: Readonly<Record<string, Room>> = {
  'pipeline/contract/': { knows: [] },
  'pipeline/queue/': { knows: ['pipeline/contract/'] },
  'pipeline/backpressure/': { knows: ['pipeline/contract/'] },
  'pipeline/source/': { knows: ['pipeline/contract/', 'pipeline/queue/', 'pipeline/backpressure/'], node: true },
  'pipeline/sink/': { knows: ['pipeline/contract/', 'pipeline/queue/', 'pipeline/backpressure/'] },
  'pipeline/store/': {
    knows: ['pipeline/contract/', 'pipeline/queue/', 'pipeline/sink/store.ts'],
    packages: ['pg'],
    node: true,
  },
  // The ops routes answer through the same door as everything else; of the source it knows that door alone.
  'pipeline/telemetry/': {
    knows: ['pipeline/contract/', 'pipeline/source/http.ts'],
    packages: ['prom-client'],
    node: true,
  },
  'pipeline/config.ts': {
    knows: ['pipeline/contract/', 'pipeline/backpressure/', 'pipeline/settings.ts', 'pipeline/signing-key.ts'],
    node: true,
  },
  'pipeline/signing-key.ts': { knows: ['pipeline/contract/'], node: true },
  'pipeline/settings.ts': { knows: ['pipeline/contract/'], node: true },
  // It is given a store, and so does not know which there are.
  'pipeline/topology.ts': {
    knows: [
      'pipeline/contract/',
      'pipeline/queue/',
      'pipeline/backpressure/',
      'pipeline/source/',
      'pipeline/sink/',
      'pipeline/telemetry/',
      'pipeline/config.ts',
    ],
    node: true,
  },
  'pipeline/main.ts': { knows: ['pipeline/'], node: true },
  'worker/': { knows: ['pipeline/contract/'], packages: ['hono', 'cloudflare:workers'] },
  // Node's zlib, which workerd has as well.
  'worker/outbox/gzip.ts': { knows: [], node: true },
  // The simulator plays with the very levels, budgets and circuit that a pod has.
  'deploy/simulate/': {
    knows: ['pipeline/contract/', 'pipeline/backpressure/', 'pipeline/sink/circuit.ts', 'deploy/replay/shuffle.ts'],
    packages: ['yaml'],
    node: true,
  },
  // The command line checks settings with the very code that reads them, and pushes as the replay does.
  'deploy/mdp/': {
    knows: ['pipeline/contract/', 'pipeline/config.ts', 'worker/settings.ts', 'deploy/replay/', 'deploy/simulate/'],
    packages: ['yaml'],
    node: true,
  },
  // It plays the simulator's control loop on real processes, and holds the stores of its pods back.
  'deploy/rehearse/': {
    knows: [
      'pipeline/contract/',
      'pipeline/queue/',
      'pipeline/store/',
      'deploy/local/',
      'deploy/replay/',
      'deploy/simulate/',
    ],
    node: true,
  },
  'deploy/': { knows: ['pipeline/contract/'], packages: ['undici', 'fflate', 'pg'], node: true },
};

function roomOf(file: string): string | undefined {
  return Object.keys(ROOMS)
    .filter((room) => file.startsWith(room))
    .sort((left, right) => right.length - left.length)[0];
}

interface Import {
  file: string;
  specifier: string;
}

/** Static, type-only, re-exporting and dynamic imports, and files started as threads. */
const SPECIFIER =
  /(?:^(?:import|export)\b[^'";]*?\bfrom\s*|^import\s*|\bimport\(\s*|\bnew Worker\(\s*new URL\(\s*)['"]([^'"]+)['"]/gm;

function importsOf(file: string, text: string): Import[] {
  return [...text.matchAll(SPECIFIER)].map((match) => ({ file, specifier: match[1]! }));
}

function sourceOf(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8');
}

/** Why this import is against the arrows, or undefined. */
function wrongArrow({ file, specifier }: Import): string | undefined {
  const home = roomOf(file);
  if (home === undefined) return `${file} is in no room`;
  const room = ROOMS[home]!;
  const says = `${file} imports ${specifier}`;
  if (specifier.startsWith('node:')) return room.node ? undefined : says;
  if (!specifier.startsWith('.')) return room.packages?.includes(specifier) ? undefined : says;
  const target = normalize(join(dirname(file), specifier));
  return [home, ...room.knows].some((known) => target.startsWith(known)) ? undefined : says;
}

const IMPORTS = FILES.flatMap((file) => importsOf(file, sourceOf(file)));

describe('the house', () => {
  it('has every file in a room', () => {
    expect(FILES.length).toBeGreaterThan(50);
    expect(FILES.filter((file) => roomOf(file) === undefined)).toEqual([]);
  });

  it('has no import that points outwards', () => {
    // Seen failing: with `import { Writer } from '../sink/writer.ts'` in queue/bounded-queue.ts and with
    // `import { hostname } from 'node:os'` in backpressure/watermark.ts, each named here. It does not see what is
    // reached through globals: that is the next test's.
    expect(IMPORTS.length).toBeGreaterThan(150);
    expect(IMPORTS.map(wrongArrow).filter((wrong) => wrong !== undefined)).toEqual([]);
  });

  it('has no import that leads nowhere or out of the repository', () => {
    const relative = IMPORTS.filter(({ specifier }) => specifier.startsWith('.'));
    const missing = relative.filter(({ file, specifier }) => {
      const target = normalize(join(dirname(file), specifier));
      return target.startsWith('..') || !existsSync(join(ROOT, target));
    });
    expect(missing).toEqual([]);
  });

  it.each([
    ['pipeline/contract/level.ts', "import { x } from 'node:crypto'"],
    ['pipeline/contract/level.ts', "export * from '../queue/delivery.ts'"],
    ['pipeline/queue/delivery.ts', "import type { Store } from '../sink/store.ts'"],
    ['pipeline/backpressure/throttle.ts', "import { BoundedQueue } from '../queue/bounded-queue.ts'"],
    ['pipeline/sink/writer.ts', "import { SqliteStore } from '../store/sqlite.ts'"],
    ['pipeline/store/sqlite.ts', "import { Writer } from '../sink/writer.ts'"],
    ['pipeline/telemetry/books.ts', "const x = await import('../source/ticks.ts')"],
    ['pipeline/topology.ts', "import './main.ts'"],
    ['pipeline/topology.ts', "import { SqliteStore } from './store/sqlite.ts'"],
    ['pipeline/main.ts', "import { newSeed } from '../test/support/random.ts'"],
    ['worker/app.ts', "import { Throttle } from '../pipeline/backpressure/throttle.ts'"],
    ['worker/app.ts', "import { request } from 'undici'"],
    ['deploy/local/pod.ts', "import { newSeed } from '../../test/support/random.ts'"],
    ['deploy/local/pod.ts', "new Worker(new URL('../../pipeline/store/sqlite-thread.ts', import.meta.url))"],
  ])('refuses in %s: %s', (file, text) => {
    expect(importsOf(file, text).map(wrongArrow)).toEqual([expect.stringContaining(`${file} imports`)]);
  });
});

/** What reaches out of the process or into chance without an import. */
const OUTSIDE =
  /(?<!\/)\bprocess\.\w+|\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bMath\.random\b|\bset(?:Timeout|Interval)\b|\bconsole\.\w+/g;

/** Files of the pipeline that may, and at what. */
const OUTSIDE_ALLOWED: Readonly<Record<string, readonly string[]>> = {
  'pipeline/main.ts': [
    'Date.now',
    'Math.random',
    'performance.now',
    'process.constrainedMemory',
    'process.env',
    'process.exit',
    'process.on',
    'process.report',
    'process.stdout',
    'setTimeout',
  ],
  // How long a refused body is read off, and how often connections are looked at.
  'pipeline/source/http.ts': ['setInterval', 'setTimeout'],
  // Intervals of housekeeping and of restarts; what time it is comes from `nowMs`.
  'pipeline/store/postgres.ts': ['setInterval', 'setTimeout'],
  'pipeline/store/sqlite.ts': ['setInterval', 'setTimeout'],
  // What the process itself uses is what they show.
  'pipeline/telemetry/memory.ts': ['process.memoryUsage'],
  'pipeline/telemetry/process.ts': ['process.cpuUsage', 'process.memoryUsage'],
};

describe('the world outside', () => {
  const pipeline = FILES.filter((file) => file.startsWith('pipeline/'));

  it('is touched by main.ts alone', () => {
    // Seen failing: store/sqlite-thread.ts read Date.now() twice; the pod's clock now comes with the job.
    const touched: Record<string, string[]> = {};
    for (const file of pipeline) {
      const found = [...new Set(withoutComments(sourceOf(file)).match(OUTSIDE))].sort();
      if (found.length > 0) touched[file] = found;
    }
    expect(touched).toEqual(OUTSIDE_ALLOWED);
  });

  it('is touched by the edge in its entry alone', () => {
    // The page's script is text here: it runs in its reader's browser, by that clock.
    const allowed = new Set(['worker/index.ts', 'worker/status/page-script.ts']);
    const worker = FILES.filter((file) => file.startsWith('worker/') && !allowed.has(file));
    const touched = worker.filter((file) =>
      /\bDate\.now\(|\bMath\.random\(|\bnew Date\(\)/.test(withoutComments(sourceOf(file))),
    );
    expect(touched).toEqual([]);
  });
});

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|(?<!:)\/\/.*/g, '');
}

describe('a file', () => {
  const LINES_MAX = 350;
  /** Longer ones, with what they have now: they may shrink, not grow far. */
  const LONGER: Readonly<Record<string, number>> = {
    'pipeline/contract/decode.ts': 365,
    'pipeline/contract/tick.ts': 375,
    'deploy/replay/account.ts': 375,
  };

  it('is short enough to hold one idea', () => {
    const long = FILES.map((file) => ({ file, lines: sourceOf(file).split('\n').length - 1 })).filter(
      ({ file, lines }) => lines > (LONGER[file] ?? LINES_MAX),
    );
    expect(long).toEqual([]);
  });

  it('says at its top what it is for', () => {
    expect(FILES.filter((file) => !sourceOf(file).startsWith('/**'))).toEqual([]);
  });
});
