import assert from 'node:assert/strict';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DiffID, digestOf } from '../../../../shared/image/digest.ts';
import {
  type AppliedLayer,
  type ApplyOptions,
  LayerApplier,
} from '../../../../worker/agent/layer/apply.ts';
import { leadsThroughLower, rebaseLayer } from '../../../../worker/agent/layer/rebase.ts';
import { mountOverlay, unmount } from '../../../../worker/agent/linux/mount.ts';
import { unpackImage } from '../../../../worker/agent/unpack/image.ts';
import { compareTrees, describeTree, type Tree, type TreeEntry } from '../../../support/tree.ts';
import { openRoot } from '../snapshot/agent-root.ts';
import { imageOf, MemoryContent } from '../unpack/layers.ts';

/** Seconds. Later than its time of access, so that the kernel notes when it is read (relatime). */
const secretTime = 1_600_000_000;

export type Source = Buffer | AsyncIterable<Uint8Array> | { file: string };

/**
 * A place to apply layers in, with a canary: files around the layers' folders that nothing may read, write,
 * link or change. Disposing it checks that.
 */
export class Bench implements AsyncDisposable {
  /** Absolute folder of the canary: `file`, `secret`, `folder/file`, and symlinks to these. */
  readonly canary: string;
  readonly #folder: string;
  readonly #applier: LayerApplier;
  readonly #before: Tree;
  #layers = 0;

  private constructor(folder: string, applier: LayerApplier, before: Tree) {
    this.#folder = folder;
    this.canary = join(folder, 'canary');
    this.#applier = applier;
    this.#before = before;
  }

  static async open(applier: LayerApplier): Promise<Bench> {
    const folder = await mkdtemp(join(tmpdir(), 'dray-layer-'));
    for (const place of [join(folder, 'canary'), join(folder, 'etc')]) await makeCanary(place);
    await mkdir(join(folder, 'work'));
    return new Bench(folder, applier, await outside(folder));
  }

