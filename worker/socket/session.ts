/**
 * One socket's flow: what it has unanswered, what it may have, and how long it may go on with what it was told not to
 * do. Pure; the clock comes in as an argument. Lives in memory alone: a socket with nothing unanswered needs none of it.
 *
 * Credit means what a pod's `mdp-credit` means: how many ticks may be unanswered at once, those that are now among
 * them. Were it only what is left, a client could not know which of its messages on the wire are counted in it.
 */

/** Of one socket, whatever the pods have room for: 10 seconds of a small pod. */
export const CREDIT_MAX_TICKS = 100_000;
/** Before a pod has said anything, and while the outbox takes the batches: as many as one batch may hold. */
export const CREDIT_DEFAULT_TICKS = 10_000;
/** However few ticks they have. */
export const UNANSWERED_MAX_BATCHES = 1_000;
/** A client that was told less has so long to hear of it. */
export const TOLD_GRACE_MS = 2_000;
/** Faults that follow each other within this are one fault that goes on. */
export const FAULT_GAP_MS = 2_000;
/** One that goes on for longer ends the socket. */
export const FAULT_MAX_MS = 5_000;

/** Invariant: `unanswered` counts exactly the batches that were admitted and not yet settled. */
export class Session {
  #creditTicks: number;
  /** What was told before, as long as the client may not have heard of less. */
  #before = { creditTicks: 0, untilMs: 0 };
  #ticks = 0;
  #batches = 0;
  #fault: { sinceMs: number; lastMs: number } | undefined;
  /** Of the last message. */
  activeMs: number;

  constructor(creditTicks: number, activeMs: number) {
    this.#creditTicks = creditTicks;
    this.activeMs = activeMs;
  }

  get creditTicks(): number {
    return this.#creditTicks;
  }

  get unanswered(): { ticks: number; batches: number } {
    return { ticks: this.#ticks, batches: this.#batches };
  }

  /** Whether a batch is within the credit; if so it is unanswered from now on. One alone always is. */
  admits(ticks: number, nowMs: number): boolean {
    const { creditTicks, untilMs } = this.#before;
    const allowed = nowMs < untilMs ? Math.max(this.#creditTicks, creditTicks) : this.#creditTicks;
    if (this.#batches >= UNANSWERED_MAX_BATCHES) return false;
    if (this.#batches > 0 && this.#ticks + ticks > allowed) return false;
    this.#ticks += ticks;
    this.#batches += 1;
    return true;
  }

  settle(ticks: number): void {
    this.#ticks -= ticks;
    this.#batches -= 1;
  }

  /** The next answer says this. */
  tell(creditTicks: number, nowMs: number): void {
    if (creditTicks < this.#creditTicks) {
      const { creditTicks: before, untilMs } = this.#before;
      const most = nowMs < untilMs ? Math.max(before, this.#creditTicks) : this.#creditTicks;
      this.#before = { creditTicks: most, untilMs: nowMs + TOLD_GRACE_MS };
    }
    this.#creditTicks = creditTicks;
  }

  /** It did what it should not: whether to tell it, or to end it since it was told and goes on. */
  fault(nowMs: number): 'tell' | 'close' {
    if (this.#fault === undefined || nowMs - this.#fault.lastMs > FAULT_GAP_MS) {
      this.#fault = { sinceMs: nowMs, lastMs: nowMs };
    }
    this.#fault.lastMs = nowMs;
    return nowMs - this.#fault.sinceMs > FAULT_MAX_MS ? 'close' : 'tell';
  }
}

/** What a socket is told: its share of what the pods have room for. */
export function creditOf(podCreditTicks: number | undefined, isHeld: boolean, socketsActive: number): number {
  if (isHeld || podCreditTicks === undefined) return CREDIT_DEFAULT_TICKS;
  return Math.min(CREDIT_MAX_TICKS, Math.floor(podCreditTicks / Math.max(1, socketsActive)));
}
