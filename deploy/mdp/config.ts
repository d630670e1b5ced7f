/**
 * `mdp config check`: the settings of a pod and of the Worker, read by the very code that reads them at their start, and
 * what has to agree between the two. All problems at once; no secret is ever printed.
 */

import { parseArgs, styleText } from 'node:util';
import { readConfig } from '../../pipeline/config.ts';
import { parseSettings } from '../../worker/settings.ts';
import { type Command, COMMON_OPTIONS, EXIT_NOT_WELL, EXIT_OK, print, UsageError } from './command.ts';
import { ENVIRONMENT, type Given, podSettings, workerSettings } from './config-files.ts';
import { edgeSecretTroubles } from './config-pair.ts';

const HELP = `Checks settings before a pod or the Worker meets them: unknown names, wrong values, bounds, what has to agree. All
problems at once, and no secret is shown.

  npx mdp config check [--pod WHERE] [--worker WHERE] [options]

  --pod WHERE       MDP_… settings: "${ENVIRONMENT}" (the default, when neither is given), a file of NAME=VALUE lines, or a
                    manifest with a Deployment or Rollout, as kubectl kustomize prints it ("-" reads it from stdin)
  --secrets DIR     copies of what a manifest mounts as secrets, one file for each key; without them they are not checked
  --worker WHERE    "${ENVIRONMENT}", or a file of NAME=VALUE lines, such as .dev.vars
  --json            {"ok","pod":{"problems","notes"},"worker":{…},"pair":{…}}

With both, EDGE_SECRET of the Worker has to be one of the pods' MDP_EDGE_SECRETS.

Exit codes: 0 no problem; 1 problems; 2 wrong usage, or a file that cannot be read.

Examples
  npx mdp config check --pod deploy/keda/deployment-pipeline.yaml
  kubectl kustomize deploy/overlays/production | npx mdp config check --pod -
  npx mdp config check --pod pod.env --worker .dev.vars
`;

export const command: Command = { help: HELP, run };

interface Verdict {
  problems: string[];
  /** What was not looked at. */
  notes: string[];
}

async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...COMMON_OPTIONS,
      pod: { type: 'string' },
      worker: { type: 'string' },
      secrets: { type: 'string' },
    },
  });
  if (positionals.join(' ') !== 'check') throw new UsageError('the one thing it does is: config check');
  const where = values.pod ?? (values.worker === undefined ? ENVIRONMENT : undefined);
  const pod = where === undefined ? undefined : podSettings(where, values.secrets, process.env);
  const worker = values.worker === undefined ? undefined : workerSettings(values.worker, process.env);
  const verdicts: Record<string, Verdict> = {};
  if (pod !== undefined) verdicts['pod'] = checkPod(pod);
  if (worker !== undefined) verdicts['worker'] = await checkWorker(worker);
  if (pod !== undefined && worker !== undefined && !pod.standIns.has('MDP_EDGE_SECRETS')) {
    verdicts['pair'] = { problems: edgeSecretTroubles(pod.settings, worker.settings), notes: [] };
  }
  const ok = Object.values(verdicts).every(({ problems }) => problems.length === 0);
  print(values.json ? `${JSON.stringify({ ok, ...verdicts }, null, 2)}\n` : verdictsText(verdicts));
  return ok ? EXIT_OK : EXIT_NOT_WELL;
}

function checkPod({ settings, notes }: Given): Verdict {
  const outcome = readConfig({ MDP_POD_NAME: 'pod', ...settings });
  return { problems: outcome.ok ? [] : outcome.problems, notes };
}

async function checkWorker({ settings, notes }: Given): Promise<Verdict> {
  const outcome = await parseSettings(settings);
  return { problems: outcome.ok ? [] : outcome.problems.map(({ setting, detail }) => `${setting} ${detail}`), notes };
}

const TITLES: Readonly<Record<string, string>> = { pod: 'pod', worker: 'Worker', pair: 'between the two' };

function verdictsText(verdicts: Record<string, Verdict>): string {
  return Object.entries(verdicts)
    .map(([name, { problems, notes }]) => {
      const words = problems.length === 0 ? paint('green', 'no problem') : paint('red', `${problems.length} to mend`);
      const lines = [...problems, ...notes.map((note) => paint('dim', note))];
      return [`${TITLES[name]}: ${words}`, ...lines.map((line) => `  ${line}`)].join('\n');
    })
    .join('\n')
    .concat('\n');
}

function paint(style: Parameters<typeof styleText>[0], text: string): string {
  return styleText(style, text, { stream: process.stdout });
}
