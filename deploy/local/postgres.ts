/**
 * A real PostgreSQL server of our own: in a temporary directory, on a free loopback port, fsync on, as an unprivileged
 * user when we are root, which PostgreSQL refuses to run as. Can be killed, stopped, started again and paused. For the
 * rehearsal and the tests; where no server is installed {@link POSTGRES_BIN} is undefined.
 */

import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { freePorts } from './free-ports.ts';

const START_TIMEOUT_MS = 30_000;
const LOOK_INTERVAL_MS = 20;
const SUPERUSER = 'postgres';
/** Of a server that nobody else can reach. */
const PASSWORD = 'loopback-only';

/** The directory of the newest server that is installed. */
export const POSTGRES_BIN = findBinaries();

function findBinaries(): string | undefined {
  const packaged = globSync('/usr/lib/postgresql/*/bin').sort((left, right) => versionIn(right) - versionIn(left));
  const onPath = (process.env['PATH'] ?? '').split(delimiter);
  return [...packaged, ...onPath].find((directory) =>
    ['postgres', 'initdb'].every((name) => existsSync(join(directory, name))),
  );
}

function versionIn(directory: string): number {
  return Number(/\d+/.exec(dirname(directory).split('/').at(-1)!)?.[0] ?? 0);
}

/** Whom the server runs as: us, or for root the owner of an installed PostgreSQL, or nobody. */
function serverUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  const user = ['postgres', 'nobody'].map((name) => users.find(([one]) => one === name)).find((one) => one);
  if (user === undefined) throw new Error('neither a user postgres nor a user nobody is there to run a server as');
  return { uid: Number(user[2]), gid: Number(user[3]) };
}

export type Row = Record<string, unknown>;

export interface PostgresServer {
  url(database: string, user?: string, password?: string): string;
  /** Whom its files belong to, as `chown` takes it. */
  readonly owner: string;
  /** An empty database; its name. `options` end the CREATE DATABASE. */
  createDatabase(options?: string): Promise<string>;
  /** As superuser. */
  query(database: string, text: string, values?: unknown[]): Promise<Row[]>;
  /** A superuser's connection, ended by `disconnect`, or by `remove`. */
  connect(database: string): Promise<Client>;
  disconnect(): Promise<void>;
  /** SIGKILL to the postmaster; ends when its processes have noticed. */
  kill9(): Promise<void>;
  /** Ends every connection and the server, in order. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** SIGSTOP to the postmaster and all of its processes. */
  pause(): void;
  resume(): void;
  remove(): Promise<void>;
}

/** `settings` go onto the server's command line; its directory is below `parent`, which it has to be able to enter. */
export async function startPostgres(
  settings: Readonly<Record<string, string>> = {},
  parent = '/tmp',
): Promise<PostgresServer> {
  const bin = POSTGRES_BIN;
  if (bin === undefined) throw new Error('no PostgreSQL is installed');
  const user = serverUser();
  // Not deep: the path of a Unix socket may have 107 characters.
  const home = await mkdtemp(join(parent, 'mdp-pg-'));
  await chmod(home, 0o755);
  if (user !== undefined) await chown(home, user.uid, user.gid);
  const data = join(home, 'data');
  const [port] = await freePorts(1);
  await initialise();
  let server: ChildProcess | undefined;
  let paused: number[] = [];
  let databases = 0;
  const clients: Client[] = [];
  const result: PostgresServer = {
    url,
    owner: user === undefined ? String(process.getuid?.()) : `${user.uid}:${user.gid}`,
    createDatabase,
    query,
    connect,
    disconnect,
    kill9,
    stop,
    start,
    pause,
    resume,
    remove,
  };
  await start();
  return result;

  async function initialise(): Promise<void> {
    const passwordFile = join(home, 'password');
    await writeFile(passwordFile, PASSWORD);
    await chmod(passwordFile, 0o644);
    const access = ['-A', 'scram-sha-256', '--pwfile', passwordFile, '-U', SUPERUSER];
    // Unsynced is the directory as initdb leaves it, not what the server writes into it.
    await promisify(execFile)(join(bin!, 'initdb'), ['-D', data, '-E', 'UTF8', '--locale=C', '-N', ...access], {
      ...user,
      cwd: home,
    });
  }

  function url(database: string, as = SUPERUSER, password = PASSWORD): string {
    return `postgres://${as}:${password}@127.0.0.1:${port}/${database}`;
  }

  async function start(): Promise<void> {
    const deadlineMs = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      let log = '';
      const given = { fsync: 'on', shared_buffers: '64MB', listen_addresses: '127.0.0.1', ...settings };
      const options = Object.entries(given).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
      const child = spawn(join(bin!, 'postgres'), ['-D', data, '-p', String(port), '-k', home, ...options], {
        ...user,
        cwd: home,
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      child.stderr.on('data', (chunk: Buffer) => (log = (log + chunk.toString()).slice(-4_000)));
      server = child;
      while (child.exitCode === null && Date.now() < deadlineMs) {
        if (await answers()) return;
        await sleep(LOOK_INTERVAL_MS);
      }
      // After a kill the shared memory is in use until the last process has noticed: begin again.
      if (Date.now() > deadlineMs) throw new Error(`PostgreSQL did not start: ${log}`);
      await sleep(LOOK_INTERVAL_MS);
    }
  }

  async function answers(): Promise<boolean> {
    const client = newClient('postgres');
    try {
      await client.connect();
      await client.end();
      return true;
    } catch {
      return false;
    }
  }

  function newClient(database: string): Client {
    const client = new Client({ connectionString: url(database) });
    client.on('error', () => {});
    return client;
  }

  async function createDatabase(options = ''): Promise<string> {
    databases += 1;
    const name = `test_${databases}`;
    await query('postgres', `CREATE DATABASE ${name} ${options}`);
    return name;
  }

  async function query(database: string, text: string, values: unknown[] = []): Promise<Row[]> {
    const client = newClient(database);
    await client.connect();
    try {
      return (await client.query<Row>(text, values.length > 0 ? values : undefined)).rows;
    } finally {
      await client.end();
    }
  }

  async function connect(database: string): Promise<Client> {
    const client = newClient(database);
    await client.connect();
    clients.push(client);
    return client;
  }

  async function disconnect(): Promise<void> {
    for (const client of clients.splice(0)) await client.end().catch(() => {});
  }

  async function kill9(): Promise<void> {
    const children = descendants(server!.pid!);
    await signalAndWait('SIGKILL');
    while (children.some(isAlive)) await sleep(LOOK_INTERVAL_MS);
  }

  async function stop(): Promise<void> {
    // "Fast": connections are ended, transactions rolled back.
    await signalAndWait('SIGINT');
  }

  async function signalAndWait(signal: NodeJS.Signals): Promise<void> {
    const child = server!;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  function pause(): void {
    paused = [server!.pid!, ...descendants(server!.pid!)];
    for (const pid of paused) process.kill(pid, 'SIGSTOP');
  }

  function resume(): void {
    for (const pid of paused) if (isAlive(pid)) process.kill(pid, 'SIGCONT');
    paused = [];
  }

  async function remove(): Promise<void> {
    resume();
    await disconnect();
    await stop();
    await rm(home, { recursive: true, force: true });
  }
}

function descendants(parent: number): number[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n');
  return lines
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([, ppid]) => ppid === parent)
    .map(([pid]) => pid!);
}

/** A process that has ended and waits to be collected by its parent does not count. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^\S+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
