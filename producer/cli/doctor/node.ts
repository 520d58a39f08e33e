import { execFile } from 'node:child_process';
import { access, constants, readFile, statfs } from 'node:fs/promises';
import { release } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Config } from '../../../shared/config/config.ts';
import { errnoOf } from '../../../shared/errors.ts';
import { runcWarning } from '../../../shared/node/runc-version.ts';
import { formatBytes } from '../output.ts';
import { type Check, failed, type Outcome, ok, warning } from './check.ts';

const run = promisify(execFile);
const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** The controllers that limits of containers need. */
const controllers = ['cpu', 'memory', 'pids'];
const seccompProfile = '/usr/share/containers/seccomp.json';
const plugins = ['bridge', 'host-local', 'portmap', 'loopback'];
/** statfs(2): file systems that can't hold the upper layer of an overlay, or lose it. */
const unfit: Record<number, string> = { 2035054128: 'overlay', 26985: 'NFS', 19780: 'FAT' };
const leastFree = 5 * 1024 ** 3;
/** Bytes below which hardly any image can be unpacked. */
const noRoom = 256 * 1024 ** 2;

/** What a node has to have to unpack images and run containers. */
export function nodeChecks(config: Config): Check[] {
  const { root, network } = config.agent;
  return [
    { name: 'root', look: isRoot },
    { name: 'kernel', look: kernel },
    { name: 'cgroups', look: cgroups },
    { name: 'user namespaces', look: userNamespaces },
    { name: 'seccomp', look: seccomp },
    { name: 'runc', look: runc },
    { name: 'conmon', look: conmon },
    { name: 'CNI plugins', look: () => cni(network.plugins) },
    { name: 'iptables', look: iptables },
    { name: 'init', look: init },
    { name: 'disk', look: () => disk(root) },
  ];
}

async function isRoot(): Promise<Outcome> {
  if (process.getuid?.() === 0) return ok('this is root');
  return failed('this is not root', 'The agent mounts and runs containers: start it as root.');
}

async function kernel(): Promise<Outcome> {
  const found = `Linux ${release()}`;
  const [major = 0, minor = 0] = release().split('.').map(Number);
  if (major < 5 || (major === 5 && minor < 6)) {
    return failed(
      `${found} is too old`,
      'drayage needs 5.6 (openat2) at least: upgrade the kernel.',
    );
  }
  const known = await readFile('/proc/filesystems', 'utf8');
  if (/\boverlay$/m.test(known)) return ok(`${found}, with overlayfs`);
  const isModule = await access(`/lib/modules/${release()}/kernel/fs/overlayfs`).then(
    () => true,
    () => false,
  );
  if (isModule) return ok(`${found}, with overlayfs as a module`);
  return failed(
    `${found} has no overlayfs`,
    'Load it (modprobe overlay), or use a kernel that has it.',
  );
}

async function cgroups(): Promise<Outcome> {
  const v2 = await text('/sys/fs/cgroup/cgroup.controllers');
  const has =
    v2?.trim().split(' ') ??
    (await text('/proc/cgroups'))
      ?.split('\n')
      .map((line) => line.split('\t'))
      .flatMap(([name = '', , , enabled]) => (enabled === '1' ? [name] : [])) ??
    [];
  const version = v2 === undefined ? 'v1' : 'v2';
  const missing = controllers.filter((name) => !has.includes(name));
  if (missing.length === 0) return ok(`${version}, with ${controllers.join(', ')}`);
  return failed(
    `${version} without ${missing.join(', ')}`,
    'Limits of containers need them: see cgroup_enable= of the kernel, or Delegate= of the unit.',
  );
}

async function userNamespaces(): Promise<Outcome> {
  const most = Number(await text('/proc/sys/user/max_user_namespaces'));
  if (most > 0) return ok(`${most} at most`);
  return warning(
    'there are none',
    'Containers can not be given users of their own: sysctl user.max_user_namespaces=15000',
  );
}

