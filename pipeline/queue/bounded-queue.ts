/**
 * The one queue of a pod, first in first out. Bounded in ticks and in bytes; a delivery goes in whole or is
 * refused whole and stays with whoever offered it. Pure: no clock, no promise, no I/O.
 */

export interface Sized {
  readonly ticks: number;
  readonly bytes: number;
}

/** Invariant: `depthTicks` and `depthBytes` are the sums over the deliveries held, and never above their capacity. */
export class BoundedQueue<Delivery extends Sized> {
  readonly capacityTicks: number;
  readonly capacityBytes: number;
  #held: Delivery[] = [];
  /** Deliveries before this place have been taken; the array is cut when half of it is spent. */
  #head = 0;
  #depthTicks = 0;
  #depthBytes = 0;

  constructor(capacityTicks: number, capacityBytes: number) {
    this.capacityTicks = capacityTicks;
    this.capacityBytes = capacityBytes;
  }

  /** Ticks that wait; what has been taken for writing does not count. */
  get depthTicks(): number {
    return this.#depthTicks;
  }

  get depthBytes(): number {
    return this.#depthBytes;
  }

  get isEmpty(): boolean {
    return this.#head === this.#held.length;
  }

  /** True: held. False: there is no room for all of it, and the queue is unchanged. */
  offer(delivery: Delivery): boolean {
    if (this.#depthTicks + delivery.ticks > this.capacityTicks) return false;
    if (this.#depthBytes + delivery.bytes > this.capacityBytes) return false;
    this.#held.push(delivery);
    this.#depthTicks += delivery.ticks;
    this.#depthBytes += delivery.bytes;
    return true;
  }

  /** Takes the oldest deliveries of at most `maxTicks` together, but always one when any waits. */
  take(maxTicks: number): Delivery[] {
    const taken: Delivery[] = [];
    let ticks = 0;
    while (this.#head < this.#held.length) {
      const next = this.#held[this.#head]!;
      if (taken.length > 0 && ticks + next.ticks > maxTicks) break;
      taken.push(next);
      ticks += next.ticks;
      this.#depthBytes -= next.bytes;
      this.#head += 1;
    }
    this.#depthTicks -= ticks;
    if (this.#head * 2 > this.#held.length) {
      this.#held = this.#held.slice(this.#head);
      this.#head = 0;
    }
    return taken;
  }
}
