/**
 * No command of the documents rots: what can run without a cluster is run, from the words that stand there, and every
 * line of kubectl, in hints and comments too, names what the manifests have. A command of a program that is not known
 * here fails: it has to be given its check.
 *
 * Seen failing: with deploy/mdp-pipelin, with --from-literal=stor=…, with simulate -- stop, and with a line of helm.
 */

import { execFile, execFileSync } from 'node:child_process';
import { cpSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { type RunningPod, startPod } from '../../deploy/local/pod.ts';
import { WORKER_NAMES } from '../../deploy/mdp/config-files.ts';
import { command as verify } from '../../deploy/mdp/verify/command.ts';
import { importSecret } from '../../pipeline/contract/signature.ts';
import { type Known, kubectlTroubles, readKubectl } from '../support/kubectl-lines.ts';
import { lacksKubectl, type Manifest } from './kustomize.ts';

const run = promisify(execFile);
const RUNBOOKS = ['deploy/README.md', 'deploy/overlays/README.md'];
const PROGRAMS = new Set(['cloudflared', 'curl', 'docker', 'export', 'kubectl', 'node', 'npm', 'npx', 'sed']);

/** Of shell blocks every line, of running text what is code and begins with a program's name. */
function commandsOf(text: string): string[] {
  const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block]) => block!);
  const lines = blocks.flatMap((block) =>
    block
      .replaceAll(/\\\n\s*/g, '')
      .trimEnd()
      .split('\n'),
  );
  const prose = text.replaceAll(/^```[\s\S]*?^```$/gm, '');
  const inline = [...prose.matchAll(/`([a-z]+ [^`]+)`/g)].map(([, code]) => code!.replaceAll('\n', ' '));
  return [...lines.filter((line) => line !== ''), ...inline.filter((code) => PROGRAMS.has(code.split(' ')[0]!))];
}

const commands = RUNBOOKS.flatMap((file) => commandsOf(readFileSync(file, 'utf8')));

function commandsWith(beginning: string): string[] {
  const found = commands.filter((command) => command.startsWith(beginning));
  expect(found.length, beginning).toBeGreaterThan(0);
  return found;
}

describe('the commands of the runbook', () => {
  let directory: string;
  let pod: RunningPod;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'mdp-documented-'));
    pod = await startPod({ settings: { MDP_PORT: '0', MDP_DEV: '1', MDP_STORE: `sqlite:${directory}/ticks.db` } });
  });
  afterAll(async () => {
    await pod?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  it('are of programs whose commands are checked here', () => {
    expect(commands.length).toBeGreaterThan(30);
    expect(commands.filter((command) => !PROGRAMS.has(command.split(' ')[0]!))).toEqual([]);
    const npx = new Set(commandsWith('npx ').map((command) => command.split(' ')[1]));
    expect(npx).toEqual(new Set(['mdp', 'wrangler']));
    expect(
      commandsWith('npm ').filter((command) => !/^npm run (simulate|rehearse|replay|mdp)\b/.test(command)),
    ).toEqual([]);
  });

  it('rewrite the image line', () => {
    cpSync('deploy/keda', join(directory, 'deploy/keda'), { recursive: true });
    const lines = [...commandsWith('export '), ...commandsWith('sed ')];
    execFileSync('sh', ['-ec', lines.join('\n')], { cwd: directory });
    const text = readFileSync(join(directory, 'deploy/keda/deployment-pipeline.yaml'), 'utf8');
    expect(text).toMatch(/^ +image: your-registry\.example\.com\/mdp-pipeline:\d+\.\d+\.\d+$/m);
  });

  it('make a secret that is one', async () => {
    for (const command of commandsWith('node ')) {
      const shell = command.replace(/^node/, `'${process.execPath}'`);
      const { stdout } = await run('sh', ['-c', shell]);
      expect(await importSecret(stdout.trim())).toBeDefined();
    }
  });

  it('ask a pod what it answers', async () => {
    for (const command of commandsWith('curl ')) {
      const here = command.replaceAll(/localhost:8000|POD:8000/g, pod.url).replace('PROVIDER', 'ibkr');
      const { stdout } = await run('sh', ['-c', here.replace(/^curl/, 'curl -sf')]);
      expect(stdout, command).not.toBe('');
    }
  });

  it('play load against manifests that are there', async () => {
    for (const command of commandsWith('npm run simulate')) {
      const args = command.split(' -- ')[1]?.split(' ') ?? [];
      const quick = ['deploy/simulate/main.ts', ...args, '--alignments', '1'];
      const whole = args.length === 0 ? [...quick, '--manifest', 'deploy/keda'] : quick;
      const { stdout } = await run(process.execPath, whole);
      expect(stdout, command).toContain('median/worst of 1 alignments');
    }
  });

  it('build from what the Dockerfile takes', () => {
    const dockerfile = readFileSync('Dockerfile', 'utf8');
    const args = commands.join('\n') + readFileSync('deploy/README.md', 'utf8');
    const names = [...args.matchAll(/--build-arg (\w+)=/g)].map(([, name]) => name!);
    expect(names.length).toBeGreaterThan(1);
    for (const name of names) expect(dockerfile).toMatch(new RegExp(`^ARG ${name}\\b`, 'm'));
    for (const command of commandsWith('docker ')) {
      expect(command).toMatch(/^docker (build -t|push) \$REG\/mdp-pipeline:\$IMAGE_TAG( \.)?$/);
    }
  });

  it('put secrets that the Worker has, into an environment that can be deployed', async () => {
    const wrangler = commandsWith('npx wrangler ');
    const toml = readFileSync('wrangler.toml', 'utf8');
    const environments = new Set(wrangler.map((command) => / --env (\w+)/.exec(command)?.[1] ?? 'none'));
    for (const name of environments)
      expect(toml).toMatch(new RegExp(`^\\[env\\.${name}[.\\]]|^\\[\\[env\\.${name}\\.`, 'm'));
    const rest = wrangler.filter((command) => {
      const secret = /^npx wrangler secret put (\w+)/.exec(command)?.[1];
      return secret === undefined || !WORKER_NAMES.has(secret);
    });
    const deploys = ['npx wrangler deploy --env production', 'npx wrangler deploy --dry-run --env production'];
    expect(new Set(rest)).toEqual(new Set(deploys));
    const quiet = {
      WRANGLER_SEND_METRICS: 'false',
      CLOUDFLARE_CF_FETCH_ENABLED: 'false',
      WRANGLER_WRITE_LOGS: 'false',
    };
    const args = [
      'node_modules/wrangler/bin/wrangler.js',
      'deploy',
      '--env',
      'production',
      '--dry-run',
      '--outdir',
      directory,
    ];
    const { stdout } = await run(process.execPath, args, { env: { ...process.env, ...quiet } });
    expect(stdout).toContain('--dry-run: exiting now');
  }, 60_000);

  it('make the tunnel that the connectors run', () => {
    const { tunnel, ingress } = parse(readFileSync('deploy/reach/tunnel/config.yaml', 'utf8')) as {
      tunnel: string;
      ingress: { hostname?: string }[];
    };
    expect(commandsWith('cloudflared ')).toEqual([
      'cloudflared tunnel login',
      `cloudflared tunnel create --credentials-file credentials.json ${tunnel}`,
      `cloudflared tunnel route dns ${tunnel} ${ingress[0]?.hostname}`,
    ]);
  });

  it('call mdp as it can be called', () => {
    for (const command of commandsWith('npx mdp ')) {
      expect(command).toMatch(/^npx mdp verify\b/);
      for (const flag of command.match(/ --(?!help)[\w-]+/g) ?? []) expect(verify.help).toContain(`${flag} `);
    }
  });
});

/** Everything that a line of kubectl may name. */
function knownObjects(): Known {
  const files = globSync('deploy/{keda,prometheus,reach}/**/*.yaml').filter((file) => !file.includes('rules'));
  const manifests = files
    .flatMap((file) => parseAllDocuments(readFileSync(file, 'utf8')).map((one) => one.toJS() as Manifest | null))
    .filter((one): one is Manifest => typeof one?.kind === 'string' && one.metadata?.name !== undefined);
  const objects = new Set(manifests.map(({ kind, metadata }) => `${kind.toLowerCase()}/${metadata.name}`));
  for (const { kind, metadata } of manifests) {
    if (metadata.namespace !== undefined) objects.add(`namespace/${metadata.namespace}`);
    // KEDA and Kubernetes make these.
    if (kind === 'ScaledObject') objects.add(`horizontalpodautoscaler/keda-hpa-${metadata.name}`);
    if (kind === 'Service') objects.add(`endpoints/${metadata.name}`);
  }
  const texts = files.map((file) => readFileSync(file, 'utf8').replaceAll(/^\s*#.*$/gm, ''));
  const all = (pattern: RegExp): string[] =>
    texts.flatMap((text) => [...text.matchAll(pattern)].map(([, one]) => one!));
  for (const name of all(/secretName: (\S+)/g)) objects.add(`secret/${name}`);
  const labels = all(/matchLabels:\n\s+([\w./-]+: \S+)/g).map((label) => label.replace(': ', '=').replaceAll("'", ''));
  return {
    objects,
    labels: new Set(labels),
    secretKeys: new Set(all(/\bkey: (\S+)/g)),
    containers: new Set(all(/containers:\n\s+- name: (\S+)/g)),
    ports: new Set(all(/(?:containerPort|port): (\d+)/g)),
    fileExists: existsSync,
  };
}

/** In documents every command; in comments and hints what begins as one. */
function kubectlLines(): string[] {
  const others = [...globSync('deploy/**/*.yaml'), ...globSync('deploy/mdp/**/*.ts')];
  const said = others.flatMap((file) => {
    const text = readFileSync(file, 'utf8').replaceAll(/\\?\n\s*#\s*/g, ' ');
    return [...text.matchAll(/\bkubectl (?:-n \S+ )?(?:[a-z]+(?:-[a-z]+)?)(?: [^`\n]*)?/g)].map(
      ([line]) => line.split(/'[,)]|';|: | \|/)[0]!,
    );
  });
  const documented = commands.flatMap((command) => command.split(' | ')).filter((one) => one.startsWith('kubectl '));
  return [...documented, ...said.filter((line) => VERBS.has(readKubectl(line).verb))];
}

