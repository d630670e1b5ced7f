/**
 * Images and containers of one test: buildah and podman with runc, on a storage of their own that is gone afterwards;
 * what the machine has of its own is neither seen nor touched. Knows nothing of what is in an image.
 */

import { type ExecFileException, execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { baseArchive, programOnPath } from './image-base.ts';

const run = promisify(execFile);

export const BASE_IMAGE = 'docker.io/library/node:26-bookworm-slim';
const TOOLS = ['buildah', 'podman', 'runc', 'debootstrap', 'npm'];
/** Where Debian has the machine's certificates, and npm in the base looks for its settings. */
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';
const NPMRC = '/root/.npmrc';
const OUTPUT_MAX_BYTES = 64 * 1024 * 1024;

/** Why images cannot be built and run here, or undefined. */
export const imagesLack: string | undefined =
  process.getuid?.() !== 0
    ? 'being root on Linux'
    : TOOLS.filter((tool) => programOnPath(tool) === undefined).join(', ') || undefined;

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

export interface ImageConfig {
  User: string;
  Env: string[];
  Entrypoint?: string[];
  Cmd: string[];
  ExposedPorts: Record<string, unknown>;
  Labels: Record<string, string>;
}

/** Invariant: no container of ours is left, and no mount, after it was disposed of. */
export class Containers implements AsyncDisposable {
  readonly directory: string;
  readonly #env: NodeJS.ProcessEnv;

  private constructor(directory: string) {
    this.directory = directory;
    this.#env = {
      ...process.env,
      CONTAINERS_STORAGE_CONF: join(directory, 'storage.conf'),
      CONTAINERS_CONF: join(directory, 'containers.conf'),
    };
  }

  /** With {@link BASE_IMAGE} in its storage. */
  static async start(): Promise<Containers> {
    const archive = await baseArchive();
    // Short: the sockets of a container are below it, and their paths may be 108 bytes long.
    const directory = await mkdtemp(join(tmpdir(), 'mdp-ctr-'));
    const at = (name: string): string => JSON.stringify(join(directory, name));
    await writeFile(
      join(directory, 'storage.conf'),
      `[storage]\ndriver = "overlay"\ngraphroot = ${at('store')}\nrunroot = ${at('run')}\n`,
    );
    await writeFile(
      join(directory, 'containers.conf'),
      `[containers]
default_ulimits = ["nofile=16384:16384", "nproc=32768:32768"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "runc"
tmp_dir = ${at('tmp')}
`,
    );
    const containers = new Containers(directory);
    // The real base starts through a script of its own; it is not in the stand-in, so that nobody leans on it.
    const entrypoint = ['--change', 'ENTRYPOINT ["docker-entrypoint.sh"]', '--change', 'CMD ["node"]'];
    await containers.podman('import', ...entrypoint, archive, BASE_IMAGE);
    return containers;
  }

  /** Stdout of a podman command that has to succeed. */
  async podman(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.tryPodman(...args);
    if (code !== 0) throw new Error(`podman ${args.join(' ')} ended with ${code}:\n${stderr}`);
    return stdout.trim();
  }

  async tryPodman(...args: string[]): Promise<Ended> {
    try {
      const output = await run('podman', args, { env: this.#env, maxBuffer: OUTPUT_MAX_BYTES });
      return { code: 0, ...output };
    } catch (cause) {
      const { code, stdout, stderr } = cause as ExecFileException;
      if (typeof code !== 'number') throw cause;
      return { code, stdout: String(stdout), stderr: String(stderr) };
    }
  }

  /** Builds the Dockerfile of `context`. The machine's way to the npm registry is lent to it, and is in no image. */
  async build(context: string, image: string): Promise<void> {
    const { npmrc, certificates } = await npmSettings();
    const lent = [`${join(this.directory, 'npmrc')}:${NPMRC}:ro`];
    if (certificates !== undefined) lent.push(`${certificates}:${CERTIFICATES}:ro`);
    await writeFile(join(this.directory, 'npmrc'), npmrc);
    const options = ['--format', 'docker', '--isolation', 'chroot', '--pull=never', '--network', 'host'];
    const volumes = lent.flatMap((volume) => ['--volume', volume]);
    await run('buildah', ['build', ...options, ...volumes, '--tag', image, context], {
      env: this.#env,
      maxBuffer: OUTPUT_MAX_BYTES,
    });
  }

  async image(name: string): Promise<{ sizeBytes: number; config: ImageConfig }> {
    const [image] = JSON.parse(await this.podman('image', 'inspect', name)) as [{ Size: number; Config: ImageConfig }];
    return { sizeBytes: image.Size, config: image.Config };
  }

  /** Resolves with the exit code once the container has ended. */
  async ended(container: string): Promise<number> {
    return Number(await this.podman('wait', container));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.podman('rm', '--all', '--force', '--time', '0');
    await this.podman('image', 'umount', '--all', '--force');
    // Storage keeps a mount of its own on itself.
    spawnSync('umount', [join(this.directory, 'store', 'overlay')]);
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** An npmrc with this machine's registry, and the file of the certificates that it trusts when they are its own. */
async function npmSettings(): Promise<{ npmrc: string; certificates: string | undefined }> {
  const [registry, cafile] = await Promise.all([npmSetting('registry'), npmSetting('cafile')]);
  const certificates = cafile ?? process.env['NODE_EXTRA_CA_CERTS'];
  const named = certificates === undefined ? '' : `cafile=${CERTIFICATES}\n`;
  return { npmrc: `registry=${registry}\n${named}`, certificates };
}

async function npmSetting(name: string): Promise<string | undefined> {
  const { stdout } = await run('npm', ['config', 'get', name]);
  const value = stdout.trim();
  return value === 'null' || value === '' ? undefined : value;
}
