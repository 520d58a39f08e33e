import { mkdtemp, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { putBytes } from '../../../../shared/content/blob.ts';
import { openFolderStore } from '../../../../shared/content/folder/store.ts';
import type { Store } from '../../../../shared/content/store.ts';
import { ContentLease } from '../../../../shared/gc/lease.ts';
import type { GcReport } from '../../../../shared/gc/report.ts';
import { type Descriptor, mediaTypes } from '../../../../shared/image/descriptor.ts';
import { type Digest, digestOf } from '../../../../shared/image/digest.ts';
import { PullRecords } from '../../../../shared/pull/records.ts';
import type { Redis } from '../../../../shared/queue/connection.ts';
import { type CollectOptions, collect } from '../../../../worker/fleet/gc/collect.ts';
import { GcRun } from '../../../../worker/fleet/gc/run.ts';
import { startRedis } from '../../../support/redis.ts';

export const prefix = '{gc}';

export interface TestImage {
  name: string;
  manifest: Descriptor;
  bytes: Buffer;
  config: Descriptor;
  layers: Descriptor[];
}

/** A store in a folder, a Redis, and what garbage collection stands on. */
export interface GcBench extends AsyncDisposable {
  store: Store;
  redis: Redis;
  url: string;
  folder: string;
  records: PullRecords;
  newLease: () => ContentLease;
  /** Puts an image's blobs, without its name. Layers are given by their content. */
  put: (name: string, layers: string[]) => Promise<TestImage>;
  /** Makes blobs older. */
  age: (digests: Digest[], ms: number) => Promise<void>;
  collect: (options?: Partial<CollectOptions> & { store?: Store }) => Promise<GcReport>;
  digests: () => Promise<Set<Digest>>;
}

export async function openGcBench(): Promise<GcBench> {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-gc-'));
  const server = await startRedis();
  const redis = server.connect();
  const store = await openFolderStore({ path: path.join(folder, 'content') });
  const records = new PullRecords(redis, prefix);
  return {
    ...{ store, redis, url: server.url, folder: path.join(folder, 'content'), records },
    newLease: () => new ContentLease(redis, prefix),
    put: async (name, contents) => {
      const image = imageOf(name, contents);
      await putImage(store, image, contents);
      return image;
    },
    age: async (digests, ms) => {
      const then = new Date(Date.now() - ms);
      for (const digest of digests) {
        await utimes(path.join(folder, 'content', 'blobs', ...digest.split(':')), then, then);
      }
    },
    collect: async ({ store: other = store, ...options } = {}) => {
      await using run = await GcRun.begin(redis, prefix);
      if (run === undefined) throw new Error('another collection goes on');
      return await collect(
        run,
        { store: other, records, log: pino({ level: 'silent' }) },
        {
          ...{ graceMs: 0, retention: [], dryRun: false, signal: AbortSignal.timeout(30_000) },
          ...options,
        },
      );
    },
    digests: async () => {
      const found = new Set<Digest>();
      for await (const { digest } of store.content.list()) found.add(digest);
      return found;
    },
    [Symbol.asyncDispose]: async () => {
      await store[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export function imageOf(name: string, contents: string[]): TestImage {
  const config = describe(mediaTypes.ociConfig, Buffer.from(JSON.stringify({ name })));
  const layers = contents.map((content) =>
    describe('application/vnd.oci.image.layer.v1.tar+gzip', Buffer.from(content)),
  );
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers }),
  );
  return { name, manifest: describe(mediaTypes.ociManifest, bytes), bytes, config, layers };
}

export async function putImage(
  store: Pick<Store, 'content'>,
  image: TestImage,
  contents: string[],
): Promise<void> {
  for (const [i, layer] of image.layers.entries()) {
    await putBytes(store.content, layer, Buffer.from(contents[i] ?? ''));
  }
  await putBytes(store.content, image.config, Buffer.from(JSON.stringify({ name: image.name })));
  await putBytes(store.content, image.manifest, image.bytes);
}

export function digestsOf({ manifest, config, layers }: TestImage): Digest[] {
  return [manifest, config, ...layers].map(({ digest }) => digest);
}

function describe(mediaType: string, bytes: Buffer): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}
