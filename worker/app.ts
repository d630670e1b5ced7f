/**
 * The edge's routes: what is asked of it and in which order a push is checked. Every answer is made here; what
 * goes wrong in a healthy system arrives as a value from the files it uses. Holds no ticks between requests.
 */

import { type Context, Hono } from 'hono';
import {
  PROBLEM_CONTENT_TYPE,
  PROBLEM_PATH,
  PROBLEMS,
  problem,
  problemName,
  type ProblemName,
  RETRY_AFTER_HEADER,
} from '../pipeline/contract/answer.ts';
import { BODY_MAX_BYTES } from '../pipeline/contract/batch.ts';
import {
  BATCH_ID_RULE,
  IDEMPOTENCY_KEY_HEADER,
  isBatchId,
  isProvider,
  PROVIDER_RULE,
  randomBatchId,
  unquotedKey,
} from '../pipeline/contract/identity.ts';
import { LEVEL_HEADER, RATE_SCALE, RATE_SCALE_HEADER } from '../pipeline/contract/level.ts';
import { WEBHOOK_ID_HEADER } from '../pipeline/contract/signature.ts';
import { authenticate, NO_CREDENTIALS, presentedCredentials } from './auth.ts';
import { claimsMoreThan, readBounded } from './body.ts';
import { type Fetch, type NoAnswer, relay, RELAY_TIMEOUT_MS, type RelayOutcome } from './relay.ts';
import { type Settings, settingsOf, type SettingsOutcome } from './settings.ts';
import { askForSnapshot, SNAPSHOT_INTERVAL_MS, SNAPSHOT_TIMEOUT_MS } from './status/snapshot.ts';
import { ClusterView, EDGE_SERVICE } from './status/view.ts';

/** 1 MiB in this time is 280 kbit/s; a slower sender should send smaller batches. */
export const BODY_READ_TIMEOUT_MS = 30_000;
/** When to come back after the cluster did not answer: a pod restarts in about this time. */
export const CLUSTER_RETRY_AFTER_SECONDS = 5;
/** When to come back after a refusal that only an operator can end. */
export const SETTINGS_RETRY_AFTER_SECONDS = 60;
/** A cluster that is away is logged once in this time for each kind of failure, however many batches find out. */
export const FAILURE_LOG_INTERVAL_MS = 10_000;

export interface LogLine {
  level: 'info' | 'warn' | 'error';
  event: string;
  [fact: string]: unknown;
}

/** The world outside the routes. */
export interface AppParts {
  fetch: Fetch;
  nowMs: () => number;
  random: () => number;
  wait: (ms: number) => Promise<void>;
  log: (line: LogLine) => void;
  /** Tests shorten these. */
  relayTimeoutMs?: number;
  bodyReadTimeoutMs?: number;
  snapshotTimeoutMs?: number;
}

type FailureKind = NoAnswer['why'] | 'no_status';
/** These do not heal by themselves: a wrong secret, or a wrong address. */
const NEEDS_OPERATOR: ReadonlySet<FailureKind> = new Set(['refused_edge', 'not_a_pod']);

type EdgeContext = Context<{ Bindings: object }>;
export type EdgeApp = Hono<{ Bindings: object }>;

/** Makes the routes; what they know of the cluster lives as long as the app, that is, as the isolate. */
export function createApp(parts: AppParts): EdgeApp {
  const app: EdgeApp = new Hono();
  const edge = new Edge(parts);
  const route = (method: 'GET' | 'POST', path: string, handler: (c: EdgeContext) => Promise<Response> | Response) => {
    app.on(method, path, handler);
    const allow = method === 'GET' ? 'GET, HEAD' : method;
    app.all(path, (c) => {
      return problemResponse('method-not-allowed', `${c.req.method} is not allowed here`, { allow });
    });
  };
  route('POST', '/v1/ticks/:provider', (c) => edge.push(c));
  route('GET', '/health', (c) => edge.health(c));
  route('GET', '/status', (c) => edge.status(c));
  route('GET', `${PROBLEM_PATH}:name`, (c) => explainProblem(c.req.param('name') ?? ''));
  app.notFound(() => problemResponse('not-found', 'there is nothing under this path'));
  app.onError((error) => edge.broken(error));
  return app;
}

