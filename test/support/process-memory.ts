/** What Linux says a process holds; elsewhere there is nothing like it, and tests of it are skipped. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

export const noProcessMemory = process.platform !== 'linux';

/** The most memory the process has had since it began or since {@link resetPeakBytes}. Source: proc(5), VmHWM. */
export function peakBytes(pid: number): number {
  return statusBytes(pid, 'VmHWM');
}

/** What it has now. Source: proc(5), VmRSS. */
export function residentBytes(pid: number): number {
  return statusBytes(pid, 'VmRSS');
}

function statusBytes(pid: number, field: string): number {
  return (
    Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024
  );
}

/** How many it has open. Source: proc(5), fd. */
export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** From now on the peak is that of now. Source: proc(5), clear_refs. */
export function resetPeakBytes(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}
