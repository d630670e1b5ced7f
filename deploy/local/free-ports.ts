/** Ports of loopback for programs that cannot choose one by themselves and tell it. */

import { connect } from 'node:net';

/**
 * Below those that Linux and macOS give to connections and to whoever asks for any port (32,768 and 49,152 on), so that
 * nobody is given one of these between its choice and its use, or while its owner is away.
 */
const PORT_MIN = 10_000;
const PORT_MAX = 32_000;

/** Ports that were free a moment ago, all of them different, by chance. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

/** Whether nobody listens there. Asked by connecting: a probe that took the port would be in its owner's way. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', () => resolve(true));
  });
}
