/**
 * The shapes of the edge's own answers: JSON and problem details.
 */

import { PROBLEM_CONTENT_TYPE, type Problem } from '../pipeline/contract/answer.ts';
import { edgeProblem, type EdgeProblemName } from './problems.ts';

export function jsonResponse(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers },
  });
}

export function problemResponse(
  name: EdgeProblemName,
  detail: string,
  headers: Record<string, string> = {},
  more: Pick<Problem, 'batch'> = {},
): Response {
  const body = edgeProblem(name, detail, more);
  return jsonResponse(body.status, body, { ...headers, 'content-type': PROBLEM_CONTENT_TYPE });
}
