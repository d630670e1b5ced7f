/**
 * Stands for the Deployment: keeps as many pods as it is told, each a real process, and replaces them one after the other
 * at a rollout. A pod that is to go is sent SIGTERM at once, without the manifest's preStop and without a word to the
 * Service, which learns it from `/ready`: harsher than a cluster.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { type RunningPod, startPod } from '../local/pod.ts';
import type { Service } from './service.ts';

/** Source: strategy.rollingUpdate of deploy/keda/deployment-pipeline.yaml; maxUnavailable is 0 there. */
const SURGE_SHARE = 0.25;

export interface DeploymentOptions {
  service: Service;
  /** `MDP_…` settings that all pods share. */
  settings: Readonly<Record<string, string>>;
  nodeFlags: readonly string[];
  /** Stands for scheduling and pulling the image: from created until its process begins. */
  startDelayMs: () => number;
  /** Told the pods that are to be scraped, whenever those are others. */
  onTargets: (targets: readonly { name: string; url: string }[]) => void;
  onLog: (pod: string, line: string) => void;
}

interface Member {
  name: string;
  pod: RunningPod | undefined;
  /** Aborted when it is to go. */
  end: AbortController;
  ended: Promise<void>;
}

/** Invariant: `replicas` pods run or are on their way; the others drain and go. */
export class Deployment implements AsyncDisposable {
  readonly #options: DeploymentOptions;
  #members: Member[] = [];
  readonly #ending = new Set<Promise<void>>();
  #made = 0;
  /** Pods that did not end with exit 0, by what they ended with. */
  readonly failures: string[] = [];

  constructor(options: DeploymentOptions) {
    this.#options = options;
    options.service.onReady(() => this.#tellTargets());
  }

  /** Asked for: created and not told to go, ready or not. */
  get replicas(): number {
    return this.#members.length;
  }

  get ready(): number {
    return this.#ready().length;
  }

  /** New ones start at once; of those that go, the ones that are not ready are the first, and then the youngest. */
  scaleTo(replicas: number): void {
    while (this.#members.length < replicas) this.#create();
    const surplus = this.#members
      .toReversed()
      .toSorted((one, other) => Number(this.#isReady(one)) - Number(this.#isReady(other)))
      .slice(0, this.#members.length - replicas);
    for (const member of surplus) void this.#remove(member);
  }

  /** Every pod that is there now by a new one, a quarter of them at a time, and none goes before its successor is ready. */
  async replaceAll(): Promise<void> {
    const old = [...this.#members];
    const replicas = old.length;
    const surge = Math.ceil(replicas * SURGE_SHARE);
    while (old.length > 0) {
      const going = old.splice(0, surge);
      for (let missing = replicas + going.length - this.replicas; missing > 0; missing -= 1) this.#create();
      await this.whenReady(replicas + going.length);
      await Promise.all(going.map((member) => this.#remove(member)));
    }
  }

  /** Resolves when so many are ready. */
  async whenReady(pods: number): Promise<void> {
    while (this.ready < pods) {
      if (this.failures.length > 0) throw new Error(this.failures.join('\n'));
      await sleep(20);
    }
  }

  /** Resolves when those that were told to go have gone. */
  async whenGone(): Promise<void> {
    while (this.#ending.size > 0) await Promise.all(this.#ending);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.scaleTo(0);
    await this.whenGone();
  }

  #ready(): Member[] {
    return this.#members.filter((member) => this.#isReady(member));
  }

  #isReady({ name }: Member): boolean {
    return this.#options.service.isReady(name);
  }

  #create(): void {
    const end = new AbortController();
    const name = `mdp-pipeline-${++this.#made}`;
    const member: Member = { name, pod: undefined, end, ended: Promise.resolve() };
    this.#members.push(member);
    member.ended = this.#live(member).catch((cause: unknown) => void this.failures.push(`${name}: ${String(cause)}`));
  }

  #remove(member: Member): Promise<void> {
    this.#members = this.#members.filter((other) => other !== member);
    this.#tellTargets();
    member.end.abort();
    this.#ending.add(member.ended);
    void member.ended.then(() => this.#ending.delete(member.ended));
    return member.ended;
  }

  /** From created until its process has ended. */
  async #live(member: Member): Promise<void> {
    const { name, end } = member;
    const { service, settings, nodeFlags, startDelayMs, onLog } = this.#options;
    await sleep(startDelayMs(), undefined, { signal: end.signal }).catch(() => {});
    if (end.signal.aborted) return;
    const pod = await startPod({
      settings: { ...settings, MDP_POD_NAME: name, MDP_PORT: '0' },
      nodeFlags,
      onLog: (line) => onLog(name, line),
    });
    member.pod = pod;
    service.add(name, pod.url);
    end.signal.addEventListener('abort', () => void pod.stop(), { once: true });
    if (end.signal.aborted) void pod.stop();
    const code = await pod.exited;
    service.remove(name);
    if (code !== 0) this.failures.push(`${name} ended with ${code}`);
  }

  #tellTargets(): void {
    this.#options.onTargets(this.#ready().map(({ name, pod }) => ({ name, url: pod!.url })));
  }
}
