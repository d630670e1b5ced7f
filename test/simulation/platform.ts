/**
 * The platform under the real code: time, chance, cryptography and compression, all without the world outside. Takes
 * the place of the globals of this process, for good, so that nothing under test can reach the real ones: what asks
 * the real clock or real chance fails.
 *
 * Hashes, signatures and gzip are real; they are only done at once, where Node does them in threads whose order is
 * chance.
 */

import { hash, timingSafeEqual } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { Random } from '../support/random.ts';
import type { Happening, Scheduler } from './scheduler.ts';

interface Platform {
  scheduler: Scheduler;
  random: Random;
}

let current: Platform | undefined;

/** The world that the globals belong to from now on. */
export function usePlatform(platform: Platform): void {
  current = platform;
}

function platform(): Platform {
  if (current === undefined) throw new Error('no world has begun');
  return current;
}

const NO_INTERVAL = { unref: () => NO_INTERVAL };

/** To be called once, before anything under test is imported. */
export function installPlatform(): void {
  const globals: Record<string, unknown> = {
    setTimeout: (run: () => void, ms = 0) => platform().scheduler.after(Math.max(1, ms), run),
    clearTimeout: takeBack,
    // Only housekeeping of sockets, of which there are none, is done in intervals.
    setInterval: () => NO_INTERVAL,
    clearInterval: () => undefined,
    setImmediate: (run: () => void) => platform().scheduler.after(0, run),
    crypto: simulatedCrypto,
    CompressionStream: class extends WholeStream {
      constructor() {
        super((bytes) => gzipSync(bytes, { level: 1 }));
      }
    },
    DecompressionStream: class extends WholeStream {
      constructor() {
        super((bytes) => gunzipSync(bytes));
      }
    },
  };
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  // Packages may ask while they are loaded, and no more once a world has begun.
  const { now } = Date;
  Date.now = () => (current === undefined ? now() : outside('Date.now'));
  Math.random = () => outside('Math.random');
  AbortSignal.timeout = (ms) => new Deadline(ms) as unknown as AbortSignal;
}

function takeBack(happening: Happening | undefined): void {
  if (happening !== undefined) happening.run = undefined;
}

function outside(name: string): never {
  throw new Error(`${name} reaches out of the simulation`);
}

/** As much of an AbortSignal as a request needs. */
class Deadline {
  aborted = false;
  readonly reason = new Error('TimeoutError');
  #onAbort: (() => void)[] = [];

  constructor(ms: number) {
    platform().scheduler.after(ms, () => {
      this.aborted = true;
      for (const run of this.#onAbort.splice(0)) run();
    });
  }

  addEventListener(_type: 'abort', run: () => void): void {
    this.#onAbort.push(run);
  }
}

/** The two blocks that HMAC begins its two hashes with. Source: RFC 2104. */
interface SimulatedKey {
  inner: Uint8Array;
  outer: Uint8Array;
}

const BLOCK_BYTES = 64;

const simulatedCrypto = {
  randomUUID: (): string => {
    const { random } = platform();
    const hex = Array.from({ length: 4 }, () =>
      random
        .below(2 ** 32)
        .toString(16)
        .padStart(8, '0'),
    ).join('');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
  },
  getRandomValues: (into: Uint8Array): Uint8Array => into.map(() => platform().random.below(256)),
  subtle: {
    importKey: (_format: string, bytes: Uint8Array): Promise<SimulatedKey> => {
      const padded = new Uint8Array(BLOCK_BYTES);
      padded.set(bytes.length > BLOCK_BYTES ? sha256(bytes) : bytes);
      return Promise.resolve({ inner: padded.map((byte) => byte ^ 0x36), outer: padded.map((byte) => byte ^ 0x5c) });
    },
    sign: (_name: string, key: SimulatedKey, data: Uint8Array) =>
      Promise.resolve(new Uint8Array(mac(key, data)).buffer),
    verify: (_name: string, key: SimulatedKey, given: Uint8Array, data: Uint8Array): Promise<boolean> => {
      const expected = mac(key, data);
      return Promise.resolve(given.length === expected.length && timingSafeEqual(given, expected));
    },
    digest: (_name: string, data: Uint8Array) => Promise.resolve(new Uint8Array(sha256(data)).buffer),
  },
};

/** In one call each: to make and end an object for each signature took a tenth of all time. */
function mac({ inner, outer }: SimulatedKey, data: Uint8Array): Buffer {
  return sha256(Buffer.concat([outer, sha256(Buffer.concat([inner, data]))]));
}

function sha256(data: Uint8Array): Buffer {
  return hash('sha256', data, 'buffer');
}

/** A stream that turns all that was written into one piece, when it is closed. */
class WholeStream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: { getWriter: () => { write: (bytes: Uint8Array) => Promise<void>; close: () => Promise<void> } };

  constructor(turn: (bytes: Uint8Array) => Uint8Array) {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    let written = new Uint8Array(0);
    this.writable = {
      getWriter: () => ({
        write: async (bytes) => void (written = Uint8Array.from(bytes)),
        close: async () => {
          try {
            resolve(turn(written));
          } catch (cause) {
            reject(cause);
          }
        },
      }),
    };
    this.readable = new ReadableStream({
      pull: async (controller) => {
        controller.enqueue(Uint8Array.from(await promise));
        controller.close();
      },
    });
  }
}
