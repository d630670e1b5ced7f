/** Signed batches to a pod in a container, from several senders at once, and what they were told. */

import { trade } from './pod-batch.ts';
import { edgeSigned, post } from './pod-request.ts';

const SENDERS = 4;
const PROVIDER = 'ibkr';

/** Invariant: an id is acknowledged when, and only when, the pod answered that its batch is stored. */
export class ImageSender {
  readonly ticksPerBatch = 100;
  readonly acknowledged = new Set<string>();
  /** Batches sent so far, each with an id and ticks of its own. */
  offered = 0;
  /** What the last answer said, or why there was none. */
  lastWord = '';
  readonly #url: string;
  readonly #secret: string;
  readonly #name: string;
  readonly #tsMs = Date.now();

  constructor(url: string, secret: string, name: string) {
    this.#url = url;
    this.#secret = secret;
    this.#name = name;
  }

  /** Resolves when every sender has met a connection that broke, or an answer that is not `stored`. */
  async sendUntilItFails(): Promise<void> {
    await Promise.all(
      Array.from({ length: SENDERS }, async () => {
        while (await this.#send(this.offered++));
      }),
    );
  }

  /** Sends every batch once more, one after the other. */
  async sendAllAgain(): Promise<void> {
    for (let batch = 0; batch < this.offered; batch += 1) {
      if (!(await this.#send(batch))) throw new Error(`batch ${batch}: ${this.lastWord}`);
    }
  }

  async #send(batch: number): Promise<boolean> {
    const id = `${this.#name}-${batch}`;
    const ticks = Array.from({ length: this.ticksPerBatch }, (_, at) => trade({ id: `${id}/${at}`, tsMs: this.#tsMs }));
    try {
      const headers = await edgeSigned(this.#secret, `${PROVIDER}/${id}`, Date.now(), ticks);
      const { says } = await post(this.#url, PROVIDER, ticks, headers);
      this.lastWord = says;
      if (says === 'stored') this.acknowledged.add(id);
      return says === 'stored';
    } catch (cause) {
      this.lastWord = String(cause);
      return false;
    }
  }
}
