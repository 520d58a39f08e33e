import { readdirSync } from 'node:fs';
import type { DrayError } from '../../../shared/errors.ts';
import {
  changeModeAt,
  changeOwnerAt,
  createFileAt,
  FileType,
  linkAt,
  makeFolderAt,
  makeNodeAt,
  makeSymlinkAt,
  openFolder,
  openFolderAt,
  readLinkAt,
  removeFolderAt,
  setTimesAt,
  unlinkAt,
} from '../linux/files.ts';
import { opaqueXattr, setXattr } from '../linux/xattr.ts';
import type { Deferred } from './deferred.ts';
import {
  closeFolder,
  type Folder,
  type FolderAttributes,
  isHidden,
  mayMerge,
  newFolder,
  state,
} from './folder.ts';
import { invalid, invalidAlone, type LayerLimits, limitError, shown } from './limits.ts';
import { LowerView } from './lower-view.ts';
import { checkName, cleanPath, pathOf } from './paths.ts';
import { setXattrs } from './xattrs.ts';

/** The answer where something was to be found: a folder and a name in it, or the path as it could be resolved. */
export type Place = { folder: Folder; name: string } | { folder: undefined; path: string };

const maxOpenFolders = 64;
/** As the kernel follows at most 40, and containerd 255. */
const maxSymlinks = 255;

/**
 * The folder that a layer is applied into.
 *
 * Why nothing outside it is reached: the folder was empty, belongs to nobody else, and all that is in it was
 * made through this class. Every system call names one entry, without a slash, in an open folder; those
 * folders were opened one below the other from the root on with O_NOFOLLOW and O_DIRECTORY, and only if
 * this class made them as folders itself (`#folders`). `.` and `..` never reach the kernel. Symlinks are
 * resolved here, by their text: an absolute one starts at the root, and the root's parent is the root; of
 * layers below, only texts of symlinks are read, through real folders. New
 * files are made with O_EXCL, which follows no symlink; links, owners, times and attributes are set
 * without following; devices and FIFOs are never opened.
 */
export class StagingTree implements Disposable {
  /** Under their real paths, each after its parent. */
  readonly #folders = new Map<string, Folder>();
  readonly #root: Folder;
  readonly #limits: Pick<LayerLimits, 'maxDepth' | 'maxPathBytes'>;
  #pathBytes = 0;
  #impliedFolders = 0;
  /** Of folders other than the root, oldest first. */
  #open: Folder[] = [];
  readonly #whiteouts = new Set<string>();
  /** Hard links whose target is not in the layer: nothing stands in their place. */
  readonly #links = new Map<string, string>();
  readonly #implied = new Set<string>();
  readonly #lower: LowerView | undefined;

  /** `lowerDirs`: the layers below, nearest first, whose symlinks are then followed as those of the layer are. */
  constructor(
    target: string,
    limits: Pick<LayerLimits, 'maxDepth' | 'maxPathBytes'>,
    lowerDirs: readonly string[] = [],
  ) {
    this.#limits = limits;
    this.#lower = lowerDirs.length === 0 ? undefined : new LowerView(lowerDirs);
    this.#root = newFolder('', undefined, false);
    this.#root.stated = true;
    this.#root.fd = openFolder(target);
    this.#folders.set('', this.#root);
  }

  get folderCount(): number {
    return this.#folders.size;
  }

  /** Folders that were made for what is in them, and that no entry has named since. */
  get impliedFolders(): number {
    return this.#impliedFolders;
  }

  /**
   * The folder of that path, made where it is missing; symlinks of the layer are resolved inside the root.
   * @throws LAYER_INVALID where something on the way is no folder, LAYER_LIMIT
   */
  folder(path: string): Folder {
    return this.#folders.get(path) ?? this.#walk(path);
  }

