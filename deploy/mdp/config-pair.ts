/** What has to agree between a pod and the Worker: the secret with which the one signs and the other checks. */

import { readFileSync } from 'node:fs';

type Settings = Readonly<Record<string, string>>;

/** Empty when they agree, or when one of them is wrong by itself: its own check says so. */
export function edgeSecretTroubles(pod: Settings, worker: Settings): string[] {
  const mine = bytesOf(worker['EDGE_SECRET'] ?? '');
  const accepted = podSecrets(pod).flatMap((secret) => bytesOf(secret) ?? []);
  if (mine === undefined || accepted.length === 0) return [];
  if (accepted.includes(mine)) return [];
  return ['EDGE_SECRET of the Worker is none of MDP_EDGE_SECRETS: the pods would refuse every batch'];
}

function podSecrets(pod: Settings): string[] {
  const file = pod['MDP_EDGE_SECRETS_FILE'];
  let text = pod['MDP_EDGE_SECRETS'] ?? '';
  try {
    if (file !== undefined) text = readFileSync(file, 'utf8');
  } catch {
    // the pod's own check says so
  }
  return text.split(/\s+/).filter((secret) => secret !== '');
}

/** Two spellings in base64 may be one secret. */
function bytesOf(secret: string): string | undefined {
  return /^whsec_[A-Za-z0-9+/]+=*$/.test(secret)
    ? Buffer.from(secret.slice('whsec_'.length), 'base64').toString('hex')
    : undefined;
}
