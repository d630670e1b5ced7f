/** The two ways from the Worker to the pods: valid, reachable by the network policy, and open for nothing but the edge. */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { kustomize, lacksKubectl, type Manifest } from './kustomize.ts';

/** What the edge sends to a pod. */
const ASKED = [
  '/v1/ticks/ibkr',
  '/v1/ticks/mdp-canary',
  '/v1/receipts/ibkr/b1',
  '/v1/receipts/ibkr/a%3Ab%2F1',
  '/status',
];
/** What is for those inside. */
const INSIDE = ['/metrics', '/feedback', '/ready', '/health', '/v1/trades/ibkr/AAPL', '/v1/dead-letters/ibkr', '/'];

const SCHEMAS: Readonly<Record<string, string>> = {
  'networking.k8s.io/v1 Ingress': 'kubernetes-models/networking.k8s.io/v1/Ingress',
  'apps/v1 Deployment': 'kubernetes-models/apps/v1/Deployment',
  'v1 ConfigMap': 'kubernetes-models/v1/ConfigMap',
  'v1 Namespace': 'kubernetes-models/v1/Namespace',
};

async function validate(manifest: Manifest): Promise<void> {
  const module = SCHEMAS[`${manifest.apiVersion} ${manifest.kind}`];
  expect(module, `${manifest.apiVersion} ${manifest.kind}`).toBeDefined();
  const models = (await import(module!)) as Record<string, new (data: Manifest) => { validate(): void }>;
  new models[manifest.kind]!(manifest).validate();
}

function yamlOf(path: string): unknown {
  return parse(readFileSync(path, 'utf8'));
}

const TUNNEL = yamlOf('deploy/reach/tunnel/config.yaml') as {
  'credentials-file': string;
  ingress: { hostname?: string; path?: string; service: string }[];
};
const INGRESS = yamlOf('deploy/reach/ingress/ingress.yaml') as {
  spec: { rules: { host: string; http: { paths: { path: string; pathType: string }[] } }[] };
};

/** As the connector decides: the first rule whose expression is found in the path. */
function tunnelPasses(path: string): boolean {
  const rule = TUNNEL.ingress.find((one) => one.path === undefined || new RegExp(one.path).test(path));
  return rule!.service.startsWith('http://mdp-pipeline.market-data.svc');
}

/** As an ingress controller decides. Source: Kubernetes, Ingress, "Path types". */
function ingressPasses(path: string): boolean {
  return INGRESS.spec.rules[0]!.http.paths.some(({ path: given, pathType }) =>
    pathType === 'Exact' ? path === given : path === given || path.startsWith(`${given}/`),
  );
}

describe.each([
  ['tunnel', tunnelPasses],
  ['ingress', ingressPasses],
])('the way by %s', (name, passes) => {
  it('lets through what the edge asks for, and nothing else', () => {
    expect(ASKED.filter((path) => !passes(path))).toEqual([]);
    expect(INSIDE.filter(passes)).toEqual([]);
  });

  it.skipIf(lacksKubectl)('is valid', async () => {
    const manifests = await kustomize(`deploy/reach/${name}`);
    expect(manifests.length).toBeGreaterThan(0);
    for (const manifest of manifests) await validate(manifest);
  });
});

it('the tunnel runs where the network policy lets traffic come from, with the files that it names', async () => {
  const source = readFileSync('deploy/reach/tunnel/cloudflared.yaml', 'utf8');
  const policy = readFileSync('deploy/keda/networkpolicy.yaml', 'utf8');
  expect(policy).toContain("market-data/ingress: 'true'");
  expect(source).toContain("market-data/ingress: 'true'");
  for (const text of ['mountPath: /etc/cloudflared/config', 'mountPath: /etc/cloudflared/secret']) {
    expect(source).toContain(text);
  }
  expect(TUNNEL['credentials-file']).toBe('/etc/cloudflared/secret/credentials.json');
  expect(TUNNEL.ingress.at(-1)).toEqual({ service: 'http_status:404' });
});
