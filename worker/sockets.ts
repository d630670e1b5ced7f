/**
 * The Durable Object that keeps the WebSockets of one provider, asleep between messages. A message is a batch and goes
 * the way of every other; its answer goes back with a credit. Holds no batch beyond that: what was not answered before
 * an eviction is its sender's, who sends it again.
 */

import { DurableObject } from 'cloudflare:workers';
import { problem, RETRY_AFTER_HEADER } from '../pipeline/contract/answer.ts';
import { BATCH_MAX_TICKS } from '../pipeline/contract/batch.ts';
import { CREDIT_HEADER } from '../pipeline/contract/level.ts';
import { SIGNATURE_TOLERANCE_SECONDS } from '../pipeline/contract/signature.ts';
import { Cluster, type ClusterParts } from './cluster.ts';
import { Intake } from './intake.ts';
import { outboxOf } from './outbox/calls.ts';
import { countTicks } from './outbox/count.ts';
import { overflowOf } from './outbox/overflow.ts';
import { problemResponse } from './response.ts';
import { ScalingReporter } from './scaling/reporter.ts';
import { settingsOf, socketIdleMs } from './settings.ts';
import { answerText, type AnswerFacts, factsOf, MESSAGE_MAX_BYTES, readMessage } from './socket/message.ts';
import { SOCKET_ONCE_HEADER, SOCKET_PROVIDER_HEADER } from './socket/open.ts';
import { CREDIT_DEFAULT_TICKS, creditOf, Session, UNANSWERED_MAX_BATCHES } from './socket/session.ts';
import { Turns } from './socket/turns.ts';
import { BoardClient, StatusReporter } from './status/board-client.ts';

export const SOCKETS_MAX = 1_000;
/** Of all sockets together: an object has 128 MB. */
export const UNANSWERED_MAX_BYTES = 32 * 1024 * 1024;
/** Batches that are on their way to the cluster at once; the others wait in memory. */
export const IN_FLIGHT_MAX = 32;
const RETRY_AFTER_SECONDS = 5;

/** RFC 6455, section 7.4.1. */
const CLOSE_NORMAL = 1000;
const CLOSE_NO_CODE = 1005;
const CLOSE_GOING_AWAY = 1001;
const CLOSE_POLICY = 1008;

/** What survives sleep, with the socket. */
interface Kept {
  provider: string;
  creditTicks: number;
  activeMs: number;
}

/** Invariant: while a socket is open an alarm is set, which looks for idle ones. */
export class SocketsObject extends DurableObject<object> {
  readonly #parts: ClusterParts;
  readonly #intake: Intake;
  readonly #sessions = new Map<WebSocket, Session>();
  readonly #turns = new Turns(IN_FLIGHT_MAX);
  #unansweredBytes = 0;
  /** As a pod last said. */
  #podCreditTicks: number | undefined;

