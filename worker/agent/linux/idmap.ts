import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readlinkSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { checked, cPath, libc, type Path } from './libc.ts';

/** Numbers of system calls that glibc 2.31 has no wrapper for; the same on all architectures. */
const call = { openTree: 428, moveMount: 429, mountSetattr: 442 } as const;
const cOpenTree = libc.func('long syscall(long number, long dir, const void *path, long flags)');
const cMoveMount = libc.func(
  'long syscall(long number, long from, const void *fromPath, long to, const void *toPath, long flags)',
);
const cMountSetattr = libc.func(
  'long syscall(long number, long dir, const void *path, long flags, const void *attributes, long size)',
);

const cloneTree = 0x1;
const closeOnExec = 0o2000000;
const emptyPath = 0x1000;
const fromEmptyPath = 0x4;
const mapIDs = 0x100000n;
const currentFolder = -100;
/** Milliseconds for a process to be in a namespace of its own. */
const namespaceBound = 10_000;

export interface IDMap {
  containerID: number;
  hostID: number;
  size: number;
}

/** An open user namespace with a map of ids; it lives until it is closed. */
export async function openUserNamespace({ containerID, hostID, size }: IDMap): Promise<number> {
  const own = readlinkSync('/proc/self/ns/user');
  const holder: ChildProcess = spawn('unshare', ['--user', 'sleep', '60'], { stdio: 'ignore' });
  await once(holder, 'spawn');
  try {
    const namespace = `/proc/${holder.pid}/ns/user`;
    const bound = Date.now() + namespaceBound;
    while (readlinkSync(namespace) === own && Date.now() < bound) await sleep(1);
    for (const kind of ['uid', 'gid']) {
      writeFileSync(`/proc/${holder.pid}/${kind}_map`, `${containerID} ${hostID} ${size}\n`);
    }
    return openSync(namespace, 'r');
  } finally {
    holder.kill('SIGKILL');
  }
}

/**
 * Makes a folder visible at `target` with the ids of a user namespace: what is 0 on disk is its root
 * (mount_setattr(2), ID-mapped mounts).
 */
export function bindMapped(source: Path, target: Path, namespace: number): void {
  const flags = cloneTree | closeOnExec;
  const tree = Number(cOpenTree(call.openTree, currentFolder, cPath(source), flags));
  checked(tree, 'open_tree', source);
  try {
    // struct mount_attr of linux/mount.h.
    const attributes = Buffer.alloc(32);
    attributes.writeBigUInt64LE(mapIDs, 0);
    attributes.writeBigUInt64LE(BigInt(namespace), 24);
    const empty = cPath('');
    const set = cMountSetattr(
      ...([call.mountSetattr, tree, empty, emptyPath, attributes, attributes.length] as const),
    );
    checked(Number(set), 'mount_setattr', source);
    const moved = cMoveMount(
      ...([call.moveMount, tree, empty, currentFolder, cPath(target), fromEmptyPath] as const),
    );
    checked(Number(moved), 'move_mount', target);
  } finally {
    closeSync(tree);
  }
}
