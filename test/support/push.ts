import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';
import { type Descriptor, mediaTypes } from '../../shared/image/descriptor.ts';
import { type Digest, digestOf } from '../../shared/image/digest.ts';
import { hostPlatform, type Platform } from '../../shared/image/platform.ts';

export interface BuiltImage {
  /** `host/repository:tag`. */
  reference: string;
  digest: Digest;
  manifest: Buffer;
  config: Descriptor;
  layers: Descriptor[];
  diffIDs: Digest[];
}

export interface ImageOptions {
  compression?: 'gzip' | 'zstd' | 'none';
  /** The `config` of the image configuration (image-spec, config.md). */
  config?: Record<string, unknown>;
  /** Default: this machine's. */
  platform?: Platform;
}

export type TarEntry = Partial<Header> & { name: string } & { content?: Buffer | string };

/** A tar archive. */
export async function tarOf(entries: TarEntry[]): Promise<Buffer> {
  const archive = pack();
  for (const { content, ...header } of entries) {
    archive.entry({ mtime: new Date(1_700_000_000_000), ...header }, content ?? '');
  }
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A layer that no compression makes smaller: one file with random content. */
export async function randomLayer(bytes: number, name = 'file'): Promise<Buffer> {
  return await tarOf([{ name, content: randomBytes(bytes) }]);
}

/** Builds an OCI image of the given layer tars and pushes it by plain http. */
export async function pushImage(
  host: string,
  repository: string,
  tag: string,
  tars: Buffer[],
  options: ImageOptions = {},
): Promise<BuiltImage> {
  const { os, architecture } = options.platform ?? hostPlatform();
  const layers: Descriptor[] = [];
  for (const tar of tars) {
    const { bytes, mediaType } = compress(tar, options.compression ?? 'gzip');
    layers.push(await pushBlob(host, repository, bytes, mediaType));
  }
  const diffIDs = tars.map((tar) => digestOf(tar));
  const config = await pushBlob(
    host,
    repository,
    Buffer.from(
      JSON.stringify({
        os,
        architecture,
        config: options.config ?? {},
        rootfs: { type: 'layers', diff_ids: diffIDs },
      }),
    ),
    mediaTypes.ociConfig,
  );
  const manifest = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers }),
  );
  await pushManifest(host, repository, tag, manifest, mediaTypes.ociManifest);
  return {
    reference: `${host}/${repository}:${tag}`,
    digest: digestOf(manifest),
    manifest,
    config,
    layers,
    diffIDs,
  };
}

/** Pushes an index of images that are in the same repository. @returns its reference, and its digest */
export async function pushIndex(
  host: string,
  repository: string,
  tag: string,
  images: readonly { image: BuiltImage; platform: Platform }[],
): Promise<{ reference: string; digest: Digest }> {
  const mediaType = mediaTypes.ociIndex;
  const manifests = images.map(({ image: { manifest, digest }, platform }) => ({
    ...{ mediaType: mediaTypes.ociManifest, digest, size: manifest.length, platform },
  }));
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests }));
  await pushManifest(host, repository, tag, bytes, mediaType);
  return { reference: `${host}/${repository}:${tag}`, digest: digestOf(bytes) };
}

export async function pushManifest(
  host: string,
  repository: string,
  reference: string,
  bytes: Buffer,
  mediaType: string,
): Promise<void> {
  const response = await fetch(`http://${host}/v2/${repository}/manifests/${reference}`, {
    method: 'PUT',
    headers: { 'content-type': mediaType },
    body: bytes,
  });
  assert.equal(response.status, 201, await response.text());
}

export async function pushBlob(
  host: string,
  repository: string,
  bytes: Buffer,
  mediaType: string,
): Promise<Descriptor> {
  const digest = digestOf(bytes);
  const start = await fetch(`http://${host}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  const location = new URL(start.headers.get('location') ?? '', `http://${host}`);
  location.searchParams.set('digest', digest);
  const end = await fetch(location, {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream' },
    body: bytes,
  });
  assert.equal(end.status, 201, await end.text());
  return { mediaType, digest, size: bytes.length };
}

function compress(
  tar: Buffer,
  compression: 'gzip' | 'zstd' | 'none',
): { bytes: Buffer; mediaType: string } {
  const type = 'application/vnd.oci.image.layer.v1.tar';
  if (compression === 'none') return { bytes: tar, mediaType: type };
  if (compression === 'zstd') return { bytes: zstdCompressSync(tar), mediaType: `${type}+zstd` };
  return { bytes: gzipSync(tar, { level: 1 }), mediaType: `${type}+gzip` };
}
