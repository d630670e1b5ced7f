/**
 * Providers that a pod has just sent back for their own budget: until the time that it named their batches need not be
 * asked about again. What one isolate has learned; pure, the clock comes in as an argument.
 */

import type { PodAnswer } from '../relay.ts';

/** A pod that names a later time is asked again after this: its budget may have been raised. */
export const OVER_BUDGET_MAX_SECONDS = 30;

/** What the pod said of the budget, for answers in its place. */
export interface OverBudget {
  /** 1 or more. */
  retryAfterSeconds: number;
  headers: Record<string, string>;
}

/** Only providers with credentials get here: at most as many as there are. */
export class BudgetMemory {
  readonly #until = new Map<string, { untilMs: number; headers: Record<string, string> }>();

  /** A pod has answered `over-budget`. */
  note(provider: string, retryAfterSeconds: number, { headers }: PodAnswer, nowMs: number): void {
    const seconds = Math.min(retryAfterSeconds, OVER_BUDGET_MAX_SECONDS);
    const kept = Object.entries(headers).filter(([name]) => name.startsWith('ratelimit') || name.startsWith('mdp-'));
    this.#until.set(provider, { untilMs: nowMs + seconds * 1000, headers: Object.fromEntries(kept) });
  }

  /** Undefined when the cluster may be asked. */
  overBudget(provider: string, nowMs: number): OverBudget | undefined {
    const known = this.#until.get(provider);
    if (known === undefined) return undefined;
    const leftMs = known.untilMs - nowMs;
    // A clock that was set back ends it, too.
    if (leftMs > 0 && leftMs <= OVER_BUDGET_MAX_SECONDS * 1000) {
      return { retryAfterSeconds: Math.ceil(leftMs / 1000), headers: known.headers };
    }
    this.#until.delete(provider);
    return undefined;
  }
}
