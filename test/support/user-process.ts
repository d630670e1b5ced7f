/** A command as its user starts it: its output awaited, its signals sent, its children known, its end told. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface UserCommand {
  /** A TypeScript or JavaScript file, run by this Node. */
  file: string;
  args?: string[];
  cwd: string;
  env?: Record<string, string>;
  /** Put before it: another command that runs it. */
  under?: string[];
}

/** Invariant: not running any more after it was disposed of, nor its children. */
export class UserProcess implements AsyncDisposable {
  output = '';
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  #onOutput: () => void = () => undefined;

  constructor({ file, args = [], cwd, env = {}, under = [] }: UserCommand) {
    const [command, ...rest] = [...under, process.execPath, file, ...args];
    const own = { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '' };
    this.#child = spawn(command!, rest, { cwd, env: { ...own, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
        this.#onOutput();
      });
    }
    this.ended = new Promise((resolve) => this.#child.once('close', (code, signal) => resolve({ code, signal })));
  }

  get pid(): number {
    return this.#child.pid!;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves when the output matches; rejects with the output when the process ends first. */
  async prints(pattern: RegExp): Promise<void> {
    const printed = new Promise<void>((resolve) => {
      this.#onOutput = () => {
        if (pattern.test(this.output)) resolve();
      };
      this.#onOutput();
    });
    const ended = this.ended.then(({ code }) => {
      if (!pattern.test(this.output))
        throw new Error(`ended with ${code} before it printed ${pattern}:\n${this.output}`);
    });
    await Promise.race([printed, ended]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const children = childrenOf(this.pid);
    this.kill('SIGTERM');
    const timer = setTimeout(() => this.kill('SIGKILL'), 10_000);
    await this.ended;
    clearTimeout(timer);
    for (const pid of children.filter(isRunning)) process.kill(pid, 'SIGKILL');
  }
}

/** Empty where the system does not tell. Source: proc(5), stat: pid (comm) state ppid. */
export function childrenOf(pid: number): number[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => parentOf(name) === pid)
    .map(Number);
}

function parentOf(pid: string): number | undefined {
  try {
    return Number(/\) \S (\d+) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]);
  } catch {
    return undefined; // it has ended meanwhile
  }
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Runs a line as a user pastes it into a shell. */
export function shell(line: string, cwd: string): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile('sh', ['-c', line], { cwd }, (_, stdout, stderr) => {
      resolve({ code: child.exitCode ?? -1, stdout, stderr });
    });
  });
}
