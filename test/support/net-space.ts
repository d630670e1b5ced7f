/**
 * A network namespace of the test's own for one process, with one link to ours, on which packets are lost, held back
 * to a rate, or kept from passing at all, by the kernel itself. Its processes are reached at `inside`, and reach ours at
 * `outside`.
 */

import { execFileSync } from 'node:child_process';

const IP = '/usr/sbin/ip';
/** Not `ip netns exec`: its processes would also keep every mount of this machine, and so disks that others unmount. */
const ENTER = '/usr/bin/nsenter';

/** Packets that a link too slow may keep waiting, in time; the rest is lost, as in a router. */
const QUEUE_MS = 2_000;

export interface Faults {
  /** Of the packets in each direction. */
  lossShare?: number;
  /** Of both directions. */
  kbitPerSecond?: number;
  /** No packet passes in these directions: both are a partition, one leaves connections half open. */
  cut?: readonly ('in' | 'out')[];
  /** Only packets from or to this TCP port are lost or cut. */
  port?: number;
}

let made = 0;

export class NetSpace implements Disposable {
  readonly inside: string;
  readonly outside: string;
  readonly #name: string;
  readonly #links: { inside: string; outside: string };

  private constructor() {
    made += 1;
    this.#name = `mdp-${process.pid}-${made}`;
    this.#links = { inside: `mdp${process.pid % 100_000}i${made}`, outside: `mdp${process.pid % 100_000}o${made}` };
    // Each process of this machine takes a range of its own, four addresses for each link.
    const address = (at: number): string => `10.213.${process.pid % 250}.${(made * 4 + at) % 256}`;
    this.outside = address(1);
    this.inside = address(2);
  }

  static make(): NetSpace {
    const space = new NetSpace();
    const { inside, outside } = space.#links;
    ip('netns', 'add', space.#name);
    ip('link', 'add', outside, 'type', 'veth', 'peer', 'name', inside, 'netns', space.#name);
    ip('addr', 'add', `${space.outside}/30`, 'dev', outside);
    ip('link', 'set', outside, 'up');
    space.#within(IP, 'addr', 'add', `${space.inside}/30`, 'dev', inside);
    space.#within(IP, 'link', 'set', inside, 'up');
    space.#within(IP, 'link', 'set', 'lo', 'up');
    return space;
  }

  /** Whether one with all of {@link Faults} can be had: on Linux, as root, with ip, tc, iptables and their modules. */
  static mayBeHad(): boolean {
    try {
      using space = NetSpace.make();
      space.suffer({ lossShare: 0.5, kbitPerSecond: 100, cut: ['in'], port: 1 });
      return true;
    } catch {
      return false;
    }
  }

  /** What runs a command in it. */
  get under(): readonly string[] {
    return [ENTER, `--net=/run/netns/${this.#name}`];
  }

  /** These faults and no others from now on. */
  suffer({ lossShare, kbitPerSecond, cut = [], port }: Faults): void {
    this.heal();
    for (const [chain, direction] of [
      ['INPUT', 'in'],
      ['OUTPUT', 'out'],
    ] as const) {
      const loss = ['-m', 'statistic', '--mode', 'random', '--probability', String(lossShare)];
      const which = cut.includes(direction) ? [] : lossShare === undefined ? undefined : loss;
      if (which === undefined) continue;
      const ports = port === undefined ? [[]] : ['--sport', '--dport'].map((side) => [side, String(port)]);
      for (const one of ports) this.#within('iptables', '-A', chain, '-p', 'tcp', ...one, ...which, '-j', 'DROP');
    }
    if (kbitPerSecond === undefined) return;
    const rate = ['tbf', 'rate', `${kbitPerSecond}kbit`, 'burst', '8k', 'latency', `${QUEUE_MS}ms`];
    this.#within('tc', 'qdisc', 'replace', 'dev', this.#links.inside, 'root', ...rate);
    execFileSync('tc', ['qdisc', 'replace', 'dev', this.#links.outside, 'root', ...rate], { stdio: 'pipe' });
  }

  heal(): void {
    this.#within('iptables', '-F');
    for (const remove of [
      () => this.#within('tc', 'qdisc', 'del', 'dev', this.#links.inside, 'root'),
      () => execFileSync('tc', ['qdisc', 'del', 'dev', this.#links.outside, 'root'], { stdio: 'pipe' }),
    ]) {
      try {
        remove();
      } catch {
        // there was none
      }
    }
  }

  /** Once nothing runs in it any more. The link ends with it. */
  [Symbol.dispose](): void {
    ip('netns', 'del', this.#name);
  }

  #within(...command: string[]): void {
    const [enter, ...args] = [...this.under, ...command];
    execFileSync(enter!, args, { stdio: 'pipe' });
  }
}

function ip(...args: string[]): void {
  execFileSync(IP, args, { stdio: 'pipe' });
}
