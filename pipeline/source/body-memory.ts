/**
 * Memory of request bodies that is used again. A body lives until its batch is committed, too long for the collector's
 * fast way: fresh memory for each of 450 bodies of 128 KB a second made for three full collections a second, each of
 * them 10 ms in which nobody is answered, and for 18 MiB more at the peak.
 */

/** A smaller body is not worth it. */
const LENT_MIN_BYTES = 16 * 1024;
/** All sizes are multiples of it, so that bodies of about one size find each other's memory. */
const STEP_BYTES = 16 * 1024;
/** What waits to be used again; the bodies of 32 batches of 1,000 ticks. */
const FREE_MAX_BYTES = 4 * 1024 * 1024;

/** Invariant: what is free has been given back once, and its bytes are nobody's. */
export class BodyMemory {
  readonly #free: ArrayBuffer[] = [];
  readonly #lent = new WeakSet<ArrayBufferLike>();
  #freeBytes = 0;

  /** The `chunks`, `bytes` of them, in one piece. */
  join(chunks: readonly Uint8Array[], bytes: number): Uint8Array {
    if (chunks.length === 1 && bytes < LENT_MIN_BYTES) return chunks[0]!;
    const memory = bytes < LENT_MIN_BYTES ? new ArrayBuffer(bytes) : this.#lend(bytes);
    const body = new Uint8Array(memory, 0, bytes);
    let at = 0;
    for (const chunk of chunks) {
      body.set(chunk, at);
      at += chunk.length;
    }
    return body;
  }

  /** By whoever is the last to look at a body of {@link join}. Of any other one, and of one that was given back, nothing is kept. */
  giveBack({ buffer }: Uint8Array): void {
    if (!this.#lent.delete(buffer) || this.#freeBytes + buffer.byteLength > FREE_MAX_BYTES) return;
    this.#free.push(buffer as ArrayBuffer);
    this.#freeBytes += buffer.byteLength;
  }

  #lend(bytes: number): ArrayBuffer {
    // Not one that is much larger: what a waiting body is counted with is its own length.
    const at = this.#free.findIndex(({ byteLength }) => byteLength >= bytes && byteLength < bytes * 2);
    const memory = at < 0 ? new ArrayBuffer(Math.ceil(bytes / STEP_BYTES) * STEP_BYTES) : this.#free.splice(at, 1)[0]!;
    if (at >= 0) this.#freeBytes -= memory.byteLength;
    this.#lent.add(memory);
    return memory;
  }
}
