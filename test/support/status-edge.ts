/**
 * The status routes in real workerd, with the board's SQLite on disk: started, killed, started again on the same
 * data, and asked.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../../deploy/local/free-ports.ts';

const require = createRequire(import.meta.url);
const ENTRY = fileURLToPath(new URL('status-edge-entry.ts', import.meta.url));

/** The bundler that wrangler deploys with, found where wrangler finds it. */
interface Bundler {
  build(options: Record<string, unknown>): Promise<unknown>;
}

/** The public state, as `GET /status` says it. */
export interface PublicStatus {
  overall: { state: string; words: string; detail: string };
  components: { id: string; state: string; words: string; uptime: { up: number | null } }[];
  figures: { ticksPerSecond: number | null; delayMs: number | null; level: string | null; backlogTicks: number | null };
  incidents: { id: string; component: string; cause: string; startedMs: number }[];
  measuredAsOf: string | null;
  measuredAgeSeconds: number | null;
}

export interface StatusEdgeSettings {
  clusterUrl: string;
  edgeSecret: string;
  /** Of the real intervals. */
  paceShare: number;
  providers?: string;
  faulty?: boolean;
}

/** Invariant: at most one workerd runs, always on the same data; gone after it was disposed of. */
export class StatusEdge implements AsyncDisposable {
  url = '';
  log = '';
  readonly #directory: string;
  readonly #port: number;
  readonly #bindings: Record<string, string>;
  #child: ChildProcess | undefined;

  private constructor(directory: string, port: number, bindings: Record<string, string>) {
    this.#directory = directory;
    this.#port = port;
    this.#bindings = bindings;
  }

  static async start(settings: StatusEdgeSettings): Promise<StatusEdge> {
    const directory = await mkdtemp(join(tmpdir(), 'mdp-status-'));
    const [port] = (await freePorts(1)) as [number]; // it is its own also while workerd is dead
    const edge = new StatusEdge(directory, port, {
      CLUSTER_URL: settings.clusterUrl,
      EDGE_SECRET: settings.edgeSecret,
      PROVIDER_CREDENTIALS: '{"ibkr":{"tokens":["sha256:' + 'ab'.repeat(32) + '"]}}',
      STATUS_PROVIDERS: settings.providers ?? '',
      PACE_SHARE: String(settings.paceShare),
      FAULTY: settings.faulty === true ? '1' : '0',
    });
    const wrangler = require.resolve('wrangler/package.json');
    const bundler = createRequire(wrangler)('esbuild') as Bundler;
    const outfile = join(directory, 'index.js');
    await bundler.build({
      entryPoints: [ENTRY],
      outfile,
      bundle: true,
      format: 'esm',
      target: 'esnext',
      logLevel: 'error',
    });
    await mkdir(join(directory, 'objects'));
    await edge.run();
    return edge;
  }

  /** Starts it, again on the same port and data. */
  async run(): Promise<void> {
    const config = join(this.#directory, 'workerd.capnp');
    await writeFile(config, this.#config());
    const binary = (require('workerd') as { default: string }).default;
    const child = spawn(binary, ['serve', config, '--control-fd=3', '--experimental'], {
      env: this.#bindings,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    });
    this.#child = child;
    process.once('exit', () => this.#signal(child));
    for (const stream of [child.stdout, child.stderr]) {
      stream!.setEncoding('utf8').on('data', (text: string) => (this.log += text));
    }
    const ended = once(child, 'exit').then(() => {
      throw new Error(`workerd ended:\n${this.log}`);
    });
    ended.catch(() => undefined);
    const listening = (async () => {
      for await (const line of createInterface({ input: child.stdio[3] as NodeJS.ReadableStream })) {
        const { event, port } = JSON.parse(line) as { event: string; port: number };
        if (event === 'listen') return port;
      }
      return ended;
    })();
    this.url = `http://127.0.0.1:${await Promise.race([listening, ended])}`;
  }

  /** SIGKILL, as a power cut would; then {@link run} again. */
  async kill(): Promise<void> {
    const child = this.#child!;
    const ended = once(child, 'exit');
    this.#signal(child);
    await ended;
    this.#child = undefined;
  }

  async status(): Promise<PublicStatus> {
    return (await (await fetch(`${this.url}/status`)).json()) as PublicStatus;
  }

  /** `edge:operational cluster:… store:…`, in the page's order. */
  async states(): Promise<string> {
    return (await this.status()).components.map(({ id, state }) => `${id}:${state}`).join(' ');
  }

  async note(provider: string, fate: string): Promise<void> {
    await fetch(`${this.url}/note/${provider}/${fate}`, { method: 'POST' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child !== undefined) await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }

  #signal(child: ChildProcess): void {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // it has ended already
    }
  }

  #config(): string {
    const texts = Object.keys(this.#bindings).map((name) => `(name = "${name}", fromEnvironment = "${name}")`);
    return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "status", worker = .status),
    (name = "objects", disk = (path = ${JSON.stringify(join(this.#directory, 'objects'))}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${this.#port}", http = (), service = "status")],
);

const status :Workerd.Worker = (
  modules = [(name = "index.js", esModule = embed "index.js")],
  compatibilityDate = "2026-10-23",
  durableObjectNamespaces = [(className = "StatusBoard", uniqueKey = "status-board", enableSql = true)],
  durableObjectStorage = (localDisk = "objects"),
  bindings = [${[...texts, '(name = "STATUS_BOARD", durableObjectNamespace = "StatusBoard")'].join(', ')}],
);
`;
  }
}
