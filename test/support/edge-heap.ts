/**
 * What a workerd's isolate has in memory, as its inspector says: without what the process's allocator keeps for later,
 * which is in its resident memory. Source: Chrome DevTools Protocol, Runtime.getHeapUsage.
 */

import { once } from 'node:events';

const ANSWER_TIMEOUT_MS = 10_000;

interface Usage {
  usedSize: number;
  embedderHeapUsedSize: number;
  backingStorageSize: number;
}

export class EdgeHeap implements Disposable {
  readonly #socket: WebSocket;
  #asked = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  /** Of a workerd that was started with this `inspectorPort`. */
  static async of(inspectorPort: number): Promise<EdgeHeap> {
    const targets = await fetch(`http://127.0.0.1:${inspectorPort}/json`);
    const [target] = (await targets.json()) as { webSocketDebuggerUrl: string }[];
    const socket = new WebSocket(target!.webSocketDebuggerUrl);
    await once(socket, 'open', { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
    return new EdgeHeap(socket);
  }

  /** Of objects and buffers, those among them that wait to be collected. One at a time. */
  async usedBytes(): Promise<number> {
    this.#asked += 1;
    const answer = once(this.#socket, 'message', { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
    this.#socket.send(JSON.stringify({ id: this.#asked, method: 'Runtime.getHeapUsage' }));
    const [{ data }] = (await answer) as [{ data: string }];
    const { id, result } = JSON.parse(data) as { id: number; result: Usage };
    if (id !== this.#asked) throw new Error(`the inspector says something else: ${data}`);
    return result.usedSize + result.embedderHeapUsedSize + result.backingStorageSize;
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}
