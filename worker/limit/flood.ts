/**
 * How many requests one address may make, before anything about them is looked at: a token bucket for each address, in
 * memory, of one isolate. Generous: it is against floods, and budgets are the pods'. Pure; the clock comes in as an
 * argument.
 */

/** Several times what one isolate can relay: a sender of many small batches never meets it. */
export const REQUESTS_PER_SECOND = 2_000;
export const REQUESTS_BURST = 10_000;
/** A request whose credentials are wrong, or that has none, costs as much as so many others: 20 of them a second. */
export const FAILED_COST = 100;
/** Addresses remembered; the longest unused go first, and begin with a full bucket when they come again. */
export const ADDRESSES_MAX = 10_000;

interface Bucket {
  tokens: number;
  asOfMs: number;
}

/** Invariant: a bucket never holds more than {@link REQUESTS_BURST}; in the map the longest unused is the first. */
export class FloodGuard {
  readonly #buckets = new Map<string, Bucket>();

  /** Lets one request through, or says after how many seconds to come again. */
  admit(address: string, nowMs: number): { ok: true } | { ok: false; retryAfterSeconds: number } {
    const bucket = this.#bucketOf(address, nowMs);
    if (bucket.tokens < 1) {
      return { ok: false, retryAfterSeconds: Math.max(1, Math.ceil((1 - bucket.tokens) / REQUESTS_PER_SECOND)) };
    }
    bucket.tokens -= 1;
    return { ok: true };
  }

  /** The request that was let through was not worth it. */
  failed(address: string, nowMs: number): void {
    const bucket = this.#bucketOf(address, nowMs);
    // Not without end: whoever stops is let in again after a few seconds.
    bucket.tokens = Math.max(bucket.tokens - FAILED_COST, -REQUESTS_BURST);
  }

  #bucketOf(address: string, nowMs: number): Bucket {
    const known = this.#buckets.get(address);
    if (known === undefined) {
      if (this.#buckets.size >= ADDRESSES_MAX) this.#buckets.delete(this.#buckets.keys().next().value!);
      const bucket = { tokens: REQUESTS_BURST, asOfMs: nowMs };
      this.#buckets.set(address, bucket);
      return bucket;
    }
    const seconds = Math.max(0, nowMs - known.asOfMs) / 1000;
    known.tokens = Math.min(REQUESTS_BURST, known.tokens + seconds * REQUESTS_PER_SECOND);
    known.asOfMs = nowMs;
    // Moved to the end only now and then: it is the order of use to within a second.
    if (seconds > 0) {
      this.#buckets.delete(address);
      this.#buckets.set(address, known);
    }
    return known;
  }
}

export const ADDRESS_HEADER = 'cf-connecting-ip';
/** The longest text of an IPv6 address. */
const ADDRESS_MAX_CHARS = 45;

/**
 * Whom a request counts for: its IPv4 address, or the /64 of its IPv6 address, all of which one customer has. Undefined
 * where nobody says, as behind no Cloudflare: then nothing is limited. Source: Cloudflare HTTP headers, which the
 * platform overwrites whatever a client sends.
 */
export function addressOf(headers: Headers): string | undefined {
  const given = headers.get(ADDRESS_HEADER);
  if (given === null || given === '' || given.length > ADDRESS_MAX_CHARS) return undefined;
  if (!given.includes(':')) return given;
  const [head = '', tail] = given.toLowerCase().split('::', 2);
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const last = tail === '' ? [] : tail.split(':');
    while (groups.length + last.length < 8) groups.push('0');
    groups.push(...last);
  }
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`;
}