/** One isolate's edge. Knows the cluster only by what it last saw of it. */
class Edge {
  readonly #parts: AppParts;
  readonly #view = new ClusterView();
  #snapshotAskedMs = Number.NEGATIVE_INFINITY;
  /** When each kind of failure was last logged; the kinds are few and fixed. */
  readonly #failuresLoggedMs = new Map<FailureKind, number>();
  /** The log's last word on the cluster is that it is lost. */
  #lossLogged = false;

  constructor(parts: AppParts) {
    this.#parts = parts;
  }

  /** `POST /v1/ticks/{provider}`. */
  async push(c: EdgeContext): Promise<Response> {
    const parts = this.#parts;
    const outcome = await this.#settings(c);
    if (!outcome.ok) {
      const detail = 'the edge is not set up completely, its operator has to act; nothing was stored';
      return this.#refusal('cluster-unreachable', detail, {
        [RETRY_AFTER_HEADER]: String(SETTINGS_RETRY_AFTER_SECONDS),
      });
    }
    const { settings } = outcome;
    const provider = c.req.param('provider') ?? '';
    const { headers, body: stream } = c.req.raw;
    if (!isProvider(provider)) return this.#refusal('bad-request', `the provider's name must be ${PROVIDER_RULE}`);
    const credentials = presentedCredentials(headers);
    if (credentials === undefined) return this.#unauthenticated(NO_CREDENTIALS);
    const contentLength = headers.get('content-length');
    if (claimsMoreThan(BODY_MAX_BYTES, contentLength)) return this.#tooLarge();
    const maxWaitMs = parts.bodyReadTimeoutMs ?? BODY_READ_TIMEOUT_MS;
    const read = await readBounded(stream, { maxBytes: BODY_MAX_BYTES, maxWaitMs, contentLength });
    if (!read.ok) {
      if (read.why === 'too_large') return this.#tooLarge();
      if (read.why === 'timeout') return this.#refusal('request-timeout', 'nothing of this batch was stored');
      return this.#refusal('unreadable', 'the body was cut off');
    }
    const who = await authenticate(settings, provider, credentials, read.bytes, parts.nowMs());
    if (!who.ok) {
      return who.problem === 'forbidden' ? this.#refusal('forbidden', who.detail) : this.#unauthenticated(who.detail);
    }
    const sentId = sentBatchId(headers);
    if (sentId !== undefined && !isBatchId(sentId)) {
      return this.#refusal('bad-request', `the batch id (webhook-id or idempotency-key) must be ${BATCH_ID_RULE}`);
    }
    const batch = sentId ?? randomBatchId();
    const relayed = await relay({ ...parts, relayTimeoutMs: parts.relayTimeoutMs ?? RELAY_TIMEOUT_MS }, settings, {
      provider,
      batch,
      batchIdMade: sentId === undefined,
      contentType: headers.get('content-type'),
      contentEncoding: headers.get('content-encoding'),
      body: read.bytes,
    });
    return this.#answer(relayed, batch);
  }

  /** `GET /health`: whether this Worker can do its work, whatever the cluster does. */
  async health(c: EdgeContext): Promise<Response> {
    const outcome = await this.#settings(c);
    if (outcome.ok) return jsonResponse(200, { status: 'healthy', service: EDGE_SERVICE });
    const problems = [...new Set(outcome.problems.map(({ setting }) => setting))];
    return jsonResponse(503, { status: 'misconfigured', service: EDGE_SERVICE, problems });
  }

  /** `GET /status`: always 200; what is known of the cluster, and since when. */
  async status(c: EdgeContext): Promise<Response> {
    const outcome = await this.#settings(c);
    if (outcome.ok) await this.#refresh(outcome.settings);
    return jsonResponse(200, this.#view.report(this.#parts.nowMs()), this.#levelHeaders());
  }

  /** A bug: its message is for the log alone. */
  broken(error: Error): Response {
    this.#parts.log({ level: 'error', event: 'internal-error', name: error.name, message: error.message });
    return problemResponse('internal', 'something went wrong at the edge', this.#levelHeaders());
  }

  async #settings(c: EdgeContext): Promise<SettingsOutcome> {
    const { outcome, first } = await settingsOf(c.env);
    if (first && !outcome.ok) {
      for (const { setting, detail } of outcome.problems) {
        this.#parts.log({ level: 'error', event: 'setting-wrong', setting, detail });
      }
    }
    return outcome;
  }

  #answer(relayed: RelayOutcome, batch: string): Response {
    if (!relayed.ok) {
      this.#noteFailure(relayed.why, relayed.detail, relayed.cause);
      const body = problem('cluster-unreachable', relayed.detail, { batch });
      const retryAfter = { [RETRY_AFTER_HEADER]: String(CLUSTER_RETRY_AFTER_SECONDS) };
      return jsonResponse(body.status, body, {
        ...this.#levelHeaders(),
        ...retryAfter,
        'content-type': PROBLEM_CONTENT_TYPE,
      });
    }
    const { status, headers, body, level } = relayed.answer;
    this.#view.noteAnswer({ atMs: this.#parts.nowMs(), status, level });
    this.#noteBack();
    // A pod always says its level; an answer made before the pod's routes has only the last one known.
    const levelHeaders = level === undefined ? this.#levelHeaders() : {};
    return new Response(body, { status, headers: { ...headers, ...levelHeaders } });
  }

  #noteFailure(why: FailureKind, detail: string, cause: string | undefined): void {
    const atMs = this.#parts.nowMs();
    this.#view.noteFailure({ atMs, why: detail });
    if (atMs - (this.#failuresLoggedMs.get(why) ?? Number.NEGATIVE_INFINITY) < FAILURE_LOG_INTERVAL_MS) return;
    this.#failuresLoggedMs.set(why, atMs);
    this.#lossLogged = true;
    const event = why === 'refused_edge' ? 'cluster-refused-edge' : 'cluster-lost';
    this.#parts.log({ level: NEEDS_OPERATOR.has(why) ? 'error' : 'warn', event, why, detail, cause });
  }

  #noteBack(): void {
    if (!this.#lossLogged) return;
    this.#lossLogged = false;
    this.#parts.log({ level: 'info', event: 'cluster-back' });
  }

  /** Asks a pod for its status unless this isolate has just done so; the others are told what is known meanwhile. */
  async #refresh(settings: Settings): Promise<void> {
    const { fetch, nowMs, snapshotTimeoutMs } = this.#parts;
    if (nowMs() - this.#snapshotAskedMs < SNAPSHOT_INTERVAL_MS) return;
    this.#snapshotAskedMs = nowMs();
    const outcome = await askForSnapshot(fetch, settings.clusterUrl, snapshotTimeoutMs ?? SNAPSHOT_TIMEOUT_MS);
    if (!outcome.ok) return this.#noteFailure('no_status', outcome.why, outcome.cause);
    this.#view.noteSnapshot({ atMs: nowMs(), level: outcome.level, json: outcome.json });
    this.#noteBack();
  }

  #unauthenticated(detail: string): Response {
    return this.#refusal('unauthenticated', detail, { 'www-authenticate': 'Bearer' });
  }

  #tooLarge(): Response {
    return this.#refusal('too-large', `the body is longer than ${BODY_MAX_BYTES} bytes`);
  }

  /** A problem about ticks, found by the edge itself. */
  #refusal(name: ProblemName, detail: string, headers: Record<string, string> = {}): Response {
    return problemResponse(name, detail, { ...this.#levelHeaders(), ...headers });
  }

  #levelHeaders(): Record<string, string> {
    const level = this.#view.level();
    return { [LEVEL_HEADER]: level, [RATE_SCALE_HEADER]: String(RATE_SCALE[level]) };
  }
}

/** The batch id as sent, or `undefined`. */
export function sentBatchId(headers: Headers): string | undefined {
  const id = headers.get(WEBHOOK_ID_HEADER);
  if (id !== null) return id;
  const key = headers.get(IDEMPOTENCY_KEY_HEADER);
  return key === null ? undefined : unquotedKey(key);
}

/** `GET /problems/{name}`: what a problem's `type` leads to. */
function explainProblem(given: string): Response {
  const name = problemName(given);
  if (name === undefined || name !== given) return problemResponse('not-found', 'there is no problem of this name');
  const { title, status, todo } = PROBLEMS[name];
  return new Response(`${title}\n\nStatus: ${status}\n\n${todo}\n`, {
    headers: { 'content-type': 'text/plain; charset=utf-8' },
  });
}

function problemResponse(name: ProblemName, detail: string, headers: Record<string, string> = {}): Response {
  const body = problem(name, detail);
  return jsonResponse(body.status, body, { ...headers, 'content-type': PROBLEM_CONTENT_TYPE });
}

function jsonResponse(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers },
  });
}
