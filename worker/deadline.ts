/**
 * Waits for something, and not for ever. What is late goes on by itself; nobody hears of it.
 */

/** What `work` resolves with, or `late` after `timeoutMs`. Rejects as `work` does. */
export async function within<Value>(work: Promise<Value>, timeoutMs: number, late: Value): Promise<Value> {
  const { promise, resolve } = Promise.withResolvers<Value>();
  const timer = setTimeout(() => resolve(late), timeoutMs);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
