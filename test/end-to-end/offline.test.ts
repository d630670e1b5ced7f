/**
 * `npm start` in the words of the kernel: which addresses it and its children connect to. All of them are this
 * machine's, so it works without any network, and tells nobody anything.
 */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../replay/captures.ts';
import { freePorts } from '../../deploy/local/free-ports.ts';
import { childrenOf, UserProcess } from '../support/user-process.ts';

const START = join(import.meta.dirname, '../../deploy/local/start.ts');
const STRACE = ['strace', '-f', '-qq', '--seccomp-bpf', '-e', 'trace=connect,sendto,sendmsg,sendmmsg'];
/** It may be installed and not be allowed to trace. */
const noStrace = spawnSync('strace', [...STRACE.slice(1), 'true']).status !== 0;
const NEEDS = noStrace ? ' (skipped: there is no strace that may trace)' : '';

test.skipIf(noStrace)(`npm start talks to no address but loopback${NEEDS}`, { timeout: 60_000 }, async () => {
  using home = temporaryDirectory();
  const trace = join(home.path, 'trace.txt');
  const [edgePort, podPort] = (await freePorts(2)) as [number, number];
  await using system = new UserProcess({
    file: START,
    cwd: home.path,
    env: { EDGE_PORT: String(edgePort), MDP_PORT: String(podPort) },
    under: [...STRACE, '-o', trace],
  });
  await system.prints(/Stop: Ctrl-C/);
  // Through the edge to the pod, so that there is something to be seen.
  const status = await fetch(`http://127.0.0.1:${edgePort}/status`);
  expect(await status.json()).toMatchObject({ state: 'ok' });
  // strace keeps signals to itself.
  process.kill(childrenOf(system.pid)[0]!, 'SIGINT');
  expect(await system.ended).toMatchObject({ code: 0 });

  const addresses = readFileSync(trace, 'utf8').match(/inet_addr\("[^"]+"\)|inet_pton\(AF_INET6, "[^"]+"/g) ?? [];
  expect(addresses.length, 'addresses seen: without any the test sees nothing').toBeGreaterThan(0);
  expect(addresses.filter((address) => !/"(127\.\d+\.\d+\.\d+|::1)"/.test(address))).toEqual([]);
});
