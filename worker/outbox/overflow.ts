/**
 * A queue behind the outbox, where one is bound: takes what a full or overloaded outbox cannot, and puts it into the
 * outbox when that can. A message is let go only when the outbox has it.
 */

import { within } from '../deadline.ts';
import { type OfferedBatch, outboxName, type OutboxNamespace } from './calls.ts';

/** A message may have 128 KB; 2 KB of it are for everything but the body. */
export const OVERFLOW_BODY_MAX_BYTES = 126_000;
/** A message is tried again after a minute, then two, …: with 100 retries for almost three days. */
export const REDELIVERY_MIN_SECONDS = 60;
export const REDELIVERY_MAX_SECONDS = 3_600;

/** The part of a queue binding that is used. */
export interface Overflow {
  send(message: OfferedBatch, options: { contentType: 'v8' }): Promise<unknown>;
}

export interface OverflowMessage {
  body: unknown;
  attempts: number;
  ack(): void;
  retry(options: { delaySeconds: number }): void;
}

/** The `OVERFLOW` binding, or `undefined` where there is none. */
export function overflowOf(env: object): Overflow | undefined {
  const binding = (env as Record<string, unknown>)['OVERFLOW'] as Overflow | undefined;
  return typeof binding?.send === 'function' ? binding : undefined;
}

/**
 * Whether the queue has it, within `timeoutMs`; one that says so later has it all the same, which is harmless. A body
 * that fits no message it never has.
 */
export async function overflowTakes(overflow: Overflow, offered: OfferedBatch, timeoutMs: number): Promise<boolean> {
  if (offered.body.length > OVERFLOW_BODY_MAX_BYTES) return false;
  try {
    // From here on the sender is told that it is held.
    const sending = overflow.send({ ...offered, promised: true }, { contentType: 'v8' }).then(() => true);
    return await within(sending, timeoutMs, false);
  } catch {
    return false;
  }
}

/** Puts each message into its outbox. One that the outbox does not take stays in the queue. */
export async function takeBack(outbox: OutboxNamespace, messages: readonly OverflowMessage[]): Promise<void> {
  for (const message of messages) {
    const offered = message.body as OfferedBatch;
    let isHeld = false;
    try {
      const outcome = await outbox.getByName(outboxName(offered.provider, offered.batch)).offer(offered);
      isHeld = outcome.kind !== 'full';
    } catch {
      // as with a full one
    }
    if (isHeld) message.ack();
    else message.retry({ delaySeconds: Math.min(REDELIVERY_MAX_SECONDS, REDELIVERY_MIN_SECONDS * message.attempts) });
  }
}
