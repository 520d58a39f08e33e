import { posix } from 'node:path';
import type { TerminalSize } from '../../../shared/agent/exec.ts';
import type { NetworkMode, RunOptions } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { ImageConfig } from '../../../shared/image/config.ts';
import { apparmorFor } from './apparmor.ts';
import { capabilitiesFor, mayRaiseLimits } from './capabilities.ts';
import { devicesFor } from './devices.ts';
import { createCommand, createEnvironment } from './environment.ts';
import type { Host } from './host.ts';
import {
  bindMount,
  defaultMounts,
  maskedPaths,
  type PlainMountRequest,
  readonlyPaths,
  requestedMounts,
} from './mounts.ts';
import { resourcesFor } from './resources.ts';
import { rlimitsFor } from './rlimits.ts';
import { resolveInRoot } from './rooted.ts';
import type { Seccomp, Spec, SpecMount, SpecProcess } from './runtime-spec.ts';
import { parseProfile, translateProfile } from './seccomp.ts';
import { sysctlsFor } from './sysctls.ts';
import { lookupUser } from './user.ts';

const ociVersion = '1.0.2';
const umask = 0o022;

export interface SpecRequest {
  imageConfig: Pick<ImageConfig, 'config'>;
  options: RunOptions;
  network: NetworkMode;
  /** Those of options and image, volumes as the folders that they are. */
  mounts: readonly PlainMountRequest[];
  /** The mounted root file system, on which nothing runs. */
  rootfs: string;
  hostname: string;
  host: Host;
  /** Below the mount points of the cgroup controllers. */
  cgroupsPath: string;
  /** Files of the bundle that stand for those of the image: `/etc/hosts` and its kin. */
  networkFiles: readonly { source: string; target: string }[];
  /** Hears of what was asked for and is less here. */
  warn?: (message: string) => void;
  signal?: AbortSignal;
}

/**
 * The runtime specification's config.json of a container: what moby and containerd put for the same image
 * and options, within what this node can grant.
 * @throws CONFIG_INVALID, USER_UNKNOWN, COMMAND_MISSING
 */
export async function createSpec(request: SpecRequest): Promise<Spec> {
  const { options, network, rootfs, hostname, host } = request;
  const { privileged = false, userMapping, resources = {} } = options;
  checkNamespaces(request);
  const process = await createProcess(request);
  const { devices, rules } = await devicesFor(options.devices ?? [], { privileged });
  const seccomp = seccompFor(request, process.capabilities.bounding);
  const { shmSize } = resources;
  return {
    ociVersion,
    hostname,
    root: { path: rootfs, readonly: options.readOnly ?? false },
    process,
    mounts: layMounts(
      defaultMounts({ privileged, ...(shmSize === undefined ? {} : { shmSize }) }),
      request.networkFiles.map(({ source, target }) => bindMount(source, target, false)),
      await requestedMounts(request.mounts, signalOf(request)),
    ),
    linux: {
      cgroupsPath: request.cgroupsPath,
      namespaces: namespacesFor(request),
      ...(userMapping === undefined
        ? {}
        : { uidMappings: [userMapping], gidMappings: [userMapping] }),
      devices,
      sysctl: sysctlsFor(options.sysctls ?? {}, {
        network,
        userNamespace: userMapping !== undefined,
      }),
      // The runtime itself adds the devices that every container has: null, zero, random, tty and so on.
      resources: { devices: rules, ...(await resourcesFor(resources, host.cgroups)) },
      ...(seccomp === undefined ? {} : { seccomp }),
      maskedPaths: privileged ? [] : [...maskedPaths],
      readonlyPaths: privileged ? [] : [...readonlyPaths],
    },
    annotations: {},
  };
}

