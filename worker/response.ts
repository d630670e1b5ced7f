/**
 * The shapes of the edge's own answers: JSON and problem details.
 */

import { type Problem, problem, PROBLEM_CONTENT_TYPE, type ProblemName } from '../pipeline/contract/answer.ts';

export function jsonResponse(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers },
  });
}

export function problemResponse(
  name: ProblemName,
  detail: string,
  headers: Record<string, string> = {},
  more: Pick<Problem, 'batch'> = {},
): Response {
  const body = problem(name, detail, more);
  return jsonResponse(body.status, body, { ...headers, 'content-type': PROBLEM_CONTENT_TYPE });
}

/** `response`, all of whose body is sent at once, and which ends when `work` has. */
export function endingAfter(response: Response, work: Promise<void>): Response {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const sent = response.body?.pipeTo(writable, { preventClose: true }) ?? Promise.resolve();
  const end = async (): Promise<void> => {
    await sent;
    await work;
    await writable.close();
  };
  end().catch(() => undefined); // its reader has gone
  return new Response(readable, response);
}
