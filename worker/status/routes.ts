/**
 * The public routes of the status: page, JSON, feed, badges. Reads the board's record, lets the model judge it at
 * that moment, and says for how few seconds an answer may be kept. Takes no input but a path.
 */

import type { Context, Env, Hono } from 'hono';
import type { RequestScope } from '../paced.ts';
import { problemResponse } from '../response.ts';
import { atomFeed, FEED_PATH } from './atom.ts';
import { badge } from './badge.ts';
import type { BoardClient } from './board-client.ts';
import { statusModel, type StatusModel } from './model.ts';
import { type Pace, PACE } from './pace.ts';
import { PAGE_SCRIPT } from './page-script.ts';
import { PAGE_STYLE } from './page-style.ts';
import { renderPage } from './page.ts';
import { publicationOf } from './publication.ts';
import { componentsJson, incidentsJson, statusJson, summaryJson } from './statuspage.ts';

/** How old an answer may be that a cache gives: part of the 60 s within which a fault is shown. */
export const CACHE_SECONDS = 5;

export interface StatusParts {
  board: BoardClient;
  nowMs: () => number;
  pace?: Pace;
  /** What `GET /status` says beside the public state: this isolate's own view, and headers. */
  edgeStatus?: (c: Context) => Promise<{ body: object; headers: Record<string, string> }>;
}

/** Adds every route of the status to `app`. Other methods than GET and HEAD are 405. */
export function mountStatus<E extends Env>(app: Hono<E>, parts: StatusParts): void {
  const { board, nowMs, pace = PACE } = parts;
  const model = async (c: Context): Promise<StatusModel> => {
    const env = c.env as object | undefined;
    return statusModel(await board.record(env), publicationOf(env), nowMs(), pace);
  };
  const json = (path: string, shape: (model: StatusModel, origin: string) => object): void => {
    app.get(path, async (c) => jsonResponse(shape(await model(c), originOf(c)), CACHED));
  };

  app.get('/', async (c) => {
    const html = renderPage(await model(c));
    return textResponse(html, 'text/html; charset=utf-8', { 'content-security-policy': await contentPolicy() });
  });
  app.get('/status', async (c) => {
    const edge = await parts.edgeStatus?.(c);
    return jsonResponse({ ...edge?.body, ...publicStatus(await model(c)) }, { ...NOT_CACHED, ...edge?.headers });
  });
  json('/api/v2/status.json', statusJson);
  json('/api/v2/summary.json', summaryJson);
  json('/api/v2/components.json', componentsJson);
  json('/api/v2/incidents.json', incidentsJson);
  app.get(FEED_PATH, async (c) => {
    return textResponse(atomFeed(await model(c), originOf(c)), 'application/atom+xml; charset=utf-8');
  });
  app.get('/badge.svg', async (c) => badgeResponse('market-data-pipeline', (await model(c)).overall.state));
  app.get('/badge/:file', async (c) => {
    const id = /^([a-z0-9_-]{1,80})\.svg$/.exec(c.req.param('file') ?? '')?.[1];
    const found = (await model(c)).components.find((component) => component.id === id);
    if (found === undefined) return problemResponse('not-found', 'there is no component of this name');
    return badgeResponse(found.name.toLowerCase(), found.state);
  });
}

/** What a report to the board needs of a request; without a runtime behind it nothing waits for the report. */
export function scopeOf(c: Context): RequestScope {
  const waitUntil = (work: Promise<unknown>): void => {
    try {
      c.executionCtx.waitUntil(work);
    } catch {
      void work.catch(() => undefined);
    }
  };
  return { env: (c.env ?? {}) as object, waitUntil };
}

/** The public members of `GET /status`. Figures are null when nothing fresh is known. */
function publicStatus(model: StatusModel): object {
  return {
    overall: model.overall,
    components: model.components.map(({ id, name, state, words, uptime }) => ({ id, name, state, words, uptime })),
    figures: model.figures,
    incidents: model.incidents.filter(({ endedMs }) => endedMs === null),
    measuredAsOf: model.asOfMs === null ? null : new Date(model.asOfMs).toISOString(),
    measuredAgeSeconds: model.asOfMs === null ? null : Math.max(0, Math.floor((model.nowMs - model.asOfMs) / 1000)),
  };
}

const CACHED = { 'cache-control': `public, max-age=${CACHE_SECONDS}`, 'access-control-allow-origin': '*' };
const NOT_CACHED = { 'cache-control': 'no-store', 'access-control-allow-origin': '*' };
const PLAIN = { 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' };

function textResponse(body: string, contentType: string, headers: Record<string, string> = {}): Response {
  return new Response(body, { headers: { ...CACHED, ...PLAIN, 'content-type': contentType, ...headers } });
}

function badgeResponse(label: string, state: StatusModel['overall']['state']): Response {
  const headers = { 'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'" };
  return textResponse(badge(label, state), 'image/svg+xml; charset=utf-8', headers);
}

function jsonResponse(body: object, headers: Record<string, string>): Response {
  return new Response(JSON.stringify(body), { headers: { 'content-type': 'application/json', ...PLAIN, ...headers } });
}

function originOf(c: Context): string {
  return new URL(c.req.url).origin;
}

let policy: string | undefined;

/** Nothing may run, style or load but what the page itself holds. Source: Content Security Policy Level 3. */
async function contentPolicy(): Promise<string> {
  policy ??= [
    "default-src 'none'",
    `style-src 'sha256-${await sha256(PAGE_STYLE)}'`,
    `script-src 'sha256-${await sha256(PAGE_SCRIPT)}'`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
  return policy;
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return btoa(String.fromCharCode(...new Uint8Array(digest)));
}
