/**
 * One pod process on a database of its own, under load and under watch: puts it through a fault and says what came of
 * it, by the sender's ledger, by SQL, and by what the pod showed all the while. It does not know what the fault is.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { type RunningPod, startPod } from '../../deploy/local/pod.ts';
import type { PostgresServer, Row } from '../../deploy/local/postgres.ts';
import { LoadLedger, sum } from './load-ledger.ts';
import { until } from './postgres-stores.ts';
import { ROWS_BY_BATCH } from './serial-ticks.ts';
import { isRunning } from './user-process.ts';

const PROVIDERS = ['ibkr', 'acme'];
/** Before a fault and after its end. */
const STEADY_BATCHES = 20;
/** Attempts refused by which a fault has been felt. */
const FELT_REFUSALS = 60;
const FELT_TIMEOUT_MS = 30_000;
/** From the end of a fault: the waits of circuit, store and sender, and a machine that others use. */
const RECOVERY_MAX_MS = 20_000;
/** A sender may be told to stay away for a minute. */
const SETTLED_TIMEOUT_MS = 75_000;
const LOOK_INTERVAL_MS = 100;
const LOOK_TIMEOUT_MS = 5_000;
/** Whose rights can be revoked: a superuser has them all, always. */
const ROLE = 'pusher';
const PASSWORD = 'loopback-only';

/** What may be said of a pod after any fault whatever; all that could go wrong is in it. */
export const SOUND = {
  /** Ticks. */
  lost: 0,
  twice: 0,
  neverOffered: 0,
  /** Acknowledged ticks without those that the ledger in the store, and the pod itself, counted. */
  missingInLedger: 0,
  missingInBooks: 0,
  /** Never stored, although offered again and again. */
  givenUp: [] as string[],
  contradictions: [] as string[],
  /** Attempts that were neither stored nor refused with a `Retry-After`. */
  inexplicit: {} as Record<string, number>,
  lateAnswers: 0,
  deadLetters: 0,
  inFlight: 0,
  /** What `/status` and `/ready` should never have shown. */
  complaints: [] as string[],
  errorsLogged: [] as string[],
  sameProcess: true,
};

interface Look {
  atMs: number;
  ready: boolean;
  level: string;
  circuit: string;
  uptimeSeconds: number;
}

interface Status {
  level: string;
  uptimeSeconds: number;
  store: { circuit: string };
  providers: Record<
    string,
    { stored: number; duplicate: number; inFlight: number; residue: number; deadLetters: number }
  >;
}

/** To be called once for each server, before the first {@link PodUnderLoad}. */
export async function createRole(server: PostgresServer): Promise<void> {
  await server.query('postgres', `CREATE ROLE ${ROLE} LOGIN PASSWORD '${PASSWORD}'`);
}

/** Invariant: the same process from `start` to disposal. */
export class PodUnderLoad implements AsyncDisposable {
  readonly server: PostgresServer;
  readonly database: string;
  readonly load: LoadLedger;
  /** In the last fault and after it, ticks that were offered again although the store had them. */
  ticksKnownAgain = 0;
  readonly #pod: RunningPod;
  readonly #log: string[];
  readonly #complaints: string[] = [];
  readonly #looking: Promise<void>;
  #last: Look | undefined;
  #over = false;

  private constructor(
    server: PostgresServer,
    database: string,
    pod: RunningPod,
    log: string[],
    batchesPerSecond: number,
  ) {
    this.server = server;
    this.database = database;
    this.#pod = pod;
    this.#log = log;
    this.load = new LoadLedger(pod.url, PROVIDERS, batchesPerSecond);
    this.#looking = this.#look();
  }

  /** `options` end the CREATE DATABASE. */
  static async start(server: PostgresServer, batchesPerSecond: number, options = ''): Promise<PodUnderLoad> {
    const database = await server.createDatabase(`OWNER ${ROLE} ${options}`);
    const log: string[] = [];
    const pod = await startPod({
      settings: {
        MDP_PORT: '0',
        MDP_DEV: '1',
        MDP_STORE: server.url(database, ROLE, PASSWORD),
        MDP_POD_NAME: database,
        MDP_PROVIDERS: JSON.stringify(Object.fromEntries(PROVIDERS.map((name) => [name, {}]))),
      },
      onLog: (line) => log.push(line),
    });
    return new PodUnderLoad(server, database, pod, log, batchesPerSecond);
  }

