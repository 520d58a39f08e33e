import { posix } from 'node:path';
import type { RunOptions } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { ImageConfig } from '../../../shared/image/manifest.ts';
import { capabilitiesFor } from './capabilities.ts';
import { createCommand, createEnvironment } from './environment.ts';
import { type Host, rlimitsFor } from './host.ts';
import { bindMount, defaultMounts, maskedPaths, readonlyPaths, requestedMounts } from './mounts.ts';
import { resolveInRoot } from './rooted.ts';
import type { Spec, SpecMount } from './runtime-spec.ts';
import { translateProfile } from './seccomp.ts';
import { lookupUser } from './user.ts';

const ociVersion = '1.0.2';
const umask = 0o022;

export interface SpecRequest {
  imageConfig: Pick<ImageConfig, 'config'>;
  options: RunOptions;
  /** The mounted root file system, on which nothing runs. */
  rootfs: string;
  hostname: string;
  host: Host;
  /** Below the mount points of the cgroup controllers. */
  cgroupsPath: string;
  /** Files of the bundle that stand for those of the image: `/etc/hosts` and its kin. */
  networkFiles: readonly { source: string; target: string }[];
  signal?: AbortSignal;
}

/**
 * The runtime specification's config.json of a container: what moby and containerd put for the same image
 * and options, within what this node can grant.
 * @throws CONFIG_INVALID, USER_UNKNOWN, COMMAND_MISSING
 */
export async function createSpec(request: SpecRequest): Promise<Spec> {
  const { options, rootfs, hostname, host } = request;
  const call = request.signal === undefined ? {} : { signal: request.signal };
  const image = request.imageConfig.config ?? {};
  const args = createCommand({
    entrypoint: options.entrypoint ?? image.Entrypoint ?? [],
    // An entrypoint that the image does not know has nothing to do with its command.
    cmd: options.entrypoint === undefined ? (image.Cmd ?? []) : [],
    args: options.args,
  });
  const cwd = await workingDirectory(rootfs, options.workingDirectory ?? image.WorkingDir ?? '');
  const user = await lookupUser(rootfs, options.user ?? image.User ?? '', call);
  const env = createEnvironment({
    image: image.Env ?? [],
    overrides: options.env ?? [],
    hostname,
    home: user.home,
  });
  const capabilities = capabilitiesFor(user.uid, host.boundingSet);
  return {
    ociVersion,
    hostname,
    root: { path: rootfs, readonly: options.readOnly ?? false },
    process: {
      terminal: options.terminal ?? false,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids, umask },
      args,
      env,
      cwd,
      capabilities,
      rlimits: rlimitsFor(host),
      noNewPrivileges: true,
      oomScoreAdj: Math.max(0, host.oomScoreAdj),
    },
    mounts: layMounts(
      request.networkFiles.map(({ source, target }) => bindMount(source, target, false)),
      await requestedMounts(options.mounts ?? [], call),
    ),
    linux: {
      cgroupsPath: request.cgroupsPath,
      namespaces: namespacesFor(options, host),
      // The runtime itself adds the devices that every container has: null, zero, random, tty and so on.
      resources: { devices: [{ allow: false, access: 'rwm' }] },
      seccomp: translateProfile(host.seccomp, { ...host, capabilities: capabilities.bounding }),
      maskedPaths: [...maskedPaths],
      readonlyPaths: [...readonlyPaths],
    },
    annotations: {},
  };
}

/** Mounts of the caller take the place of others at the same target. */
function layMounts(files: readonly SpecMount[], requested: readonly SpecMount[]): SpecMount[] {
  const taken = new Set(requested.map(({ destination }) => destination));
  return [
    ...[...defaultMounts, ...files].filter(({ destination }) => !taken.has(destination)),
    ...requested,
  ];
}

function namespacesFor(options: RunOptions, host: Host): Spec['linux']['namespaces'] {
  const types = ['pid', 'ipc', 'uts', 'mount'];
  // A network namespace of its own has a loopback device, which the runtime sets up.
  if ((options.network ?? 'host') !== 'host') types.push('network');
  if (host.cgroups === 'v2') types.push('cgroup');
  return types.map((type) => ({ type }));
}

/**
 * Where the process starts; the runtime makes the folder when it is missing. One that leads to an open
 * file of the runtime would let the process out of its root, also by way of a symlink of the image.
 */
async function workingDirectory(rootfs: string, wanted: string): Promise<string> {
  const cwd = posix.resolve('/', wanted);
  if (cwd.includes('\0')) throw new DrayError('CONFIG_INVALID', 'The working directory has a NUL');
  for (const path of [cwd, await resolveInRoot(rootfs, cwd)]) {
    if (/^\/(proc|dev\/fd)(\/|$)/.test(path) && !/^\/proc\/?$/.test(path)) {
      throw new DrayError('CONFIG_INVALID', `The working directory ${cwd} leads into ${path}`, {
        hint: 'Choose a folder of the image with --workdir.',
      });
    }
  }
  return cwd;
}
