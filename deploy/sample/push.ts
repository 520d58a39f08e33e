import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { type Descriptor, mediaTypes } from '../../shared/image/descriptor.ts';
import { type Digest, digestOf } from '../../shared/image/digest.ts';
import { hostPlatform } from '../../shared/image/platform.ts';
import { type BuiltLayer, epoch } from './layer.ts';

/** Where an image goes: a registry that speaks plain http. */
export interface Target {
  /** `host:port`. */
  host: string;
  repository: string;
  tag: string;
}

/** Takes `host:port/repository:tag` apart. */
export function parseTarget(text: string): Target {
  const match = /^([^/]+:\d+)\/([a-z0-9._/-]+):([\w.-]+)$/.exec(text);
  const [, host, repository, tag] = match ?? [];
  if (host === undefined || repository === undefined || tag === undefined) {
    throw new Error(`"${text}" is not HOST:PORT/REPOSITORY:TAG`);
  }
  return { host, repository, tag };
}

/**
 * Pushes layers, a configuration and a manifest (distribution-spec, "Pushing a blob monolithically").
 * @param config the `config` of the image configuration (image-spec, config.md)
 * @returns the manifest's digest
 */
export async function pushImage(
  target: Target,
  layers: readonly BuiltLayer[],
  config: Record<string, unknown>,
  options: { signal?: AbortSignal } = {},
): Promise<Digest> {
  for (const { descriptor, file } of layers) {
    await pushBlob(
      target,
      descriptor,
      () => createReadStream(file, { highWaterMark: 1 << 20 }),
      options,
    );
  }
  const { os, architecture, variant } = hostPlatform();
  const created = new Date(epoch * 1000).toISOString();
  const document = Buffer.from(
    JSON.stringify({
      created,
      os,
      architecture,
      ...(variant === undefined ? {} : { variant }),
      config,
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffID }) => diffID) },
      history: layers.map(({ entries }) => ({ created, created_by: `${entries} entries` })),
    }),
  );
  const descriptor: Descriptor = {
    mediaType: mediaTypes.ociConfig,
    digest: digestOf(document),
    size: document.length,
  };
  await pushBlob(target, descriptor, () => Readable.from([document]), options);
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: descriptor,
      layers: layers.map((layer) => layer.descriptor),
    }),
  );
  const { host, repository, tag } = target;
  await call(`http://${host}/v2/${repository}/manifests/${tag}`, {
    method: 'PUT',
    headers: { 'content-type': mediaTypes.ociManifest },
    body: manifest,
    ...options,
  });
  return digestOf(manifest);
}

async function pushBlob(
  { host, repository }: Target,
  { digest, size }: Descriptor,
  open: () => Readable,
  options: { signal?: AbortSignal },
): Promise<void> {
  const blobs = `http://${host}/v2/${repository}/blobs`;
  const there = await fetch(`${blobs}/${digest}`, { method: 'HEAD', ...options });
  if (there.ok) return;
  const started = await call(`${blobs}/uploads/`, { method: 'POST', ...options });
  const place = new URL(started.headers.get('location') ?? '', `http://${host}`);
  place.searchParams.set('digest', digest);
  await call(place.href, {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream', 'content-length': String(size) },
    body: Readable.toWeb(open()) as ReadableStream<Uint8Array>,
    duplex: 'half',
    ...options,
  });
}

async function call(url: string, init: RequestInit): Promise<Response> {
  const { method } = init;
  const response = await fetch(url, init).catch((error: unknown) => {
    throw new Error(`${method} ${url} got no answer: ${rootMessage(error)}`, { cause: error });
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${url} was answered ${response.status}: ${text}`);
  return response;
}

/** What fetch keeps in the cause of its "fetch failed". */
function rootMessage(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  return cause instanceof Error ? cause.message : String(cause);
}
