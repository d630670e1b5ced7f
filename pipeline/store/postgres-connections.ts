/**
 * The connections of a PostgreSQL store: a pool for what writes, one for all else, so that neither waits for the
 * other's, and new ones outside of both. Ends them all, also those to a server that has stopped.
 */

import { Socket } from 'node:net';
import { Client, Pool, type PoolConfig } from 'pg';
import type { Borrowed, Lender } from './postgres-session.ts';

/** Reading back and housekeeping. */
const OTHER_CONNECTIONS = 2;
/** The server cuts longer ones. */
const APPLICATION_NAME_MAX_CHARS = 63;

export interface ConnectionOptions {
  url: string;
  pod: string;
  writers: number;
  connectTimeoutMs: number;
  /** A connection has ended while nobody used it: perhaps the server has gone, perhaps this one was terminated. */
  onLoss: () => void;
}

/** Invariant: every socket that is not closed is in `#sockets`. */
export class Connections {
  readonly writers: Pool;
  readonly others: Pool;
  /** Lends connections whose state is the server's and not a pool's. */
  readonly fresh: Lender;
  readonly #sockets = new Set<Socket>();

  constructor({ url, pod, writers, connectTimeoutMs, onLoss }: ConnectionOptions) {
    const config: PoolConfig = {
      connectionString: url,
      application_name: `mdp-pod-${pod}`.slice(0, APPLICATION_NAME_MAX_CHARS),
      connectionTimeoutMillis: connectTimeoutMs,
      keepAlive: true,
      stream: () => this.#socket(),
    };
    this.writers = newPool(config, writers, onLoss);
    this.others = newPool(config, OTHER_CONNECTIONS, onLoss);
    this.fresh = { connect: () => connectAlone(config) };
  }

  /** May be called again. A server that has stopped does not take its leave: it is given until `deadline`. */
  async end(deadline: AbortSignal): Promise<void> {
    const passed = new Promise<void>((resolve) => deadline.addEventListener('abort', () => resolve(), { once: true }));
    await Promise.race([Promise.all([endPool(this.writers), endPool(this.others)]), passed]);
    for (const socket of this.#sockets) socket.destroy();
  }

  #socket(): Socket {
    const socket = new Socket();
    this.#sockets.add(socket);
    return socket.once('close', () => void this.#sockets.delete(socket));
  }
}

function newPool(config: PoolConfig, max: number, onLoss: () => void): Pool {
  const pool = new Pool({ ...config, max });
  pool.on('error', onLoss);
  // One that ends in use is told to its user by the failed statement; unheard, the event would end the process.
  pool.on('connect', (client) => void client.on('error', () => {}));
  return pool;
}

async function connectAlone(config: PoolConfig): Promise<Borrowed> {
  const client = new Client(config);
  client.on('error', () => {});
  await client.connect();
  return Object.assign(client, { release: () => void client.end().catch(() => {}) });
}

async function endPool(pool: Pool): Promise<void> {
  if (!pool.ending) await pool.end();
}