  /**
   * Under load has `fault` happen, which ends when the fault is over, and waits until all that was offered meanwhile
   * is stored. Prints one line of figures, with what `fault` said at its end. To be held against {@link SOUND}.
   */
  async goesThrough(what: string, fault: () => Promise<string | void>): Promise<typeof SOUND> {
    const { load } = this;
    const knownBefore = await this.#ticksKnown();
    const { said, recoverySeconds } = await this.#underLoad(fault);
    await load.settled(SETTLED_TIMEOUT_MS);
    const findings = await this.#findings();
    this.ticksKnownAgain = (await this.#ticksKnown()) - knownBefore;
    const { account } = load;
    const refused = sum(account.refused);
    const others = sum(account.inexplicit);
    const explicit = refused + others === 0 ? '' : ` (${((100 * refused) / (refused + others)).toFixed(2)} % explicit)`;
    const figures = [
      `${account.acknowledged} batches acknowledged, ${load.acknowledgedTicks} ticks in all`,
      `${findings.lost} lost, ${findings.twice} twice, ${this.ticksKnownAgain} known again`,
      `${refused + others} attempts refused${explicit}, told to wait up to ${account.longestRetryAfterSeconds} s`,
      `slowest answer ${account.slowestAnswerMs} ms`,
      `recovery ${recoverySeconds.toFixed(1)} s`,
      ...(said === undefined ? [] : [said]),
    ];
    console.log(`${what}: ${figures.join('; ')}`);
    return findings;
  }

  /** Ends when the fault has been felt: senders are refused, and the pod says that it is not ready. */
  async felt(): Promise<void> {
    const { account } = this.load;
    const before = sum(account.refused);
    await until('senders are refused', () => sum(account.refused) >= before + FELT_REFUSALS, FELT_TIMEOUT_MS);
    await until('the pod is not ready', () => this.#last?.ready === false, FELT_TIMEOUT_MS);
  }

  /** As superuser, in the pod's database. */
  query(text: string, values: unknown[] = []): Promise<Row[]> {
    return this.server.query(this.database, text, values);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.load.end();
    this.#over = true;
    await this.#looking;
    await this.#pod.stop();
  }

  async #underLoad(fault: () => Promise<string | void>): Promise<{ said: string | void; recoverySeconds: number }> {
    const { load } = this;
    load.begin();
    try {
      const { account } = load;
      await until('the load is steady', () => account.acknowledged >= STEADY_BATCHES);
      const said = await fault();
      const recoverySeconds = await this.#recovery(Date.now());
      const steadyFrom = account.acknowledged + STEADY_BATCHES;
      await until('the load is steady again', () => account.acknowledged >= steadyFrom, RECOVERY_MAX_MS);
      return { said, recoverySeconds };
    } finally {
      load.end();
    }
  }

  /** Seconds until the pod was ready at level ok, and had stored something offered after the fault. */
  async #recovery(overMs: number): Promise<number> {
    const isWell = (look: Look | undefined): boolean =>
      look !== undefined &&
      look.atMs > overMs &&
      look.ready &&
      look.level === 'ok' &&
      look.circuit === 'closed' &&
      this.load.acknowledgedBegunMs > overMs;
    await until('the pod is well again', () => isWell(this.#last), RECOVERY_MAX_MS);
    return (Date.now() - overMs) / 1000;
  }

  async #findings(): Promise<typeof SOUND> {
    const { load } = this;
    const { account, acknowledgedTicks } = load;
    const held = load.compare(await this.query(ROWS_BY_BATCH));
    const [ledger] = await this.query('SELECT coalesce(sum(stored), 0)::int4 AS ticks FROM batches');
    const [letters] = await this.query('SELECT count(*)::int4 AS letters FROM dead_letters');
    const books = Object.values((await this.#status()).providers);
    return {
      ...held,
      missingInLedger: acknowledgedTicks - Number(ledger!['ticks']),
      missingInBooks: acknowledgedTicks - books.reduce((ticks, one) => ticks + one.stored + one.duplicate, 0),
      givenUp: load.givenUp,
      contradictions: account.contradictions,
      inexplicit: Object.fromEntries(account.inexplicit),
      lateAnswers: account.lateAnswers,
      deadLetters: Number(letters!['letters']),
      inFlight: books.reduce((ticks, { inFlight }) => ticks + inFlight, 0),
      complaints: this.#complaints,
      errorsLogged: this.#log.filter((line) => /"level":"error"|"ticks_unstorable"/.test(line)),
      sameProcess: isRunning(this.#pod.pid),
    };
  }

  async #ticksKnown(): Promise<number> {
    const books = Object.values((await this.#status()).providers);
    return books.reduce((ticks, { duplicate }) => ticks + duplicate, 0);
  }

  async #look(): Promise<void> {
    while (!this.#over) {
      try {
        const atMs = Date.now();
        const { level, uptimeSeconds, store, providers } = await this.#status();
        const ready = (await this.#get('/ready')).status === 200;
        for (const [provider, { residue, deadLetters }] of Object.entries(providers)) {
          if (residue !== 0) this.#complaints.push(`residue ${residue} of ${provider}`);
          if (deadLetters !== 0) this.#complaints.push(`${deadLetters} dead letters of ${provider}`);
        }
        if (uptimeSeconds < (this.#last?.uptimeSeconds ?? 0)) this.#complaints.push('a younger process');
        this.#last = { atMs, ready, level, circuit: store.circuit, uptimeSeconds };
      } catch (cause) {
        this.#complaints.push(`no answer to a look: ${String(cause)}`);
      }
      await sleep(LOOK_INTERVAL_MS);
    }
  }

  async #status(): Promise<Status> {
    return JSON.parse((await this.#get('/status')).text) as Status;
  }

  async #get(path: string): Promise<{ status: number; text: string }> {
    const response = await fetch(`${this.#pod.url}${path}`, { signal: AbortSignal.timeout(LOOK_TIMEOUT_MS) });
    return { status: response.status, text: await response.text() };
  }
}
