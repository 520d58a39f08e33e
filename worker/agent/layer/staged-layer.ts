import {
  type BigIntStats,
  linkSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  unlinkSync,
} from 'node:fs';
import { changeModeAt, FileType, makeNodeAt } from '../linux/files.ts';
import { opaqueXattr, setXattr } from '../linux/xattr.ts';
import { setTimesOf } from './copy-up.ts';
import type { Deferred, DeferredLink } from './deferred.ts';
import { invalid, shown } from './limits.ts';
import { isOpaque, isWhiteout, type LowerEntry, LowerView, statsOf, within } from './lower-view.ts';
import { pathOf } from './paths.ts';

const maxSymlinks = 255;
/** The system calls' name for "paths are absolute". */
const noFolder = -100;

/** A layer's own folder, upon the folders of the layers below. Paths are byte strings, relative to it. */
export class StagedLayer {
  /** Folders of the layer that have no entry of their own. */
  readonly folders: Set<string>;
  links: DeferredLink[];
  whiteouts: string[];
  readonly #dir: Buffer;
  readonly #lower: LowerView | undefined;
  readonly #opaqueRoot: boolean;
  readonly #opaque = new Map<string, boolean>();

  constructor(dir: string, lowerDirs: readonly string[], deferred: Deferred) {
    this.#dir = Buffer.from(dir);
    this.#lower = lowerDirs.length === 0 ? undefined : new LowerView(lowerDirs);
    this.#opaqueRoot = deferred.opaqueRoot;
    this.folders = new Set(deferred.folders);
    this.links = [...deferred.links];
    this.whiteouts = [...deferred.whiteouts];
  }

  /** The absolute path. */
  at(path: string): Buffer {
    return within(this.#dir, path);
  }

  stats(path: string): BigIntStats | undefined {
    return statsOf(this.at(path));
  }

  names(path: string): string[] {
    return readdirSync(this.at(path), { encoding: 'latin1' });
  }

  /** What the layers below have there, unless this one hides it by an opaque folder. */
  below(path: string): LowerEntry | undefined {
    if (this.#opaqueRoot && path !== '') return undefined;
    for (let folder = path; folder !== ''; ) {
      folder = parentOf(folder);
      if (folder !== '' && this.isOpaque(folder)) return undefined;
    }
    return this.#lower?.lookup(path);
  }

  /** As {@link below}, where this layer's own deletions don't count. */
  belowIgnoringWhiteout(path: string): LowerEntry | undefined {
    return this.#lower?.lookup(path);
  }

  rootNamesBelow(): string[] {
    return this.#lower?.rootNames() ?? [];
  }

  symlinkBelow(path: string): string | undefined {
    const below = this.below(path);
    if (below?.kind !== 'other' || !below.stats.isSymbolicLink()) return undefined;
    return readlinkSync(below.file, { encoding: 'latin1' });
  }

  isOpaque(path: string): boolean {
    let opaque = this.#opaque.get(path);
    if (opaque === undefined) {
      opaque = this.stats(path)?.isDirectory() === true && isOpaque(this.at(path));
      this.#opaque.set(path, opaque);
    }
    return opaque;
  }

  setOpaque(path: string): void {
    setXattr(this.at(path), opaqueXattr, Buffer.from('y'));
    this.#opaque.set(path, true);
  }

  /**
   * Where a folder's path leads, by symlinks of this layer and those below, always inside the root; what is
   * missing is taken as a folder to be. @throws LAYER_INVALID
   */
  resolve(path: string): string {
    const rest = path.split('/').reverse();
    let current = '';
    let followed = 0;
    for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
      if (name === '' || name === '.') continue;
      if (name === '..') {
        current = parentOf(current);
        continue;
      }
      const here = pathOf(current, name);
      const target = this.#symlinkAt(here);
      if (target === undefined) {
        current = here;
        continue;
      }
      if (++followed > maxSymlinks) throw invalid(`${shown(path)} leads through too many symlinks`);
      if (target.startsWith('/')) current = '';
      rest.push(...target.split('/').reverse());
    }
    return current;
  }

  /** Makes a folder and those above it where they are missing. */
  ensureFolder(path: string): void {
    if (path === '') return;
    this.ensureFolder(parentOf(path));
    const stats = this.stats(path);
    if (stats?.isDirectory()) return;
    this.keepingTimes(parentOf(path), () => {
      if (stats !== undefined) this.removeFile(path);
      mkdirSync(this.at(path));
      changeModeAt(noFolder, this.at(path).toString('latin1'), 0o755);
      this.#opaque.delete(path);
      // It takes the place of a deletion.
      if (stats !== undefined) this.setOpaque(path);
      else this.folders.add(path);
    });
  }

  /** Changes what is in a folder without changing its times. */
  keepingTimes(folder: string, change: () => void): void {
    const stats = this.stats(folder);
    change();
    if (stats !== undefined && this.stats(folder) !== undefined) {
      setTimesOf(this.at(folder), stats);
    }
  }

  async keepingTimesOf(folder: string, change: () => Promise<void>): Promise<void> {
    const stats = this.stats(folder);
    await change();
    if (stats !== undefined) setTimesOf(this.at(folder), stats);
  }

  move(from: string, to: string): void {
    renameSync(this.at(from), this.at(to));
    this.#opaque.clear();
  }

  link(from: string, to: string): void {
    this.keepingTimes(parentOf(to), () => linkSync(this.at(from), this.at(to)));
  }

  makeWhiteout(path: string): void {
    makeNodeAt(noFolder, this.at(path).toString('latin1'), FileType.char, 0, 0);
  }

  removeFile(path: string): void {
    unlinkSync(this.at(path));
  }

  removeFolder(path: string): void {
    rmdirSync(this.at(path));
    this.#opaque.delete(path);
  }

  removeTree(path: string): void {
    if (!this.stats(path)?.isDirectory()) {
      this.removeFile(path);
      return;
    }
    for (const name of this.names(path)) this.removeTree(pathOf(path, name));
    this.removeFolder(path);
    this.folders.delete(path);
    this.links = this.links.filter((link) => !link.path.startsWith(`${path}/`));
  }

  /** Everything that is known of what was below `from` is now known of `to`. */
  renameAll(from: string, to: string): void {
    const prefix = `${from}/`;
    const renamed = (path: string) =>
      path.startsWith(prefix) ? pathOf(to, path.slice(prefix.length)) : path;
    for (const path of [...this.folders].filter((path) => path.startsWith(prefix))) {
      this.folders.delete(path);
      this.folders.add(renamed(path));
    }
    this.links = this.links.map(({ path, target }) => ({ path: renamed(path), target }));
    this.whiteouts = this.whiteouts.map(renamed);
    this.#opaque.clear();
  }

  /** The target of what stands for a folder but is a symlink, in this layer or below. */
  #symlinkAt(path: string): string | undefined {
    const staged = this.stats(path);
    if (staged?.isSymbolicLink()) return readlinkSync(this.at(path), { encoding: 'latin1' });
    // A folder without an entry stands in for whatever is below.
    if (staged?.isDirectory() && !this.folders.has(path)) return undefined;
    if (staged !== undefined && isWhiteout(staged)) return undefined;
    const below = staged === undefined || staged.isDirectory() ? this.below(path) : undefined;
    const isFolder = below === undefined || below.kind === 'folder' || below.stats.isSymbolicLink();
    if ((staged !== undefined && !staged.isDirectory()) || (staged === undefined && !isFolder)) {
      throw invalid(`The layer has entries in ${shown(path)}, which is no folder`);
    }
    return this.symlinkBelow(path);
  }
}

export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
