/**
 * `npm run audit`: what is known of weaknesses in the packages of the lock, those in production first. Says so when it
 * cannot be had. Exit codes: 0 nothing serious is known; 1 something serious is, in production; 2 nobody could tell.
 */

import { spawnSync } from 'node:child_process';

const SEVERITIES = ['info', 'low', 'moderate', 'high', 'critical'] as const;
const SERIOUS = ['high', 'critical'];
const TIMEOUT_MS = 60_000;

interface Report {
  metadata?: { vulnerabilities?: Record<string, number>; dependencies?: { total?: number } };
  vulnerabilities?: Record<
    string,
    { name: string; severity: string; via: (string | { title: string; url: string })[] }
  >;
  message?: string;
}

let exitCode = 0;
for (const [what, omit] of [
  ['in production', ['--omit=dev', '--omit=optional']],
  ['for development too', []],
] as const) {
  const report = audit(omit);
  const counts = report.metadata?.vulnerabilities;
  if (counts === undefined) {
    console.log(`${what}: not known. The registry gave no advisories: ${report.message ?? 'no answer'}`);
    exitCode = 2;
    continue;
  }
  const found = SEVERITIES.map((severity) => `${counts[severity] ?? 0} ${severity}`).join(', ');
  console.log(`${what}: ${report.metadata?.dependencies?.total ?? '?'} packages, ${found}`);
  for (const { name, severity, via } of Object.values(report.vulnerabilities ?? {})) {
    const why = via.map((one) => (typeof one === 'string' ? `by ${one}` : `${one.title} ${one.url}`)).join('; ');
    console.log(`  ${severity} ${name}: ${why}`);
  }
  if (omit.length > 0 && SERIOUS.some((severity) => (counts[severity] ?? 0) > 0)) exitCode = 1;
}
process.exitCode = exitCode;

function audit(omit: readonly string[]): Report {
  const { stdout, error } = spawnSync('npm', ['audit', '--json', '--audit=true', ...omit], {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  });
  if (error !== undefined) return { message: error.message };
  try {
    return JSON.parse(stdout) as Report;
  } catch {
    return { message: 'its answer could not be read' };
  }
}
