import type { Member } from './layer-tar.ts';

interface Node {
  member: Member;
  /** Of the layer that made it, counted from 1. */
  layer: number;
  /** The names of one file have one of these together. */
  file: { madeIn: number; hasSecrets: boolean };
}

const maxDepth = 5;
const opaqueName = '.wh..wh..opq';

/**
 * What a stack of layers comes to when they are applied one after the other, as far as a generator has to
 * know it to make stacks that mean something. Folders that no layer lists are in it too.
 */
export class ModelTree {
  /** Under real paths. */
  readonly #nodes = new Map<string, Node>();
  #layer = 0;
  /** Real paths that this layer made something at. */
  #made = new Set<string>();
  /** Symlinks that paths of this layer went through. */
  #passed = new Set<string>();

  beginLayer(): void {
    this.#layer++;
    this.#made = new Set();
    this.#passed = new Set();
  }

  names(): string[] {
    return [...this.#nodes.keys()];
  }

  folders(): string[] {
    return this.names().filter((path) => this.#is(path, 'folder'));
  }

  /** Where something can be made: the root, folders, and symlinks to folders or to nothing. */
  parents(): string[] {
    const symlinks = this.names().filter((path) => this.#is(path, 'symlink'));
    return ['', ...this.folders(), ...symlinks.filter((path) => this.#resolve(path) !== undefined)];
  }

  /** What a hard link may name. */
  linkable(): string[] {
    return this.names().filter((path) => {
      const node = this.#nodes.get(path);
      if (node === undefined || node.member.type === 'folder') return false;
      // containerd sets owners again at a link, which takes a file's capabilities away.
      if (node.file.hasSecrets) return false;
      // Overlayfs parts the names of a lower layer's file when one of them is copied up (index=off).
      const others = [...this.#nodes.values()].filter(({ file }) => file === node.file);
      return node.file.madeIn === this.#layer || others.length === 1;
    });
  }

  memberAt(path: string): Member {
    const node = this.#nodes.get(path);
    if (node === undefined) throw new RangeError(`the model has no ${path}`);
    return node.member;
  }

  /** Whether the tools that this is compared with take such a member, and mean the same by it. */
  admits({ type, path, target }: Member): boolean {
    const [folder, name] = split(path);
    if (path === '' || path.split('/').length > maxDepth) return false;
    const passed: string[] = [];
    const real = this.#resolve(folder, (symlink) => passed.push(symlink));
    // They refuse what leads through a file.
    if (real === undefined) return false;
    if (name.startsWith('.wh.')) return this.#admitsWhiteout(real, name);
    const place = join(real, name);
    const here = this.#nodes.get(place);
    if (type === 'link') {
      const [targetFolder, targetName] = split(target ?? '');
      const from = join(
        this.#resolve(targetFolder, (symlink) => passed.push(symlink)) ?? '?',
        targetName,
      );
      if (!this.linkable().includes(from) || from === place) return false;
      // containerd removes what is at the place first, and the target with it.
      if (from.startsWith(`${place}/`)) return false;
    }
    if (type !== 'folder' && here?.member.type === 'folder') {
      // At its end containerd sets the times of all folders that were listed, by their paths.
      return ![...this.#made, ...this.#passed].some((made) => isWithin(made, place));
    }
    // The same, where such a path goes through a symlink.
    return !this.#passed.has(place) && !passed.includes(place);
  }

  /** containerd deletes what the layer itself has made before, the specification does not. */
  #admitsWhiteout(folder: string, name: string): boolean {
    const hidden = name === opaqueName ? folder : join(folder, name.slice('.wh.'.length));
    const touched = [...this.#made, ...this.#passed];
    return !touched.some(
      (path) => isWithin(path, hidden) && (name !== opaqueName || path !== hidden),
    );
  }

  apply(member: Member): void {
    const [folder, name] = split(member.path);
    this.#notePassed(folder);
    const real = this.#ensure(folder);
    if (name === opaqueName) {
      this.#removeBelow(real);
    } else if (name.startsWith('.wh.')) {
      this.#remove(join(real, name.slice('.wh.'.length)));
    } else {
      this.#put(join(real, name), member);
    }
  }

  #put(path: string, member: Member): void {
    if (member.type === 'link') {
      const [folder, name] = split(member.target ?? '');
      this.#notePassed(folder);
      const from = this.#nodes.get(join(this.#ensure(folder), name));
      if (from === undefined) throw new RangeError(`no ${member.target} to link to`);
      // Its copy is this layer's.
      from.file.madeIn = this.#layer;
      this.#remove(path);
      this.#nodes.set(path, from);
      this.#made.add(path);
      return;
    }
    if (!(member.type === 'folder' && this.#is(path, 'folder'))) this.#remove(path);
    const hasSecrets = member.xattrs?.['security.capability'] !== undefined;
    this.#nodes.set(path, {
      member,
      layer: this.#layer,
      file: { madeIn: this.#layer, hasSecrets },
    });
    this.#made.add(path);
  }

  #remove(path: string): void {
    this.#removeBelow(path);
    this.#nodes.delete(path);
  }

  #removeBelow(path: string): void {
    for (const other of this.names()) {
      if (other !== path && isWithin(other, path)) this.#nodes.delete(other);
    }
  }

  #is(path: string, type: Member['type']): boolean {
    return this.#nodes.get(path)?.member.type === type;
  }

  /** Makes the folders of a path that there are not. @returns where it leads */
  #ensure(path: string): string {
    const real = this.#resolve(path) ?? '';
    const parts = real.split('/');
    parts.forEach((_, index) => {
      const folder = parts.slice(0, index + 1).join('/');
      if (folder === '' || this.#nodes.has(folder)) return;
      this.#put(folder, { type: 'folder', path: folder });
    });
    return real;
  }

  #notePassed(path: string): void {
    this.#resolve(path, (symlink) => this.#passed.add(symlink));
  }

  /** Where a folder's path leads, inside the root; undefined where it goes through what is no folder. */
  #resolve(path: string, passing: (symlink: string) => void = () => {}): string | undefined {
    const rest = path.split('/').reverse();
    let real = '';
    let followed = 0;
    for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
      if (name === '' || name === '.') continue;
      if (name === '..') {
        real = split(real)[0];
        continue;
      }
      const here = join(real, name);
      const member = this.#nodes.get(here)?.member;
      if (member === undefined || member.type === 'folder') {
        real = here;
      } else if (member.type === 'symlink' && followed++ < 20) {
        passing(here);
        const { target = '' } = member;
        if (target.startsWith('/')) real = '';
        rest.push(...target.split('/').reverse());
      } else {
        return undefined;
      }
    }
    return real;
  }
}

function isWithin(path: string, folder: string): boolean {
  return folder === '' || path === folder || path.startsWith(`${folder}/`);
}

function split(path: string): [folder: string, name: string] {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? ['', path] : [path.slice(0, slash), path.slice(slash + 1)];
}

function join(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`;
}
