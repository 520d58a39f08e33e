import { type BigIntStats, linkSync, mkdirSync, readlinkSync, unlinkSync } from 'node:fs';
import { changeModeAt, FileType, makeNodeAt } from '../linux/files.ts';
import { opaqueXattr, setXattr } from '../linux/xattr.ts';
import { setTimesOf } from './copy-up.ts';
import type { Deferred } from './deferred.ts';
import { invalid, shown } from './limits.ts';
import {
  isOpaque,
  isWhiteout,
  type LowerEntry,
  type LowerView,
  statsOf,
  within,
} from './lower-view.ts';
import { parentOf, pathOf } from './paths.ts';

const maxSymlinks = 255;
/** The system calls' name for "paths are absolute". */
const noFolder = -100;

/** A layer's own folder, upon the folders of the layers below. Paths are byte strings, relative to it. */
export class StagedLayer {
  /** Folders of the layer that have no entry of their own, each after its parent. */
  readonly folders: Set<string>;
  readonly #dir: Buffer;
  readonly #lower: LowerView | undefined;
  /** Where links will stand. */
  readonly #links: ReadonlySet<string>;
  readonly #hides = new Map<string, boolean>();
  /** Found to be folders: none of them becomes something else. */
  readonly #real = new Set(['']);

  constructor(
    dir: string,
    lower: LowerView | undefined,
    deferred: Pick<Deferred, 'folders' | 'links' | 'opaqueRoot'>,
  ) {
    this.#dir = Buffer.from(dir);
    this.#lower = lower;
    this.folders = new Set(deferred.folders);
    this.#links = new Set(deferred.links.map(({ path }) => path));
    this.#hides.set('', deferred.opaqueRoot);
  }

  /** The absolute path. */
  at(path: string): Buffer {
    return within(this.#dir, path);
  }

  /** What the layer itself has at a path, through real folders only: a symlink on the way leads out of it. */
  stats(path: string): BigIntStats | undefined {
    return this.#isFolder(parentOf(path)) ? statsOf(this.at(path)) : undefined;
  }

  /** What the layers below have there, unless this one hides it by an opaque folder. */
  below(path: string): LowerEntry | undefined {
    return this.hides(parentOf(path)) ? undefined : this.#lower?.lookup(path);
  }

  /** As {@link below}, where this layer's own deletions don't count. */
  belowIgnoringWhiteout(path: string): LowerEntry | undefined {
    return this.#lower?.lookup(path);
  }

  rootNamesBelow(): string[] {
    return this.#lower?.rootNames() ?? [];
  }

  /** Whether what the layers below have in a folder is hidden, or gone. */
  hides(folder: string): boolean {
    let hidden = this.#hides.get(folder);
    if (hidden === undefined) {
      const stats = this.#links.has(folder) ? undefined : this.stats(folder);
      const replaced = stats === undefined ? this.#links.has(folder) : !stats.isDirectory();
      hidden =
        replaced ||
        (stats !== undefined && isOpaque(this.at(folder))) ||
        this.hides(parentOf(folder));
      this.#hides.set(folder, hidden);
    }
    return hidden;
  }

  /** Whether what the layers below have at a path is seen through this one. */
  shows(path: string): boolean {
    const isHere = this.#links.has(path) || this.stats(path) !== undefined;
    return !isHere && !this.hides(parentOf(path));
  }

  setOpaque(path: string): void {
    setXattr(this.at(path), opaqueXattr, Buffer.from('y'));
  }

  /**
   * Where a folder's path leads, by symlinks of this layer and those below, always inside the root; what is
   * missing is taken as a folder to be, and what the layer deletes as it was. @throws LAYER_INVALID
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

  /** Makes a folder, which is one below, and those above it where they are missing. */
  ensureFolder(path: string): void {
    if (path === '' || this.stats(path) !== undefined) return;
    this.ensureFolder(parentOf(path));
    this.keepingTimes(parentOf(path), () => {
      mkdirSync(this.at(path));
      changeModeAt(noFolder, this.at(path).toString('latin1'), 0o755);
      this.folders.add(path);
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

  link(from: string, to: string): void {
    this.keepingTimes(parentOf(to), () => linkSync(this.at(from), this.at(to)));
  }

  makeWhiteout(path: string): void {
    makeNodeAt(noFolder, this.at(path).toString('latin1'), FileType.char, 0, 0);
  }

  removeFile(path: string): void {
    unlinkSync(this.at(path));
  }

  #isFolder(path: string): boolean {
    if (this.#real.has(path)) return true;
    if (!this.stats(path)?.isDirectory()) return false;
    this.#real.add(path);
    return true;
  }

  /** The target of a symlink in a path. */
  #symlinkAt(path: string): string | undefined {
    const staged = this.stats(path);
    if (staged?.isSymbolicLink()) return readlinkSync(this.at(path), { encoding: 'latin1' });
    if (staged?.isDirectory()) return undefined;
    const below = this.#lower?.lookup(path);
    const isHere = staged !== undefined && !isWhiteout(staged);
    if (isHere || (below?.kind === 'other' && !below.stats.isSymbolicLink())) {
      throw invalid(`The layer links to what is in ${shown(path)}, which is no folder`);
    }
    return this.#lower?.symlink(path);
  }
}
