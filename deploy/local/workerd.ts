/**
 * The edge on this machine: bundles the Worker with wrangler and runs the bundle in plain workerd, the runtime it
 * has in production. For the local start, the tests and the benchmark; production is deployed by wrangler alone.
 * Never puts a binding's value into a file or a process argument: they reach workerd through its environment.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));
const require = createRequire(import.meta.url);

export const BUNDLE_TIMEOUT_MS = 60_000;
export const WORKERD_START_TIMEOUT_MS = 20_000;
/** How long requests in flight may take after SIGTERM, before the process group is killed. */
export const WORKERD_STOP_TIMEOUT_MS = 2_000;
/** Of each output stream, the newest; enough to see why a start failed. */
export const OUTPUT_KEPT_CHARS = 64 * 1024;

/** Keeps wrangler from calling out, writing logs and printing banners. */
const QUIET_WRANGLER = {
  WRANGLER_HIDE_BANNER: 'true',
  WRANGLER_SEND_METRICS: 'false',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_WRITE_LOGS: 'false',
};

/** Bindings of wrangler.toml that the edge can do without. */
export type EdgeObject = 'OUTBOX' | 'STATUS_BOARD' | 'METER' | 'SOCKETS';

export interface WorkerdOptions {
  /** What {@link bundleWorker} returned. Copied, so that a new bundle does not change a running edge. */
  bundlePath: string;
  /** 127.0.0.1 unless told otherwise. */
  host?: string;
  /** 0 takes a free port; see `url`. */
  port: number;
  /** Text bindings: the Worker's settings and secrets. */
  bindings: Readonly<Record<string, string>>;
  /** A directory of this one process: its configuration, its copy of the bundle, and what the Worker keeps on disk. */
  dataDir: string;
  /** Durable Objects that this edge is to do without. */
  without?: readonly EdgeObject[];
  /** A command, by its path, that runs workerd in its own place (as `env` does), with its arguments. */
  under?: readonly string[];
  /** Where, on 127.0.0.1, workerd answers the inspector's protocol; nowhere unless told. */
  inspectorPort?: number;
  /** Called with each line that the Worker logs or workerd prints. */
  onLine?: (line: string) => void;
}

export interface RunningWorkerd {
  /** Without a trailing slash. */
  url: string;
  port: number;
  pid: number;
  /** Resolves when it has ended, by itself or not. */
  exited: Promise<void>;
  /** SIGTERM, and SIGKILL to what has not ended in {@link WORKERD_STOP_TIMEOUT_MS}. Resolves when it has ended. */
  stop(): Promise<void>;
  /** SIGKILL at once, as a power cut would. */
  kill(): void;
  stdout(): string;
  stderr(): string;
}

/**
 * Bundles the Worker into `outDir` and returns the path of the one JavaScript file. Throws with wrangler's own
 * words when the bundle cannot be built.
 */
export async function bundleWorker(outDir: string): Promise<string> {
  // Beside its main module; wrangler's "exports" do not name its program.
  const wrangler = join(require.resolve('wrangler/package.json'), '..', 'bin', 'wrangler.js');
  const args = [wrangler, 'deploy', '--dry-run', '--env', '', '--outdir', outDir];
  const child = spawn(process.execPath, args, {
    cwd: REPOSITORY,
    env: { ...process.env, ...QUIET_WRANGLER },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: BUNDLE_TIMEOUT_MS,
  });
  const stdout = keepTail(child.stdout);
  const stderr = keepTail(child.stderr);
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`the Worker could not be bundled (wrangler exit ${code}):\n${stdout()}${stderr()}`);
  return join(outDir, 'index.js');
}

/**
 * Starts workerd on the bundle and resolves when it listens. Throws with its error output when it ends or does not
 * listen within {@link WORKERD_START_TIMEOUT_MS}. The process is killed when this one exits.
 */
