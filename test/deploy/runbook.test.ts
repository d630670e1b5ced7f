/** The runbook and what leads to it: no alert without its chapter, no command that names what is not there. */

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const DEPLOY = fileURLToPath(new URL('../../deploy/', import.meta.url));
const RUNBOOK = readFileSync(`${DEPLOY}README.md`, 'utf8');
const RULES = readFileSync(`${DEPLOY}prometheus/rules.yaml`, 'utf8');

const anchors = new Set(
  [...RUNBOOK.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\w -]/g, '')
      .replaceAll(' ', '-'),
  ),
);

describe('the runbook', () => {
  it('has a chapter for every alert, and none for one that does not exist', () => {
    const linked = [...RULES.matchAll(/runbook_url: .*#(\S+)$/gm)].map(([, anchor]) => anchor!);
    const alerts = [...RULES.matchAll(/- alert: (\w+)$/gm)].map(([, name]) => name!);
    expect(alerts.length).toBeGreaterThan(10);
    expect(linked.toSorted()).toEqual(alerts.map((name) => name.toLowerCase()).toSorted());
    const chapters = [...RUNBOOK.split('\n## Alerts\n')[1]!.matchAll(/^### (\w+)$/gm)].map(([, name]) => name!);
    expect(chapters.toSorted()).toEqual(alerts.toSorted());
  });

  it('links to what is there', () => {
    const links = [...RUNBOOK.matchAll(/\]\(([^)]+)\)/g)].map(([, target]) => target!);
    const dead = links.filter((target) =>
      target.startsWith('#') ? !anchors.has(target.slice(1)) : !existsSync(DEPLOY + target),
    );
    expect(links.length).toBeGreaterThan(5);
    expect(dead).toEqual([]);
  });

  it('names objects, files and scripts that exist', () => {
    const files = [...RUNBOOK.matchAll(/\bdeploy\/[\w./-]+/g)].map(([path]) => path.replace(/[.,]$/, ''));
    const missing = files.filter(
      (path) => !existsSync(`${DEPLOY}../${path}`) && !path.startsWith('deploy/mdp-pipeline'),
    );
    expect(missing).toEqual([]);
    const { scripts } = JSON.parse(readFileSync(`${DEPLOY}../package.json`, 'utf8')) as {
      scripts: Record<string, string>;
    };
    const run = [...RUNBOOK.matchAll(/npm run (\w+)/g)].map(([, script]) => script!);
    expect(run.filter((script) => !(script in scripts))).toEqual([]);
    const manifests = ['deployment-pipeline', 'scaledobject-pipeline', 'prometheus-servicemonitor']
      .map((name) => readFileSync(`${DEPLOY}keda/${name}.yaml`, 'utf8'))
      .join('\n');
    for (const name of ['mdp-pipeline', 'mdp-pipeline-scaler', 'market-data']) {
      expect(manifests).toMatch(new RegExp(`name(space)?: ${name}$`, 'm'));
      expect(RUNBOOK).toContain(name);
    }
  });
});
