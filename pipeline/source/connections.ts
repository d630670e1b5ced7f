/**
 * How many connections a pod has, what each of them may have under way, and who goes when that is too much. Without
 * these bounds whoever reaches the port takes memory and descriptors for nothing: by connections that say nothing, by
 * requests that do not wait for their answers, by answers that are never read.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { problem, PROBLEM_CONTENT_TYPE, RETRY_AFTER_HEADER } from '../contract/answer.ts';

/** An edge, its tunnels, probes and scrapers together have some hundreds; each costs about 13 KiB (measured). */
export const CONNECTIONS_MAX = 4_096;
/** Descriptors that are not connections: the store's files or its 64 connections, modules, logs, the poller. */
export const FILES_RESERVED = 128;
/** Requests of one connection that wait for their answers. Nobody we know pipelines: undici, workerd and kubelet do not. */
export const PIPELINED_MAX = 16;
/** Bytes of all answers that are on their way to their readers. */
export const ANSWERS_MAX_BYTES = 32 * 1024 * 1024;
/** An answer that its reader has not taken after so many sweeps, of one second each, is cut. */
export const ANSWER_TAKE_SWEEPS = 20;
/** Cuts are reported at most once in so many sweeps, however many there are. */
export const REPORT_SWEEPS = 10;

/** As many as the process has descriptors for; `openFilesMax` undefined is no limit. At least one. */
export function connectionsMaxOf(openFilesMax: number | undefined): number {
  return Math.max(1, Math.min(CONNECTIONS_MAX, (openFilesMax ?? Number.POSITIVE_INFINITY) - FILES_RESERVED));
}

/** Connections ended since the last report, by the bound that ended them. */
export interface Cuts {
  /** Gave their place to a newer one. */
  displaced: number;
  /** Found no place. */
  refused: number;
  pipelined: number;
  /** Did not read their answers. */
  unread: number;
}

const NO_CUTS: Cuts = { displaced: 0, refused: 0, pipelined: 0, unread: 0 };

interface Connection {
  /** Their answers are not all out yet. */
  readonly requests: Set<IncomingMessage>;
  /** Answers to them that are on their way. */
  readonly untaken: Set<ServerResponse>;
}

/** Invariant: every open connection is either in `#quiet` or in `#busy`, the longest there first. */
export class Connections {
  readonly #max: number;
  readonly #onCuts: (cuts: Cuts) => void;
  /** Without a request that is under way. */
  readonly #quiet = new Set<Socket>();
  readonly #busy = new Map<Socket, Connection>();
  /** Answers that are on their way, the oldest first, with the sweep that saw them begin. */
  readonly #untaken = new Map<ServerResponse, { bytes: number; sweep: number }>();
  #untakenBytes = 0;
  #sweep = 0;
  #reported = -REPORT_SWEEPS;
  #cuts = { ...NO_CUTS };

  constructor(max: number, onCuts: (cuts: Cuts) => void) {
    this.#max = max;
    this.#onCuts = onCuts;
  }

  get count(): number {
    return this.#quiet.size + this.#busy.size;
  }

