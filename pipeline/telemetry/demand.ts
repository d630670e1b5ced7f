/**
 * Demand: ticks that arrive for the first time, a second, before anything throttles them. It is what a scaler wants:
 * counting what was admitted it would see only what there are pods for, counting retries an outage would look like a
 * flood. Pure: the clock comes in as an argument.
 */

/** Long enough for batches of a second or two apart, short enough to follow an open. Source: the scaling signal. */
export const DEMAND_WINDOW_SECONDS = 20;
/** A batch that comes again within one to two of these is a repeat. */
const REMEMBER_MS = 120_000;
/** Ids remembered; beyond it repeats of the oldest would count. */
export const REMEMBERED_MAX = 100_000;

/** Whether the edge, which counts for itself, has sent the batch, or its provider came past it. */
export type Path = 'edge' | 'direct';

/** Ticks of each of the last seconds. */
class Seconds {
  readonly #ticks = new Float64Array(DEMAND_WINDOW_SECONDS + 1);
  #second = 0;

  add(ticks: number, second: number): void {
    this.#moveTo(second);
    this.#ticks[second % this.#ticks.length]! += ticks;
  }

  /** Of the window of whole seconds before `second`. */
  perSecond(second: number): number {
    this.#moveTo(second);
    let ticks = 0;
    for (const [place, one] of this.#ticks.entries()) if (place !== second % this.#ticks.length) ticks += one;
    return ticks / DEMAND_WINDOW_SECONDS;
  }

  #moveTo(second: number): void {
    const from = Math.max(this.#second + 1, second - this.#ticks.length + 1);
    for (let passed = from; passed <= second; passed += 1) this.#ticks[passed % this.#ticks.length] = 0;
    this.#second = Math.max(this.#second, second);
  }
}

export class DemandMeter {
  readonly #byLabel = new Map<string, Record<Path, Seconds>>();
  /** Batch ids of now and of before; turned over when they are old or many. */
  #recent = new Set<string>();
  #before = new Set<string>();
  #turnedMs = Number.NEGATIVE_INFINITY;

  /** The listed labels are shown before their first tick. */
  constructor(listed: Iterable<string>) {
    for (const label of listed) this.#of(label);
  }

  /** A batch has come. `batch` is its id, with its provider. */
  arrived(label: string, path: Path, batch: string, ticks: number, nowMs: number): void {
    if (nowMs - this.#turnedMs >= REMEMBER_MS || this.#recent.size >= REMEMBERED_MAX / 2) {
      this.#before = this.#recent;
      this.#recent = new Set();
      this.#turnedMs = nowMs;
    }
    if (this.#recent.has(batch) || this.#before.has(batch)) return;
    this.#recent.add(batch);
    this.#of(label)[path].add(ticks, Math.floor(nowMs / 1000));
  }

  /** Ticks per second over the last {@link DEMAND_WINDOW_SECONDS} whole seconds. */
  *perSecond(nowMs: number): Iterable<{ provider: string; path: Path; ticksPerSecond: number }> {
    const second = Math.floor(nowMs / 1000);
    for (const [provider, paths] of this.#byLabel) {
      for (const path of ['edge', 'direct'] as const) {
        yield { provider, path, ticksPerSecond: paths[path].perSecond(second) };
      }
    }
  }

  #of(label: string): Record<Path, Seconds> {
    let paths = this.#byLabel.get(label);
    if (paths === undefined) this.#byLabel.set(label, (paths = { edge: new Seconds(), direct: new Seconds() }));
    return paths;
  }
}
