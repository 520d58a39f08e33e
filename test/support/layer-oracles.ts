import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { mediaTypes } from '../../shared/image/descriptor.ts';
import { chainIDs, type DiffID, digestOf } from '../../shared/image/digest.ts';
import { hostPlatform } from '../../shared/image/platform.ts';
import type { TestContainerd } from './containerd.ts';
import { describeTree, type Tree } from './tree.ts';

const run = promisify(execFile);

/** The programs that {@link withLayout}'s answers need. */
export const oracleTools = ['containerd', 'ctr', 'umount', 'umoci', 'tar'];

/** What a tool made of an image: its tree, or why it refused it. */
export type Answer = { tree: Tree } | { refusal: string };

/** Runs `use` while an OCI layout with one image of these plain layers is there. */
export async function withLayout<T>(
  tars: readonly Buffer[],
  use: (layout: Layout) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'dray-layout-'));
  try {
    const blobs = join(folder, 'layout', 'blobs', 'sha256');
    await mkdir(blobs, { recursive: true });
    const store = async (bytes: Buffer, mediaType: string) => {
      const digest = digestOf(bytes);
      await writeFile(join(blobs, digest.slice('sha256:'.length)), bytes);
      return { mediaType, digest, size: bytes.length };
    };
    const { os, architecture } = hostPlatform();
    const layers = await Promise.all(
      tars.map((tar) => store(tar, 'application/vnd.oci.image.layer.v1.tar')),
    );
    const diffIDs = layers.map(({ digest }) => digest);
    const config = await store(
      json({ os, architecture, config: {}, rootfs: { type: 'layers', diff_ids: diffIDs } }),
      mediaTypes.ociConfig,
    );
    const manifest = await store(
      json({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers }),
      mediaTypes.ociManifest,
    );
    const name = `stack.test/image:${manifest.digest.slice(-12)}`;
    const annotations = {
      'org.opencontainers.image.ref.name': 'image',
      'io.containerd.image.name': name,
    };
    const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
    await writeFile(join(folder, 'layout', 'index.json'), json(index));
    await writeFile(join(folder, 'layout', 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
    const chain = chainIDs(diffIDs as string[] as DiffID[]);
    return await use({ folder, chainID: chain.at(-1) ?? '' });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export interface Layout {
  folder: string;
  chainID: string;
}

/**
 * What containerd makes of it: `native` applies the layers one after the other to one plain folder,
 * `overlayfs` each to a folder of its own.
 */
export async function containerdAnswer(
  containerd: TestContainerd,
  { folder, chainID }: Layout,
  snapshotter: 'native' | 'overlayfs',
): Promise<Answer> {
  const archive = join(folder, 'layout.tar');
  await run('tar', ['-cf', archive, '-C', join(folder, 'layout'), '.']);
  try {
    await containerd.ctr('images', 'import', '--snapshotter', snapshotter, archive);
  } catch (error) {
    return { refusal: messageOf(error) };
  }
  return { tree: await mountedTree(containerd, chainID, join(folder, snapshotter), snapshotter) };
}

/** What umoci makes of it, which applies the layers one after the other to one plain folder. */
export async function umociAnswer({ folder }: Layout): Promise<Answer> {
  const root = join(folder, 'umoci');
  try {
    await run('umoci', ['raw', 'unpack', '--image', `${join(folder, 'layout')}:image`, root]);
  } catch (error) {
    return { refusal: messageOf(error) };
  }
  return { tree: await describeTree(root) };
}

/** `ctr images mount` knows the default snapshotter only. */
async function mountedTree(
  { ctr }: TestContainerd,
  chainID: string,
  target: string,
  snapshotter: string,
): Promise<Tree> {
  const snapshots = (...args: string[]) => ctr('snapshots', '--snapshotter', snapshotter, ...args);
  await mkdir(target);
  // Nothing keeps the view itself, and nothing needs it: what is mounted are the image's own snapshots.
  const command = await snapshots('view', '--target', target, `tree-${randomUUID()}`, chainID);
  await run('sh', ['-c', command]);
  try {
    return await describeTree(target);
  } finally {
    await run('umount', [target]);
  }
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
