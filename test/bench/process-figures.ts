/**
 * What the kernel counted for a running process. Where there is no /proc, a figure is NaN and shows as such.
 */

import { readFile } from 'node:fs/promises';

/** Source: proc(5), USER_HZ is 100 on every Linux that Node runs on. */
const CLOCK_TICKS_PER_SECOND = 100;

/** User and system time of all its threads so far. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}

/** The most memory that it ever had resident. */
export async function peakMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
}
