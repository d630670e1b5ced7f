/** Credentials and signed requests as a provider makes them, for tests of the edge. */

import { createHash } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { generateSecret, importSecret, signatureHeaders } from '../../pipeline/contract/signature.ts';

export const CLUSTER_URL = 'http://cluster.test';

/** One provider with two active secrets and two active tokens, one with a token only, and what the edge signs with. */
export function makeCredentials() {
  const edgeSecret = generateSecret();
  const ibkr = { secrets: [generateSecret(), generateSecret()], tokens: ['ibkr-token-old', 'ibkr-token-new'] };
  const acme = { secrets: [generateSecret()], tokens: ['acme-token'] };
  const credentials = {
    ibkr: { secrets: ibkr.secrets, tokens: ibkr.tokens.map(tokenHash) },
    acme: { secrets: acme.secrets, tokens: acme.tokens.map(tokenHash) },
  };
  const bindings = (clusterUrl: string = CLUSTER_URL): Record<string, string> => ({
    CLUSTER_URL: clusterUrl,
    EDGE_SECRET: edgeSecret,
    PROVIDER_CREDENTIALS: JSON.stringify(credentials),
  });
  return { edgeSecret, ibkr, acme, bindings };
}

export function tokenHash(token: string): string {
  return `sha256:${createHash('sha256').update(token).digest('hex')}`;
}

/** Signs as a provider would, with the public library, which takes text bodies only. */
export function signAsProvider(secret: string, id: string, body: string, at = new Date()): Record<string, string> {
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': new Webhook(secret).sign(id, at, body),
    'content-type': 'application/x-ndjson',
  };
}

/** Signs any bytes, for packed bodies. */
export async function signBytes(secret: string, id: string, body: Uint8Array): Promise<Record<string, string>> {
  const headers = await signatureHeaders((await importSecret(secret))!, id, Date.now(), body);
  return { ...headers, 'content-type': 'application/x-ndjson' };
}
