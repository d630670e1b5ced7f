/**
 * One line of the edge's log: JSON, one event each, nothing per tick.
 */

export interface LogLine {
  level: 'info' | 'warn' | 'error';
  event: string;
  [fact: string]: unknown;
}
