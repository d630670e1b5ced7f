/**
 * Stands for the Service of the cluster and what is behind it: connections to one address, each handed to one of the
 * pods that say they are ready. Like kube-proxy it sees bytes and no requests, refuses when no pod is ready, and leaves
 * a connection with its pod whatever becomes of the pod's readiness. One that is idle after an answer is closed: the
 * few connections of a test would else be with the same pods for ever.
 */

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

const PROBE_INTERVAL_MS = 200;
const PROBE_TIMEOUT_MS = 1_000;
const IDLE_MAX_MS = 50;

export class Service implements AsyncDisposable {
  /** Base URLs; a pod has its place there from its start to its end, ready or not. */
  readonly #pods: readonly string[];
  readonly #server: Server;
  readonly #host: string;
  readonly #sockets = new Set<Socket>();
  #ready: readonly string[] = [];
  #turn = 0;
  #timer: NodeJS.Timeout | undefined;
  /** What each piece of bytes takes, on its way there and on its way back. */
  delayMs = 0;

  private constructor(pods: readonly string[], host: string) {
    this.#pods = pods;
    this.#host = host;
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#carry(client));
  }

  /** Before the given pods; `host` is where others find it. */
  static async start(
    pods: readonly string[],
    { listen, host } = { listen: '127.0.0.1', host: '127.0.0.1' },
  ): Promise<Service> {
    const service = new Service(pods, host);
    service.#server.listen(0, listen);
    await once(service.#server, 'listening');
    void service.#probe();
    return service;
  }

  get url(): string {
    return `http://${this.#host}:${(this.#server.address() as AddressInfo).port}`;
  }

  get ready(): readonly string[] {
    return this.#ready;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, 'close');
  }

  async #probe(): Promise<void> {
    const answers = await Promise.all(this.#pods.map((pod) => isReady(pod)));
    this.#ready = this.#pods.filter((_, at) => answers[at]);
    if (this.#server.listening) this.#timer = setTimeout(() => void this.#probe(), PROBE_INTERVAL_MS);
  }

  #carry(client: Socket): void {
    this.#turn += 1;
    const url = this.#ready[this.#turn % this.#ready.length];
    if (url === undefined) {
      client.resetAndDestroy();
      return;
    }
    const { hostname, port } = new URL(url);
    const pod = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    for (const [from, to] of [
      [client, pod],
      [pod, client],
    ] as const) {
      this.#sockets.add(from);
      from.setNoDelay(true);
      this.#pipe(from, to);
      // A connection that broke is broken on both sides.
      from.on('error', () => to.resetAndDestroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        if (!from.readableEnded) to.destroy();
      });
    }
    let idle: NodeJS.Timeout | undefined;
    client.on('data', () => clearTimeout(idle));
    client.on('close', () => clearTimeout(idle));
    pod.on('data', () => {
      clearTimeout(idle);
      idle = setTimeout(() => client.end(), this.delayMs + IDLE_MAX_MS);
    });
  }

  #pipe(from: Socket, to: Socket): void {
    from.on('data', (chunk: Buffer) => {
      this.#later(() => {
        if (to.destroyed || to.write(chunk)) return;
        from.pause();
        to.once('drain', () => from.resume());
      });
    });
    from.on('end', () => this.#later(() => to.end()));
  }

  /** Timers of one length keep their order. */
  #later(then: () => void): void {
    if (this.delayMs === 0) then();
    else setTimeout(then, this.delayMs);
  }
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/ready`, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) })).ok;
  } catch {
    return false;
  }
}
