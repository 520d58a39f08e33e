import type { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import type { SnapshotStatus } from '../../../shared/agent/containers.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { ChainID, DiffID, Digest } from '../../../shared/image/digest.ts';
import type { ImageSource } from '../containers/image.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import type { Snapshots } from '../snapshot/snapshots.ts';
import { applyQuery, parse, prepareBody, signalOf, unpackBody } from './requests.ts';

/** What of the node's storage the API offers. */
export interface StorageServices {
  snapshots: Pick<Snapshots, 'list' | 'prepare' | 'mounts' | 'remove' | 'committed'>;
  images: ImageSource;
  /** Makes the committed snapshots of an image whose manifest and blobs are in the store. */
  unpack: (
    manifest: Digest,
    options: { signal: AbortSignal },
  ) => Promise<{ chainID: ChainID | undefined }>;
  /** Applies a layer (gzip, zstd or plain) to a folder. */
  apply: (
    layer: Readable,
    target: string,
    options: { signal: AbortSignal },
  ) => Promise<{ diffID: DiffID }>;
}

/** The routes of snapshots and layers. */
export function storageRoutes(server: FastifyInstance, services: StorageServices): void {
  const { snapshots, images } = services;

  server.get('/v1/snapshots', () => ({ snapshots: snapshots.list().map(snapshotStatus) }));

  server.post('/v1/snapshots', async (request, reply) => {
    const { key, image: name } = parse(prepareBody, request.body);
    const signal = signalOf(reply);
    const image = await images.find(name, { signal });
    if (image.chainID !== undefined && snapshots.committed(image.chainID) === undefined) {
      throw new DrayError('NOT_FOUND', `${image.name} is not unpacked on this node`, {
        hint: `Pull it to this node: dray pull ${image.name}`,
      });
    }
    await snapshots.prepare(key, image.chainID, { signal });
    return reply.code(201).send({ key, mounts: snapshots.mounts(key) });
  });

  server.delete('/v1/snapshots/:name', async (request, reply) => {
    const { name } = request.params as { name: string };
    if (!(await snapshots.remove(name, { signal: signalOf(reply) }))) {
      throw new DrayError('NOT_FOUND', `The node has no snapshot ${name.slice(0, 140)}`, {
        hint: 'dray snapshots ls shows those that there are.',
      });
    }
    return reply.code(204).send();
  });

  server.post('/v1/unpack', (request, reply) => {
    const { digest } = parse(unpackBody, request.body);
    return services.unpack(digest as Digest, { signal: signalOf(reply) });
  });

  server.post('/v1/apply', (request, reply) => {
    const { target } = parse(applyQuery, request.query);
    if (request.body === undefined) throw new DrayError('USAGE', 'The request has no layer');
    return services.apply(request.body as Readable, target, { signal: signalOf(reply) });
  });
}

function snapshotStatus(snapshot: Snapshot): SnapshotStatus {
  const { name, kind, parent, bytes, entries, createdAt } = snapshot;
  return {
    name,
    kind,
    ...(parent === undefined ? {} : { parent }),
    bytes,
    entries,
    createdAt: createdAt.toISOString(),
  };
}
