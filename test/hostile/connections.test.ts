/**
 * Connections that want to be had and nothing else: thousands that say nothing, requests that do not wait for their
 * answers, answers that nobody reads, and a pod that has few descriptors. (Slow headers are in requests.test.ts, slow
 * and endless bodies in test/end-to-end/malformed.test.ts.)
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { generateSecret } from '../../pipeline/contract/signature.ts';
import { ANSWERS_MAX_BYTES, CONNECTIONS_MAX, FILES_RESERVED } from '../../pipeline/source/connections.ts';
import { lines, trade, trades } from '../support/pod-batch.ts';
import { edgeSigned, post } from '../support/pod-request.ts';
import { until } from '../support/postgres-stores.ts';
import { HostileSocket, UNHARMED, UnderAttack } from '../support/under-attack.ts';
import { UserProcess } from '../support/user-process.ts';

const MIB = 1024 * 1024;
/** Beside what a bound allows: garbage that has not been collected yet. */
const SLACK_BYTES = 48 * MIB;
const IDLE = 10_000;
/** What a connection costs the pod, with the parser that waits for its request. */
const CONNECTION_MAX_BYTES = 24 * 1024;
const LARGE_SYMBOL_TICKS = 1_000;
const UNREAD = 150;
const UNREAD_REQUESTS = 16;
const PIPELINED = 200_000;

let attacked: UnderAttack;
let sockets: HostileSocket[] = [];

beforeAll(async () => {
  attacked = await UnderAttack.start(['large']);
  await storeLargeSymbol();
});
afterEach(() => {
  for (const one of sockets) one.end();
  sockets = [];
});
afterAll(() => attacked?.[Symbol.asyncDispose]());

function open(reads = true): HostileSocket {
  const socket = new HostileSocket(attacked.system.pod.port, reads);
  sockets.push(socket);
  return socket;
}

/** So many connections, a few at a time: who connects faster than a server accepts is held by the kernel. */
async function openIdle(count: number, port: number): Promise<void> {
  while (sockets.length < count) {
    const some = Array.from({ length: 250 }, () => new HostileSocket(port));
    sockets.push(...some);
    await Promise.all(some.map(({ connected }) => connected));
  }
}

/** A symbol that takes much to read back. */
async function storeLargeSymbol(): Promise<void> {
  const conditions = Array.from({ length: 16 }, (_, at) => `condition-${at}`.padEnd(32, '.'));
  const ticks = trades(LARGE_SYMBOL_TICKS).map(({ id }) => trade({ id, symbol: 'LARGE', conditions }));
  const headers = await edgeSigned(attacked.system.edgeSecret, 'large/large', Date.now(), ticks);
  expect(await post(attacked.system.pod.url, 'large', ticks, headers)).toMatchObject({ status: 200 });
}

const READ_LARGE = `GET /v1/trades/large/LARGE?limit=${LARGE_SYMBOL_TICKS} HTTP/1.1\r\nhost: x\r\n\r\n`;

describe('a pod goes on serving', { timeout: 60_000 }, () => {
  test(`with ${IDLE} connections that say nothing: it keeps as many as it may have, and has room for who asks`, async () => {
    const { harm, grownBytes, came } = await attacked.suffers(`${IDLE} idle connections`, async () => {
      await openIdle(IDLE, attacked.system.pod.port);
      return attacked.descriptors();
    });
    expect(harm).toEqual(UNHARMED);
    await until('the others are closed', () => sockets.filter(({ isOpen }) => isOpen).length <= CONNECTIONS_MAX);
    expect(came).toBeGreaterThan(CONNECTIONS_MAX / 2);
    expect(came).toBeLessThan(CONNECTIONS_MAX + FILES_RESERVED);
    expect(grownBytes).toBeLessThan(CONNECTIONS_MAX * CONNECTION_MAX_BYTES + SLACK_BYTES);
  });

  test(`with as many that have asked once and stay`, async () => {
    const { harm, grownBytes } = await attacked.suffers(`${IDLE} kept connections`, async () => {
      while (sockets.length < IDLE) {
        const some = Array.from({ length: 250 }, () => open());
        for (const { socket } of some) socket.write('GET /health HTTP/1.1\r\nhost: x\r\n\r\n');
        await until('they are answered', () => some.every(({ received, isOpen }) => received !== '' || !isOpen));
      }
    });
    expect(harm).toEqual(UNHARMED);
    expect(grownBytes).toBeLessThan(CONNECTIONS_MAX * CONNECTION_MAX_BYTES + SLACK_BYTES);
  });

  test(`with ${UNREAD} readers of large answers that read nothing`, async () => {
    const { harm, grownBytes } = await attacked.suffers('slow readers', async () => {
      const unread = Array.from({ length: UNREAD }, () => open(false));
      await Promise.all(unread.map(({ connected }) => connected));
      for (const { socket } of unread) socket.write(READ_LARGE.repeat(UNREAD_REQUESTS));
      await sleep(2_000);
    });
    expect(harm).toEqual(UNHARMED);
    expect(grownBytes).toBeLessThan(ANSWERS_MAX_BYTES + 2 * SLACK_BYTES);
  });

  test(`with ${PIPELINED} requests on one connection that waits for no answer`, async () => {
    const { harm, grownBytes } = await attacked.suffers('pipelining', async () => {
      const { socket, closed } = open(false);
      const some = READ_LARGE.repeat(1_000);
      for (let written = 0; written < PIPELINED && !socket.destroyed; written += 1_000) socket.write(some);
      socket.resume();
      await closed;
    });
    expect(harm).toEqual(UNHARMED);
    expect(grownBytes).toBeLessThan(2 * SLACK_BYTES);
  });

  test('and tells its operator once in a while what was cut, and no more', async () => {
    const { log } = attacked.system;
    await until('it is told', () => log.some((line) => line.includes('"event":"connections_cut"')));
    const cuts = attacked.system.complaints();
    expect(cuts.length).toBeLessThan(5);
    expect(cuts.filter((line) => !/"connections_cut","connectionsMax":4096,"displaced":[1-9]/.test(line))).toEqual([]);
  });
});

describe.skipIf(process.platform !== 'linux')('a pod with few descriptors (on Linux)', () => {
  const LIMIT = 256;
  let directory: string;
  let pod: UserProcess;
  let port: number;
  const secret = generateSecret();

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'mdp-descriptors-'));
    pod = new UserProcess({
      under: ['sh', '-c', `ulimit -n ${LIMIT}; exec "$@"`, 'sh'],
      file: fileURLToPath(new URL('../../pipeline/main.ts', import.meta.url)),
      cwd: directory,
      env: { MDP_PORT: '0', MDP_EDGE_SECRETS: secret },
    });
    await pod.prints(/startup complete/);
    port = Number(/"port":(\d+)/.exec(pod.output)![1]);
  });
  afterAll(async () => {
    await pod?.[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  test('says so, takes only as many connections as leave some for its store, and stores', async () => {
    expect(pod.output).toContain(`"event":"few_descriptors","openFilesMax":${LIMIT}`);
    await openIdle(1_000, port);
    for (let batch = 0; batch < 20; batch += 1) {
      const ticks = trades(100, batch * 100);
      const headers = await edgeSigned(secret, `ibkr/b${batch}`, Date.now(), ticks);
      const answer = await post(`http://127.0.0.1:${port}`, 'ibkr', ticks, headers);
      expect(answer, lines(ticks).slice(0, 100)).toMatchObject({ status: 200 });
    }
    expect(pod.output).not.toMatch(/EMFILE|"level":"error"/);
  });
});
