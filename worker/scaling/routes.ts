/**
 * `GET /v1/scaling` and `GET /metrics`: for whoever has the scaling token. Without such a token among the settings there
 * is nothing under these paths; with one, a wrong or missing token is a 401.
 */

import type { Context } from 'hono';
import { RETRY_AFTER_HEADER } from '../../pipeline/contract/answer.ts';
import { isOneOfTokens, presentedCredentials } from '../auth.ts';
import { within } from '../deadline.ts';
import { jsonResponse, problemResponse } from '../response.ts';
import type { Settings } from '../settings.ts';
import { meterOf, type ScalingFigures } from './calls.ts';
import { exposition, EXPOSITION_CONTENT_TYPE, scalingJson } from './exposition.ts';

/** Less than the four seconds of a scrape, more than the meter waits for an outbox. */
export const FIGURES_TIMEOUT_MS = 3_500;
const FIGURES_RETRY_AFTER_SECONDS = 5;

/** The JSON of a `metrics-api` trigger. */
export function readScaling(c: Context, settings: Settings): Promise<Response> {
  return answered(c, settings, (figures) => jsonResponse(200, scalingJson(figures)));
}

export function readMetrics(c: Context, settings: Settings): Promise<Response> {
  return answered(c, settings, (figures) => {
    const headers = { 'content-type': EXPOSITION_CONTENT_TYPE, 'cache-control': 'no-store' };
    return new Response(exposition(figures), { headers });
  });
}

async function answered(
  c: Context,
  { scalingTokens }: Settings,
  answer: (figures: ScalingFigures) => Response,
): Promise<Response> {
  if (scalingTokens.length === 0) return problemResponse('not-found', 'there is nothing under this path');
  const credentials = presentedCredentials(c.req.raw.headers);
  if (credentials?.kind !== 'token' || !(await isOneOfTokens(scalingTokens, credentials.token))) {
    return problemResponse('unauthenticated', 'send "authorization: Bearer" and the scaling token', {
      'www-authenticate': 'Bearer',
    });
  }
  const figures = await figuresOf(c.env as object);
  if (figures === undefined) {
    // Silence, not zeros: a scrape that fails and a trigger without a value make the scaler hold.
    const headers = { [RETRY_AFTER_HEADER]: String(FIGURES_RETRY_AFTER_SECONDS) };
    return problemResponse('cluster-unreachable', 'the meter does not answer; nothing is known now', headers);
  }
  return answer(figures);
}

/** Undefined when the meter is away. */
export async function figuresOf(env: object): Promise<ScalingFigures | undefined> {
  try {
    const meter = meterOf(env);
    return meter === undefined ? undefined : await within(meter.figures(), FIGURES_TIMEOUT_MS, undefined);
  } catch {
    return undefined;
  }
}