  /** Applies to a new folder. */
  async apply(source: Source, options: ApplyOptions = {}): Promise<Applied> {
    const directory = join(this.#folder, 'work', `layer-${this.#layers++}`);
    await mkdir(directory);
    const given = Buffer.isBuffer(source) ? chunks(source) : source;
    const layer = await this.#applier.apply(given, directory, options);
    return { directory, layer, tree: await describeTree(directory) };
  }

  /** Applies the layers, lowest first, each upon those before. @returns their folders, nearest first */
  async stack(...layers: readonly Buffer[]): Promise<string[]> {
    const directories: string[] = [];
    for (const source of layers) {
      const alone = await this.apply(source);
      const { directory, layer } = (await leadsThroughLower(directories, alone.layer.deferred))
        ? await this.apply(source, { lowerDirs: directories })
        : alone;
      await rebaseLayer(directory, directories, layer.deferred);
      directories.unshift(directory);
    }
    return directories;
  }

  /** Checks that the archive is refused with this code, and that as an image's layer it leaves nothing. */
  async refuses(
    source: Buffer,
    code: string,
    options: { message?: RegExp; limits?: ApplyOptions['limits'] } = {},
  ): Promise<void> {
    const { message = /./, limits } = options;
    const expected = { name: 'DrayError', code, message };
    const applying = this.apply(source, limits === undefined ? {} : { limits });
    // Without layers below, what only those could decide is decided too.
    await assert.rejects(
      applying.then(({ directory, layer }) => rebaseLayer(directory, [], layer.deferred)),
      expected,
    );

    const root = join(this.#folder, 'work', `node-${this.#layers++}`);
    await mkdir(root);
    using node = await openRoot(root);
    const content = new MemoryContent();
    const layer = {
      descriptor: {
        mediaType: 'application/vnd.oci.image.layer.v1.tar',
        digest: digestOf(source),
        size: source.length,
      },
      diffID: digestOf(source) as string as DiffID,
      blob: source,
    };
    content.commit(layer);
    const applier = {
      apply: (...[from, target, given]: Parameters<LayerApplier['apply']>) =>
        this.#applier.apply(from, target, {
          ...given,
          ...(limits === undefined ? {} : { limits }),
        }),
    };
    const { snapshots } = node;
    await assert.rejects(unpackImage({ snapshots, content, applier, ...imageOf([layer]) }), {
      ...expected,
      message: new RegExp(`^Layer 1 of 1 \\(${layer.descriptor.digest}\\): `),
    });
    assert.deepEqual(snapshots.list(), []);
    assert.deepEqual(await readdir(join(root, 'snapshots')), []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      const secret = await lstat(join(this.canary, 'secret'), { bigint: true });
      assert.equal(secret.atimeNs, 0n, 'the secret was read');
      assert.equal(secret.nlink, 1n, 'the secret has another name');
      const after = await outside(this.#folder);
      assert.deepEqual(
        compareTrees({ name: 'before', tree: this.#before }, { name: 'after', tree: after }),
        [],
      );
    } finally {
      await rm(this.#folder, { recursive: true, force: true });
    }
  }
}

export interface Applied {
  directory: string;
  layer: AppliedLayer;
  tree: Tree;
}

/** One applier for a file of tests, to be disposed after them. */
export function openApplier(): LayerApplier {
  return new LayerApplier({ threads: 1 });
}

/** What the tree has at each path, in one word or two: type, and a link's target or the file it is. */
export function outline(tree: Tree): Record<string, string> {
  const lines: Record<string, string> = {};
  for (const [path, entry] of tree) if (path !== '.') lines[path] = describeEntry(entry);
  return lines;
}

/** The entry at a path that must be there. */
export function at(tree: Tree, path: string): TreeEntry {
  const entry = tree.get(path);
  assert.ok(entry !== undefined, `${path} is not among ${[...tree.keys()].join(', ')}`);
  return entry;
}

export async function* chunks(bytes: Buffer, size = 100_000): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += size)
    yield bytes.subarray(start, start + size);
}

function describeEntry({ type, linkTarget, device, size, sameAs }: TreeEntry): string {
  if (sameAs !== undefined) return `same as ${sameAs}`;
  if (type === 'character' && device === '0:0') return 'whiteout';
  return [type, linkTarget ?? device ?? size ?? ''].join(' ').trim();
}

async function makeCanary(place: string): Promise<void> {
  await mkdir(join(place, 'folder'), { recursive: true });
  await writeFile(join(place, 'file'), 'canary');
  await writeFile(join(place, 'folder', 'file'), 'canary in a folder');
  await symlink('folder', join(place, 'to-folder'));
  await symlink(join(place, 'secret'), join(place, 'to-secret'));
  await writeFile(join(place, 'secret'), 'nobody reads this');
  await chmod(join(place, 'secret'), 0o600);
  await utimes(join(place, 'secret'), 0, secretTime);
}

/** Everything but what the layers made; describing reads, so the secret's time of access is set back. */
async function outside(folder: string): Promise<Tree> {
  const tree = await describeTree(folder);
  for (const path of tree.keys())
    if (path === 'work' || path.startsWith('work/')) tree.delete(path);
  await utimes(join(folder, 'canary', 'secret'), 0, secretTime);
  return tree;
}

/** What an overlay of the layers (nearest first) shows. */
export async function merged(layers: readonly string[]): Promise<Tree> {
  const target = await mkdtemp(join(tmpdir(), 'dray-merged-'));
  try {
    // An overlay that can't be written to has two layers at least.
    const empty = join(target, 'empty');
    const mountPoint = join(target, 'merged');
    await mkdir(empty);
    await mkdir(mountPoint);
    await mountOverlay({ lower: [...layers, empty], target: mountPoint });
    try {
      return await describeTree(mountPoint);
    } finally {
      await unmount(mountPoint);
    }
  } finally {
    await rm(target, { recursive: true, force: true });
  }
}

/** {@link outline} of what an overlay of the layers shows. */
export async function mergedOutline(layers: readonly string[]): Promise<Record<string, string>> {
  return outline(await merged(layers));
}
