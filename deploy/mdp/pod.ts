/** What the commands ask a pod, and how they end when it does not answer as a pod. */

import { ask, type Asked, jsonObject } from './ask.ts';

/** It did not answer, or refused; the message is for the operator. */
export class PodError extends Error {
  override name = 'PodError';
}

export interface PodQuestion {
  method?: 'GET' | 'POST';
  token?: string | undefined;
}

/** The object that it answers 200 with. Throws a {@link PodError} with the pod's own words for anything else. */
export async function askPod(url: string, path: string, question: PodQuestion = {}): Promise<Record<string, unknown>> {
  const { method = 'GET', token } = question;
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const asked = await ask(url + path, { method, headers });
  if (!asked.ok) throw new PodError(`${url}: ${asked.why}`);
  const body = jsonObject(asked.text);
  if (asked.status === 200 && body !== undefined) return body;
  throw new PodError(`${url}: ${problemOf(asked, body)}`);
}

function problemOf({ status }: Extract<Asked, { ok: true }>, body: Record<string, unknown> | undefined): string {
  const detail = body?.['detail'];
  return typeof detail === 'string' ? `${status}, ${detail}` : `${status}, not the answer of a pod`;
}
