/**
 * Packs a body quickly. The platform's own CompressionStream knows one level, which takes 0.5 ms for 64 KB of ticks,
 * half of all that holding a batch costs; this one takes 0.1 ms for a result that is a fifth longer (8.2 of 63 KB beside
 * 6.9). The one module of Node's that the edge uses: wrangler.toml names it (`nodejs_zlib`), nothing is polyfilled.
 */

import { gzipSync } from 'node:zlib';

/** Faster than 1 and 3, and smaller than 1. */
const LEVEL = 2;

export function gzip(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  // What comes may be a Buffer, which is more than the rest of the edge knows.
  const packed = gzipSync(bytes, { level: LEVEL });
  return new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength);
}
