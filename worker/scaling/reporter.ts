/**
 * An isolate's way to the meter: what it counts is told every two seconds, after an answer has gone. The meter away is
 * a report that goes later, never an error and never a wait.
 */

import { within } from '../deadline.ts';
import { Paced, type PacedWorld, type RequestScope } from '../paced.ts';
import { METER, meterOf, type ScalingReport } from './calls.ts';
import { type NotedBatch, ScalingTally } from './tally.ts';

/** With the seconds that the meter leaves to late reports, figures are as they were three seconds ago. */
export const REPORT_INTERVAL_MS = 2_000;
export const REPORT_TIMEOUT_MS = 2_000;

export class ScalingReporter {
  readonly #world: PacedWorld;
  readonly #pace: Paced;
  readonly #tally = new ScalingTally();
  /** The meter may have taken it and could not say so: it goes again as it was. */
  #unsure: ScalingReport | undefined;

  constructor(world: PacedWorld) {
    this.#world = world;
    this.#pace = new Paced(world, REPORT_INTERVAL_MS);
  }

  /** Whether a batch was counted already. */
  isKnown(provider: string, batch: string): boolean {
    return this.#tally.isKnown(provider, batch, this.#world.nowMs());
  }

  note(scope: RequestScope, batch: NotedBatch): void {
    if (!(METER in scope.env)) return;
    this.#tally.note(batch, this.#world.nowMs());
    this.#pace.ask(scope, (env) => this.#report(env));
  }

  async #report(env: object): Promise<void> {
    const meter = meterOf(env);
    if (meter === undefined) return;
    while (this.#unsure !== undefined || !this.#tally.isEmpty) {
      const report = (this.#unsure ??= this.#tally.take(crypto.randomUUID()));
      try {
        const taken = await within(
          meter.report(report).then(() => true),
          REPORT_TIMEOUT_MS,
          false,
        );
        if (!taken) return;
      } catch {
        return;
      }
      this.#unsure = undefined;
    }
  }
}
