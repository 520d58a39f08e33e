import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { lstat, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { putBytes } from '../../shared/content/blob.ts';
import { openFolderStore } from '../../shared/content/folder/store.ts';
import { readJustStored } from '../../shared/content/stored.ts';
import { maxConfigBytes, parseImageConfig } from '../../shared/image/config.ts';
import { type Descriptor, mediaTypes } from '../../shared/image/descriptor.ts';
import { digestOf } from '../../shared/image/digest.ts';
import {
  parseIndexOrManifest,
  parseManifest,
  selectPlatform,
} from '../../shared/image/manifest.ts';
import { hostPlatform } from '../../shared/image/platform.ts';
import { parseReference } from '../../shared/image/reference.ts';
import { RegistryClient } from './registry/client.ts';
import { fetchBlob } from './registry/fetch.ts';

/** Milliseconds for all of it, and bytes of its layer: so many that they are digested on a thread. */
const bound = 30_000;
const prefix = 'dray-rehearsal-';
const layerBytes = 2 << 20;

/**
 * Fetches an image of its own from a registry of its own on loopback, by https and then by http, into a store of its
 * own, and forgets all three. The code of that is loaded and compiled when the first pull comes, which is some 0.1 s
 * sooner for it.
 */
export async function rehearse({ signal: stopping }: { signal: AbortSignal }): Promise<void> {
  const signal = AbortSignal.any([stopping, AbortSignal.timeout(bound)]);
  await using stack = new AsyncDisposableStack();
  await sweep();
  const folder = await mkdtemp(path.join(tmpdir(), `${prefix}${process.pid}-`));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const { content } = stack.use(await openFolderStore({ path: path.join(folder, 'content') }));
  const server = serverOf(exampleImage());
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening', { signal });
  const client = new RegistryClient({
    plainHttp: () => false,
    credentials: async () => undefined,
    limits: { tries: 1 },
    observed: false,
  });
  stack.defer(() => client.close());

  const { port } = server.address() as AddressInfo;
  const reference = parseReference(`127.0.0.1:${port}/rehearsal:latest`);
  const { descriptor, bytes } = await client.resolve(reference, { signal });
  await putBytes(content, descriptor, bytes, { signal });
  const parsed = parseIndexOrManifest(bytes, descriptor.mediaType, 'rehearsal');
  if (!('index' in parsed)) return;
  const chosen = selectPlatform(parsed.index, hostPlatform(), 'rehearsal');
  const document = await client.manifest(reference, chosen, { signal });
  await putBytes(content, chosen, document, { signal });
  const manifest = parseManifest(document, chosen.mediaType, 'rehearsal');
  for (const blob of [manifest.config, ...manifest.layers]) {
    await using ingest = await content.ingest(blob, { signal });
    await fetchBlob(client, reference, blob, ingest, { signal });
    await ingest.commit({ signal });
  }
  const limits = { maxBytes: maxConfigBytes, signal };
  const config = await readJustStored(content, manifest.config, limits);
  parseImageConfig(config, manifest, 'rehearsal');
}

/** Removes what workers of this user have left that were killed in their rehearsals. */
async function sweep(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const [, pid] = /^dray-rehearsal-(\d+)-/.exec(name) ?? [];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    const folder = path.join(tmpdir(), name);
    const { uid } = await lstat(folder).catch(() => ({ uid: undefined }));
    // Nobody else can put anything in the way there.
    if (uid === process.geteuid?.()) await rm(folder, { recursive: true, force: true });
  }
}

/** What a registry answers, by path. */
type Documents = Map<string, { mediaType: string; bytes: Buffer }>;

function exampleImage(): Documents {
  const documents: Documents = new Map();
  const add = (kind: string, mediaType: string, content: Buffer | object): Descriptor => {
    const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
    const digest = digestOf(bytes);
    documents.set(`/v2/rehearsal/${kind}/${digest}`, { mediaType, bytes });
    return { mediaType, digest, size: bytes.length };
  };
  const tar = Buffer.alloc(layerBytes);
  const layer = add('blobs', 'application/vnd.oci.image.layer.v1.tar', tar);
  const { os, architecture } = hostPlatform();
  const rootfs = { type: 'layers', diff_ids: [layer.digest] };
  const config = add('blobs', mediaTypes.ociConfig, { os, architecture, rootfs });
  const manifest = add('manifests', mediaTypes.ociManifest, {
    ...{ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer] },
  });
  const index = {
    ...{ schemaVersion: 2, mediaType: mediaTypes.ociIndex },
    manifests: [{ ...manifest, platform: { os, architecture } }],
  };
  const bytes = Buffer.from(JSON.stringify(index));
  documents.set('/v2/rehearsal/manifests/latest', { mediaType: mediaTypes.ociIndex, bytes });
  return documents;
}

function serverOf(documents: Documents): Server {
  const server = createServer(({ url = '' }, response) => {
    const found = documents.get(url);
    if (found === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'content-type': found.mediaType }).end(found.bytes);
  });
  // A handshake of TLS is no request: the client comes again without it, as to any registry on its machine.
  return server.on('clientError', (_error, socket) => socket.destroy());
}
