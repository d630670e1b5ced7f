/**
 * How much the writer takes from the queue at a time, and how much of that the store has in hand. Figures alone; what
 * they do to a group is writer.ts's.
 */

export interface WriterBounds {
  /** Ticks in one transaction. */
  groupMaxTicks: number;
  groupMaxBytes: number;
  /** Groups handed to the store at once; with one file, the second waits there, so that the store never waits for us. */
  inFlightMaxGroups: number;
  /** While a group is being written, a further one is begun once so many ticks wait, … */
  pipelineMinTicks: number;
  /** … or once the oldest has waited so long, … */
  pipelineMaxWaitMs: number;
  /** … and only if the last write took no longer than this. */
  pipelineMaxWriteMs: number;
  /** A store that has not ended a call by then is taken for away, although it promised to end each call. */
  callTimeoutMs: number;
}

/**
 * Measured on two cores with 16,000 ticks in flight: groups of 4,000 to 16,000, one or two at a time, differ by less
 * than the machine does from run to run (0.71 to 1.13 of the bare writer). Two, so that the store need not wait for
 * a busy event loop; a second one from 2,000 on, so that the queue stays below its first watermark. One file gains
 * nothing from smaller groups, however long they have waited. Before a file that is slow the second group would wait
 * unseen, at the cost of its own call's time and of the answers to those who come after it.
 */
export const WRITER_BOUNDS: WriterBounds = {
  groupMaxTicks: 8_000,
  groupMaxBytes: 16 * 1024 * 1024,
  inFlightMaxGroups: 2,
  pipelineMinTicks: 2_000,
  pipelineMaxWaitMs: Number.POSITIVE_INFINITY,
  pipelineMaxWriteMs: 500,
  callTimeoutMs: 10_000,
};
