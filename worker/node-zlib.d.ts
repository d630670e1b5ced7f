/** The part of Node's zlib that the edge uses, which workerd has under the flag `nodejs_zlib`. */

declare module 'node:zlib' {
  export function gzipSync(bytes: Uint8Array<ArrayBuffer>, options: { level: number }): Uint8Array<ArrayBuffer>;
}
