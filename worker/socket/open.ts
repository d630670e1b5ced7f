/**
 * From a request that asks for a socket to the object that keeps it. The caller has made sure who is asking.
 */

import { RETRY_AFTER_HEADER } from '../../pipeline/contract/answer.ts';
import {
  WEBHOOK_ID_HEADER,
  WEBHOOK_SIGNATURE_HEADER,
  WEBHOOK_TIMESTAMP_HEADER,
} from '../../pipeline/contract/signature.ts';
import { problemResponse } from '../response.ts';

export const SOCKETS = 'SOCKETS';
/** Worker to object: which provider, and by which signature, good for one socket. */
export const SOCKET_PROVIDER_HEADER = 'mdp-socket-provider';
export const SOCKET_ONCE_HEADER = 'mdp-socket-once';
const OPEN_RETRY_AFTER_SECONDS = 5;

interface SocketsNamespace {
  getByName(name: string): { fetch(url: string, init: RequestInit): Promise<Response> };
}

/** `GET /v1/ticks/{provider}/ws`: a 101 with its socket, or why not. */
export async function openSocket(request: Request, env: object, provider: string): Promise<Response> {
  const namespace = (env as Record<string, unknown>)[SOCKETS] as SocketsNamespace | undefined;
  if (namespace === undefined) return problemResponse('not-found', 'this edge has no sockets');
  if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') {
    return problemResponse('bad-request', 'ask for a WebSocket here: "upgrade: websocket"', { upgrade: 'websocket' });
  }
  if (request.headers.get('sec-websocket-version') !== '13') {
    return problemResponse('bad-request', 'sec-websocket-version must be 13', { 'sec-websocket-version': '13' });
  }
  const headers: Record<string, string> = { upgrade: 'websocket', [SOCKET_PROVIDER_HEADER]: provider };
  const once = signedOnce(request.headers);
  if (once !== undefined) headers[SOCKET_ONCE_HEADER] = once;
  try {
    return await namespace.getByName(provider).fetch('http://sockets/', { headers });
  } catch {
    const retryAfter = { [RETRY_AFTER_HEADER]: String(OPEN_RETRY_AFTER_SECONDS) };
    return problemResponse('no-room', 'the socket could not be opened', retryAfter);
  }
}

/** What the signature was made of, beside the empty body: nobody else can make another signature with it. */
function signedOnce(headers: Headers): string | undefined {
  if (headers.get(WEBHOOK_SIGNATURE_HEADER) === null) return undefined;
  return `${headers.get(WEBHOOK_TIMESTAMP_HEADER)}.${headers.get(WEBHOOK_ID_HEADER)}`;
}