const VERBS = new Set([
  'get',
  'describe',
  'delete',
  'edit',
  'apply',
  'kustomize',
  'replace',
  'logs',
  'create',
  'label',
  'rollout',
  'set',
  'port-forward',
]);

describe('every line of kubectl', () => {
  const lines = [...new Set(kubectlLines())];
  const known = knownObjects();

  it('is found in documents, comments and hints', () => {
    expect(lines.length).toBeGreaterThan(25);
  });

  it.each(lines)('names what the manifests have: %s', (line) => {
    expect(kubectlTroubles(line, known)).toEqual([]);
  });

  it.each([
    ['kubectl -n market-dat get hpa', 'no namespace market-dat'],
    ['kubectl -n market-data rollout undo deployment/mdp-pipelines', 'no deployment mdp-pipelines'],
    ['kubectl -n market-data get pods -l app=mdp', 'no pod has the label app=mdp'],
    ['kubectl -n market-data apply -f deploy/keda/deployment.yaml', 'deploy/keda/deployment.yaml is not there'],
    ['kubectl -n market-data port-forward deploy/mdp-pipeline 8000:8080', 'nothing listens on 8080'],
    ['kubectl -n market-data set image deployment/mdp-pipeline app=x', 'no container app=x'],
    ['kubectl create secret generic mdp-pipeline --from-literal=stor=x', 'no manifest reads the key stor'],
    ['kubectl scale deployment/mdp-pipeline', 'kubectl scale is not known here'],
  ])('is refused when it does not: %s', (line, trouble) => {
    expect(kubectlTroubles(line, known)).toEqual([trouble]);
  });

  it.skipIf(lacksKubectl)('has flags that kubectl has', async () => {
    const global = (await run('kubectl', ['options'])).stdout;
    const used = new Map<string, Set<string>>();
    for (const line of lines) {
      const { verb, words, flags } = readKubectl(line);
      const subcommand = ['create', 'rollout', 'set'].includes(verb)
        ? words.slice(0, verb === 'create' && words[0] === 'secret' ? 2 : 1)
        : [];
      const key = [verb, ...subcommand].join(' ');
      for (const [flag] of flags) used.set(key, (used.get(key) ?? new Set()).add(flag));
    }
    await Promise.all(
      [...used].map(async ([command, flags]) => {
        const help = (await run('kubectl', [...command.split(' '), '--help'])).stdout + global;
        const missing = [...flags].filter(
          (flag) => !new RegExp(`^\\s+(-\\w, )?${flag}[,=]|^\\s+${flag}[,=]`, 'm').test(help),
        );
        expect(missing, command).toEqual([]);
      }),
    );
  });
});

describe('the scaler', () => {
  it('asks the Prometheus that the runbook forwards to', () => {
    const scaler = parse(readFileSync('deploy/keda/scaledobject-pipeline.yaml', 'utf8')) as {
      spec: { triggers: { metadata: { serverAddress: string } }[] };
    };
    const addresses = new Set(scaler.spec.triggers.map(({ metadata }) => metadata.serverAddress));
    expect([...addresses]).toEqual(['http://prometheus.monitoring.svc.cluster.local:9090']);
    expect(commands).toContain('kubectl -n monitoring port-forward svc/prometheus 9090:9090 &');
  });
});
