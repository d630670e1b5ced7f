/** One HTTP question under a deadline. Every way in which it can end is a value; a body has a bound. */

/** A pod with all label values it may have shows less than a tenth of it. */
export const BODY_MAX_BYTES = 32 * 1024 * 1024;
export const ASK_TIMEOUT_MS = 10_000;

export type Asked =
  | { ok: true; status: number; headers: Headers; text: string }
  /** `why` is for an operator: refused, no such host, no answer in time. */
  | { ok: false; why: string };

export interface Question {
  method?: 'GET' | 'POST';
  headers?: Record<string, string>;
  body?: string | Uint8Array<ArrayBuffer>;
  timeoutMs?: number;
}

export async function ask(url: string, question: Question = {}): Promise<Asked> {
  const { timeoutMs = ASK_TIMEOUT_MS, ...init } = question;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const answer = await fetch(url, { ...init, signal, redirect: 'manual' });
    const text = await readBounded(answer);
    if (text === undefined) return { ok: false, why: `an answer of more than ${BODY_MAX_BYTES} bytes` };
    return { ok: true, status: answer.status, headers: answer.headers, text };
  } catch (error) {
    return { ok: false, why: signal.aborted ? `no answer within ${timeoutMs / 1000} s` : reasonOf(error) };
  }
}

/** The body's object; undefined when it is no JSON object. */
export function jsonObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/** A member of somebody else's JSON as text for people, whatever it is. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === undefined ? 'none' : JSON.stringify(value);
}

async function readBounded(answer: Response): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of answer.body ?? []) {
    bytes += chunk.length;
    if (bytes > BODY_MAX_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'there is no such host',
  ECONNRESET: 'the connection was cut',
};

/** `fetch` hides what went wrong in the cause of its error, and several tries in a list of errors there. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  return REASONS[code] ?? (cause instanceof Error && cause.message !== '' ? cause.message : 'no answer');
}
