/**
 * The groups that the store has in hand: how many ticks they hold, whose, and when the first of their senders has to be
 * answered. Asked at every answer, and so counted as groups come and go, not when asked.
 */

import type { Delivery } from '../queue/delivery.ts';

type Group = readonly Delivery[];

export class InFlight {
  /** With the deadline of each that comes first. */
  readonly #groups = new Map<Group, number>();
  readonly #ticksOf = new Map<string, number>();
  #ticks = 0;

  get groups(): number {
    return this.#groups.size;
  }

  get ticks(): number {
    return this.#ticks;
  }

  ticksOf(provider: string): number {
    return this.#ticksOf.get(provider) ?? 0;
  }

  add(group: Group): void {
    this.#groups.set(group, Math.min(...group.map(({ deadlineMs }) => deadlineMs)));
    this.#count(group, 1);
  }

  /** One that has left already changes nothing. */
  remove(group: Group): void {
    if (this.#groups.delete(group)) this.#count(group, -1);
  }

  /** When the first sender is to be answered that still waits; infinite when there is none. */
  get deadlineMs(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...this.#groups.values());
  }

  /** Those of groups of which one at least is over. */
  *deliveriesOver(nowMs: number): Iterable<Delivery> {
    for (const [group, deadlineMs] of this.#groups) {
      if (deadlineMs > nowMs) continue;
      yield* group;
      const waiting = group.filter((delivery) => !delivery.isSettled).map((delivery) => delivery.deadlineMs);
      this.#groups.set(group, Math.min(Number.POSITIVE_INFINITY, ...waiting));
    }
  }

  *deliveries(): Iterable<Delivery> {
    for (const group of this.#groups.keys()) yield* group;
  }

  #count(group: Group, sign: 1 | -1): void {
    for (const { provider, ticks } of group) {
      this.#ticks += sign * ticks;
      const left = this.ticksOf(provider) + sign * ticks;
      if (left === 0) this.#ticksOf.delete(provider);
      else this.#ticksOf.set(provider, left);
    }
  }
}
