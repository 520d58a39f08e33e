import { execFile } from 'node:child_process';
import {
  chmod,
  cp,
  lchown,
  link,
  lutimes,
  mkdir,
  mkdtemp,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import koffi from 'koffi';
import { hostPlatform } from '../../shared/image/platform.ts';

const run = promisify(execFile);

/** An image that drayage had no hand in. */
export interface ToolImage {
  /** What made it, and what is particular. */
  name: string;
  reference: string;
  /** Images of one family have the same tree. */
  family: 'umoci' | 'podman';
  /** Whether its layers are zstd, which umoci does not read. */
  zstd: boolean;
}

/** The programs that {@link pushToolImages} needs. */
export const imageTools = ['skopeo', 'umoci', 'podman', 'busybox', 'mknod', 'mkfifo'];

/**
 * Makes images with umoci, podman and skopeo, and has those tools push them by plain http: OCI with gzip and
 * with zstd layers, Docker schema 2, and an index of two platforms.
 * @param host of a registry on loopback
 */
export async function pushToolImages(host: string): Promise<ToolImage[]> {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-images-'));
  const at = (name: string) => `${host}/tools/${name}:latest`;
  try {
    await makeRoot(path.join(folder, 'root'));
    await makeWithUmoci(folder, at('umoci'));
    await copy(`docker://${at('umoci')}`, `docker://${at('schema2')}`, '--format', 'v2s2');
    await recompress(folder, at('umoci'), at('umoci-zstd'));
    const podman = await makeWithPodman(folder, at('podman'));
    await copy(`docker://${at('podman')}`, `docker://${at('podman-schema2')}`, '--format', 'v2s2');
    await podman(
      'push',
      '--quiet',
      '--compression-format',
      'zstd',
      'test',
      `oci:${folder}/zstd:image`,
    );
    await copy(`oci:${folder}/zstd:image`, `docker://${at('podman-zstd')}`, '--preserve-digests');
    const { architecture } = hostPlatform();
    const other = architecture === 'arm64' ? 'amd64' : 'arm64';
    await podman('manifest', 'create', 'index');
    const add = ['manifest', 'add', '--tls-verify=false', 'index'];
    await podman(...add, '--arch', other, `docker://${at('schema2')}`);
    await podman(...add, '--arch', architecture, `docker://${at('podman')}`);
    await podman(
      'manifest',
      'push',
      '--all',
      '--tls-verify=false',
      'index',
      `docker://${at('index')}`,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const image = (name: string, repository: string, zstd = false): ToolImage => {
    const family = name.startsWith('umoci') ? 'umoci' : 'podman';
    return { name, reference: at(repository), family, zstd };
  };
  return [
    image('umoci: OCI, gzip', 'umoci'),
    image('umoci and skopeo: Docker schema 2', 'schema2'),
    image('umoci and skopeo: zstd', 'umoci-zstd', true),
    image('podman build: OCI, gzip', 'podman'),
    image('podman and skopeo: Docker schema 2', 'podman-schema2'),
    image('podman push: zstd', 'podman-zstd', true),
    image('podman manifest: an index of two platforms', 'index'),
  ];
}

/** A tree with every kind of thing that an image can have. */
async function makeRoot(root: string): Promise<void> {
  const at = (name: string) => path.join(root, name);
  for (const name of [
    'bin',
    'etc/deep/er',
    'gone/with/all',
    'folder',
    'opaque',
    'links',
    'tmp',
    'dev',
  ]) {
    await mkdir(at(name), { recursive: true });
  }
  await cp('/bin/busybox', at('bin/busybox'));
  await symlink('busybox', at('bin/sh'));
  await writeFile(at('etc/passwd'), 'root:x:0:0:root:/:/bin/sh\n');
  await writeFile(at('etc/deep/er/file'), 'deep');
  await writeFile(at('gone/with/all/file'), 'gone');
  await writeFile(at('folder/child'), 'of a folder that becomes a file');
  await writeFile(at('file'), 'a file that becomes a folder');
  await writeFile(at('opaque/hidden'), 'hidden');
  await writeFile(at('empty'), '');
  await writeFile(at('big'), Buffer.alloc(3_000_000, 'drayage '));
  await writeFile(at('ünïcødé ✓ with blanks'), 'name');
  const long = path.join('long', ...Array.from({ length: 4 }, (_, n) => `${n}`.repeat(90)));
  await mkdir(at(long), { recursive: true });
  await writeFile(at(path.join(long, 'x'.repeat(200))), 'a path of over 500 bytes');
  await symlink(`/${long}/${'y'.repeat(150)}`, at('links/far'));
  await symlink('../etc/passwd', at('links/near'));
  await symlink('nowhere', at('links/dangling'));
  await writeFile(at('links/one'), 'three names');
  await link(at('links/one'), at('links/two'));
  await link(at('links/one'), at('etc/three'));
  await run('mkfifo', ['-m', '600', at('dev/fifo')]);
  await run('mknod', ['-m', '666', at('dev/null'), 'c', '1', '3']);
  await run('mknod', ['-m', '660', at('dev/block'), 'b', '259', '70000']);
  await writeFile(at('setuid'), '#!');
  await lchown(at('setuid'), 12, 34);
  await chmod(at('setuid'), 0o6755);
  await chmod(at('tmp'), 0o1777);
  await lchown(at('links/near'), 3_000_000, 3_000_001);
  await lchown(at('etc/deep'), 70_000, 70_001);
  await chmod(at('etc/deep'), 0o2710);
  await writeFile(at('capable'), '#!');
  setXattr(at('capable'), 'security.capability', capability);
  setXattr(at('etc/deep/er/file'), 'user.binary', Buffer.from([0, 1, 0xff, 0x0a, 0x3d]));
  setXattr(at('opaque'), 'user.of-a-folder', Buffer.from('value'));
  await lutimes(at('links/dangling'), 1, 2);
  await utimes(at('empty'), 4_102_444_800, 4_102_444_800);
  await utimes(at('etc/passwd'), 0, 0);
}

/** cap_net_bind_service=ep (linux/capability.h, vfs_cap_data revision 2). */
const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex');

const lsetxattr = koffi
  .load('libc.so.6')
  .func(
    'int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)',
  );

function setXattr(file: string, name: string, value: Buffer): void {
  if (lsetxattr(file, name, value, value.length, 0) !== 0) {
    throw new Error(`setxattr ${name} on ${file} failed`);
  }
}

/** Two layers: the tree, then a changed one of which umoci takes the difference. */
async function makeWithUmoci(folder: string, reference: string): Promise<void> {
  const image = `${folder}/umoci:image`;
  const bundle = path.join(folder, 'bundle');
  const root = path.join(bundle, 'rootfs');
  await run('umoci', ['init', '--layout', `${folder}/umoci`]);
  await run('umoci', ['new', '--image', image]);
  await run('umoci', ['unpack', '--image', image, bundle]);
  await run('cp', ['--archive', `${folder}/root/.`, root]);
  await run('umoci', ['repack', '--refresh-bundle', '--image', image, bundle]);
  await change(root);
  await run('umoci', ['repack', '--image', image, bundle]);
  await copy(`oci:${image}`, `docker://${reference}`);
}

/**
 * What the second layer deletes, replaces, adds and relinks. No folder becomes a file: umoci writes whiteouts
 * of what was in it below the file, which containerd refuses.
 */
async function change(root: string): Promise<void> {
  const at = (name: string) => path.join(root, name);
  await rm(at('gone'), { recursive: true });
  await rm(at('file'));
  await mkdir(at('file/with'), { recursive: true });
  await writeFile(at('file/with/child'), 'was a file');
  await rm(at('opaque'), { recursive: true });
  await mkdir(at('opaque'));
  await writeFile(at('opaque/shown'), 'shown');
  await rm(at('links/two'));
  await symlink('one', at('links/two'));
  await link(at('etc/deep/er/file'), at('links/lower'));
  await chmod(at('setuid'), 0o755);
  await writeFile(at('etc/passwd'), 'root:x:0:0:changed:/:/bin/sh\n');
}

type Podman = (...args: string[]) => Promise<void>;

/** Layers by COPY and RUN, in a storage of their own, without a network. @returns podman on that storage */
async function makeWithPodman(folder: string, reference: string): Promise<Podman> {
  const podman: Podman = async (...args) => {
    await run('podman', [
      ...['--root', `${folder}/storage`, '--runroot', `${folder}/run`, '--tmpdir', `${folder}/tmp`],
      ...['--storage-driver', 'vfs', '--cgroup-manager', 'cgroupfs', '--events-backend', 'none'],
      ...args,
    ]);
  };
  const shell = (script: string) => `RUN ["/bin/busybox", "sh", "-ec", "${script}"]`;
  await writeFile(
    path.join(folder, 'Containerfile'),
    `FROM scratch
COPY root /
${shell('busybox rm -r /gone /folder; echo file >/folder; busybox rm /file; busybox mkdir -p /file/with; echo x >/file/with/child')}
${shell('busybox rm -r /opaque; busybox mkdir /opaque; echo shown >/opaque/shown; busybox ln /etc/deep/er/file /links/lower; busybox chmod 4711 /setuid')}
ENV MADE=podman
CMD ["/bin/busybox"]
`,
  );
  await podman('build', '--quiet', '--layers', '--isolation', 'chroot', '--tag', 'test', folder);
  await podman(
    'push',
    '--quiet',
    '--tls-verify=false',
    '--format',
    'oci',
    'test',
    `docker://${reference}`,
  );
  return podman;
}

/** Pushing straight to the registry would find the gzip layers there and take those. */
async function recompress(folder: string, from: string, to: string): Promise<void> {
  const layout = `oci:${folder}/recompressed:image`;
  await copy(`docker://${from}`, layout, '--dest-compress-format', 'zstd');
  await copy(layout, `docker://${to}`, '--preserve-digests');
}

async function copy(from: string, to: string, ...options: string[]): Promise<void> {
  const insecure = [
    ...(from.startsWith('docker:') ? ['--src-tls-verify=false'] : []),
    ...(to.startsWith('docker:') ? ['--dest-tls-verify=false'] : []),
  ];
  await run('skopeo', ['copy', '--quiet', ...insecure, ...options, from, to]);
}
