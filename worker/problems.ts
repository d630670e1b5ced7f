/**
 * Problems that only the edge has, beside those of the contract, and the way to make either.
 */

import {
  type Problem,
  problem,
  PROBLEM_PATH,
  problemName,
  type ProblemName,
  PROBLEMS,
} from '../pipeline/contract/answer.ts';

export const EDGE_PROBLEMS = {
  'over-credit': {
    status: 429,
    title: 'More unanswered ticks than this socket has credit for',
    todo: 'Keep the batch; send it again with the same id when fewer of your ticks are unanswered than the last credit says.',
  },
  'too-many-requests': {
    status: 429,
    title: 'Too many requests from one address',
    todo: 'Wait Retry-After seconds. Send larger batches, and check your credentials: those that fail count many times.',
  },
} as const;

export type EdgeProblemName = ProblemName | keyof typeof EDGE_PROBLEMS;

export function edgeProblem(name: EdgeProblemName, detail: string, more: Pick<Problem, 'batch'> = {}): Problem {
  if (!isOwn(name)) return problem(name, detail, more);
  const { title, status } = EDGE_PROBLEMS[name];
  return { type: PROBLEM_PATH + name, title, status, detail, ...more };
}

/** What a problem's `type` leads to; undefined where there is none of this name. */
export function explained(name: string): { title: string; status: number; todo: string } | undefined {
  if (isOwn(name)) return EDGE_PROBLEMS[name];
  const known = problemName(name);
  return known === name ? PROBLEMS[known] : undefined;
}

function isOwn(name: string): name is keyof typeof EDGE_PROBLEMS {
  return Object.hasOwn(EDGE_PROBLEMS, name);
}
