/**
 * Where the commands look when they are told no address: the system that `npm start` runs, and the tokens that it made.
 * A token of that file is for loopback, and never leaves this machine.
 */

import { isLoopback, readDevCredentials, TO_DEFAULT } from '../replay/credentials.ts';

export const POD_DEFAULT = 'http://127.0.0.1:8000';
export const EDGE_DEFAULT = TO_DEFAULT;

export interface LocalSystem {
  podUrl: string;
  edgeUrl: string;
  opsToken: string | undefined;
  scalingToken: string | undefined;
}

/** `directory` is the one that `npm start` was run in. */
export function localSystem(directory: string): LocalSystem {
  const dev = readDevCredentials(directory);
  const { podUrl, edgeUrl, opsToken, scalingToken } = dev.ok ? dev.value : {};
  return {
    podUrl: loopback(podUrl) ?? POD_DEFAULT,
    edgeUrl: loopback(edgeUrl) ?? EDGE_DEFAULT,
    opsToken,
    scalingToken,
  };
}

/** `given`, else what the environment has, else the development token, and that towards loopback alone. */
export function tokenFor(
  url: string,
  given: string | undefined,
  ofEnvironment: string | undefined,
  dev: string | undefined,
): string | undefined {
  if (given !== undefined && given !== '') return given;
  if (ofEnvironment !== undefined && ofEnvironment !== '') return ofEnvironment;
  return isLoopback(url) ? dev : undefined;
}

function loopback(url: string | undefined): string | undefined {
  return url !== undefined && isLoopback(url) ? url : undefined;
}
