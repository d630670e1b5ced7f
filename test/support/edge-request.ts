/** Requests over Node's own HTTP client, which sends what it is told: any length, any chunks, no helpful headers. */

import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';

export interface RawAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

/** Sends `chunks` one by one; without a content-length in `headers` they go as a chunked body. */
export function send(
  url: string,
  method: string,
  headers: Record<string, string>,
  chunks: readonly (string | Uint8Array)[] = [],
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
      response.on('error', reject);
    });
    sent.on('error', reject);
    for (const chunk of chunks) sent.write(chunk);
    sent.end();
  });
}

/** A body of `bytes` in pieces of 64 KiB. */
export function filler(bytes: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let left = bytes; left > 0; left -= 65_536) pieces.push(new Uint8Array(Math.min(left, 65_536)).fill(0x20));
  return pieces;
}

/** Writes `text` to the port as it is, closes this side, and returns all that came back before the other side closed. */
export function sendRaw(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    let answer = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
    socket.on('error', () => undefined); // a reset after an early answer; what came before it counts
    socket.on('end', () => socket.destroy());
    socket.on('close', () => resolve(answer));
    socket.end(text);
  });
}