async function createProcess(request: SpecRequest): Promise<SpecProcess> {
  const { options, rootfs, hostname, host } = request;
  const { privileged = false, security = {}, terminal = false } = options;
  const image = request.imageConfig.config ?? {};
  const args = createCommand({
    entrypoint: options.entrypoint ?? image.Entrypoint ?? [],
    // An entrypoint that the image does not know has nothing to do with its command.
    cmd: options.entrypoint === undefined ? (image.Cmd ?? []) : [],
    args: options.args,
  });
  const cwd = await workingDirectory(rootfs, options.workingDirectory ?? image.WorkingDir ?? '');
  const user = await lookupUser(rootfs, options.user ?? image.User ?? '', {
    ...signalOf(request),
    ...(options.groups === undefined ? {} : { groups: options.groups }),
  });
  const env = createEnvironment({
    image: image.Env ?? [],
    overrides: options.env ?? [],
    hostname,
    home: user.home,
    terminal,
  });
  const apparmorProfile = await apparmorFor(security.apparmor);
  return {
    terminal,
    ...(terminal ? consoleSizeOf(options.terminalSize) : {}),
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids, umask },
    args,
    env,
    cwd,
    capabilities: capabilitiesFor({
      uid: user.uid,
      hostBounding: host.boundingSet,
      privileged,
      add: options.capAdd ?? [],
      drop: options.capDrop ?? [],
    }),
    rlimits: rlimitsFor(host, options.ulimits, request.warn),
    noNewPrivileges: security.noNewPrivileges ?? !privileged,
    oomScoreAdj: oomScoreFor(options.oomScoreAdj, host),
    ...(apparmorProfile === undefined ? {} : { apparmorProfile }),
  };
}

/** Mounts of the caller take the place of others at the same target. */
function layMounts(...layers: readonly SpecMount[][]): SpecMount[] {
  return layers.flatMap((layer, index) => {
    const taken = new Set(layers.slice(index + 1).flatMap((l) => l.map((m) => m.destination)));
    return layer.filter(({ destination }) => !taken.has(destination));
  });
}

function namespacesFor({ options, network, host }: SpecRequest): Spec['linux']['namespaces'] {
  const types = ['pid', 'ipc', 'uts', 'mount'];
  // A network namespace of its own has a loopback device, which the runtime sets up.
  if (network !== 'host') types.push('network');
  if (host.cgroups.version === 'v2' && options.privileged !== true) types.push('cgroup');
  if (options.userMapping !== undefined) types.push('user');
  return types.map((type) => ({ type }));
}

function checkNamespaces({ options, network }: SpecRequest): void {
  const { userMapping, privileged = false, ports = [], publishAll = false } = options;
  const refuse = (message: string, hint: string): never => {
    throw new DrayError('CONFIG_INVALID', message, { hint });
  };
  if ((ports.length > 0 || publishAll) && network !== 'bridge') {
    refuse(
      `Ports can't be published: the network of the container is "${network}"`,
      network === 'host'
        ? "In the node's network its ports are the node's already. Else choose --net bridge."
        : 'Choose --net bridge.',
    );
  }
  if (userMapping === undefined) return;
  if (privileged) refuse('--privileged and --userns are at odds', 'Leave one of them out.');
  if (network === 'host') {
    refuse(
      "A container with ids of its own can't be in the node's network",
      'Choose --net bridge or --net none.',
    );
  }
}

/** Undefined: unfiltered. */
function seccompFor(
  { options, host }: SpecRequest,
  capabilities: readonly string[],
): Seccomp | undefined {
  const { seccomp } = options.security ?? {};
  if (seccomp === 'unconfined' || (options.privileged === true && seccomp === undefined)) {
    return undefined;
  }
  const profile =
    seccomp === undefined
      ? host.seccomp
      : parseProfile(seccomp, { name: 'What --security-opt names', hint: 'It is as moby has it.' });
  return translateProfile(profile, { ...host, capabilities });
}

/** An agent without CAP_SYS_RESOURCE can't go below its own. @throws CONFIG_INVALID */
function oomScoreFor(wanted: number | undefined, host: Host): number {
  if (wanted === undefined) return Math.max(0, host.oomScoreAdj);
  if (wanted >= host.oomScoreAdj || mayRaiseLimits(host.boundingSet)) return wanted;
  throw new DrayError(
    'CONFIG_INVALID',
    `An OOM score of ${wanted} can't be given: the agent itself has ${host.oomScoreAdj}`,
    { hint: 'Choose a higher one, or start the agent with a lower one.' },
  );
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

function signalOf({ signal }: SpecRequest): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

/** The window that a terminal begins with (runtime-spec, config.md#process). */
export function consoleSizeOf(size: TerminalSize | undefined): Pick<SpecProcess, 'consoleSize'> {
  return size === undefined ? {} : { consoleSize: { height: size.rows, width: size.columns } };
}
