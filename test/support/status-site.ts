/**
 * The status routes behind a Node server, with a board that shows what a test says: for a browser that looks at
 * states which would take weeks to come about. Its clock begins anew with each scene, far from the browser's own.
 */

import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Hono } from 'hono';
import { BoardClient } from '../../worker/status/board-client.ts';
import { type Pace, PACE } from '../../worker/status/pace.ts';
import { mountStatus } from '../../worker/status/routes.ts';
import { NOW_MS, RECORDS } from './status-models.ts';
import type { BoardRecord } from '../../worker/status/board-tables.ts';

export class StatusSite implements AsyncDisposable {
  url = '';
  #shown: BoardRecord | undefined;
  #shownMs = 0;
  /** True: requests are answered with 500. */
  broken = false;
  /** How many documents were asked for. */
  pages = 0;
  readonly #server: Server;

  private constructor(change: Partial<Pace>) {
    const pace = { ...PACE, recordMs: 0, ...change };
    this.show(RECORDS.fine());
    const nowMs = (): number => NOW_MS + Date.now() - this.#shownMs;
    const world = {
      nowMs,
      wait: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)),
      log: () => {},
    };
    const app = new Hono();
    mountStatus(app, { board: new BoardClient({ ...world, pace }), nowMs, pace });
    const board = { fetch: () => Promise.resolve(Response.json(this.#shown)) };
    this.#server = createServer((request, response) => {
      void (async () => {
        if (request.url === '/') this.pages += 1;
        const env = { STATUS_PROVIDERS: '["ibkr"]', ...(this.#shown && { STATUS_BOARD: { getByName: () => board } }) };
        const answer = this.broken
          ? new Response('broken', { status: 500 })
          : await app.request(request.url!, { method: request.method! }, env);
        response.writeHead(answer.status, Object.fromEntries(answer.headers));
        response.end(await answer.text());
      })();
    });
  }

  /** Shows a record from now on, as old as its scene makes it. */
  show(record: BoardRecord | undefined): void {
    this.#shown = record;
    this.#shownMs = Date.now();
  }

  static async start(change: Partial<Pace> = {}): Promise<StatusSite> {
    const site = new StatusSite(change);
    site.#server.listen(0, '127.0.0.1');
    await once(site.#server, 'listening');
    site.url = `http://127.0.0.1:${(site.#server.address() as AddressInfo).port}`;
    return site;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }
}
