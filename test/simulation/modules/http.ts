/**
 * In the place of `node:http`: a server without sockets. What arrives is handed to the listener as Node would, and the
 * answer is handed back; how either travels is the network's.
 */

export interface HttpRequest {
  method: string;
  url: string;
  /** Names in small letters. */
  headers: Record<string, string>;
  body: Uint8Array;
}

export interface HttpAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

type Listener = (request: ReceivedRequest, response: SentResponse) => void;

/** The server that was made last: whoever makes a pod finds its server here. */
let latest: HttpServer | undefined;

export function latestServer(): HttpServer {
  if (latest === undefined) throw new Error('no server was made');
  return latest;
}

export function createServer(_options: unknown, listener: Listener): HttpServer {
  latest = new HttpServer(listener);
  return latest;
}

/** Invariant: `open` are the requests that arrived and have no answer. */
export class HttpServer {
  readonly #listener: Listener;
  readonly #open = new Set<() => void>();
  #onConnection: (socket: SimulatedSocket) => void = () => undefined;
  #onClosed: (() => void) | undefined;
  isListening = false;
  isCut = false;

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  prependListener(_event: 'connection', opened: (socket: SimulatedSocket) => void): this {
    this.#onConnection = opened;
    return this;
  }

  once(): this {
    return this;
  }

  off(): this {
    return this;
  }

  listen(_port: number, _host: string, listening: () => void): void {
    this.isListening = true;
    queueMicrotask(listening);
  }

  address(): { port: number } {
    return { port: 8000 };
  }

  /** Nothing new comes in; `closed` is called when the last request has its answer. */
  close(closed: () => void): void {
    this.isListening = false;
    this.#onClosed = closed;
    this.#closeIfIdle();
  }

  closeIdleConnections(): void {
    // A connection without a request is nothing here.
  }

  closeAllConnections(): void {
    this.isCut = true;
    for (const cut of this.#open) cut();
  }

  /** `answered` is told the answer, or nothing when the connection was cut. Each request has a connection of its own. */
  receive(request: HttpRequest, answered: (answer: HttpAnswer | undefined) => void): void {
    const end = (answer: HttpAnswer | undefined): void => {
      if (!this.#open.delete(cut)) return;
      answered(answer);
      this.#closeIfIdle();
    };
    const cut = (): void => end(undefined);
    this.#open.add(cut);
    const socket = new SimulatedSocket(cut);
    this.#onConnection(socket);
    const received = new ReceivedRequest(request, socket);
    this.#listener(received, new SentResponse(received, end));
  }

  #closeIfIdle(): void {
    if (this.#open.size > 0 || this.#onClosed === undefined) return;
    const closed = this.#onClosed;
    this.#onClosed = undefined;
    closed();
  }
}

/** As much of an emitter as the connections of a pod listen to. */
class Emitter {
  readonly #listeners: [event: string, heard: () => void][] = [];

  once(event: string, heard: () => void): this {
    this.#listeners.push([event, heard]);
    return this;
  }

  emit(event: string): void {
    for (const [name, heard] of this.#listeners) if (name === event) heard();
  }
}

class SimulatedSocket extends Emitter {
  readonly #cut: () => void;
  destroyed = false;

  constructor(cut: () => void) {
    super();
    this.#cut = cut;
  }

  end(): void {
    // What is said to a connection that is refused is nothing to anybody here.
  }

  destroySoon(): void {
    this.destroy();
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.#cut();
    this.emit('close');
  }
}

class ReceivedRequest {
  readonly socket: SimulatedSocket;
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly complete = true;
  readonly #body: Buffer;

  constructor({ method, url, headers, body }: HttpRequest, socket: SimulatedSocket) {
    this.socket = socket;
    this.method = method;
    this.url = url;
    this.headers = headers;
    this.#body = Buffer.from(body);
  }

  async *iterator(): AsyncIterable<Buffer> {
    // In two pieces, as a body that is longer than a packet comes.
    const half = this.#body.length >> 1;
    yield this.#body.subarray(0, half);
    yield this.#body.subarray(half);
  }
}

class SentResponse extends Emitter {
  readonly req: ReceivedRequest;
  readonly #answered: (answer: HttpAnswer) => void;
  #status = 0;
  #headers: Record<string, string> = {};

  constructor(request: ReceivedRequest, answered: (answer: HttpAnswer) => void) {
    super();
    this.req = request;
    this.#answered = answered;
  }

  get destroyed(): boolean {
    return this.req.socket.destroyed;
  }

  writeHead(status: number, headers: Record<string, string>): this {
    this.#status = status;
    this.#headers = headers;
    return this;
  }

  /** Taken at once by whoever asked, who then goes. */
  end(body: Uint8Array | string): void {
    this.#answered({ status: this.#status, headers: this.#headers, body: body.toString() });
    this.emit('finish');
    this.emit('close');
    this.req.socket.destroy();
  }
}
