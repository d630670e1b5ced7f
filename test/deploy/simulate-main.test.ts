/** The command of the simulator, as its user types it. */

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mdp-simulate-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

function simulate(...args: string[]): Promise<{ stdout: string }> {
  return run(process.execPath, ['deploy/simulate/main.ts', ...args]);
}

/** What a command that fails leaves behind. */
async function failure(...args: string[]): Promise<{ code: number; stderr: string }> {
  return simulate(...args).then(
    () => ({ code: 0, stderr: '' }),
    (error: { code: number; stderr: string }) => error,
  );
}

describe('npm run simulate', () => {
  it("prints a profile's figures for each manifest, and draws it", async () => {
    const svg = join(folder, 'spike.svg');
    const args = ['spike', '--alignments', '2', '--svg', svg];
    const manifests = ['deploy/overlays/steady', 'deploy/simulate/original-scaledobject.yaml'];
    const { stdout } = await simulate(...args, ...manifests.flatMap((path) => ['--manifest', path]));
    expect(stdout).toContain('| 10x for 60 s, unannounced | steady | original-scaledobject |');
    expect(stdout).toMatch(/^\| 10 ready \(s\) \| \d+(\/\d+)? \| never \|$/m);
    expect(stdout).toContain('median/worst of 2 alignments, C = 2000 ticks/s, seed 1');
    const picture = await readFile(svg, 'utf8');
    expect(picture.match(/<polyline/g)).toHaveLength(6);
    for (const label of ['load', 'capacity', 'replicas', 'backlog', 'delay']) expect(picture).toContain(label);
  });

  it('prints the same figures for the same seed, others for another', async () => {
    const options = ['spike', '--manifest', 'deploy/keda', '--alignments', '3', '--json', '--seed'];
    const [first, again, other] = await Promise.all(['7', '7', '8'].map((seed) => simulate(...options, seed)));
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
    expect(JSON.parse(first!.stdout)).toMatchObject({
      seed: '7',
      alignments: 3,
      figures: { keda: { spike: { reversals: { median: 0 } } } },
    });
  });

  it('plays a recorded trace', async () => {
    const trace = join(folder, 'trace.json');
    const points = [0, 300, 600].map((atSeconds) => ({ atSeconds, ticksPerSecond: atSeconds === 300 ? 9_000 : 900 }));
    await writeFile(trace, JSON.stringify(points));
    const { stdout } = await simulate(trace, '--manifest', 'deploy/keda', '--alignments', '1');
    expect(stdout).toContain('trace.json');
    expect(stdout).toMatch(/^\| most replicas \| \d+ \|$/m);
  });

  it('names a query that it does not know, and what else it cannot use', async () => {
    const manifest = join(folder, 'unknown.yaml');
    const shipped = await readFile('deploy/keda/scaledobject-pipeline.yaml', 'utf8');
    await writeFile(manifest, shipped.replaceAll('pipeline_in_flight_ticks', 'pipeline_backlog'));
    const { code, stderr } = await failure('spike', '--manifest', manifest);
    expect(code).toBe(2);
    expect(stderr).toContain('reads pipeline_backlog, which nothing here exposes');
    expect((await failure('hike')).stderr).toContain('there is no profile hike: step, ramp');
    expect((await failure('--svg', 'x.svg')).stderr).toContain('--svg needs a PROFILE or a TRACE');
    expect((await failure('spike', '--manifest', 'nowhere')).stderr).toContain('nowhere does not exist');
    expect((await failure('--alignments', '0')).stderr).toContain('--alignments must be a whole number');
  });

  it('explains itself', async () => {
    const { stdout } = await simulate('--help');
    expect(stdout).toContain('npm run simulate -- [PROFILE | TRACE.json]');
  });
});
