/**
 * What is answered where no route matches: 405 under a path that has one for another method, else 404. It stands outside
 * the routes, so that a request that has its route matches that one alone: Hono then calls it without composing a chain.
 */

import { type Env, Hono } from 'hono';
import { problemResponse } from './response.ts';

/** To be called once `app` has all its routes, each path with one method. */
export function answerOtherwise<E extends Env>(app: Hono<E>): void {
  const paths = new Hono();
  for (const { method, path } of app.routes) {
    const allow = method === 'GET' ? 'GET, HEAD' : method;
    paths.all(path, (c) => problemResponse('method-not-allowed', `${c.req.method} is not allowed here`, { allow }));
  }
  paths.notFound(() => problemResponse('not-found', 'there is nothing under this path'));
  app.notFound((c) => paths.fetch(c.req.raw));
}
