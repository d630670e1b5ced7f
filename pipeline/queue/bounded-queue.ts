/**
 * The one queue of a pod, first in first out. Bounded in ticks and in bytes; a delivery goes in whole or is
 * refused whole and stays with whoever offered it. Pure: no clock, no promise, no I/O.
 */

export interface Sized {
  readonly provider: string;
  readonly ticks: number;
  readonly bytes: number;
}

/**
 * Invariant: `depthTicks` and `depthBytes` are the sums over the deliveries held, and above their capacity only by
 * what was put back.
 */
export class BoundedQueue<Delivery extends Sized> {
  readonly capacityTicks: number;
  readonly capacityBytes: number;
  #held: Delivery[] = [];
  /** Deliveries before this place have been taken; the array is cut when half of it is spent. */
  #head = 0;
  /** In which order they came, for those that are put back. */
  readonly #places = new WeakMap<Delivery, number>();
  #offers = 0;
  #depthTicks = 0;
  #depthBytes = 0;
  /** Ticks that wait, of each provider that has some. */
  readonly #depthOf = new Map<string, number>();

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

  depthTicksOf(provider: string): number {
    return this.#depthOf.get(provider) ?? 0;
  }

  /** Ticks of that provider of whom most wait; 0 when none do. */
  get deepestTicks(): number {
    let deepest = 0;
    for (const ticks of this.#depthOf.values()) deepest = Math.max(deepest, ticks);
    return deepest;
  }

  get isEmpty(): boolean {
    return this.#head === this.#held.length;
  }

  /** The one that would be taken next. */
  get oldest(): Delivery | undefined {
    return this.#held[this.#head];
  }

  /** True: held. False: there is no room for all of it, and the queue is unchanged. */
  offer(delivery: Delivery): boolean {
    if (this.#depthTicks + delivery.ticks > this.capacityTicks) return false;
    if (this.#depthBytes + delivery.bytes > this.capacityBytes) return false;
    this.#held.push(delivery);
    this.#offers += 1;
    this.#places.set(delivery, this.#offers);
    this.#count(delivery, 1);
    return true;
  }

  /** Takes the oldest deliveries of at most `maxTicks` and `maxBytes` together, but always one when any waits. */
  take(maxTicks: number, maxBytes: number = Number.POSITIVE_INFINITY): Delivery[] {
    let isFirst = true;
    let ticks = 0;
    let bytes = 0;
    return this.#takeWhile((next) => {
      ticks += next.ticks;
      bytes += next.bytes;
      const fits = isFirst || (ticks <= maxTicks && bytes <= maxBytes);
      isFirst = false;
      return fits;
    });
  }

  /** Takes from the oldest on as long as `isOver` says so. */
  takeOver(isOver: (delivery: Delivery) => boolean): Delivery[] {
    return this.#takeWhile(isOver);
  }

  /** Puts back what was taken, at its old place, whether or not there is room: it was admitted before. */
  putBack(deliveries: readonly Delivery[]): void {
    const placeOf = (delivery: Delivery): number => this.#places.get(delivery) ?? 0;
    const held = [...deliveries, ...this.#held.slice(this.#head)];
    this.#held = held.sort((left, right) => placeOf(left) - placeOf(right));
    this.#head = 0;
    for (const delivery of deliveries) this.#count(delivery, 1);
  }

  #takeWhile(wanted: (delivery: Delivery) => boolean): Delivery[] {
    const taken: Delivery[] = [];
    while (this.#head < this.#held.length) {
      const next = this.#held[this.#head]!;
      if (!wanted(next)) break;
      taken.push(next);
      this.#head += 1;
      this.#count(next, -1);
    }
    if (this.#head * 2 > this.#held.length) {
      this.#held = this.#held.slice(this.#head);
      this.#head = 0;
    }
    return taken;
  }

  #count({ provider, ticks, bytes }: Delivery, sign: 1 | -1): void {
    this.#depthTicks += sign * ticks;
    this.#depthBytes += sign * bytes;
    const depth = (this.#depthOf.get(provider) ?? 0) + sign * ticks;
    if (depth === 0) this.#depthOf.delete(provider);
    else this.#depthOf.set(provider, depth);
  }
}
