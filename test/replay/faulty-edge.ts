/**
 * An edge in the test's own process that does what a test tells it to: answers as the contract says, refuses,
 * falls silent, hangs up. Keeps what it was sent. It is no model of the real edge beyond the contract's answers.
 */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { problem, PROBLEM_CONTENT_TYPE, type ProblemName, type Rejection } from '../../pipeline/contract/answer.ts';
import { generateSecret, importSecret, verifySignature } from '../../pipeline/contract/signature.ts';

export type Reply =
  | { do: 'store'; headers?: Record<string, string>; rejected?: Rejection[] }
  | { do: 'buffer' }
  | {
      do: 'problem';
      name: ProblemName;
      status?: number;
      retryAfter?: string;
      rejected?: Rejection[];
      headers?: Record<string, string>;
    }
  | { do: 'answer'; status: number; body: string }
  /** Takes the request and closes the connection; `stored` says whether it committed before. */
  | { do: 'hang-up'; stored: boolean }
  | { do: 'silence' };

export interface Received {
  id: string;
  ticks: number;
  body: string;
  headers: IncomingMessage['headers'];
  path: string;
  /** How many requests had this id before. */
  before: number;
  /** How many requests came before, of any id. */
  number: number;
}

export type Script = (received: Received) => Reply | Promise<Reply>;

export interface FaultyEdge extends AsyncDisposable {
  url: string;
  secret: string;
  token: string;
  received: Received[];
  /** Lines by batch id, as committed. */
  committed: Map<string, string>;
  /** The most there was at one time. */
  peak: { requests: number; ticks: number };
}

/** Starts one on a free port of loopback; it ends with the test. */
export async function startFaultyEdge(script: Script = () => ({ do: 'store' })): Promise<FaultyEdge> {
  const secret = generateSecret();
  const key = (await importSecret(secret))!;
  const token = 'test-token';
  const received: Received[] = [];
  const committed = new Map<string, string>();
  const peak = { requests: 0, ticks: 0 };
  const now = { requests: 0, ticks: 0 };

  const commit = ({ id, body, ticks }: Received, rejected: Rejection[]): string => {
    const again = committed.get(id) === body;
    committed.set(id, body);
    const good = ticks - rejected.length;
    return JSON.stringify({
      batch: id,
      status: 'stored',
      stored: again ? 0 : good,
      duplicates: again ? good : 0,
      rejected,
      ignoredFields: 0,
    });
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const sent = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>));
    const { headers } = request;
    const id = String(headers['webhook-id']);
    const timestamp = String(headers['webhook-timestamp']);
    const verdict = await verifySignature(
      [key],
      { id, timestamp, body: sent },
      String(headers['webhook-signature']),
      Date.now(),
    );
    const body = (headers['content-encoding'] === 'gzip' ? gunzipSync(sent) : sent).toString();
    const one: Received = {
      id,
      body,
      ticks: body.split('\n').length - 1,
      headers,
      path: request.url ?? '',
      before: received.filter((other) => other.id === id).length,
      number: received.length,
    };
    received.push(one);
    now.requests += 1;
    now.ticks += one.ticks;
    peak.requests = Math.max(peak.requests, now.requests);
    peak.ticks = Math.max(peak.ticks, now.ticks);
    const known = verdict.ok || headers.authorization === `Bearer ${token}`;
    const reply: Reply = known ? await script(one) : { do: 'problem', name: 'unauthenticated' };
    now.requests -= 1;
    now.ticks -= one.ticks;
    send(response, one, reply, commit);
  };

  const server = createServer((request, response) => {
    void handle(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    secret,
    token,
    received,
    committed,
    peak,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function send(
  response: ServerResponse,
  received: Received,
  reply: Reply,
  commit: (received: Received, rejected: Rejection[]) => string,
): void {
  switch (reply.do) {
    case 'store':
      response.writeHead(200, { 'content-type': 'application/json', ...reply.headers });
      response.end(commit(received, reply.rejected ?? []));
      return;
    case 'buffer':
      response.writeHead(202, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify({ batch: received.id, status: 'buffered', receipt: `/v1/receipts/x/${received.id}` }),
      );
      return;
    case 'problem': {
      const body = problem(
        reply.name,
        'as the test wants it',
        reply.rejected === undefined ? {} : { rejected: reply.rejected },
      );
      const retryAfter: Record<string, string> =
        reply.retryAfter === undefined ? {} : { 'retry-after': reply.retryAfter };
      response.writeHead(reply.status ?? body.status, {
        'content-type': PROBLEM_CONTENT_TYPE,
        ...retryAfter,
        ...reply.headers,
      });
      response.end(JSON.stringify(body));
      return;
    }
    case 'answer':
      response.writeHead(reply.status);
      response.end(reply.body);
      return;
    case 'hang-up':
      if (reply.stored) commit(received, []);
      response.destroy();
      return;
    case 'silence':
      return; // until the test ends
  }
}
