import { stat } from 'node:fs/promises';
import { posix } from 'node:path';
import type { BindMountRequest, TmpfsMountRequest } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { SpecMount } from './runtime-spec.ts';

const usualShmBytes = 64 * 1024 * 1024;

/** What every container has mounted, as moby and containerd do it. */
export function defaultMounts(options: { shmSize?: number; privileged?: boolean }): SpecMount[] {
  const { shmSize = usualShmBytes, privileged = false } = options;
  const kernel = privileged ? 'rw' : 'ro';
  return [
    mount('/proc', 'proc', 'proc', 'nosuid', 'noexec', 'nodev'),
    mount('/dev', 'tmpfs', 'tmpfs', 'nosuid', 'strictatime', 'mode=755', 'size=65536k'),
    mount(
      '/dev/pts',
      'devpts',
      'devpts',
      ...['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    ),
    mount(
      '/dev/shm',
      'tmpfs',
      'shm',
      ...['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${Math.ceil(shmSize / 1024)}k`],
    ),
    mount('/dev/mqueue', 'mqueue', 'mqueue', 'nosuid', 'noexec', 'nodev'),
    mount('/sys', 'sysfs', 'sysfs', 'nosuid', 'noexec', 'nodev', kernel),
    mount('/sys/fs/cgroup', 'cgroup', 'cgroup', 'nosuid', 'noexec', 'nodev', 'relatime', kernel),
  ];
}

/** Kernel interfaces that a container has no business with. */
export const maskedPaths: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];

export const readonlyPaths: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];

/** What a runtime can mount: volumes are folders of the node by then. */
export type PlainMountRequest = BindMountRequest | TmpfsMountRequest;

/** A bind mount of one of the node's files or folders. */
export function bindMount(source: string, destination: string, readonly: boolean): SpecMount {
  return mount(destination, 'bind', source, 'rbind', 'rprivate', readonly ? 'ro' : 'rw');
}

/**
 * The caller's mounts in the order in which they must be made: an outer folder before what lies in it.
 * @throws CONFIG_INVALID
 */
export async function requestedMounts(
  requests: readonly PlainMountRequest[],
  options: { signal?: AbortSignal } = {},
): Promise<SpecMount[]> {
  const targets = new Set<string>();
  const mounts: SpecMount[] = [];
  for (const request of requests) {
    const target = checkPath(request.target, 'target');
    if (target === '/' || targets.has(target)) {
      const why = target === '/' ? 'is the root itself' : 'is used twice';
      throw new DrayError('CONFIG_INVALID', `The target ${target} of a mount ${why}`);
    }
    targets.add(target);
    options.signal?.throwIfAborted();
    mounts.push(await requestedMount(request, target));
  }
  return mounts.sort((a, b) => depth(a.destination) - depth(b.destination));
}

async function requestedMount(request: PlainMountRequest, target: string): Promise<SpecMount> {
  if (request.type === 'bind') {
    const source = checkPath(request.source, 'source');
    await stat(source).catch((error: unknown) => {
      throw new DrayError('CONFIG_INVALID', `The source ${source} of a mount is not on this node`, {
        hint: 'Make it first, or correct --volume or --mount.',
        cause: error,
      });
    });
    return bindMount(source, target, request.readonly ?? false);
  }
  const { mode = 0o1777, size, readonly, exec = false, uid, gid } = request;
  return mount(
    target,
    'tmpfs',
    'tmpfs',
    ...['nosuid', 'nodev', ...(exec ? [] : ['noexec']), `mode=${mode.toString(8)}`],
    ...(size === undefined ? [] : [`size=${size}`]),
    ...(uid === undefined ? [] : [`uid=${uid}`]),
    ...(gid === undefined ? [] : [`gid=${gid}`]),
    ...(readonly === true ? ['ro'] : []),
  );
}

function checkPath(path: string, what: string): string {
  if (path.startsWith('/') && !path.includes('\0')) {
    const normal = posix.normalize(path);
    return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
  }
  throw new DrayError(
    'CONFIG_INVALID',
    `The ${what} "${path.slice(0, 100)}" of a mount is not absolute`,
    {
      hint: 'Both paths of --mount start with /.',
    },
  );
}

function depth(path: string): number {
  return path.split('/').length;
}

function mount(destination: string, type: string, source: string, ...options: string[]): SpecMount {
  return { destination, type, source, options };
}
