/**
 * The image, built from the Dockerfile and run as the manifest runs it: what is in it and what is not, who it runs
 * as, its limits, its health, its drain and its death. The base is a stand-in of the same name (see image-base.ts),
 * so nothing here speaks of what the real base brings.
 */

import { chownSync, globSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { POD_NODE_FLAGS } from '../../deploy/local/pod.ts';
import { generateSecret } from '../../pipeline/contract/signature.ts';
import { BASE_IMAGE, Containers, imagesLack } from '../support/image-containers.ts';
import { FOREIGN_TEXT, hostileCheckout, pipelineFiles, productionPackages } from '../support/image-context.ts';
import { ImageSender } from '../support/image-sender.ts';
import { until } from '../support/postgres-stores.ts';
import { StoredTicks } from '../support/stored-ticks.ts';
import { freePorts } from '../../deploy/local/free-ports.ts';
import type { Manifest } from './kustomize.ts';

const IMAGE = 'mdp-pipeline:test';
const MIB = 1024 * 1024;
const ADDED_MAX_BYTES = 60 * MIB;
const USER = 1000;
/** A quarter of what the manifest requests, so that limits are felt. */
const MEMORY_LIMIT_MIB = 256;
const CPU_LIMIT = 0.5;
const KILLED = 128 + 9;
/** Enough for writes and answers to be under way in every sender when the pod ends. */
const BATCHES_BEFORE_THE_END = 40;

interface Container {
  env: { name: string; value?: string }[];
  ports: { containerPort: number }[];
}

const lacks = imagesLack === undefined ? '' : ` (this machine lacks ${imagesLack})`;

describe.skipIf(imagesLack !== undefined)(`the image${lacks}`, () => {
  let containers: Containers;
  let context: string;
  let data: string;
  let secrets: string;
  let mount: string;
  let baseMount: string;
  const edgeSecret = generateSecret();

  beforeAll(async () => {
    containers = await Containers.start();
    context = join(containers.directory, 'context');
    hostileCheckout(context);
    const fromMs = performance.now();
    await containers.build(context, IMAGE);
    console.log(`built in ${((performance.now() - fromMs) / 1000).toFixed(1)} s`);
    mount = await containers.podman('image', 'mount', IMAGE);
    baseMount = await containers.podman('image', 'mount', BASE_IMAGE);
    data = join(containers.directory, 'data');
    mkdirSync(data);
    chownSync(data, USER, USER);
    secrets = join(containers.directory, 'secrets');
    mkdirSync(secrets);
    writeSecret('store', 'sqlite:/app/data/ticks.db');
    writeSecret('edge-secrets', edgeSecret);
  }, 300_000);

  afterAll(() => containers?.[Symbol.asyncDispose]());

  /** As Kubernetes mounts it: for the group alone. */
  function writeSecret(name: string, text: string): void {
    writeFileSync(join(secrets, name), text, { mode: 0o440 });
    chownSync(join(secrets, name), 0, USER);
  }

  describe('as it was built', () => {
    it('adds less than 60 MiB to its base', async () => {
      const [image, base] = await Promise.all([containers.image(IMAGE), containers.image(BASE_IMAGE)]);
      const addedBytes = image.sizeBytes - base.sizeBytes;
      console.log(`base ${mib(base.sizeBytes)} MiB, added ${mib(addedBytes)} MiB`);
      expect(addedBytes).toBeGreaterThan(MIB);
      expect(addedBytes).toBeLessThan(ADDED_MAX_BYTES);
    });

    it('adds nothing outside of /app', () => {
      const inBase = new Set(filesOf(baseMount));
      expect(filesOf(mount).filter((path) => !inBase.has(path) && !/^app(\/|$)/.test(path))).toEqual([]);
      expect(inBase.size).toBeGreaterThan(3_000);
    });

    it('holds the pipeline, the licence and the package files, and nothing else of the checkout', () => {
      const own = ['LICENSE', 'data', 'node_modules', 'package-lock.json', 'package.json', 'pipeline'];
      const folders = globSync('pipeline/*/', { cwd: context }).map((path) => path.replace(/\/$/, ''));
      const held = filesOf(join(mount, 'app')).filter((path) => !path.startsWith('node_modules/'));
      expect(held).toEqual([...own, ...folders, ...pipelineFiles(context)].toSorted());
    });

    it('lets its user write to its data, and to nothing else of it', () => {
      const all = readdirSync(join(mount, 'app'), { recursive: true, encoding: 'utf8' });
      expect(all.filter((path) => lstatSync(join(mount, 'app', path)).uid !== 0)).toEqual(['data']);
    });

    it('holds the production dependencies of the lock and no others', () => {
      const installed = globSync('**/node_modules/{*,@*/*}/package.json', { cwd: join(mount, 'app') });
      expect(installed.map((path) => path.replace(/\/package.json$/, '')).toSorted()).toEqual(productionPackages());
    });

    it('holds no byte of what lay about in the checkout', () => {
      const all = readdirSync(join(mount, 'app'), { recursive: true, withFileTypes: true });
      const files = all.filter((file) => file.isFile());
      const foreign = files.filter((file) => readFileSync(join(file.parentPath, file.name)).includes(FOREIGN_TEXT));
      expect(foreign.map(({ name }) => name)).toEqual([]);
      expect(files.length).toBeGreaterThan(100);
    });

    it('says who it runs as, where it listens, how, and what it is', async () => {
      const { config } = await containers.image(IMAGE);
      const { version, license } = JSON.parse(readFileSync('package.json', 'utf8')) as Record<string, string>;
      expect(config.User).toBe(`${USER}:${USER}`);
      expect(config.Entrypoint ?? []).toEqual([]);
      expect(config.Cmd).toEqual(['node', ...POD_NODE_FLAGS, 'pipeline/main.ts']);
      expect(Object.keys(config.ExposedPorts)).toEqual([`${pipeline().ports[0]!.containerPort}/tcp`]);
      expect(config.Env.filter((variable) => !variable.startsWith('PATH='))).toEqual(['MDP_HOST=0.0.0.0']);
      expect(config.Labels).toMatchObject({
        'org.opencontainers.image.title': 'mdp-pipeline',
        'org.opencontainers.image.version': version,
        'org.opencontainers.image.licenses': license,
        'org.opencontainers.image.base.name': BASE_IMAGE,
      });
    });
  });

  describe('as it comes', () => {
    it('is healthy by its own check, on every address, until it ends', async () => {
      const settings = ['--env', `MDP_EDGE_SECRETS=${edgeSecret}`];
      // No network but its own loopback, so that it may listen on every address there is.
      await start('shipped', ['--network', 'none', '--health-interval', 'disable', ...settings]);
      await until('it is healthy', () => isHealthy('shipped'));
      const listening = await inside('shipped', 'fs.readFileSync("/proc/net/tcp", "utf8")');
      expect(listening).toMatch(/ 00000000:1F40 00000000:0000 0A /);
      await containers.podman('stop', 'shipped');
      expect(await containers.ended('shipped')).toBe(0);
      expect(await isHealthy('shipped')).toBe(false);
    });

    it('ends at once, and says why, without the settings it cannot do without', async () => {
      const { code, stdout } = await containers.tryPodman('run', '--rm', '--network', 'none', IMAGE);
      expect(code).toBe(2);
      expect(stdout).toContain('MDP_EDGE_SECRETS is missing');
    });
  });

  describe('as the manifest runs it', () => {
    let url: string;

    beforeAll(async () => {
      const [port] = await freePorts(1);
      url = `http://127.0.0.1:${port}`;
      const given = pipeline().env.filter(({ value }) => value !== undefined);
      // This machine's network is the container's too: loopback alone, and a port that is free.
      const settings = { ...Object.fromEntries(given.map(({ name, value }) => [name, value!])), MDP_HOST: '127.0.0.1' };
      const env = Object.entries({ ...settings, MDP_PORT: `${port}` }).flatMap(([name, value]) => [
        '--env',
        `${name}=${value}`,
      ]);
      await start('pod', ['--network', 'host', '--no-healthcheck', '--volume', `${secrets}:/etc/mdp:ro`, ...env]);
      await until('it is ready', async () => (await statusOf(`${url}/ready`)) === 200);
    });

    it('answers /health and /ready', async () => {
      expect(await (await fetch(`${url}/health`)).json()).toEqual({
        status: 'healthy',
        service: 'market-data-pipeline',
      });
      expect(await (await fetch(`${url}/ready`)).json()).toEqual({ status: 'ready' });
    });

    it('is process 1, without root, without capabilities, and cannot write but to its data and /tmp', async () => {
      const command = await inside('pod', 'fs.readFileSync("/proc/1/cmdline", "utf8").split("\\0")[0]');
      expect(command).toBe('node');
      const status = await inside('pod', 'fs.readFileSync("/proc/1/status", "utf8")');
      expect(status).toMatch(/^Uid:\s+1000\s+1000\s+1000\s+1000$/m);
      expect(status).toMatch(/^CapBnd:\s+0+$/m);
      expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
      const writable = `["/", "/app", "/app/pipeline", "/etc/mdp", "/home/node", "/app/data", "/tmp"].filter((at) => {
        try { fs.writeFileSync(at + "/probe", ""); fs.rmSync(at + "/probe"); return true } catch { return false } })`;
      expect(JSON.parse(await inside('pod', `JSON.stringify(${writable})`))).toEqual(['/app/data', '/tmp']);
    });

    it('knows the limit of its memory, and gets no more of a core than its limit', async () => {
      expect(Number(await inside('pod', 'process.constrainedMemory()'))).toBe(MEMORY_LIMIT_MIB * MIB);
      const busySecond = `const from = process.cpuUsage(), end = performance.now() + 1000;
        while (performance.now() < end); process.cpuUsage(from).user / 1e6`;
      // A tenth of a second is the period in which the limit is kept.
      expect(Number(await inside('pod', busySecond))).toBeLessThan(CPU_LIMIT + 0.15);
    });

    it('is killed under load, and comes back with all that it acknowledged', async () => {
      const sender = new ImageSender(url, edgeSecret, 'killed');
      const { sending } = await underWay(sender);
      await containers.podman('kill', '--signal', 'KILL', 'pod');
      await sending;
      expect(await containers.ended('pod')).toBe(KILLED);
      expect(lost(sender)).toEqual([]);

      await containers.podman('start', 'pod');
      await until('it is ready again', async () => (await statusOf(`${url}/ready`)) === 200);
      await sender.sendAllAgain();
      expect(sender.acknowledged.size).toBe(sender.offered);
      expect(storedTicks()).toBe(sender.offered * sender.ticksPerBatch);
    });

    it('drains on SIGTERM: ends with 0, and has stored all that it acknowledged', async () => {
      const sender = new ImageSender(url, edgeSecret, 'drained');
      const { sending } = await underWay(sender);
      await containers.podman('kill', '--signal', 'TERM', 'pod');
      await sending;
      expect(await containers.ended('pod')).toBe(0);
      expect(lost(sender)).toEqual([]);
      expect(await containers.podman('logs', 'pod')).toContain('"event":"drained","settled":true');
    });
  });

  /** Acknowledged, and not in the store's ledger. */
  function lost(sender: ImageSender): string[] {
    using ticks = new StoredTicks(join(data, 'ticks.db'));
    const batches = new Set(ticks.batchIds('ibkr'));
    return [...sender.acknowledged].filter((id) => !batches.has(id));
  }

  function storedTicks(): number {
    using ticks = new StoredTicks(join(data, 'ticks.db'));
    return ticks.counts('ibkr').trades;
  }

  async function start(name: string, options: string[]): Promise<void> {
    const memory = `${MEMORY_LIMIT_MIB}m`;
    const limits = ['--memory', memory, '--memory-swap', memory, '--cpus', `${CPU_LIMIT}`];
    const readOnly = ['--read-only', '--read-only-tmpfs=false', '--tmpfs', '/tmp:size=64m'];
    const unprivileged = ['--cap-drop', 'all', '--security-opt', 'no-new-privileges'];
    const mounts = ['--volume', `${data}:/app/data`];
    const all = [...limits, ...readOnly, ...unprivileged, ...mounts, ...options];
    await containers.podman('run', '--detach', '--name', name, ...all, IMAGE);
  }

  async function isHealthy(name: string): Promise<boolean> {
    return (await containers.tryPodman('healthcheck', 'run', name)).code === 0;
  }

  /** What an expression is inside the container. */
  function inside(name: string, expression: string): Promise<string> {
    return containers.podman('exec', name, 'node', '-p', expression);
  }
});

/** Resolves once much is acknowledged; its `sending` goes on until the pod ends it. */
async function underWay(sender: ImageSender): Promise<{ sending: Promise<void> }> {
  const sending = sender.sendUntilItFails();
  const endedEarly = sending.then(() => Promise.reject(new Error(`sending ended early: ${sender.lastWord}`)));
  const isMuch = until('much is acknowledged', () => sender.acknowledged.size >= BATCHES_BEFORE_THE_END);
  await Promise.race([isMuch, endedEarly]);
  return { sending };
}

async function statusOf(url: string): Promise<number | undefined> {
  return fetch(url).then(
    ({ status }) => status,
    () => undefined,
  );
}

function pipeline(): Container {
  const documents = parseAllDocuments(readFileSync('deploy/keda/deployment-pipeline.yaml', 'utf8'));
  const deployment = documents
    .map((document) => document.toJS() as Manifest)
    .find(({ kind }) => kind === 'Deployment')!;
  return (deployment.spec as { template: { spec: { containers: [Container] } } }).template.spec.containers[0];
}

/** Paths below `root`, folders too; a link is not followed. */
function filesOf(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' }).toSorted();
}

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(1);
}
