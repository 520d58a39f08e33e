import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { lstat, readFile, readlink } from 'node:fs/promises';
import path from 'node:path';
import { PassThrough, Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip, createZstdCompress, constants as zlib } from 'node:zlib';
import { type Header, type Pack, pack } from 'tar-stream';
import type { Descriptor } from '../../shared/image/descriptor.ts';
import type { DiffID, Digest } from '../../shared/image/digest.ts';

/** One thing of a layer; its content is bytes or a file of this machine. */
export interface LayerEntry {
  /** Without a leading slash. */
  name: string;
  type: 'file' | 'directory' | 'symlink';
  mode: number;
  uid?: number;
  gid?: number;
  /** Seconds. */
  mtime?: number;
  linkname?: string;
  content?: string;
  /** Where the content comes from, and how long it is. */
  source?: { file: string; size: number };
}

export type Compression = 'gzip' | 'zstd' | 'none';

/** A layer in a file, ready to be pushed. */
export interface BuiltLayer {
  file: string;
  descriptor: Descriptor;
  diffID: DiffID;
  /** Bytes of the uncompressed tar. */
  tarSize: number;
  entries: number;
}

/** The time of what has none of its own: 2024-01-01, so that the same input gives the same digest. */
export const epoch = 1_704_067_200;

const layerType = 'application/vnd.oci.image.layer.v1.tar';
const chunkSize = 1 << 20;

/** An entry for a file or symlink of this machine, owned by root as packages have it. */
export async function entryOf(source: string, name = source.slice(1)): Promise<LayerEntry> {
  const info = await lstat(source);
  const mtime = Math.floor(info.mtimeMs / 1000);
  if (info.isSymbolicLink()) {
    return { name, type: 'symlink', mode: 0o777, mtime, linkname: await readlink(source) };
  }
  const mode = info.mode & 0o7777;
  return { name, type: 'file', mode, mtime, source: { file: source, size: info.size } };
}

/**
 * The entries in the order of their names, after the folders that they are in.
 * @param folders modes and owners of folders that are not plain root 0755
 */
export function withFolders(
  entries: Iterable<LayerEntry>,
  folders: readonly LayerEntry[] = [],
): LayerEntry[] {
  const all = new Map<string, LayerEntry>();
  for (const folder of folders) all.set(folder.name, folder);
  for (const entry of [...folders, ...entries]) {
    for (let at = path.dirname(entry.name); at !== '.'; at = path.dirname(at)) {
      if (!all.has(at)) all.set(at, { name: at, type: 'directory', mode: 0o755 });
    }
    all.set(entry.name, entry);
  }
  return [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Writes a layer: tar (tar-stream), compressed, its digest and diffID taken on the way. */
export async function writeLayer(
  entries: readonly LayerEntry[],
  file: string,
  options: { compression?: Compression; level?: number; signal?: AbortSignal } = {},
): Promise<BuiltLayer> {
  const { compression = 'gzip', level = 6, signal } = options;
  const archive = pack();
  const uncompressed = meter();
  const compressed = meter();
  const writing = pipeline(
    Readable.from(archive as AsyncIterable<Buffer>, { objectMode: false }),
    uncompressed.stream,
    compressor(compression, level),
    compressed.stream,
    createWriteStream(file),
    signal === undefined ? {} : { signal },
  );
  await Promise.all([writing, addAll(archive, entries)]);
  return {
    file,
    descriptor: {
      mediaType: compression === 'none' ? layerType : `${layerType}+${compression}`,
      digest: compressed.digest() as Digest,
      size: compressed.size(),
    },
    diffID: uncompressed.digest() as DiffID,
    tarSize: uncompressed.size(),
    entries: entries.length,
  };
}

async function addAll(archive: Pack, entries: readonly LayerEntry[]): Promise<void> {
  try {
    for (const entry of entries) await add(archive, entry);
    archive.finalize();
  } catch (error) {
    archive.destroy(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
}

async function add(archive: Pack, entry: LayerEntry): Promise<void> {
  const { name, type, mode, uid = 0, gid = 0, mtime = epoch, linkname, content, source } = entry;
  const bytes = Buffer.from(content ?? '');
  const header: Partial<Header> & { name: string } = {
    name,
    type,
    mode,
    uid,
    gid,
    mtime: new Date(mtime * 1000),
  };
  if (linkname !== undefined) header.linkname = linkname;
  if (type === 'file') header.size = source?.size ?? bytes.length;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const sink = archive.entry(header, (error) => (error ? reject(error) : resolve()));
  if (type === 'file') {
    if (source === undefined) sink.end(bytes);
    else if (source.size <= chunkSize) sink.end(await readFile(source.file));
    else await pipeline(createReadStream(source.file, { highWaterMark: chunkSize }), sink);
  }
  await promise;
}

function compressor(compression: Compression, level: number): Transform {
  if (compression === 'none') return new PassThrough();
  if (compression === 'gzip') return createGzip({ level, chunkSize });
  return createZstdCompress({
    chunkSize,
    params: { [zlib.ZSTD_c_compressionLevel]: Math.min(level, 3) },
  });
}

/** Lets bytes through, and knows afterwards how many and what digest. */
function meter() {
  const digest = createHash('sha256');
  let size = 0;
  return {
    stream: new Transform({
      readableHighWaterMark: chunkSize,
      transform(chunk: Buffer, _encoding, done) {
        digest.update(chunk);
        size += chunk.length;
        done(null, chunk);
      },
    }),
    size: () => size,
    digest: () => `sha256:${digest.digest('hex')}`,
  };
}
