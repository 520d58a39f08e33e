import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A containerd of its own, with its own folders and socket. */
export interface TestContainerd extends AsyncDisposable {
  pid: number;
  /** Runs `ctr` against it. @returns what it printed */
  ctr: (...args: string[]) => Promise<string>;
  /** Pulls and unpacks by plain http. */
  pull: (reference: string) => Promise<void>;
  /** Runs `use` while the image's tree is mounted read-only. */
  withTree: <T>(reference: string, use: (root: string) => Promise<T>) => Promise<T>;
}

/** The programs that {@link startContainerd} needs. */
export const containerdTools = ['containerd', 'ctr', 'umount'];

/**
 * Starts Debian's containerd on a temporary folder, with the overlay snapshotter.
 * @param options.folder where its root and state are made instead; it stays
 */
export async function startContainerd(options: { folder?: string } = {}): Promise<TestContainerd> {
  const folder = options.folder ?? (await mkdtemp(path.join(tmpdir(), 'dray-containerd-')));
  const socket = path.join(folder, 'containerd.sock');
  const config = path.join(folder, 'config.toml');
  const log = path.join(folder, 'containerd.log');
  await mkdir(path.join(folder, 'state'), { recursive: true });
  await writeFile(
    config,
    `version = 2
root = "${folder}/root"
state = "${folder}/state"
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "${socket}"
[debug]
  level = "warn"
`,
  );
  const child = spawn('containerd', ['--config', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr.pipe(createWriteStream(log));
  child.on('error', () => {});
  await once(child, 'spawn');
  const ctr = async (...args: string[]) => {
    const { stdout } = await run('ctr', ['--address', socket, '--namespace', 'test', ...args], {
      maxBuffer: 64 << 20,
    });
    return stdout;
  };
  const containerd: TestContainerd = {
    pid: child.pid ?? 0,
    ctr,
    pull: async (reference) => {
      await ctr('images', 'pull', '--plain-http', '--snapshotter', 'overlayfs', reference);
    },
    withTree: async (reference, use) => {
      const root = await mkdtemp(path.join(folder, 'tree-'));
      await ctr('images', 'mount', '--snapshotter', 'overlayfs', reference, root);
      try {
        return await use(root);
      } finally {
        await run('umount', [root]);
      }
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit');
        child.kill('SIGTERM');
        const kill = setTimeout(() => child.kill('SIGKILL'), 10_000);
        await exited;
        clearTimeout(kill);
      }
      if (options.folder === undefined) await rm(folder, { recursive: true, force: true });
    },
  };
  for (let tries = 0; ; tries++) {
    if (await ctr('version').catch(() => undefined)) return containerd;
    if (tries === 200 || child.exitCode !== null) {
      const said = await readFile(log, 'utf8').catch(() => '');
      await containerd[Symbol.asyncDispose]();
      throw new Error(`containerd does not start: ${said.slice(-3000)}`);
    }
    await sleep(50);
  }
}
