/**
 * The edge's routes: what is asked of it and in which order a request is checked. What goes wrong in a healthy
 * system arrives as a value from the files it uses. Holds no ticks between requests: that is the outbox's, which a
 * batch reaches only when the cluster did not take it.
 */

import { type Context, Hono } from 'hono';
import {
  PROBLEM_PATH,
  problemName,
  type ProblemName,
  PROBLEMS,
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
import { WEBHOOK_ID_HEADER } from '../pipeline/contract/signature.ts';
import { authenticate, type AuthOutcome, NO_CREDENTIALS, presentedCredentials } from './auth.ts';
import { claimsMoreThan, readBounded, readOff } from './body.ts';
import { Cluster, type ClusterParts } from './cluster.ts';
import { addressOf, FloodGuard } from './limit/flood.ts';
import { outboxOf } from './outbox/calls.ts';
import { overflowOf } from './outbox/overflow.ts';
import { listDeadLetters, readDeadBody, readReceipt, type ReadParts } from './outbox/read.ts';
import { Intake, type Reporters } from './intake.ts';
import { answerOtherwise } from './otherwise.ts';
import { endingAfter, jsonResponse, problemResponse } from './response.ts';
import { ScalingReporter } from './scaling/reporter.ts';
import { readMetrics, readScaling } from './scaling/routes.ts';
import { type Settings, settingsOf, type SettingsOutcome } from './settings.ts';
import { openSocket } from './socket/open.ts';
import { BoardClient, StatusReporter } from './status/board-client.ts';
import { mountStatus, scopeOf } from './status/routes.ts';
import { EDGE_SERVICE } from './status/view.ts';

export { CLUSTER_RETRY_AFTER_SECONDS } from './cluster.ts';

/** 1 MiB in this time is 280 kbit/s; a slower sender should send smaller batches. */
export const BODY_READ_TIMEOUT_MS = 30_000;
/** Of a header that goes on to the pod, or into the outbox. */
export const PASSED_MAX_CHARS = 256;
const HEADERS_TOO_LONG = `content-type and content-encoding have at most ${PASSED_MAX_CHARS} characters`;
/** When to come back after a refusal that only an operator can end. */
export const SETTINGS_RETRY_AFTER_SECONDS = 60;

/** The world outside the routes. */
export interface AppParts extends ClusterParts {
  /** Tests shorten these. */
  bodyReadTimeoutMs?: number;
  offerTimeoutMs?: number;
  askTimeoutMs?: number;
}

type EdgeContext = Context<{ Bindings: object }>;
export type EdgeApp = Hono<{ Bindings: object }>;

/** Makes the routes; what they know of the cluster lives as long as the app, that is, as the isolate. */
export function createApp(parts: AppParts): EdgeApp {
  const app: EdgeApp = new Hono();
  const board = new BoardClient(parts);
  const edge = new Edge(parts, { status: new StatusReporter(board, parts), scaling: new ScalingReporter(parts) });
  app.post('/v1/ticks/:provider', (c) => edge.push(c));
  app.get('/v1/ticks/:provider/ws', (c) => edge.read(c, (_, provider) => openSocket(c.req.raw, c.env, provider)));
  app.get('/v1/receipts/:provider/:batch', (c) =>
    edge.read(c, (reading, provider, settings) => readReceipt(reading, settings, provider, c.req.param('batch') ?? '')),
  );
  app.get('/v1/dead-letters/:provider', (c) =>
    edge.read(c, (reading, provider) => listDeadLetters(reading, provider, new URL(c.req.url).searchParams)),
  );
  app.get('/v1/dead-letters/:provider/:batch', (c) =>
    edge.read(c, (reading, provider) => readDeadBody(reading, provider, c.req.param('batch') ?? '')),
  );
  app.get('/v1/scaling', (c) => edge.ifSetUp(c, (settings) => readScaling(c, settings)));
  app.get('/metrics', (c) => edge.ifSetUp(c, (settings) => readMetrics(c, settings)));
  app.get('/health', (c) => edge.health(c));
  mountStatus(app, { board, nowMs: parts.nowMs, edgeStatus: (c) => edge.status(c) });
  app.get(`${PROBLEM_PATH}:name`, (c) => explainProblem(c.req.param('name') ?? ''));
  answerOtherwise(app);
  app.onError((error) => edge.broken(error));
  return app;
}

/** One isolate's edge. */
class Edge {
  readonly #parts: AppParts;
  readonly #cluster: Cluster;
  readonly #intake: Intake;
  readonly #flood = new FloodGuard();

  constructor(parts: AppParts, reporters: Reporters) {
    this.#parts = parts;
    this.#cluster = new Cluster(parts);
    this.#intake = new Intake(parts, this.#cluster, reporters);
  }

  /** `POST /v1/ticks/{provider}`. */
  async push(c: EdgeContext): Promise<Response> {
    const parts = this.#parts;
    const flooding = this.#flooding(c);
    if (flooding !== undefined) return flooding;
    const outcome = await this.#settings(c);
    if (!outcome.ok) return this.#notSetUp();
    const provider = c.req.param('provider') ?? '';
    const { headers } = c.req.raw;
    if (!isProvider(provider)) return this.#refusal('bad-request', `the provider's name must be ${PROVIDER_RULE}`);
    const credentials = presentedCredentials(headers);
    if (credentials === undefined) return this.#unauthenticated(c, NO_CREDENTIALS);
    const contentType = headers.get('content-type');
    const contentEncoding = headers.get('content-encoding');
    if (isTooLong(contentType) || isTooLong(contentEncoding)) {
      return this.#refusal('unsupported-type', HEADERS_TOO_LONG);
    }
    const contentLength = headers.get('content-length');
    if (claimsMoreThan(BODY_MAX_BYTES, contentLength)) return this.#tooLarge(c.req.raw);
    const maxWaitMs = parts.bodyReadTimeoutMs ?? BODY_READ_TIMEOUT_MS;
    const bounds = { maxBytes: BODY_MAX_BYTES, maxWaitMs, contentLength, hasHeadRoom: true, leavesRest: true };
    const read = await readBounded(c.req.raw, bounds);
    if (!read.ok) {
      if (read.why === 'too_large') return this.#tooLarge(c.req.raw);
      if (read.why === 'timeout') return this.#refusal('request-timeout', 'nothing of this batch was stored');
      return this.#refusal('unreadable', 'the body was cut off');
    }
    const arrivedMs = parts.nowMs();
    const who = await authenticate(outcome.settings, provider, credentials, read.bytes, arrivedMs);
    if (!who.ok) return this.#notAuthenticated(c, who);
    const sentId = sentBatchId(headers);
    if (sentId !== undefined && !isBatchId(sentId)) {
      return this.#refusal('bad-request', `the batch id (webhook-id or idempotency-key) must be ${BATCH_ID_RULE}`);
    }
    const request = {
      provider,
      batch: sentId ?? randomBatchId(),
      batchIdMade: sentId === undefined,
      contentType,
      contentEncoding,
      body: read.bytes,
    };
    const bindings = { outbox: outboxOf(c.env), overflow: overflowOf(c.env) };
    return this.#intake.take(outcome.settings, { request, arrivedMs }, bindings, scopeOf(c));
  }

  /** What a provider may look up: `look` is asked once it is clear who asks. */
  async read(
    c: EdgeContext,
    look: (parts: ReadParts, provider: string, settings: Settings) => Promise<Response>,
  ): Promise<Response> {
    const flooding = this.#flooding(c);
    if (flooding !== undefined) return flooding;
    const outcome = await this.#settings(c);
    if (!outcome.ok) return this.#notSetUp();
    const provider = c.req.param('provider') ?? '';
    if (!isProvider(provider)) return this.#refusal('bad-request', `the provider's name must be ${PROVIDER_RULE}`);
    const credentials = presentedCredentials(c.req.raw.headers);
    if (credentials === undefined) return this.#unauthenticated(c, NO_CREDENTIALS);
    const noBody = new Uint8Array(0);
    const who = await authenticate(outcome.settings, provider, credentials, noBody, this.#parts.nowMs());
    if (!who.ok) return this.#notAuthenticated(c, who);
    return look({ ...this.#parts, outbox: outboxOf(c.env) }, provider, outcome.settings);
  }

  /** Routes for operators, who prove themselves there. */
  async ifSetUp(c: EdgeContext, answer: (settings: Settings) => Promise<Response>): Promise<Response> {
    const flooding = this.#flooding(c);
    if (flooding !== undefined) return flooding;
    const outcome = await this.#settings(c);
    if (!outcome.ok) return this.#notSetUp();
    const answered = await answer(outcome.settings);
    if (answered.status === 401) this.#noteFailed(c);
    return answered;
  }

  /** `GET /health`: whether this Worker can do its work, whatever the cluster does. */
  async health(c: EdgeContext): Promise<Response> {
    const outcome = await this.#settings(c);
    if (outcome.ok) return jsonResponse(200, { status: 'healthy', service: EDGE_SERVICE });
    const problems = [...new Set(outcome.problems.map(({ setting }) => setting))];
    return jsonResponse(503, { status: 'misconfigured', service: EDGE_SERVICE, problems });
  }

  /** Of `GET /status`: what this isolate knows of the cluster, and since when. */
  async status(c: EdgeContext): Promise<{ body: object; headers: Record<string, string> }> {
    const outcome = await this.#settings(c);
    if (outcome.ok) await this.#cluster.refresh(outcome.settings);
    return { body: this.#cluster.report(), headers: this.#cluster.levelHeaders() };
  }

  /** A bug: its message is for the log alone. */
  broken(error: Error): Response {
    this.#parts.log({ level: 'error', event: 'internal-error', name: error.name, message: error.message });
    return this.#refusal('internal', 'something went wrong at the edge');
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

  #notSetUp(): Response {
    const detail = 'the edge is not set up completely, its operator has to act; nothing was stored';
    return this.#refusal('cluster-unreachable', detail, { [RETRY_AFTER_HEADER]: String(SETTINGS_RETRY_AFTER_SECONDS) });
  }

  /** The answer to an address that sends too much, or `undefined`. */
  #flooding(c: EdgeContext): Response | undefined {
    const address = addressOf(c.req.raw.headers);
    if (address === undefined) return undefined;
    const admitted = this.#flood.admit(address, this.#parts.nowMs());
    if (admitted.ok) return undefined;
    const detail = 'this address sends more requests than anybody may; nothing was read';
    return this.#refusal('too-many-requests', detail, { [RETRY_AFTER_HEADER]: String(admitted.retryAfterSeconds) });
  }

  #noteFailed(c: EdgeContext): void {
    const address = addressOf(c.req.raw.headers);
    if (address !== undefined) this.#flood.failed(address, this.#parts.nowMs());
  }

  #notAuthenticated(c: EdgeContext, { problem, detail }: Extract<AuthOutcome, { ok: false }>): Response {
    return problem === 'forbidden' ? this.#refusal('forbidden', detail) : this.#unauthenticated(c, detail);
  }

  #unauthenticated(c: EdgeContext, detail: string): Response {
    this.#noteFailed(c);
    return this.#refusal('unauthenticated', detail, { 'www-authenticate': 'Bearer' });
  }

  /** The answer goes out at once, and is over when the rest of the body has been read off. */
  #tooLarge({ body, headers }: Request): Response {
    const refusal = this.#refusal('too-large', `the body is longer than ${BODY_MAX_BYTES} bytes`);
    return endingAfter(refusal, readOff(body, headers.get('content-length')));
  }

  /** A problem found by the edge itself. */
  #refusal(name: ProblemName, detail: string, headers: Record<string, string> = {}): Response {
    return problemResponse(name, detail, { ...this.#cluster.levelHeaders(), ...headers });
  }
}

/** What is passed on is passed on as it came. */
function isTooLong(header: string | null): boolean {
  return header !== null && header.length > PASSED_MAX_CHARS;
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
  if (name !== given) return problemResponse('not-found', 'there is no problem of this name');
  const { title, status, todo } = PROBLEMS[name];
  return new Response(`${title}\n\nStatus: ${status}\n\n${todo}\n`, {
    headers: { 'content-type': 'text/plain; charset=utf-8' },
  });
}