  /** Where an existing path is; symlinks are followed on the way but not at its end. */
  locate(path: string): Place {
    const slash = path.lastIndexOf('/');
    const [parent, name] = [path.slice(0, Math.max(slash, 0)), path.slice(slash + 1)];
    const known = this.#folders.get(parent);
    if (known !== undefined) return { folder: known, name };
    const found = this.#find(parent);
    return typeof found === 'string'
      ? { folder: undefined, path: pathOf(found, name) }
      : { folder: found, name };
  }

  /** What is staged there: `link` has no file yet. */
  kindAt({ folder, name }: { folder: Folder; name: string }) {
    const path = pathOf(folder.path, name);
    if (this.#folders.has(path)) return 'folder';
    if (this.#links.has(path)) return 'link';
    if (this.#whiteouts.has(path)) return 'whiteout';
    return readLinkAt(this.fdOf(folder), name) === undefined ? 'nothing' : 'other';
  }

  /** A new file, open for writing, in place of what was there. */
  createFile(folder: Folder, name: string, mode: number): number {
    let fd = -1;
    state(folder);
    this.#replace(folder, name, (dir) => {
      fd = createFileAt(dir, name, mode);
      return fd >= 0;
    });
    return fd;
  }

  makeSymlink(folder: Folder, name: string, target: string): void {
    state(folder);
    this.#replace(folder, name, (dir) => makeSymlinkAt(dir, name, target));
  }

  makeNode(folder: Folder, name: string, mode: number, major: number, minor: number): void {
    state(folder);
    this.#replace(folder, name, (dir) => makeNodeAt(dir, name, mode, major, minor));
  }

  /** Makes or completes a folder: one that is there keeps what is in it, anything else is replaced. */
  makeFolder(parent: Folder, name: string, attributes: FolderAttributes): void {
    const known = this.#folders.get(pathOf(parent.path, name));
    if (known !== undefined && known.attributes === undefined) this.#impliedFolders--;
    const folder = known ?? this.#make(parent, name, attributes.mode & 0o1777);
    folder.attributes = attributes;
    state(folder);
  }

  /** Hides what lower layers have there; what this layer has stays. */
  whiteOut(folder: Folder, name: string): void {
    const path = pathOf(folder.path, name);
    const known = this.#folders.get(path);
    if (known?.stated) {
      known.opaque = true;
      known.fresh = true;
      return;
    }
    // A folder that stands only for deletions in it goes with all of it.
    if (known !== undefined) this.#remove(folder, name);
    if (!this.#links.has(path)) {
      this.#remember(path.length);
      if (makeNodeAt(this.fdOf(folder), name, FileType.char, 0, 0)) this.#whiteouts.add(path);
    }
  }

  /** Hides what lower layers have in a folder; what this layer has stays. */
  makeOpaque(folder: Folder): void {
    if (folder.opaque) return;
    folder.opaque = true;
    this.#removeUnstated(folder);
  }

  /** Makes a hard link, or notes it where the target is not in this layer. @throws LAYER_INVALID */
  link(folder: Folder, name: string, target: string): void {
    state(folder);
    const path = pathOf(folder.path, name);
    const place = this.locate(target);
    const kind = place.folder === undefined ? 'nothing' : this.kindAt(place);
    const real = place.folder === undefined ? place.path : pathOf(place.folder.path, place.name);
    // A folder without an entry may stand where a lower layer has a symlink: that can be linked to.
    if (kind === 'folder' && !this.#implied.has(real)) {
      throw this.#refusal(
        real,
        `${shown(path)} is a hard link to ${shown(target)}, which is a folder`,
      );
    }
    if (kind === 'other' && place.folder !== undefined) {
      if (real === path) return;
      const from = place.folder;
      this.#replace(folder, name, (dir) => linkAt(this.fdOf(from), place.name, dir, name));
      return;
    }
    const lower = this.#links.get(real) ?? real;
    checkName(path, name);
    this.#remember(path.length + lower.length);
    this.#remove(folder, name);
    this.#links.set(path, lower);
    folder.links ??= new Set();
    folder.links.add(name);
  }

