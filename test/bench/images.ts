import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, opendir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { buildSample } from '../../deploy/sample/image.ts';
import {
  type BuiltLayer,
  type Compression,
  entryOf,
  type LayerEntry,
  withFolders,
  writeLayer,
} from '../../deploy/sample/layer.ts';
import { pushImage } from '../../deploy/sample/push.ts';

const run = promisify(execFile);
const checkout = path.resolve(import.meta.dirname, '../..');

export const imageNames = [
  'redis',
  'node-app',
  'node-app-zstd',
  'node-app-20l',
  'big-blob',
] as const;
export type ImageName = (typeof imageNames)[number];

/** What the table's caption says of an image. */
export interface BenchImage {
  name: ImageName;
  layers: number;
  /** Bytes of all layers as they are transferred. */
  size: number;
  /** Bytes of all layers' tars. */
  tarSize: number;
  entries: number;
}

const smallFiles = 30_000;
const bigBytes = 500e6;

/**
 * Makes the images that are not in the registry's folder yet, and pushes them.
 * @param folder the cache: what was made of these recipes before is used again
 */
export async function ensureImages(
  host: string,
  folder: string,
  names: readonly ImageName[],
  say: (line: string) => void,
): Promise<BenchImage[]> {
  const done: BenchImage[] = [];
  let base: { layers: BuiltLayer[]; config: Record<string, unknown> } | undefined;
  const scratch = path.join(folder, 'layers');
  await mkdir(scratch, { recursive: true });
  try {
    for (const name of names) {
      const record = path.join(folder, `${name}.json`);
      const known = await readFile(record, 'utf8').catch(() => undefined);
      if (known !== undefined) {
        done.push(JSON.parse(known));
        continue;
      }
      say(`making ${name}`);
      base ??= await buildSample({ folder: scratch, packages: await basePackages() });
      const layers = await layersOf(name, base.layers, scratch);
      await pushImage({ host, repository: `bench/${name}`, tag: 'latest' }, layers, base.config);
      const sum = (of: (layer: BuiltLayer) => number) => layers.reduce((n, l) => n + of(l), 0);
      const image: BenchImage = {
        name,
        layers: layers.length,
        size: sum((layer) => layer.descriptor.size),
        tarSize: sum((layer) => layer.tarSize),
        entries: sum((layer) => layer.entries),
      };
      await writeFile(record, JSON.stringify(image));
      done.push(image);
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return done;
}

/** A folder for the images of exactly these recipes. */
export async function cacheFolder(): Promise<string> {
  const digest = createHash('sha256');
  const recipes = ['image.ts', 'layer.ts', 'package-files.ts', 'push.ts'];
  for (const file of [
    import.meta.filename,
    ...recipes.map((name) => `${checkout}/deploy/sample/${name}`),
  ]) {
    digest.update(await readFile(file));
  }
  const folder = path.join(checkout, '.cache/bench', digest.digest('hex').slice(0, 12));
  await mkdir(folder, { recursive: true });
  return folder;
}

async function layersOf(
  name: ImageName,
  sample: readonly BuiltLayer[],
  folder: string,
): Promise<BuiltLayer[]> {
  if (name === 'redis') return [...sample];
  const [base] = sample;
  if (base === undefined) throw new Error('the sample has no layer');
  const write = async (entries: LayerEntry[], compression: Compression, n = 0) => {
    const level = compression === 'zstd' ? 3 : 6;
    return await writeLayer(withFolders(entries), path.join(folder, `${name}-${n}.tar`), {
      ...{ compression, level },
    });
  };
  if (name === 'big-blob') return [base, await write(await bigEntries(), 'gzip')];
  const entries = await smallEntries();
  if (name === 'node-app') return [base, await write(entries, 'gzip')];
  if (name === 'node-app-zstd') {
    const again = await buildSample({
      ...{ folder, packages: await basePackages(), compression: 'zstd' as const },
    });
    return [...again.layers.slice(0, 1), await write(entries, 'zstd')];
  }
  const layers = [base];
  const share = Math.ceil(entries.length / 19);
  for (let n = 0; n < 19; n++) {
    layers.push(await write(entries.slice(n * share, (n + 1) * share), 'gzip', n));
  }
  return layers;
}

/** What a small Debian has. */
async function basePackages(): Promise<string[]> {
  const { stdout } = await run('dpkg-query', ['-W', '-f', `\${Package} \${Priority}\n`]);
  return stdout.split('\n').flatMap((line) => {
    const [name = '', priority] = line.split(' ');
    return priority === 'required' || priority === 'important' ? [name] : [];
  });
}

/** Real small files: those of node_modules first, then the distribution's. */
async function smallEntries(): Promise<LayerEntry[]> {
  const entries: LayerEntry[] = [];
  for (const source of [
    `${checkout}/node_modules`,
    '/usr/lib/node_modules',
    '/usr/share',
    '/usr/lib',
  ]) {
    for await (const { file, size } of filesUnder(source)) {
      if (size > 256 * 1024) continue;
      entries.push(await entryOf(file, `srv/app/${file.replace(checkout, '').replace(/^\//, '')}`));
      if (entries.length === smallFiles) return entries;
    }
  }
  return entries;
}

/** The largest files of the distribution and of node_modules. */
async function bigEntries(): Promise<LayerEntry[]> {
  const files: { file: string; size: number }[] = [];
  for (const source of [`${checkout}/node_modules`, '/usr/lib', '/usr/bin']) {
    for await (const found of filesUnder(source)) if (found.size > 4e6) files.push(found);
  }
  const entries: LayerEntry[] = [];
  let bytes = 0;
  for (const { file, size } of files.sort(
    (a, b) => b.size - a.size || (a.file < b.file ? -1 : 1),
  )) {
    if (bytes + size > bigBytes * 1.1) continue;
    entries.push(await entryOf(file, `srv/big/${file.replace(checkout, '').replace(/^\//, '')}`));
    bytes += size;
    if (bytes > bigBytes) break;
  }
  return entries;
}

async function* filesUnder(folder: string): AsyncGenerator<{ file: string; size: number }> {
  const names: { name: string; isFolder: boolean }[] = [];
  const opened = await opendir(folder).catch(() => undefined);
  if (opened === undefined) return;
  for await (const entry of opened) {
    if (entry.isDirectory() || entry.isFile()) {
      names.push({ name: entry.name, isFolder: entry.isDirectory() });
    }
  }
  for (const { name, isFolder } of names.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const file = path.join(folder, name);
    if (isFolder) yield* filesUnder(file);
    else yield { file, size: (await stat(file)).size };
  }
}
