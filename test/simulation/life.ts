/**
 * One life of one machine: from its start until it is killed. Nothing that a dead one still runs has any effect, and
 * its clock is its own.
 */

import type { Scheduler } from './scheduler.ts';

/** How far a machine's clock is from true time; it outlives its machine's lives. */
export interface MachineClock {
  aheadMs: number;
}

/** What a dead life gets that still asks for something. */
export class DeadError extends Error {
  override readonly name = 'DeadError';
}

export interface LifeParts {
  scheduler: Scheduler;
  clock: MachineClock;
  /** Asked before each effect on the world outside; true: this life ends here, before it. */
  endsHere: () => boolean;
}

export class Life {
  readonly #parts: LifeParts;
  readonly #bornMs: number;
  #frozenUntilMs = 0;
  isAlive = true;

  constructor(parts: LifeParts) {
    this.#parts = parts;
    this.#bornMs = parts.scheduler.nowMs;
  }

  readonly nowMs = (): number => Math.floor(this.#parts.scheduler.nowMs + this.#parts.clock.aheadMs);

  /** As a monotonic clock: setting the machine's clock does not move it. */
  readonly steadyMs = (): number => this.#parts.scheduler.nowMs - this.#bornMs;

  /** Calls `then` after so long, unless dead by then; the result takes it back. */
  readonly after = (ms: number, then: () => void): (() => void) => {
    const timer = { isSet: true };
    const ring = (): void => {
      if (timer.isSet) then();
    };
    const happening = this.#parts.scheduler.after(ms, () => this.run(ring));
    return () => {
      timer.isSet = false;
      happening.run = undefined;
    };
  };

  readonly sleep = (ms: number): Promise<void> => new Promise((resolve) => void this.after(ms, resolve));

  /** Runs now, when it is thawed again, or never. */
  run(then: () => void): void {
    if (!this.isAlive) return;
    const { scheduler } = this.#parts;
    if (scheduler.nowMs >= this.#frozenUntilMs) then();
    else scheduler.after(this.#frozenUntilMs - scheduler.nowMs, () => this.run(then));
  }

  /** As SIGSTOP and SIGCONT do. */
  freeze(ms: number): void {
    this.#frozenUntilMs = Math.max(this.#frozenUntilMs, this.#parts.scheduler.nowMs + ms);
  }

  /** Whether this life reaches the world outside once more. */
  effect(): boolean {
    return this.isAlive && !this.#parts.endsHere() && this.isAlive;
  }
}

/** Of a call that a dead machine made. */
export function never<Value>(): Promise<Value> {
  return new Promise(() => undefined);
}