  /** The descriptor of a folder; it stays open at least up to the next {@link trim}. */
  fdOf(folder: Folder): number {
    if (folder.fd >= 0) return folder.fd;
    if (folder.parent === undefined) throw new Error('the root is closed');
    folder.fd = openFolderAt(this.fdOf(folder.parent), folder.name);
    this.#open.push(folder);
    return folder.fd;
  }

  /** Closes folders that were opened long ago, if there are many. */
  trim(): void {
    if (this.#open.length <= maxOpenFolders) return;
    for (const old of this.#open.splice(0, this.#open.length - maxOpenFolders / 2))
      closeFolder(old);
  }

  /** A path that leads to one entry of a folder, for calls that take no folder. */
  procPath(folder: Folder, name: string): Buffer {
    return Buffer.from(`/proc/self/fd/${this.fdOf(folder)}/${name}`, 'latin1');
  }

  /** Sets the folders' attributes, which making what is inside would have changed. */
  finish(): Deferred {
    const implied = [...this.#folders.values()].filter(
      ({ parent, attributes }) => parent !== undefined && attributes === undefined,
    );
    for (const folder of [...this.#folders.values()].reverse()) this.#complete(folder);
    return {
      folders: implied.filter(mayMerge).map(({ path }) => path),
      inheriting: implied.filter(({ inherits }) => inherits).map(({ path }) => path),
      implied: [...this.#implied],
      links: [...this.#links].map(([path, target]) => ({ path, target })),
      whiteouts: [...this.#whiteouts],
      opaqueRoot: this.#root.opaque,
    };
  }

  #complete(folder: Folder): void {
    const { parent, name, attributes } = folder;
    if (parent === undefined) return;
    this.trim();
    const dir = this.fdOf(parent);
    if (folder.opaque) setXattr(this.procPath(parent, name), opaqueXattr, Buffer.from('y'));
    if (attributes === undefined) {
      if (folder.gid !== 0) changeOwnerAt(dir, name, 0, folder.gid);
      changeModeAt(dir, name, 0o755);
      return;
    }
    const { mode, uid, gid, mtime, xattrs } = attributes;
    if (uid !== 0 || gid !== 0) changeOwnerAt(dir, name, uid, gid);
    changeModeAt(dir, name, mode);
    if (xattrs !== undefined) setXattrs(this.procPath(parent, name), xattrs, 'folder');
    setTimesAt(dir, name, mtime);
  }

  #walk(path: string): Folder {
    const found = this.#resolve(path, (folder, name) => this.#imply(folder, name));
    if (typeof found === 'string') throw new Error('a path was not made');
    return found;
  }

  /** The folder, or the path that is left where it is not in this layer. */
  #find(path: string): Folder | string {
    return this.#resolve(path, () => undefined);
  }

  #resolve(
    path: string,
    missing: (folder: Folder, name: string) => Folder | undefined,
  ): Folder | string {
    const rest = path.split('/').reverse();
    let folder = this.#root;
    let followed = 0;
    for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
      if (name === '' || name === '.') continue;
      if (name === '..') {
        folder = folder.parent ?? folder;
        continue;
      }
      const here = pathOf(folder.path, name);
      const known = this.#folders.get(here);
      if (known !== undefined) {
        folder = known;
        continue;
      }
      const target = this.#symlinkAt(folder, name, here);
      if (target === undefined) {
        const made = missing(folder, name);
        if (made === undefined) return cleanPath([here, ...rest.reverse()].join('/'));
        folder = made;
      } else if (target === null) {
        throw this.#refusal(
          here,
          `${shown(path)} leads through ${shown(here)}, which is no folder`,
        );
      } else {
        if (++followed > maxSymlinks)
          throw invalid(`${shown(path)} leads through too many symlinks`);
        if (target.startsWith('/')) folder = this.#root;
        rest.push(...target.split('/').reverse());
      }
    }
    return folder;
  }

  #symlinkAt(folder: Folder, name: string, path: string): string | null | undefined {
    checkName(path, name);
    if (this.#whiteouts.has(path)) return undefined;
    const linked = this.#links.get(path);
    if (linked !== undefined) return this.#lower?.symlink(linked) ?? null;
    const staged = readLinkAt(this.fdOf(folder), name);
    return staged === undefined && !isHidden(folder) ? this.#lower?.symlink(path) : staged;
  }

  /** Without the layers below it is not certain that a path leads there, nor what a link to them is. */
  #refusal(path: string, message: string): DrayError {
    const mayDiffer = this.#implied.size > 0 || this.#links.has(path);
    return this.#lower === undefined && mayDiffer ? invalidAlone(message) : invalid(message);
  }