  constructor(ctx: DurableObjectState, env: object, parts: ClusterParts) {
    super(ctx, env);
    this.#parts = parts;
    const status = new StatusReporter(new BoardClient(parts), parts);
    this.#intake = new Intake(parts, new Cluster(parts), { status, scaling: new ScalingReporter(parts) });
    // Answered without waking the object.
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair('ping', 'pong'));
    ctx.storage.sql.exec('CREATE TABLE IF NOT EXISTS used (signed TEXT PRIMARY KEY, until_ms INTEGER NOT NULL)');
  }

  /** A new socket, from this Worker's route alone. */
  override async fetch(request: Request): Promise<Response> {
    const provider = request.headers.get(SOCKET_PROVIDER_HEADER) ?? '';
    const nowMs = this.#parts.nowMs();
    if (this.ctx.getWebSockets().length >= SOCKETS_MAX) {
      const retryAfter = { [RETRY_AFTER_HEADER]: String(RETRY_AFTER_SECONDS) };
      return problemResponse('no-room', `this provider has ${SOCKETS_MAX} sockets already`, retryAfter);
    }
    const once = request.headers.get(SOCKET_ONCE_HEADER);
    if (once !== null && !this.#isFirstUse(once, nowMs)) {
      return problemResponse('unauthenticated', 'this signature has opened a socket already: sign again');
    }
    const { 0: theirs, 1: ours } = new WebSocketPair();
    this.ctx.acceptWebSocket(ours);
    const kept: Kept = { provider, creditTicks: CREDIT_DEFAULT_TICKS, activeMs: nowMs };
    ours.serializeAttachment(kept);
    const limits = { messageMaxBytes: MESSAGE_MAX_BYTES, unansweredMaxBatches: UNANSWERED_MAX_BATCHES };
    ours.send(answerText({ status: 'open', ...limits }, { credit: CREDIT_DEFAULT_TICKS }));
    if ((await this.ctx.storage.getAlarm()) === null) await this.#lookLater();
    return new Response(null, { status: 101, webSocket: theirs });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const kept = socket.deserializeAttachment() as Kept;
    const nowMs = this.#parts.nowMs();
    const session = this.#sessionOf(socket, kept);
    session.activeMs = nowMs;
    const read = readMessage(message);
    if (!read.ok) return this.#fault(socket, session, read.problem, 'messages that are no batches');
    const { batch, body } = read;
    if (this.#unansweredBytes + body.length > UNANSWERED_MAX_BYTES) {
      const full = problem('no-room', 'too many bytes of this provider are unanswered', { batch });
      return this.#send(socket, full, { credit: session.creditTicks, retryAfterSeconds: 1 });
    }
    // One tick too many is for the pod to reject.
    const ticks = countTicks(body, 'ndjson', BATCH_MAX_TICKS) ?? BATCH_MAX_TICKS;
    if (!session.admits(ticks, nowMs)) {
      const { ticks: unanswered, batches } = session.unanswered;
      const detail =
        `${unanswered} ticks in ${batches} batches are unanswered: ${ticks} more are too many for a credit of ` +
        `${session.creditTicks} ticks and ${UNANSWERED_MAX_BATCHES} batches; nothing of this batch was stored`;
      return this.#fault(socket, session, problem('over-credit', detail, { batch }), 'over credit');
    }
    this.#unansweredBytes += body.length;
    let answer: Response;
    try {
      answer = await this.#turns.inTurn(() => this.#take(kept.provider, batch, body, nowMs));
    } finally {
      session.settle(ticks);
      this.#unansweredBytes -= body.length;
    }
    await this.#answer(socket, kept, session, batch, answer);
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    this.#sessions.delete(socket);
    // A close without a code comes as 1005, which cannot be sent.
    end(socket, code === CLOSE_NO_CODE ? CLOSE_NORMAL : code, '');
  }

  override webSocketError(socket: WebSocket): void {
    this.#sessions.delete(socket);
  }

  /** Ends the sockets from which nothing has come for long, and looks again while there are others. */
  override async alarm(): Promise<void> {
    const nowMs = this.#parts.nowMs();
    const idleMs = socketIdleMs(this.env);
    for (const socket of this.ctx.getWebSockets()) {
      const session = this.#sessions.get(socket);
      if (session !== undefined && session.unanswered.batches > 0) continue;
      const { activeMs } = socket.deserializeAttachment() as Kept;
      const pingMs = this.ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0;
      const lastMs = Math.max(session?.activeMs ?? activeMs, activeMs, pingMs);
      if (nowMs - lastMs < idleMs) continue;
      this.#sessions.delete(socket);
      end(socket, CLOSE_GOING_AWAY, `idle for ${Math.round(idleMs / 1000)} s`);
    }
    if (this.ctx.getWebSockets().length > 0) await this.#lookLater();
  }

  #lookLater(): Promise<void> {
    return this.ctx.storage.setAlarm(this.#parts.nowMs() + socketIdleMs(this.env) / 2);
  }

  /** A signature proves once who opens a socket: a copy of it is worth nothing. */
  #isFirstUse(signed: string, nowMs: number): boolean {
    const { sql } = this.ctx.storage;
    sql.exec('DELETE FROM used WHERE until_ms < ?', nowMs);
    // As long as its timestamp may be ahead of us, and as long again as it may be behind.
    const untilMs = nowMs + 2 * SIGNATURE_TOLERANCE_SECONDS * 1000;
    return sql.exec('INSERT OR IGNORE INTO used VALUES (?, ?)', signed, untilMs).rowsWritten > 0;
  }

  #sessionOf(socket: WebSocket, { creditTicks, activeMs }: Kept): Session {
    let session = this.#sessions.get(socket);
    if (session === undefined) this.#sessions.set(socket, (session = new Session(creditTicks, activeMs)));
    return session;
  }

  async #take(provider: string, batch: string, body: Uint8Array<ArrayBuffer>, arrivedMs: number): Promise<Response> {
    const { outcome } = await settingsOf(this.env);
    if (!outcome.ok) return problemResponse('cluster-unreachable', 'the edge is not set up completely', {}, { batch });
    const request = {
      provider,
      batch,
      batchIdMade: false,
      contentType: 'application/x-ndjson',
      contentEncoding: null,
      body,
    };
    const bindings = { outbox: outboxOf(this.env), overflow: overflowOf(this.env) };
    const scope = { env: this.env, waitUntil: (work: Promise<unknown>) => this.ctx.waitUntil(work) };
    try {
      return await this.#intake.take(outcome.settings, { request, arrivedMs }, bindings, scope);
    } catch (error) {
      this.#parts.log({ level: 'error', event: 'internal-error', message: String(error) });
      return problemResponse('internal', 'something went wrong at the edge', {}, { batch });
    }
  }

  async #answer(socket: WebSocket, kept: Kept, session: Session, batch: string, answer: Response): Promise<void> {
    const nowMs = this.#parts.nowMs();
    const podCredit = answer.headers.get(CREDIT_HEADER) ?? '';
    if (/^\d{1,15}$/.test(podCredit)) this.#podCreditTicks = Number(podCredit);
    const active = [...this.#sessions.values()].filter(({ unanswered }) => unanswered.batches > 0).length;
    const credit = creditOf(this.#podCreditTicks, answer.status === 202, active);
    session.tell(credit, nowMs);
    if (credit !== kept.creditTicks || nowMs - kept.activeMs > socketIdleMs(this.env) / 10) {
      keep(socket, { ...kept, creditTicks: credit, activeMs: nowMs });
    }
    const body = (await answer.json()) as object;
    // Not every problem names its batch; here nothing else does.
    this.#send(socket, { batch, ...body }, { credit, ...factsOf(answer.headers) });
  }

  /** Tells a client what it did; ends the socket when it goes on. */
  #fault(socket: WebSocket, session: Session, problem: object, reason: string): void {
    const verdict = session.fault(this.#parts.nowMs());
    this.#send(socket, problem, { credit: session.creditTicks });
    if (verdict === 'tell') return;
    this.#sessions.delete(socket);
    end(socket, CLOSE_POLICY, reason);
  }

  /** A socket that is gone hears nothing: its sender will send again. */
  #send(socket: WebSocket, body: object, facts: AnswerFacts): void {
    try {
      socket.send(answerText(body, facts));
    } catch {
      this.#sessions.delete(socket);
    }
  }
}

function end(socket: WebSocket, code: number, reason: string): void {
  try {
    socket.close(code, reason);
  } catch {
    // it has ended already, or broke off
  }
}

function keep(socket: WebSocket, kept: Kept): void {
  try {
    socket.serializeAttachment(kept);
  } catch {
    // closed meanwhile
  }
}
