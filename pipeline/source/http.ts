/**
 * The pod's HTTP door: routes, the shape of every answer, and the limits of connections and headers. What a
 * route does is elsewhere.
 */

import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { Socket } from 'node:net';
import { PROBLEM_CONTENT_TYPE, problem, type Problem, RETRY_AFTER_HEADER } from '../contract/answer.ts';
import { Connections, CONNECTIONS_MAX, type Cuts } from './connections.ts';

/** A sender has this long for its headers and body together; slower ones get a 408 from the server. */
export const REQUEST_TIMEOUT_MS = 20_000;
export const HEADERS_TIMEOUT_MS = 10_000;
export const HEADERS_MAX_BYTES = 16 * 1024;
/** Longer than the edge keeps an idle connection, so that it is never we who close it under a request. */
export const KEEP_ALIVE_TIMEOUT_MS = 75_000;
/** How often the two request timeouts are looked at; Node's default of 30 s would more than double them. */
const TIMEOUT_CHECK_INTERVAL_MS = 1_000;
/** How often connections are looked at, see {@link Connections.sweep}. */
const SWEEP_INTERVAL_MS = 1_000;
/** Of a body that was refused before its end, so much is read and thrown away, for so long. */
export const LINGER_MAX_BYTES = 8 * 1024 * 1024;
export const LINGER_MAX_MS = 2_000;

export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** `parts` are the decoded pieces of the path that the route's pattern left open. */
export type Handler = (request: IncomingMessage, parts: readonly string[], url: URL) => Promise<Answer>;

export interface Route {
  method: 'GET' | 'POST';
  /** Matched against the path; its groups are the handler's `parts`. */
  pattern: RegExp;
  handle: Handler;
}

export function json(status: number, value: unknown, headers: Record<string, string> = {}): Answer {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(value) };
}

export function problemAnswer(value: Problem, headers: Record<string, string> = {}): Answer {
  return {
    status: value.status,
    headers: { 'content-type': PROBLEM_CONTENT_TYPE, ...headers },
    body: JSON.stringify(value),
  };
}

/** For questions that the store could not answer. */
export function storeAway(): Answer {
  return problemAnswer(problem('store-unavailable', 'the store cannot be read now'), { [RETRY_AFTER_HEADER]: '2' });
}

export function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : undefined;
}

export interface ServerLimits {
  connectionsMax: number;
  /** Told now and then of connections that were ended by a bound. */
  onCuts: (cuts: Cuts) => void;
}

const LIMITS: ServerLimits = { connectionsMax: CONNECTIONS_MAX, onCuts: () => undefined };

/** A server that is not yet listening. `onError` hears of every exception that no handler foresaw. */
export function createHttpServer(
  routes: readonly Route[],
  onError: (cause: unknown) => void,
  { connectionsMax, onCuts }: ServerLimits = LIMITS,
): Server {
  const connections = new Connections(connectionsMax, onCuts);
  const server = createServer(
    {
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      maxHeaderSize: HEADERS_MAX_BYTES,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_INTERVAL_MS,
    },
    (request, response) => void serve(request, response),
  );
  // Before the server's own listener, which begins to read.
  server.prependListener('connection', (socket: Socket) => connections.open(socket));
  const sweeping = setInterval(() => connections.sweep(), SWEEP_INTERVAL_MS).unref();
  server.once('close', () => clearInterval(sweeping));
  return server;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!connections.begin(request, response)) return;
    let answer: Answer;
    try {
      answer = await dispatch(routes, request);
    } catch (cause) {
      onError(cause);
      answer = problemAnswer(problem('internal', 'something that should not happen happened here'));
    }
    send(request, response, answer, connections);
  }
}

async function dispatch(routes: readonly Route[], request: IncomingMessage): Promise<Answer> {
  const url = URL.parse(request.url ?? '/', 'http://pod');
  const path = url?.pathname ?? '';
  const allowed: string[] = [];
  for (const route of routes) {
    const match = route.pattern.exec(path);
    if (match === null || url === null) continue;
    if (route.method === request.method || (route.method === 'GET' && request.method === 'HEAD')) {
      const parts = decodeParts(match.slice(1));
      if (parts === undefined) return problemAnswer(problem('bad-request', 'the path is not valid percent-encoding'));
      return route.handle(request, parts, url);
    }
    allowed.push(route.method);
  }
  if (allowed.length > 0) {
    const allow = allowed.join(', ');
    return problemAnswer(problem('method-not-allowed', `this path allows ${allow}`), { allow });
  }
  return problemAnswer(problem('not-found', 'there is nothing under this path'));
}

function decodeParts(parts: readonly string[]): string[] | undefined {
  try {
    return parts.map((part) => decodeURIComponent(part));
  } catch {
    return undefined;
  }
}

function send(request: IncomingMessage, response: ServerResponse, answer: Answer, connections: Connections): void {
  const body = Buffer.from(answer.body);
  connections.answer(response, body.length);
  const headers: Record<string, string | number> = { ...answer.headers, 'content-length': body.length };
  const content = request.method === 'HEAD' ? '' : body;
  if (request.complete) {
    response.writeHead(answer.status, headers).end(content);
    return;
  }
  // What was not read of a body would be taken for the next request: such a connection ends here. Not at once: a
  // socket closed over unread bytes is reset, and a sender that is still writing never sees the answer.
  response.writeHead(answer.status, { ...headers, connection: 'close' }).write(content);
  void readOff(request).then(() => response.end());
}

/** Reads and forgets until the body ends, its sender goes, or {@link LINGER_MAX_BYTES} or {@link LINGER_MAX_MS} are over. */
function readOff(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    if (request.destroyed) return resolve();
    let bytes = 0;
    const timer = setTimeout(done, LINGER_MAX_MS);
    function done(): void {
      clearTimeout(timer);
      resolve();
    }
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > LINGER_MAX_BYTES) done();
    });
    request.once('close', done);
  });
}
