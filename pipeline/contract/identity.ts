/**
 * Who sent a batch and which batch it is: the syntax of provider names and batch ids, and how a signed
 * edge-to-pod request binds the two together.
 */

export const PROVIDER_MAX_CHARS = 63;
export const BATCH_ID_MAX_CHARS = 128;

const PROVIDER_PATTERN = /^[a-z0-9][a-z0-9_-]{0,62}$/;

/**
 * No "." : it separates id, timestamp and body in the signed content, so an id with dots could be cut
 * differently and pass as another batch. No "/" : it separates provider and batch between edge and pod.
 */
const BATCH_ID_PATTERN = /^[A-Za-z0-9_:~@+=-]{1,128}$/;

export const PROVIDER_RULE = `1 to ${PROVIDER_MAX_CHARS} of a-z 0-9 _ -, starting with a letter or digit`;
export const BATCH_ID_RULE = `1 to ${BATCH_ID_MAX_CHARS} of A-Z a-z 0-9 _ : ~ @ + = -`;

export const IDEMPOTENCY_KEY_HEADER = 'idempotency-key';
/** Set by the edge when it made the batch id itself, so that the pod's answer can warn about it. */
export const BATCH_ID_MADE_HEADER = 'mdp-batch-id-made';
/** Set by the edge on what it counts in its own demand. */
export const EDGE_COUNTED_HEADER = 'mdp-edge-counted';

/** An idempotency key may be a structured-field string. Source: draft-ietf-httpapi-idempotency-key-header, 2.1. */
export function unquotedKey(key: string): string {
  return /^"(.*)"$/.exec(key)?.[1] ?? key;
}

export function isProvider(text: string): boolean {
  return PROVIDER_PATTERN.test(text);
}

export function isBatchId(text: string): boolean {
  return BATCH_ID_PATTERN.test(text);
}

/** The id a batch gets when its sender gave none. */
export function randomBatchId(): string {
  return `~${crypto.randomUUID()}`;
}

/**
 * The `webhook-id` of an edge-to-pod request: `provider/batch`. The secret is the same for all providers, so
 * the signed content itself has to name the provider, or a captured request could be sent to another's path.
 */
export function scopedBatchId(provider: string, batchId: string): string {
  return `${provider}/${batchId}`;
}

/** Undoes {@link scopedBatchId}; a plain batch id has no provider. */
export function splitScopedBatchId(id: string): { provider: string | undefined; batchId: string } {
  const slash = id.indexOf('/');
  if (slash < 0) return { provider: undefined, batchId: id };
  return { provider: id.slice(0, slash), batchId: id.slice(slash + 1) };
}
