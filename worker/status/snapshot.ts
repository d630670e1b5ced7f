/**
 * Asks a pod for its `/status`, with little patience and room, and cleans what comes back. Whatever the cluster
 * does or answers is a value here; nothing throws. Never shows a credential, even if a pod were to name one.
 */

import { isLevel, LEVEL_HEADER, type Level } from '../../pipeline/contract/level.ts';
import { readAnswer } from '../body.ts';
import type { Fetch } from '../relay.ts';

export const SNAPSHOT_TIMEOUT_MS = 2_000;
export const SNAPSHOT_MAX_BYTES = 256 * 1024;
/** Deeper parts of a snapshot are left out. */
export const SNAPSHOT_MAX_DEPTH = 16;
/** Left out of what the public sees: which providers there are, and how much each of them sends, is theirs. */
export const PRIVATE_MEMBERS: ReadonlySet<string> = new Set(['providers']);
/** An isolate asks at most this often, however many look at its status page. */
export const SNAPSHOT_INTERVAL_MS = 1_000;

export type SnapshotOutcome =
  | { ok: true; json: Record<string, unknown>; level: Level | undefined }
  | { ok: false; why: string; cause?: string };

/** One question to the pod at `clusterUrl`. `why` is for anybody, `cause` for the log alone. */
export async function askForSnapshot(fetch: Fetch, clusterUrl: string, timeoutMs: number): Promise<SnapshotOutcome> {
  const signal = AbortSignal.timeout(timeoutMs);
  let response: Response;
  try {
    const headers = { accept: 'application/json', 'accept-encoding': 'identity' };
    response = await fetch(`${clusterUrl}/status`, { headers, redirect: 'manual', signal });
  } catch (error) {
    const why = signal.aborted ? `no status within ${timeoutMs} ms` : 'the cluster could not be reached';
    return { ok: false, why, cause: String(error) };
  }
  if (response.status !== 200) {
    void response.body?.cancel().catch(() => undefined);
    return { ok: false, why: `the status was answered with ${response.status}` };
  }
  const read = await readAnswer(response, { maxBytes: SNAPSHOT_MAX_BYTES, maxWaitMs: timeoutMs });
  if (!read.ok) {
    return { ok: false, why: read.why === 'too_large' ? 'the status is too large' : 'the status did not end in time' };
  }
  const json = parseObject(read.bytes);
  if (json === undefined) return { ok: false, why: 'the status is no JSON object' };
  const level = [response.headers.get(LEVEL_HEADER), json['level']].find(isLevel);
  return { ok: true, json, level };
}

function parseObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return withoutSecrets(value, 0) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** A copy without private members, whose texts hold no URL credentials, signing secrets or bearer tokens. */
function withoutSecrets(value: unknown, depth: number): unknown {
  if (typeof value === 'string') {
    return value
      .replaceAll(/\/\/[^/\s]*@/g, '//***@')
      .replaceAll(/whsec_[A-Za-z0-9+/=]*/g, 'whsec_***')
      .replaceAll(/bearer\s+\S+/gi, 'Bearer ***');
  }
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= SNAPSHOT_MAX_DEPTH) return null;
  if (Array.isArray(value)) return value.map((item) => withoutSecrets(item, depth + 1));
  const shown = Object.entries(value).filter(([name]) => depth > 0 || !PRIVATE_MEMBERS.has(name));
  return Object.fromEntries(shown.map(([name, item]) => [name, withoutSecrets(item, depth + 1)] as const));
}
