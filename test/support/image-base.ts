/**
 * A stand-in for the image that the Dockerfile starts from, made without a registry of images: Debian bookworm from
 * its own archive, the project's own Node, this machine's npm, and user 1000. Kept between runs as one archive.
 */

import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { chmod, copyFile, cp, mkdir, mkdtemp, rename, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const NODE = 'node_modules/.bin/node';
const SUITE = 'bookworm';
/** What the real one has beyond Debian's minimum. */
const PACKAGES = 'ca-certificates,libstdc++6,libatomic1,netbase,tzdata';
/** Of the archive's making: another number makes a new one. */
const RECIPE = 1;

/** The first of that name on the PATH, or undefined. */
export function programOnPath(name: string): string | undefined {
  const paths = (process.env['PATH'] ?? '').split(delimiter).concat('/usr/sbin', '/sbin');
  return paths.map((directory) => join(directory, name)).find((path) => existsSync(path));
}

/** The path of the base's archive, made if there is none of the same ingredients. */
export async function baseArchive(): Promise<string> {
  const npm = dirname(dirname(realpathSync(programOnPath('npm')!)));
  const { version } = JSON.parse(readFileSync(join(npm, 'package.json'), 'utf8')) as { version: string };
  const node = realpathSync(NODE);
  const { stdout: nodeVersion } = await run(node, ['--version']);
  const ingredients = [RECIPE, SUITE, PACKAGES, process.arch, nodeVersion.trim(), version].join(' ');
  const key = createHash('sha256').update(ingredients).digest('hex').slice(0, 16);
  // Named by user: nobody else's archive is taken for ours.
  const directory = join(tmpdir(), `mdp-image-base-${process.getuid!()}`);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const archive = join(directory, `${key}.tar`);
  if (!existsSync(archive)) await make(archive, node, npm);
  return archive;
}

async function make(archive: string, node: string, npm: string): Promise<void> {
  const root = await mkdtemp(join(dirname(archive), 'root-'));
  // Also when the test runner is ended in the middle of it.
  const clear = (): void => {
    spawnSync('umount', ['--recursive', root]);
    rmSync(root, { recursive: true, force: true });
  };
  process.once('exit', clear);
  try {
    // In memory: dpkg waits for the disk after each of its packages, which on a busy one takes minutes.
    await run('mount', ['-t', 'tmpfs', '-o', 'size=1g,mode=755', 'mdp-image-base', root]);
    await run('debootstrap', ['--variant=minbase', `--include=${PACKAGES}`, SUITE, root]);
    for (const cache of ['var/cache/apt', 'var/lib/apt/lists']) {
      await rm(join(root, cache), { recursive: true });
    }
    await copyFile(node, join(root, 'usr/local/bin/node'));
    await chmod(join(root, 'usr/local/bin/node'), 0o755);
    await cp(npm, join(root, 'usr/local/lib/node_modules/npm'), { recursive: true, verbatimSymlinks: true });
    await symlink('../lib/node_modules/npm/bin/npm-cli.js', join(root, 'usr/local/bin/npm'));
    await run('chroot', [root, 'useradd', '--uid', '1000', '--user-group', '--create-home', 'node']);
    await run('tar', ['-C', root, '-cf', `${archive}.part`, '.']);
    await rename(`${archive}.part`, archive);
  } finally {
    clear();
    process.removeListener('exit', clear);
  }
}
