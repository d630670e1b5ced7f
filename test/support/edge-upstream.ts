/** An HTTP server on loopback that stands where the pods are, records what reaches it and answers as told. */

import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface RecordedRequest {
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
  rawHeaders: string[];
  body: Buffer;
}

export type UpstreamReply = (request: RecordedRequest, response: ServerResponse) => void;

export interface Upstream {
  url: string;
  requests: RecordedRequest[];
  /** What the next requests are answered with. */
  reply: UpstreamReply;
  close(): Promise<void>;
}

/** Starts on a free port, or on `port` when a test brings the cluster back to where it was. */
export async function startUpstream(reply: UpstreamReply, port = 0): Promise<Upstream> {
  const upstream: Upstream = { url: '', requests: [], reply, close };
  const server = createServer((message, response) => {
    const chunks: Buffer[] = [];
    message.on('data', (chunk: Buffer) => chunks.push(chunk));
    message.on('end', () => {
      const { method = '', url = '', headers, rawHeaders } = message;
      const request = { method, path: url, headers, rawHeaders, body: Buffer.concat(chunks) };
      upstream.requests.push(request);
      upstream.reply(request, response);
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  upstream.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  async function close(): Promise<void> {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }
  return upstream;
}

export const POD_HEADERS = {
  'content-type': 'application/json',
  'mdp-level': 'ok',
  'mdp-rate-scale': '1',
  'mdp-credit': '9000',
  ratelimit: '"ticks";r=100;t=1',
  'ratelimit-policy': '"ticks";q=50000;w=1',
};

/** What a pod says to one stored tick; `x-inside` is a header that must not leave the cluster. */
export const STORED_BODY = '{"batch":"b1","status":"stored","stored":1,"duplicates":0,"rejected":[],"ignoredFields":0}';

export function replyStored(_: RecordedRequest, response: ServerResponse): void {
  response.writeHead(200, { ...POD_HEADERS, 'x-inside': 'pod-7', 'set-cookie': 'pod=7' }).end(STORED_BODY);
}

/** Answers one status with a body and headers, for as long as it is set. */
export function replyWith(status: number, headers: Record<string, string>, body: string | Uint8Array): UpstreamReply {
  return (_, response) => void response.writeHead(status, headers).end(body);
}
