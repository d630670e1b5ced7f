/**
 * Runs one pod as a real process of this machine: `npm start`, the tests and the benchmark all do it this way.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const POD_MAIN = fileURLToPath(new URL('../../pipeline/main.ts', import.meta.url));
/** A pod opens its store and listens in a fifth of a second; a loaded machine gets more. */
const START_TIMEOUT_MS = 30_000;

/**
 * What is in flight dies before a nursery of this size is full twice, and so is not promoted: 3 full collections where 1 MB
 * made 12, in 1,500,000 ticks at 200,000 a second. At full intake 504,000 ticks/s beside 459,000, CPU 3.2 ms per 1,000 beside
 * 3.6, p99 58 ms beside 75, /metrics p95 7.5 ms beside 11.7, peak 212 MiB beside 209 (means of two runs of seven rounds). With
 * 16 MB the memory of sockets outlives it, and full collections come twice as often.
 */
export const POD_NODE_FLAGS: readonly string[] = ['--max-semi-space-size=4'];

export interface PodOptions {
  /** `MDP_…` settings; `MDP_PORT` 0 takes a free port. */
  settings: Readonly<Record<string, string>>;
  /** A command, by its path, that runs the pod in its own place (as `env` does), with its arguments. */
  under?: readonly string[];
  /** Told of each line of the pod's log. */
  onLog?: (line: string) => void;
  nodeFlags?: readonly string[];
}

export interface RunningPod {
  url: string;
  port: number;
  pid: number;
  /** Resolves with the exit code, or null when a signal ended it. */
  exited: Promise<number | null>;
  /** Drains it (SIGTERM) and waits. */
  stop(): Promise<number | null>;
  /** Kills it (SIGKILL) and waits. */
  kill(): Promise<number | null>;
}

/** However we end, they drain and end as well. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGTERM');
});

/** Resolves when the pod is ready; rejects with its last words when it ends before. */
export async function startPod({
  settings,
  under = [],
  onLog = () => {},
  nodeFlags = POD_NODE_FLAGS,
}: PodOptions): Promise<RunningPod> {
  const [command, ...args] = [...under, process.execPath, ...nodeFlags, POD_MAIN];
  const child = spawn(command, args, {
    env: { ...withoutSettings(process.env), ...settings },
    stdio: ['ignore', 'pipe', 'inherit'],
    // A group of its own: Ctrl-C in a terminal reaches only us, and we drain it.
    detached: true,
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  running.add(child);
  void exited.then(() => running.delete(child));
  const port = await readPort(child, exited, onLog);
  const signal = (name: NodeJS.Signals) => (): Promise<number | null> => {
    child.kill(name);
    return exited;
  };
  return {
    url: `http://${settings['MDP_HOST'] ?? '127.0.0.1'}:${port}`,
    port,
    pid: child.pid!,
    exited,
    stop: signal('SIGTERM'),
    kill: signal('SIGKILL'),
  };
}

/** Settings of whoever runs us are not the pod's. */
function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('MDP_')));
}

function readPort(child: ChildProcess, exited: Promise<number | null>, onLog: (line: string) => void): Promise<number> {
  const lastLines: string[] = [];
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`the pod did not start within ${START_TIMEOUT_MS} ms`));
    }, START_TIMEOUT_MS);
    void exited.then((code) => {
      clearTimeout(timer);
      reject(new Error(`the pod ended with code ${code}:\n${lastLines.join('\n')}`));
    });
    createInterface({ input: child.stdout! }).on('line', (line) => {
      onLog(line);
      lastLines.push(line);
      if (lastLines.length > 20) lastLines.shift();
      const port = startedPort(line);
      if (port === undefined) return;
      clearTimeout(timer);
      resolve(port);
    });
  });
}

function startedPort(line: string): number | undefined {
  if (!line.includes('Application startup complete')) return undefined;
  const { port } = JSON.parse(line) as { port?: unknown };
  return typeof port === 'number' ? port : undefined;
}
