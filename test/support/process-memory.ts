/** What Linux says about the memory of a process; elsewhere there is nothing like it, and tests of it are skipped. */

import { readFileSync, writeFileSync } from 'node:fs';

export const noProcessMemory = process.platform !== 'linux';

/** The most memory the process has had since it began or since {@link resetPeakBytes}. Source: proc(5), VmHWM. */
export function peakBytes(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024;
}

/** From now on the peak is that of now. Source: proc(5), clear_refs. */
export function resetPeakBytes(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}
