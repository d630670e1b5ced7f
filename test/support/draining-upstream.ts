/** Starts the cluster that costs next to nothing as a process of its own. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../bench/drain-upstream.ts', import.meta.url));

export interface DrainingUpstream extends Disposable {
  url: string;
}

export async function startDrainingUpstream(): Promise<DrainingUpstream> {
  const child = spawn(process.execPath, [MAIN], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [port] = (await once(child.stdout, 'data')) as [Buffer];
  return { url: `http://127.0.0.1:${port.toString().trim()}`, [Symbol.dispose]: () => void child.stdin.end() };
}