  /**
   * A connection was opened. When all places are taken it gets that of the one that has been quiet longest; else of
   * the one whose request is longest under way and not all there. Who waits for an answer keeps his place, and the
   * newcomer is told 503. (Those that never asked anything are not the first to go: a new one cannot have asked yet.)
   */
  open(socket: Socket): void {
    if (this.count >= this.#max) {
      const displaced = this.#leastMissed();
      if (displaced === undefined) {
        this.#cuts.refused += 1;
        socket.end(FULL);
        socket.destroySoon();
        return;
      }
      this.#cuts.displaced += 1;
      // Whoever is in the middle of a request is told; to others a closed connection says enough.
      if (this.#busy.has(displaced)) displaced.end(FULL);
      displaced.destroySoon();
      this.#forget(displaced);
    }
    this.#quiet.add(socket);
    socket.once('close', () => this.#forget(socket));
  }

  /**
   * A request has come. False: it is one too many, or on a connection that has ended; nothing is to be done about it.
   * One too many ends the connection at once: merely paused it would be read on, and a later answer is no answer to
   * the ones before it. What the sender has no answer to is still the sender's.
   */
  begin(request: IncomingMessage, response: ServerResponse): boolean {
    const { socket } = request;
    if (!this.#quiet.has(socket) && !this.#busy.has(socket)) return false;
    const connection = this.#busy.get(socket) ?? { requests: new Set(), untaken: new Set() };
    if (connection.requests.size >= PIPELINED_MAX) {
      this.#cuts.pipelined += 1;
      this.#cut(socket);
      return false;
    }
    this.#quiet.delete(socket);
    this.#busy.set(socket, connection);
    connection.requests.add(request);
    response.once('close', () => this.#end(socket, connection, request));
    return true;
  }

  /** An answer of so many bytes is about to be written. */
  answer(response: ServerResponse, bytes: number): void {
    const connection = this.#busy.get(response.req.socket);
    // Nobody is there any more.
    if (connection === undefined || response.destroyed) return;
    connection.untaken.add(response);
    this.#untaken.set(response, { bytes, sweep: this.#sweep });
    this.#untakenBytes += bytes;
    const taken = (): void => {
      connection.untaken.delete(response);
      this.#settle(response);
    };
    response.once('finish', taken).once('close', taken);
    for (const [oldest] of this.#untaken) {
      if (this.#untakenBytes <= ANSWERS_MAX_BYTES || oldest === response) break;
      this.#cutUnread(oldest);
    }
  }

  /** To be called once a second. */
  sweep(): void {
    this.#sweep += 1;
    for (const [response, { sweep }] of this.#untaken) {
      if (this.#sweep - sweep <= ANSWER_TAKE_SWEEPS) break;
      this.#cutUnread(response);
    }
    if (this.#sweep - this.#reported < REPORT_SWEEPS || Object.values(this.#cuts).every((count) => count === 0)) return;
    this.#reported = this.#sweep;
    this.#onCuts(this.#cuts);
    this.#cuts = { ...NO_CUTS };
  }

  #cutUnread({ req: { socket } }: ServerResponse): void {
    this.#cuts.unread += 1;
    this.#cut(socket);
  }

  #cut(socket: Socket): void {
    this.#forget(socket);
    socket.destroy();
  }

  #settle(response: ServerResponse): void {
    this.#untakenBytes -= this.#untaken.get(response)?.bytes ?? 0;
    this.#untaken.delete(response);
  }

  #end(socket: Socket, connection: Connection, request: IncomingMessage): void {
    connection.requests.delete(request);
    if (connection.requests.size > 0 || !this.#busy.delete(socket) || socket.destroyed) return;
    this.#quiet.add(socket);
  }

  #leastMissed(): Socket | undefined {
    for (const socket of this.#quiet) return socket;
    for (const [socket, { requests }] of this.#busy) {
      for (const request of requests) if (!request.complete && requests.size === 1) return socket;
    }
    return undefined;
  }

  #forget(socket: Socket): void {
    this.#quiet.delete(socket);
    for (const response of this.#busy.get(socket)?.untaken ?? []) this.#settle(response);
    this.#busy.delete(socket);
  }
}

const FULL = fullAnswer();

/** Written to a connection as it is: no request has been read that could be answered. */
function fullAnswer(): string {
  const body = JSON.stringify(problem('no-room', 'this pod has as many connections as it may have'));
  const headers = [
    `content-type: ${PROBLEM_CONTENT_TYPE}`,
    `${RETRY_AFTER_HEADER}: 1`,
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  return `HTTP/1.1 503 Service Unavailable\r\n${headers.join('\r\n')}\r\n\r\n${body}`;
}
