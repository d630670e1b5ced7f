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
  #onClosed: (() => void) | undefined;
  isListening = false;
  isCut = false;

  constructor(listener: Listener) {
    this.#listener = listener;
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
    this.#open.clear();
    this.#closeIfIdle();
  }

  /** `answered` is told the answer, or nothing when the connection was cut. */
  receive(request: HttpRequest, answered: (answer: HttpAnswer | undefined) => void): void {
    const cut = (): void => answered(undefined);
    this.#open.add(cut);
    const response = new SentResponse((answer) => {
      if (!this.#open.delete(cut)) return;
      answered(answer);
      this.#closeIfIdle();
    });
    this.#listener(new ReceivedRequest(request), response);
  }

  #closeIfIdle(): void {
    if (this.#open.size > 0 || this.#onClosed === undefined) return;
    const closed = this.#onClosed;
    this.#onClosed = undefined;
    closed();
  }
}

class ReceivedRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly complete = true;
  readonly #body: Buffer;

  constructor({ method, url, headers, body }: HttpRequest) {
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

class SentResponse {
  readonly #answered: (answer: HttpAnswer) => void;
  #status = 0;
  #headers: Record<string, string> = {};

  constructor(answered: (answer: HttpAnswer) => void) {
    this.#answered = answered;
  }

  writeHead(status: number, headers: Record<string, string>): this {
    this.#status = status;
    this.#headers = headers;
    return this;
  }

  end(body: Uint8Array | string): void {
    this.#answered({ status: this.#status, headers: this.#headers, body: body.toString() });
  }
}