  /** Makes a folder that has no entry so far. */
  #imply(parent: Folder, name: string): Folder {
    const folder = this.#make(parent, name, 0o755);
    this.#impliedFolders++;
    if (!folder.fresh && !isHidden(parent)) this.#implied.add(folder.path);
    // As the kernel has it in a folder with setgid.
    const { mode = 0, gid = 0 } = parent.attributes ?? {};
    if ((mode & 0o2000) !== 0) folder.gid = gid;
    folder.inherits = mayMerge(parent);
    return folder;
  }

  #make(parent: Folder, name: string, mode: number): Folder {
    const path = pathOf(parent.path, name);
    const { maxDepth } = this.#limits;
    if (parent.depth >= maxDepth)
      throw limitError(`${shown(path)} lies deeper than ${maxDepth} folders`);
    this.#remember(path.length);
    const replaced = this.#replace(parent, name, (dir) => makeFolderAt(dir, name, mode));
    // Where the layer had something else, a folder of the layers below is gone.
    const folder = newFolder(name, parent, replaced);
    this.#folders.set(path, folder);
    return folder;
  }

  /** Makes something, after removing what this layer had there. @returns whether there was anything */
  #replace(folder: Folder, name: string, make: (dir: number) => boolean): boolean {
    const path = pathOf(folder.path, name);
    checkName(path, name);
    const wasLink = this.#links.size > 0 && this.#links.delete(path);
    if (make(this.fdOf(folder))) return wasLink;
    this.#remove(folder, name);
    if (!make(this.fdOf(folder))) throw new Error(`${shown(path)} can't be replaced`);
    return true;
  }

  #remove(folder: Folder, name: string): void {
    const path = pathOf(folder.path, name);
    const below = this.#folders.get(path);
    this.#links.delete(path);
    if (below !== undefined) this.#removeFolder(below, folder);
    else if (this.#whiteouts.delete(path) || readLinkAt(this.fdOf(folder), name) !== undefined) {
      unlinkAt(this.fdOf(folder), name);
    }
  }

  /** Removes folders below that stand only for deletions in them. */
  #removeUnstated(folder: Folder): void {
    for (const name of this.#names(folder)) {
      const below = this.#folders.get(pathOf(folder.path, name));
      if (below === undefined) continue;
      if (!below.stated) this.#removeFolder(below, folder);
      else if (!below.opaque) this.#removeUnstated(below);
    }
  }

  #names(folder: Folder): string[] {
    return readdirSync(`/proc/self/fd/${this.fdOf(folder)}`, { encoding: 'latin1' });
  }

  #removeFolder(folder: Folder, parent: Folder): void {
    for (const name of this.#names(folder)) this.#remove(folder, name);
    for (const name of folder.links ?? []) this.#links.delete(pathOf(folder.path, name));
    this.#open = this.#open.filter((open) => open !== folder);
    closeFolder(folder);
    removeFolderAt(this.fdOf(parent), folder.name);
    this.#folders.delete(folder.path);
  }

  /** Counts what stays in memory up to the layer's commit. */
  #remember(bytes: number): void {
    this.#pathBytes += bytes;
    const { maxPathBytes } = this.#limits;
    if (this.#pathBytes <= maxPathBytes) return;
    throw limitError(`The paths of the layer's folders take more than ${maxPathBytes} bytes`);
  }

  [Symbol.dispose](): void {
    for (const folder of this.#open) closeFolder(folder);
    this.#open = [];
    closeFolder(this.#root);
  }
}
