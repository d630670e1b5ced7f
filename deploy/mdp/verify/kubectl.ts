/** Questions to a Kubernetes cluster, through the operator's own kubectl: its contexts, rights and plugins are used. */

import { execFile } from 'node:child_process';
import { isObject, jsonObject } from '../ask.ts';

export const KUBECTL_TIMEOUT_MS = 20_000;
const OUTPUT_MAX_BYTES = 32 * 1024 * 1024;

export type KubeAnswer<Value> =
  | { ok: true; value: Value }
  /** `missing`: there is no such object; `why` is kubectl's own word. */
  | { ok: false; missing: boolean; why: string };

type Environment = Readonly<Record<string, string | undefined>>;

/** What the API server gives; members are looked at where they are used. */
export type KubeObject = Record<string, unknown>;

/** Invariant: the same question is asked once, and has one answer, however many checks ask it. */
export class Kubectl {
  readonly #asked = new Map<string, Promise<KubeAnswer<string>>>();
  readonly #flags: readonly string[];

  readonly #env: Environment;

  /** `env` is where kubectl finds itself and its configuration. */
  constructor({ context, namespace, env }: { context: string | undefined; namespace: string; env: Environment }) {
    this.#env = env;
    this.#flags = [...(context === undefined ? [] : ['--context', context]), '--namespace', namespace];
  }

  /** `what` is a resource and a name, or a resource and flags: the answer is then a list. */
  async get(...what: string[]): Promise<KubeAnswer<KubeObject>> {
    const answer = await this.run('get', ...what, '-o', 'json');
    if (!answer.ok) return answer;
    const value = jsonObject(answer.value);
    return value === undefined ? { ok: false, missing: false, why: 'kubectl printed no JSON' } : { ok: true, value };
  }

  run(...args: string[]): Promise<KubeAnswer<string>> {
    const question = args.join(' ');
    const asking = this.#asked.get(question) ?? this.#run(args);
    this.#asked.set(question, asking);
    return asking;
  }

  #run(args: readonly string[]): Promise<KubeAnswer<string>> {
    const options = { env: this.#env, timeout: KUBECTL_TIMEOUT_MS, maxBuffer: OUTPUT_MAX_BYTES };
    return new Promise((resolve) => {
      execFile('kubectl', [...this.#flags, ...args], options, (error, stdout, stderr) => {
        if (error === null) return resolve({ ok: true, value: stdout });
        if (error.code === 'ENOENT')
          return resolve({ ok: false, missing: false, why: 'there is no kubectl on the PATH' });
        if (error.killed === true) {
          return resolve({
            ok: false,
            missing: false,
            why: `kubectl gave no answer within ${KUBECTL_TIMEOUT_MS / 1000} s`,
          });
        }
        const why = stderr.trim().split('\n').at(-1) ?? error.message;
        resolve({ ok: false, missing: /\(NotFound\)|doesn't have a resource type/.test(stderr), why });
      });
    });
  }
}

/** The member at a path; undefined where the way there ends. */
export function at(value: unknown, ...path: (string | number)[]): unknown {
  let here = value;
  for (const step of path) {
    if (Array.isArray(here) && typeof step === 'number') here = here[step];
    else if (isObject(here) && typeof step === 'string') here = here[step];
    else return undefined;
  }
  return here;
}

export function objectsAt(value: unknown, ...path: (string | number)[]): KubeObject[] {
  const found = at(value, ...path);
  return Array.isArray(found) ? found.filter(isObject) : [];
}
