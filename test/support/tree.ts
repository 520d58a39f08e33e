import { createHash } from 'node:crypto';
import {
  type BigIntStats,
  closeSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import koffi from 'koffi';

/** All that a layer says of one path, and only that: no inode numbers, no folder sizes. */
export interface TreeEntry {
  type: 'file' | 'directory' | 'symlink' | 'fifo' | 'character' | 'block' | 'socket';
  /** Permission bits with setuid, setgid and sticky, in octal. */
  mode: string;
  uid: number;
  gid: number;
  /** Nanoseconds since 1970. */
  mtimeNs: bigint;
  /** Of files. */
  size?: number;
  sha256?: string;
  linkTarget?: string;
  /** `major:minor` of devices. */
  device?: string;
  /** Names and values in hex, `security.capability` among them. */
  xattrs: Record<string, string>;
  /** The first path of the same file, where there are several. */
  sameAs?: string;
}

/** The paths below a root (which is `.`), those with bytes that are not UTF-8 escaped as `\xNN`. */
export type Tree = Map<string, TreeEntry>;

const libc = koffi.load('libc.so.6');
const llistxattr = libc.func('long llistxattr(const void *path, _Out_ uint8_t *list, size_t size)');
const lgetxattr = libc.func(
  'long lgetxattr(const void *path, const void *name, _Out_ uint8_t *value, size_t size)',
);

/** Describes everything under a folder. Synchronous inside: for tests, not for servers. */
export async function describeTree(root: string): Promise<Tree> {
  const tree: Tree = new Map();
  const places = new Map<string, string>();
  const walk = (place: Buffer, name: string) => {
    const info = lstatSync(place, { bigint: true });
    tree.set(name, entryOf(place, name, info, places));
    if (!info.isDirectory()) return;
    const children = readdirSync(place, { encoding: 'buffer' }).sort(Buffer.compare);
    for (const child of children) {
      const text = readable(child);
      walk(
        Buffer.concat([place, Buffer.from('/'), child]),
        name === '.' ? text : `${name}/${text}`,
      );
    }
  };
  walk(Buffer.from(root), '.');
  return tree;
}

export interface CompareOptions {
  /** Attributes that are left out, for an oracle that is known not to keep them. */
  ignore?: readonly (keyof TreeEntry)[];
  /** Whether a path, or one attribute of it, is left out. */
  skip?: (path: string, attribute: keyof TreeEntry | undefined) => boolean;
}

/** What differs, one line each, the names of the two trees in it; empty when they are the same. */
export function compareTrees(
  left: { name: string; tree: Tree },
  right: { name: string; tree: Tree },
  options: CompareOptions = {},
): string[] {
  const { ignore = [], skip = () => false } = options;
  const lines: string[] = [];
  for (const path of [...new Set([...left.tree.keys(), ...right.tree.keys()])].sort()) {
    const a = left.tree.get(path);
    const b = right.tree.get(path);
    if (skip(path, undefined)) continue;
    if (a === undefined || b === undefined) {
      const there = a === undefined ? right : left;
      const entry = a ?? b;
      lines.push(`${path}: only in ${there.name} (${entry?.type} ${entry?.mode})`);
      continue;
    }
    for (const key of Object.keys({ ...a, ...b }) as (keyof TreeEntry)[]) {
      if (ignore.includes(key) || skip(path, key)) continue;
      const [x, y] = [show(a[key]), show(b[key])];
      if (x !== y) lines.push(`${path}: ${key} is ${x} in ${left.name}, ${y} in ${right.name}`);
    }
  }
  return lines;
}

function entryOf(
  place: Buffer,
  name: string,
  info: BigIntStats,
  places: Map<string, string>,
): TreeEntry {
  const type = typeOf(info);
  const entry: TreeEntry = {
    type,
    mode: (Number(info.mode) & 0o7777).toString(8),
    uid: Number(info.uid),
    gid: Number(info.gid),
    mtimeNs: info.mtimeNs,
    xattrs: xattrsOf(place),
  };
  if (type === 'file') {
    entry.size = Number(info.size);
    entry.sha256 = sha256Of(place);
  } else if (type === 'symlink') {
    entry.linkTarget = readable(readlinkSync(place, { encoding: 'buffer' }));
  } else if (type === 'character' || type === 'block') {
    entry.device = deviceOf(info.rdev);
  }
  if (type !== 'directory' && info.nlink > 1n) {
    const inode = `${info.dev}:${info.ino}`;
    const first = places.get(inode);
    if (first === undefined) places.set(inode, name);
    else entry.sameAs = first;
  }
  return entry;
}

function typeOf(info: BigIntStats): TreeEntry['type'] {
  if (info.isFile()) return 'file';
  if (info.isDirectory()) return 'directory';
  if (info.isSymbolicLink()) return 'symlink';
  if (info.isFIFO()) return 'fifo';
  if (info.isCharacterDevice()) return 'character';
  return info.isBlockDevice() ? 'block' : 'socket';
}

/** Linux's dev_t (makedev(3)). */
function deviceOf(rdev: bigint): string {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn);
  return `${major}:${minor}`;
}

const chunk = Buffer.alloc(1 << 20);

function sha256Of(place: Buffer): string {
  const digest = createHash('sha256');
  const fd = openSync(place, 'r');
  try {
    for (;;) {
      const count = readSync(fd, chunk, 0, chunk.length, null);
      if (count === 0) return digest.digest('hex');
      digest.update(chunk.subarray(0, count));
    }
  } finally {
    closeSync(fd);
  }
}

/** In the order of their names. The overlay file system's own are no part of an image. */
function xattrsOf(place: Buffer): Record<string, string> {
  const path = Buffer.concat([place, Buffer.alloc(1)]);
  const list = Buffer.alloc(65_536);
  const length = Number(llistxattr(path, list, list.length));
  const found: Record<string, string> = {};
  if (length <= 0) return found;
  for (const name of list
    .toString('latin1', 0, length - 1)
    .split('\0')
    .sort()) {
    if (name.startsWith('trusted.overlay.')) continue;
    const value = Buffer.alloc(65_536);
    const size = Number(lgetxattr(path, Buffer.from(`${name}\0`, 'latin1'), value, value.length));
    if (size >= 0) found[name] = value.toString('hex', 0, size);
  }
  return found;
}

function readable(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  if (Buffer.from(text).equals(bytes)) return text;
  return bytes
    .toString('latin1')
    .replaceAll(/[\x80-\xff]/g, (c) => `\\x${c.charCodeAt(0).toString(16)}`);
}

function show(value: TreeEntry[keyof TreeEntry]): string {
  if (value === undefined) return 'absent';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
