/**
 * Keys that came of late: enough to tell a first arrival from a repeat. Forgets the oldest; the clock comes in as an
 * argument.
 *
 * Keeps a mark of 64 bits for each key, in a table outside V8's heap. The keys themselves, kept as strings, would lie
 * scattered over the pages of its old space, between what each request leaves there until the next full collection;
 * pages that hold one of them are not given back. Measured: the space of an edge under a steady load grew with every
 * batch, by 0.9 MiB a minute at 500 batches/s.
 */

/** A key that comes again within one to two of these is a repeat. */
export const REMEMBER_MS = 120_000;
/**
 * At most 1 MB. At 2,000 batches a second the last 12 to 25 seconds are remembered, which is still more than the
 * `Retry-After` of a refusal.
 */
export const REMEMBERED_MAX = 50_000;

export class RecentKeys {
  readonly #max: number;
  /** Of now and of before; turned over when old or many. */
  #recent = new Marks();
  #before = new Marks();
  #turnedMs = Number.NEGATIVE_INFINITY;
  /** Drawn with the first key: a Worker has no chance before its first request. */
  #seeds: Uint32Array | undefined;

  constructor(max: number = REMEMBERED_MAX) {
    this.#max = max;
  }

  has(key: string, nowMs: number): boolean {
    return this.#hasMark(this.#markOf(key), nowMs);
  }

  /** Whether `key` is new; it is remembered from now on. */
  isFirst(key: string, nowMs: number): boolean {
    const mark = this.#markOf(key);
    if (this.#hasMark(mark, nowMs)) return false;
    const ageMs = nowMs - this.#turnedMs;
    if (ageMs >= REMEMBER_MS || this.#recent.count >= this.#max / 2) {
      this.#before = ageMs >= 2 * REMEMBER_MS ? new Marks() : this.#recent;
      this.#recent = new Marks();
      this.#turnedMs = nowMs;
    }
    this.#recent.add(mark);
    return true;
  }

  #hasMark(mark: Mark, nowMs: number): boolean {
    // What is still here from before a long silence is no longer recent.
    if (nowMs - this.#turnedMs >= 2 * REMEMBER_MS) return false;
    return this.#recent.has(mark) || this.#before.has(mark);
  }

  #markOf(key: string): Mark {
    const [high, low] = (this.#seeds ??= crypto.getRandomValues(new Uint32Array(2)));
    return markOf(key, high!, low!);
  }
}

/** 32 bits each, `low` never 0. By seeds of its own, so that what is alike by chance is so in one memory alone. */
interface Mark {
  high: number;
  low: number;
}

/** Source: cyrb53 (public domain, bryc), all of its 64 bits; its finish is that of MurmurHash3. */
function markOf(key: string, highSeed: number, lowSeed: number): Mark {
  let high = highSeed;
  let low = lowSeed;
  for (let at = 0; at < key.length; at += 1) {
    const unit = key.charCodeAt(at);
    high = Math.imul(high ^ unit, 0x85ebca77);
    low = Math.imul(low ^ unit, 0xc2b2ae3d);
  }
  high = Math.imul(high ^ (high >>> 16), 0x85ebca6b) ^ Math.imul(low ^ (low >>> 13), 0xc2b2ae35);
  low = Math.imul(low ^ (low >>> 16), 0x85ebca6b) ^ Math.imul(high ^ (high >>> 13), 0xc2b2ae35);
  return { high: high >>> 0, low: low >>> 0 || 1 };
}

const SLOTS_MIN = 64;

/** A set of marks: open addressing with linear probing. Invariant: at most half of the slots are taken. */
class Marks {
  count = 0;
  /** Pairs of high and low; a low of 0 is a free slot. */
  #slots = new Uint32Array(2 * SLOTS_MIN);

  has(mark: Mark): boolean {
    return this.#slots[this.#find(mark) + 1] !== 0;
  }

  /** One that it does not have. */
  add(mark: Mark): void {
    if (4 * (this.count + 1) > this.#slots.length) this.#grow();
    this.#put(mark);
    this.count += 1;
  }

  #put(mark: Mark): void {
    const at = this.#find(mark);
    this.#slots[at] = mark.high;
    this.#slots[at + 1] = mark.low;
  }

  /** Where the mark is, or the free slot where it would be. */
  #find({ high, low }: Mark): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let at = (2 * low) & mask; ; at = (at + 2) & mask) {
      if (slots[at + 1] === 0 || (slots[at] === high && slots[at + 1] === low)) return at;
    }
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = new Uint32Array(2 * before.length);
    for (let at = 0; at < before.length; at += 2) {
      if (before[at + 1] !== 0) this.#put({ high: before[at]!, low: before[at + 1]! });
    }
  }
}
