/**
 * Stands for the cluster's Service and the ingress before it: one address, each request to the next pod that is ready.
 * What has no answer from its pod is a broken connection here too, never an answer of our own: trying again is the edge's.
 */

import { Agent, createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

const PROBE_TIMEOUT_MS = 2_000;

interface Endpoint {
  name: string;
  url: string;
  isReady: boolean;
  /** It has ended, which shows at the next probe and not before. */
  isGone: boolean;
}

export interface ServiceFigures {
  requests: number;
  /** No pod was ready, or the one in turn did not take the connection. */
  refused: number;
  /** The pod took the connection, and ended it before a whole answer. */
  broken: number;
}

/** Invariant: a request goes to a pod that was ready when it was last asked; pods take turns. */
export class Service implements AsyncDisposable {
  readonly url: string;
  readonly figures: ServiceFigures = { requests: 0, refused: 0, broken: 0 };
  readonly #server: Server;
  readonly #agent: Agent;
  readonly #probing: NodeJS.Timeout;
  #endpoints: Endpoint[] = [];
  #turn = 0;
  #onReady: () => void = () => {};

  private constructor(server: Server, probeIntervalMs: number) {
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    this.#server = server;
    this.#agent = new Agent({ keepAlive: true });
    this.#probing = setInterval(() => void this.#probeAll(), probeIntervalMs);
    server.on('request', (incoming, answer) => {
      this.figures.requests += 1;
      const endpoint = this.#next();
      if (endpoint === undefined) {
        this.figures.refused += 1;
        incoming.socket.destroy();
        return;
      }
      const { method, url, headers } = incoming;
      const outgoing = request(endpoint.url + url!, { method: method!, headers, agent: this.#agent });
      const lost = (what: 'refused' | 'broken'): void => {
        if (incoming.socket.destroyed) return;
        this.figures[what] += 1;
        incoming.socket.destroy();
      };
      outgoing.on('response', (answered) => {
        answer.writeHead(answered.statusCode!, answered.headers);
        answered.pipe(answer);
        answered.on('error', () => lost('broken'));
      });
      outgoing.on('error', ({ code }: NodeJS.ErrnoException) => lost(code === 'ECONNREFUSED' ? 'refused' : 'broken'));
      // Who asked is gone, and does not wait for the rest.
      answer.on('close', () => outgoing.destroy());
      incoming.pipe(outgoing);
    });
  }

  /** A pod is asked at `/ready` every `probeIntervalMs`. */
  static async start(probeIntervalMs: number): Promise<Service> {
    const server = createServer({ keepAliveTimeout: 60_000 });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new Service(server, probeIntervalMs);
  }

  /** Gets requests from when it says that it is ready. */
  add(name: string, url: string): void {
    const endpoint = { name, url, isReady: false, isGone: false };
    this.#endpoints.push(endpoint);
    void this.#probe(endpoint);
  }

  /** It gets requests until the probe has missed it, as it would where nobody tells. */
  remove(name: string): void {
    for (const endpoint of this.#endpoints) if (endpoint.name === name) endpoint.isGone = true;
  }

  isReady(name: string): boolean {
    return this.#endpoints.some((endpoint) => endpoint.name === name && endpoint.isReady);
  }

  /** Told whenever a pod has become ready or has ceased to be. */
  onReady(then: () => void): void {
    this.#onReady = then;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#probing);
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    this.#agent.destroy();
    await closed;
  }

  #next(): Endpoint | undefined {
    const ready = this.#endpoints.filter(({ isReady }) => isReady);
    this.#turn += 1;
    return ready[this.#turn % ready.length];
  }

  async #probeAll(): Promise<void> {
    await Promise.all(this.#endpoints.map((endpoint) => this.#probe(endpoint)));
  }

  async #probe(endpoint: Endpoint): Promise<void> {
    const before = endpoint.isReady;
    try {
      const answer = await fetch(`${endpoint.url}/ready`, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
      await answer.text();
      endpoint.isReady = answer.ok;
    } catch {
      endpoint.isReady = false;
    }
    if (endpoint.isGone && !endpoint.isReady) this.#endpoints = this.#endpoints.filter((other) => other !== endpoint);
    if (endpoint.isReady !== before) this.#onReady();
  }
}
