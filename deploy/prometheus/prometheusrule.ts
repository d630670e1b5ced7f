/**
 * Writes prometheusrule.yaml, the object of the Prometheus Operator, from rules.yaml, the file that Prometheus itself
 * reads: `npx -c 'node deploy/prometheus/prometheusrule.ts'`. It moves text and knows nothing of rules.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const HEAD = `# Written from rules.yaml by prometheusrule.ts: change it there. The label \`release\` is what kube-prometheus-stack
# selects by default; see ruleSelector of your Prometheus.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: mdp-pipeline
  namespace: market-data
  labels:
    app: mdp-pipeline
    release: prometheus
spec:
`;

/** `rules` is the text of a rules file; what stands before its `groups:` is about that file and stays behind. */
export function prometheusRule(rules: string): string {
  const groups = rules.slice(rules.search(/^groups:$/m));
  return HEAD + groups.replaceAll(/^(?=.)/gm, '  ');
}

if (import.meta.main) {
  writeFileSync(beside('prometheusrule.yaml'), prometheusRule(readFileSync(beside('rules.yaml'), 'utf8')));
}

function beside(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}
