/** What stands for the cluster's Service: whom it asks, and what it does with a pod that is not there. */

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Service } from '../../deploy/rehearse/service.ts';

interface StandIn {
  url: string;
  isReady: boolean;
  asked: number;
}

const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }
});

/** Answers with its name, and at `/ready` as it is told; at `/broken` it ends the connection instead. */
async function standIn(name: string): Promise<StandIn> {
  const server = createServer((request, response) => {
    if (request.url === '/ready') return void response.writeHead(pod.isReady ? 200 : 503).end();
    pod.asked += 1;
    if (request.url === '/broken') return void request.socket.destroy();
    response.end(name);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const pod: StandIn = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    isReady: true,
    asked: 0,
  };
  return pod;
}

async function ready(service: Service, name: string, isReady: boolean): Promise<void> {
  await expect.poll(() => service.isReady(name), { interval: 10 }).toBe(isReady);
}

async function ask(service: Service, path = '/'): Promise<string> {
  return (await fetch(service.url + path)).text();
}

describe('the stand-in of the Service', () => {
  it('lets the pods that are ready take turns', async () => {
    await using service = await Service.start(20);
    for (const name of ['a', 'b', 'c']) {
      service.add(name, (await standIn(name)).url);
      await ready(service, name, true);
    }
    const answers: string[] = [];
    for (let at = 0; at < 9; at += 1) answers.push(await ask(service));
    expect(answers.toSorted().join('')).toBe('aaabbbccc');
    expect(new Set(answers.slice(0, 3)).size).toBe(3);
  });

  it('asks no pod that is not ready, and none that is not there any more', async () => {
    await using service = await Service.start(20);
    const [a, b] = [await standIn('a'), await standIn('b')];
    service.add('a', a.url);
    service.add('b', b.url);
    await ready(service, 'b', true);
    a.isReady = false;
    await ready(service, 'a', false);
    for (let at = 0; at < 4; at += 1) expect(await ask(service)).toBe('b');
    expect(a.asked).toBe(0);
    b.isReady = false;
    service.remove('b');
    await ready(service, 'b', false);
    await expect(ask(service)).rejects.toThrow('fetch failed');
    expect(service.figures).toEqual({ requests: 5, refused: 1, broken: 0 });
  });

  it('answers nothing of its own for a pod that refuses or breaks off: the connection ends', async () => {
    await using service = await Service.start(60_000);
    const a = await standIn('a');
    service.add('a', a.url);
    await ready(service, 'a', true);
    await expect(ask(service, '/broken')).rejects.toThrow('fetch failed');
    expect(a.asked).toBe(1);
    expect(service.figures).toMatchObject({ refused: 0, broken: 1 });
    // Gone, and the probe has not looked since.
    const [server] = servers.splice(0);
    await new Promise((resolve) => {
      server!.close(resolve);
      server!.closeAllConnections();
    });
    await expect(ask(service)).rejects.toThrow('fetch failed');
    expect(service.figures).toMatchObject({ requests: 2, refused: 1, broken: 1 });
  });
});
