/**
 * The one line that `npm start` keeps showing. Pure: two looks at a pod's `/status` in, text out.
 */

/** What is used of a pod's `/status`, and when it was asked. */
export interface PodStatus {
  level: string;
  queue: { depthTicks: number; capacityTicks: number };
  providers: Record<string, { stored: number; duplicate: number; rejected: number; refused: number }>;
  atMs: number;
}

const count = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** Ticks per second since `before`, level, depth, and what has been stored altogether. */
export function progressLine(before: PodStatus | undefined, now: PodStatus | undefined): string {
  if (now === undefined) return 'the pod does not answer';
  const stored = total(now, 'stored');
  const seconds = before === undefined ? 0 : (now.atMs - before.atMs) / 1_000;
  const rate = before === undefined || seconds <= 0 ? 0 : (stored - total(before, 'stored')) / seconds;
  const depth = `${count.format(now.queue.depthTicks)} of ${count.format(now.queue.capacityTicks)}`;
  return (
    `${count.format(rate)} ticks/s  level ${now.level}  depth ${depth}  stored ${count.format(stored)}  ` +
    `duplicates ${count.format(total(now, 'duplicate'))}  rejected ${count.format(total(now, 'rejected'))}  ` +
    `refused ${count.format(total(now, 'refused'))}`
  );
}

function total(status: PodStatus, what: 'stored' | 'duplicate' | 'rejected' | 'refused'): number {
  return Object.values(status.providers).reduce((sum, one) => sum + one[what], 0);
}
