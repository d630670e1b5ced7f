/** Tick requests to a pod, as a sender or the edge makes them. */

import { importSecret, signatureHeaders } from '../../pipeline/contract/signature.ts';
import { lines, type LooseTick } from './pod-batch.ts';
import { send } from './edge-request.ts';

export interface PodAnswer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  /** The name in a problem's type, else the status word. */
  says: string;
  body: Record<string, unknown>;
}

/** Posts ticks, or a body as it is, as NDJSON unless `headers` say otherwise. */
export async function post(
  url: string,
  provider: string,
  ticks: readonly LooseTick[] | Uint8Array,
  headers: Record<string, string> = {},
): Promise<PodAnswer> {
  const body = ticks instanceof Uint8Array ? ticks : lines(ticks);
  const answer = await send(
    `${url}/v1/ticks/${provider}`,
    'POST',
    { 'content-type': 'application/x-ndjson', ...headers },
    body.length === 0 ? [] : [body],
  );
  const parsed = JSON.parse(answer.text) as Record<string, unknown>;
  const type = parsed['type'];
  const says = typeof type === 'string' ? type.replace('/problems/', '') : String(parsed['status']);
  return { status: answer.status, headers: answer.headers, says, body: parsed };
}

/** What the edge signs with `secret`, at `nowMs`. */
export async function edgeSigned(
  secret: string,
  id: string,
  nowMs: number,
  ticks: readonly LooseTick[],
): Promise<Record<string, string>> {
  return signatureHeaders((await importSecret(secret))!, id, nowMs, new TextEncoder().encode(lines(ticks)));
}
