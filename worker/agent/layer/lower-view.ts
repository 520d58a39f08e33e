import { type BigIntStats, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { errnoOf } from '../../../shared/errors.ts';
import { getXattr, opaqueXattr } from '../linux/xattr.ts';
import { pathOf } from './paths.ts';

/** What a stack of layers has at a path. */
export type LowerEntry =
  /** A folder; `folders` are the layers' that merge into it, nearest first. */
  | { kind: 'folder'; folders: readonly Buffer[]; stats: BigIntStats }
  | { kind: 'other'; file: Buffer; stats: BigIntStats };

/** The path of an entry below a folder: `path` is a byte string. */
export function within(folder: Buffer, path: string): Buffer {
  return path === '' ? folder : Buffer.concat([folder, Buffer.from(`/${path}`, 'latin1')]);
}

/** What is at a path, itself; undefined where there is nothing. */
export function statsOf(path: Buffer): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

export function isWhiteout(stats: BigIntStats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0n;
}

export function isOpaque(folder: Buffer): boolean {
  return getXattr(folder, opaqueXattr)?.toString() === 'y';
}

/** Layers as overlayfs shows them: the kernel's lookup, one name at a time, through real folders only. */
export class LowerView {
  readonly #root: LowerEntry & { kind: 'folder' };
  readonly #folders = new Map<string, LowerEntry | undefined>();

  /** `layers`: absolute, nearest first. */
  constructor(layers: readonly string[]) {
    const [nearest] = layers;
    if (nearest === undefined) throw new RangeError('a view needs a layer');
    this.#root = {
      kind: 'folder',
      folders: layers.map((layer) => Buffer.from(layer)),
      stats: lstatSync(nearest, { bigint: true }),
    };
  }

  /** What is at a path without symlinks on the way. */
  lookup(path: string): LowerEntry | undefined {
    if (path === '') return this.#root;
    if (this.#folders.has(path)) return this.#folders.get(path);
    const slash = path.lastIndexOf('/');
    const parent = this.lookup(path.slice(0, Math.max(slash, 0)));
    const entry =
      parent?.kind === 'folder' ? find(parent.folders, path.slice(slash + 1)) : undefined;
    if (entry === undefined || entry.kind === 'folder') this.#folders.set(path, entry);
    return entry;
  }

  /** The target of a symlink; undefined for anything else. */
  symlink(path: string): string | undefined {
    const entry = this.lookup(path);
    if (entry?.kind !== 'other' || !entry.stats.isSymbolicLink()) return undefined;
    return readlinkSync(entry.file, { encoding: 'latin1' });
  }

  /** The names in the topmost folder. */
  rootNames(): string[] {
    const names = new Set<string>();
    for (const folder of this.#root.folders) {
      for (const name of readdirSync(folder, { encoding: 'latin1' })) names.add(name);
    }
    return [...names].filter((name) => this.lookup(pathOf('', name)) !== undefined);
  }
}

function find(layers: readonly Buffer[], name: string): LowerEntry | undefined {
  const folders: Buffer[] = [];
  let top: BigIntStats | undefined;
  for (const layer of layers) {
    const path = within(layer, name);
    const stats = statsOf(path);
    if (stats === undefined) continue;
    if (!stats.isDirectory()) {
      if (folders.length > 0 || isWhiteout(stats)) break;
      return { kind: 'other', file: path, stats };
    }
    top ??= stats;
    folders.push(path);
    if (isOpaque(path)) break;
  }
  return top === undefined ? undefined : { kind: 'folder', folders, stats: top };
}
