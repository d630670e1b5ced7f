/**
 * The contract behind a `fetch`, with web APIs alone: a test runs it in Node and, bundled, in workerd, and compares
 * the answers byte by byte.
 */

import { type BodyFormat, BATCH_MAX_TICKS, decodeBatch } from '../../pipeline/contract/batch.ts';
import { defaultRules } from '../../pipeline/contract/decode.ts';
import { importSecret, type SigningKey, signatureHeaders, verifySignature } from '../../pipeline/contract/signature.ts';

/** `POST /decode?format=…&now=…` and `POST /sign?secret=…&id=…&now=…`; the answer is JSON. */
export async function answer(request: Request): Promise<Response> {
  const url = new URL(request.url);
  const body = new Uint8Array(await request.arrayBuffer());
  const nowMs = Number(url.searchParams.get('now'));
  if (url.pathname === '/decode') {
    const format = url.searchParams.get('format') as BodyFormat;
    return new Response(toText(decodeBatch(body, format, BATCH_MAX_TICKS, defaultRules(nowMs))));
  }
  const { searchParams } = url;
  return new Response(
    toText(await signed(searchParams.get('secret') ?? '', searchParams.get('id') ?? '', nowMs, body)),
  );
}

async function signed(secret: string, id: string, nowMs: number, body: Uint8Array): Promise<unknown> {
  const key = await importSecret(secret);
  if (key === undefined) return 'not a secret';
  const headers = await signatureHeaders(key, id, nowMs, body);
  const { 'webhook-timestamp': timestamp, 'webhook-signature': signature } = headers;
  const verify = (keys: SigningKey[], header: string | undefined, atMs: number): Promise<unknown> =>
    verifySignature(keys, { id, timestamp, body }, header, atMs);
  return [
    headers,
    await verify([key], signature, nowMs),
    await verify([key], signature, nowMs + 301_000),
    await verify([key], `v1,${'A'.repeat(43)}=`, nowMs),
    await verify([key], 'v1,%%%', nowMs),
    await verify([], signature, nowMs),
    await verify([key], undefined, nowMs),
  ];
}

/** Typed arrays and what JSON has no number for, all told apart. */
function toText(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) => {
    if (ArrayBuffer.isView(member)) return [member.constructor.name, ...Array.from(member as Float64Array, String)];
    if (typeof member === 'number' && !Number.isFinite(member)) return String(member);
    return member;
  });
}

export default { fetch: answer };
