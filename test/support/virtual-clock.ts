/** Time that goes on only when the test says so, and the timers that hang on it. */

interface Timer {
  atMs: number;
  ring: () => void;
}

export class VirtualClock {
  nowMs: number;
  readonly #timers = new Set<Timer>();

  constructor(nowMs: number) {
    this.nowMs = nowMs;
  }

  /** As a pod's `after`. */
  readonly after = (ms: number, ring: () => void): (() => void) => {
    const timer = { atMs: this.nowMs + ms, ring };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  };

  get timers(): number {
    return this.#timers.size;
  }

  /** Lets everything run that waits for nothing but other code of this process. */
  async settle(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Lets `ms` pass: every timer that is due rings at its time, and what it sets off runs before the next. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    for (;;) {
      await this.settle();
      const [next] = [...this.#timers].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.ring();
    }
    this.nowMs = untilMs;
    await this.settle();
  }
}