async function seccomp(): Promise<Outcome> {
  if (!/^Seccomp:/m.test((await text('/proc/self/status')) ?? '')) {
    return failed(
      'the kernel has no seccomp',
      'Use a kernel that was built with CONFIG_SECCOMP_FILTER.',
    );
  }
  const profile = await text(seccompProfile);
  const install = 'apt-get install golang-github-containers-common';
  if (profile === undefined) return failed(`${seccompProfile} is not there`, install);
  try {
    JSON.parse(profile);
    return ok(`profile ${seccompProfile}`);
  } catch {
    return failed(`${seccompProfile} is not JSON`, `Install it again: ${install}`);
  }
}

async function runc(): Promise<Outcome> {
  const output = await versionOf('runc');
  if (output === undefined) return failed('runc is not installed', 'apt-get install runc');
  const known = runcWarning(output);
  if (known === undefined) return ok(firstLine(output));
  return warning(known, "Install a newer runc, or see that your distribution's has the fixes.");
}

async function conmon(): Promise<Outcome> {
  const output = await versionOf('conmon');
  if (output === undefined) return failed('conmon is not installed', 'apt-get install conmon');
  return ok(firstLine(output));
}

async function cni(folders: readonly string[]): Promise<Outcome> {
  const missing: string[] = [];
  const places = new Set<string>();
  for (const name of plugins) {
    const place = await firstWith(folders, name);
    if (place === undefined) missing.push(name);
    else places.add(place);
  }
  if (missing.length === 0) return ok([...places].join(', '));
  return warning(
    `${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} in none of ${folders.join(', ')}`,
    'Containers on a bridge (--net bridge) need them: apt-get install containernetworking-plugins',
  );
}

async function iptables(): Promise<Outcome> {
  const output = await versionOf('iptables');
  if (output !== undefined) return ok(firstLine(output));
  return warning(
    'iptables is not installed',
    'Containers on a bridge (--net bridge) and their ports need it: apt-get install iptables',
  );
}

async function init(): Promise<Outcome> {
  const output = await versionOf('catatonit');
  if (output !== undefined) return ok(`catatonit: ${firstLine(output)}`);
  return warning(
    'catatonit is not installed',
    'Containers with an init (--init) need it: apt-get install catatonit',
  );
}

async function disk(root: string): Promise<Outcome> {
  const { place, stats } = await nearest(root);
  const { type, bavail, blocks, bsize, files, ffree } = stats;
  const kind = unfit[type];
  if (kind !== undefined) {
    return failed(
      `${place} is on ${kind}, which holds no snapshots`,
      'Put the agent on a disk of its own: DRAY_AGENT_ROOT=/path on ext4 or xfs.',
    );
  }
  const free = bavail * bsize;
  const found = `${formatBytes(free)} of ${formatBytes(blocks * bsize)} free at ${place}`;
  if (files > 0 && ffree < files * 0.05) {
    return warning(`${ffree} of ${files} inodes free at ${place}`, 'Remove images and containers.');
  }
  if (free > leastFree && bavail > blocks * 0.1) return ok(found);
  const hint = 'Remove images and containers that nobody needs, or give it a larger disk.';
  return free < noRoom ? failed(`${found}: too little for an image`, hint) : warning(found, hint);
}

/** The folder, or the one above it that is there. */
async function nearest(folder: string) {
  for (let place = folder; ; place = path.dirname(place)) {
    try {
      return { place, stats: await statfs(place) };
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' || place === '/') throw error;
    }
  }
}

async function versionOf(tool: string): Promise<string | undefined> {
  const file = await firstWith(`${process.env.PATH ?? ''}:${systemPath}`.split(':'), tool);
  if (file === undefined) return undefined;
  const { stdout } = await run(path.join(file, tool), ['--version'], { timeout: 5_000 });
  return stdout.trim();
}

/** The first of the folders that has a program of that name. */
async function firstWith(folders: readonly string[], name: string): Promise<string | undefined> {
  for (const folder of folders.filter((each) => each.startsWith('/'))) {
    const found = await access(path.join(folder, name), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return folder;
  }
  return undefined;
}

function firstLine(output: string): string {
  return output.split('\n')[0] ?? '';
}

async function text(file: string): Promise<string | undefined> {
  return await readFile(file, 'utf8').catch(() => undefined);
}