export async function startWorkerd(options: WorkerdOptions): Promise<RunningWorkerd> {
  const { bundlePath, host = '127.0.0.1', port, bindings } = options;
  const dataDir = resolve(options.dataDir);
  await mkdir(join(dataDir, OBJECTS_DIR), { recursive: true });
  await copyFile(bundlePath, join(dataDir, MODULE_FILE));
  const configPath = join(dataDir, 'workerd.capnp');
  const { objects: all, ...compatibility } = await readWranglerConfig();
  const objects = all.filter(({ name }) => !options.without?.some((left) => left === name));
  const bindingNames = Object.keys(bindings);
  await writeFile(configPath, workerdConfig({ host, port, bindingNames, objects, ...compatibility }));

  const binary = (require('workerd') as { default: string }).default;
  const [command, ...args] = [...(options.under ?? []), binary, 'serve', configPath];
  if (options.inspectorPort !== undefined) args.push(`--inspector-addr=127.0.0.1:${options.inspectorPort}`);
  const child = spawn(command, [...args, '--control-fd=3', '--experimental'], {
    cwd: dataDir,
    env: { ...bindings },
    detached: true, // a process group of its own, so that all of it can be ended
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  const stdout = keepTail(child.stdout);
  const stderr = keepTail(child.stderr);
  for (const stream of [child.stdout, child.stderr]) {
    if (options.onLine !== undefined && stream !== null) createInterface(stream).on('line', options.onLine);
  }
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
    child.once('error', () => resolve());
  });
  const kill = () => signalGroup(child, 'SIGKILL');
  process.once('exit', kill);
  void ended.then(() => process.removeListener('exit', kill));

  const listening = await listeningPort(child, ended);
  if (listening === undefined) {
    kill();
    await ended;
    throw new Error(`workerd did not start:\n${stderr()}`);
  }
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${listening}`,
    port: listening,
    pid: child.pid!,
    exited: ended,
    stdout,
    stderr,
    kill,
    async stop() {
      signalGroup(child, 'SIGTERM');
      const timer = setTimeout(kill, WORKERD_STOP_TIMEOUT_MS);
      await ended;
      clearTimeout(timer);
    },
  };
}

const MODULE_FILE = 'index.js';
/** In `dataDir`: one SQLite file for each Durable Object. The next process on the same directory finds them again. */
const OBJECTS_DIR = 'objects';

/** A binding and the class of the Durable Objects behind it. */
interface ObjectBinding {
  name: string;
  className: string;
}

interface ConfigParts {
  host: string;
  port: number;
  bindingNames: readonly string[];
  compatibilityDate: string;
  compatibilityFlags: readonly string[];
  objects: readonly ObjectBinding[];
}

function workerdConfig(parts: ConfigParts): string {
  const { host, port, bindingNames, compatibilityDate, compatibilityFlags, objects } = parts;
  const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  const bindings = [
    ...bindingNames.map((name) => `(name = ${quoted(name)}, fromEnvironment = ${quoted(name)})`),
    ...objects.map(
      ({ name, className }) => `(name = ${quoted(name)}, durableObjectNamespace = (className = ${quoted(className)}))`,
    ),
  ];
  const namespaces = objects.map(
    ({ className }) => `(className = ${quoted(className)}, uniqueKey = ${quoted(className)}, enableSql = true)`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
    (name = "objects", disk = (path = "${OBJECTS_DIR}", writable = true)),
  ],
  sockets = [(name = "http", address = ${quoted(address)}, http = (), service = "edge")],
);

const edge :Workerd.Worker = (
  modules = [(name = "${MODULE_FILE}", esModule = embed "${MODULE_FILE}")],
  compatibilityDate = ${quoted(compatibilityDate)},
  compatibilityFlags = [${compatibilityFlags.map(quoted).join(', ')}],
  bindings = [${bindings.join(', ')}],
  durableObjectNamespaces = [${namespaces.join(', ')}],
  durableObjectStorage = (localDisk = "objects"),
);
`;
}

/** A Cap'n Proto text literal, which for these characters is a JSON one. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

/** The Worker's own, so that it behaves here as it does when deployed. */
async function readWranglerConfig(): Promise<
  Pick<ConfigParts, 'compatibilityDate' | 'compatibilityFlags'> & { objects: ObjectBinding[] }
> {
  const toml = await readFile(join(REPOSITORY, 'wrangler.toml'), 'utf8');
  const compatibilityDate = /^compatibility_date\s*=\s*"(\d{4}-\d{2}-\d{2})"/m.exec(toml)?.[1];
  if (compatibilityDate === undefined) throw new Error('wrangler.toml names no compatibility_date');
  const flags = /^compatibility_flags\s*=\s*(\[[^\]]*\])/m.exec(toml)?.[1] ?? '[]';
  const binding = /^\[\[durable_objects\.bindings\]\]\nname\s*=\s*"(\w+)"\nclass_name\s*=\s*"(\w+)"/gm;
  const objects = [...toml.matchAll(binding)].map(([, name, className]) => ({ name: name!, className: className! }));
  return { compatibilityDate, compatibilityFlags: JSON.parse(flags) as string[], objects };
}

/** The port from workerd's control messages, one JSON line for each socket; `undefined` when none came. */
async function listeningPort(child: ChildProcess, ended: Promise<void>): Promise<number | undefined> {
  const control = child.stdio[3] as NodeJS.ReadableStream;
  const lines = createInterface(control);
  let timer: NodeJS.Timeout | undefined;
  const listening = new Promise<number>((resolve) => {
    lines.on('line', (line) => {
      const message = JSON.parse(line) as { event?: string; port?: number };
      if (message.event === 'listen' && message.port !== undefined) resolve(message.port);
    });
  });
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), WORKERD_START_TIMEOUT_MS);
  });
  const port = await Promise.race([listening, late, ended.then(() => undefined)]);
  clearTimeout(timer);
  return port;
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // it has ended already
  }
}

function keepTail(stream: NodeJS.ReadableStream | null): () => string {
  let tail = '';
  stream?.setEncoding('utf8').on('data', (chunk: string) => {
    tail = (tail + chunk).slice(-OUTPUT_KEPT_CHARS);
  });
  return () => tail;
}
