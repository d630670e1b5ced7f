/** A TCP gate before a server on loopback: lets everything through, or holds it, as an unreachable network would. */

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export class Gate implements AsyncDisposable {
  /** Shut: connections are taken and nothing ever comes of them. */
  shut = false;
  url = '';
  /** Told of what comes in, before it goes on. */
  onData: (text: string) => void = () => {};
  readonly #sockets = new Set<Socket>();
  readonly #server;

  private constructor(port: number) {
    this.#server = createServer((socket) => {
      this.#keep(socket);
      if (this.shut) return;
      socket.on('data', (data) => this.onData(String(data)));
      const inner = connect(port, '127.0.0.1');
      this.#keep(inner);
      socket.pipe(inner).pipe(socket);
      socket.on('data', () => this.shut && inner.destroy());
    });
  }

  static async before(port: number): Promise<Gate> {
    const gate = new Gate(port);
    gate.#server.listen(0, '127.0.0.1');
    await once(gate.#server, 'listening');
    gate.url = `http://127.0.0.1:${(gate.#server.address() as AddressInfo).port}`;
    return gate;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, 'close');
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
  }
}
