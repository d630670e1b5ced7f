/** A provider at the other end of a WebSocket: obeys its credit unless told otherwise, and remembers what it was told. */

import { WebSocket } from 'undici';

export interface SocketAnswer {
  status?: string | number;
  type?: string;
  batch?: string;
  detail?: string;
  credit: number;
  [more: string]: unknown;
}

export class EdgeSocket {
  readonly answers: SocketAnswer[] = [];
  readonly texts: string[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  onAnswer: (answer: SocketAnswer) => void = () => undefined;
  readonly #socket: WebSocket;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => {
      socket.addEventListener('close', ({ code, reason }) => resolve({ code, reason }));
    });
    socket.addEventListener('message', ({ data }) => {
      const text = String(data);
      this.texts.push(text);
      if (!text.startsWith('{')) return;
      const answer = JSON.parse(text) as SocketAnswer;
      this.answers.push(answer);
      this.onAnswer(answer);
    });
  }

  /** Rejects when the edge opens none. */
  static open(edgeUrl: string, headers: Record<string, string>, provider = 'ibkr'): Promise<EdgeSocket> {
    const url = `${edgeUrl.replace('http:', 'ws:')}/v1/ticks/${provider}/ws`;
    const socket = new WebSocket(url, { headers });
    const edgeSocket = new EdgeSocket(socket);
    return new Promise((resolve, reject) => {
      socket.addEventListener('open', () => resolve(edgeSocket));
      socket.addEventListener('error', () => reject(new Error('the socket was not opened')));
    });
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  send(message: string | Uint8Array<ArrayBuffer>): void {
    this.#socket.send(message);
  }

  /** One batch of lines. */
  push(batch: string, body: string): void {
    this.send(`${JSON.stringify({ batch })}\n${body}`);
  }

  /** The answer about `batch`, once it is there. */
  async answerTo(batch: string): Promise<SocketAnswer> {
    for (;;) {
      const found = this.answers.find((answer) => answer.batch === batch);
      if (found !== undefined) return found;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  close(): void {
    this.#socket.close();
  }
}

export interface SentBatch {
  id: string;
  body: string;
  ticks: number;
}

/** Sends all of `batches` within its credit, over as many sockets as it takes, until each is stored or buffered. */
export class SocketProvider {
  /** What each batch was told last: `stored` or `buffered`. */
  readonly done = new Map<string, string>();
  readonly problems: SocketAnswer[] = [];
  sockets = 0;
  #sentMax = Number.POSITIVE_INFINITY;
  #sendMore: () => void = () => undefined;
  readonly #batches: readonly SentBatch[];
  readonly #open: () => Promise<EdgeSocket>;

  constructor(batches: readonly SentBatch[], open: () => Promise<EdgeSocket>) {
    this.#batches = batches;
    this.#open = open;
  }

  /** Sends this many of the batches, and waits when it has. */
  sendUpTo(count: number): void {
    this.#sentMax = count;
    this.#sendMore();
  }

  async run(): Promise<void> {
    while (this.done.size < this.#batches.length) {
      const socket = await this.#open().catch(() => undefined);
      if (socket === undefined) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        continue;
      }
      this.sockets += 1;
      await this.#sendOver(socket);
    }
  }

  /** Until all is done or the socket is gone. */
  #sendOver(socket: EdgeSocket): Promise<unknown> {
    const left = this.#batches.filter(({ id }) => !this.done.has(id));
    const unanswered = new Map<string, SentBatch>();
    let ticks = 0;
    let next = 0;
    let credit = 0;
    this.#sendMore = () => {
      while (next < left.length && socket.isOpen && this.done.size + unanswered.size < this.#sentMax) {
        const batch = left[next]!;
        if (unanswered.size >= 1_000 || (unanswered.size > 0 && ticks + batch.ticks > credit)) return;
        next += 1;
        ticks += batch.ticks;
        unanswered.set(batch.id, batch);
        socket.push(batch.id, batch.body);
      }
    };
    socket.onAnswer = (answer) => {
      const batch = unanswered.get(answer.batch ?? '');
      if (batch !== undefined) {
        unanswered.delete(batch.id);
        ticks -= batch.ticks;
        if (typeof answer.status === 'string') this.done.set(batch.id, answer.status);
        else {
          this.problems.push(answer);
          left.push(batch);
        }
      }
      credit = answer.credit;
      if (this.done.size === this.#batches.length) socket.close();
      else this.#sendMore();
    };
    for (const answer of socket.answers) socket.onAnswer(answer);
    return socket.closed;
  }
}
