/** Stands before a real server and changes what it answers: a fault in the answer that the server itself does not have. */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface RewritingProxy extends AsyncDisposable {
  url: string;
}

/** `rewrite` is given each path, with its query, and the answer's text. Only GET is passed on. */
export async function rewritingProxy(
  target: string,
  rewrite: (path: string, text: string) => string,
): Promise<RewritingProxy> {
  const server = createServer((request, response) => {
    const path = request.url ?? '/';
    void (async () => {
      const answer = await fetch(target + path);
      const text = rewrite(path, await answer.text());
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'text/plain' });
      response.end(text);
    })().catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
