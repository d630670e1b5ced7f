/** In the place of `node:zlib`: unpacks at once, where Node does it in a thread whose order is chance. */

import { gunzipSync, type ZlibOptions } from 'node:zlib';

/** As the pod calls it. */
export function gunzip(
  body: Uint8Array,
  options: ZlibOptions,
  done: (cause: Error | null, result: unknown) => void,
): void {
  let result: unknown;
  try {
    result = gunzipSync(body, options);
  } catch (cause) {
    queueMicrotask(() => done(cause as Error, undefined));
    return;
  }
  queueMicrotask(() => done(null, result));
}
