import { randomBytes } from 'node:crypto';
import { S3Client } from '@aws-sdk/client-s3';
import type { Digest } from '../../../shared/image/digest.ts';
import { startFleet, type TestFleet } from '../../support/fleet.ts';
import { type BuiltImage, pushImage, tarOf } from '../../support/push.ts';
import { startRadosgw, type TestRadosgw } from '../../support/radosgw.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';

/** A fleet with a real registry and a real S3, whose logs tell what happened. */
export interface BucketFleet extends AsyncDisposable {
  registry: TestRegistry;
  gateway: TestRadosgw;
  bucket: string;
  s3: S3Client;
  fleet: TestFleet;
}

/** The programs that it needs. */
export const bucketFleetTools = [
  ...['docker-registry', 'redis-server', 'ceph-mon', 'ceph-osd', 'radosgw', 'ceph'],
];

export async function startBucketFleet(
  options: {
    redisArgs?: string[];
    env?: NodeJS.ProcessEnv;
    /** Where S3 listens; default: loopback. */
    address?: string;
  } = {},
): Promise<BucketFleet> {
  await using stack = new AsyncDisposableStack();
  const gateway = stack.use(await startRadosgw(options));
  const bucket = await gateway.createBucket();
  const registry = stack.use(await startRegistry());
  const env = { ...gateway.storeEnv(bucket), ...options.env };
  const fleet = stack.use(await startFleet({ ...options, env }));
  const { accessKey: accessKeyId, secretKey: secretAccessKey } = gateway;
  const s3 = new S3Client({
    ...{ endpoint: gateway.endpoint, region: 'us-east-1', forcePathStyle: true },
    credentials: { accessKeyId, secretAccessKey },
  });
  stack.defer(() => s3.destroy());
  const all = stack.move();
  return {
    ...{ registry, gateway, bucket, s3, fleet },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** An image, and what stands in its layers: file name → content. */
export interface KnownImage extends BuiltImage {
  files: Map<string, Buffer>;
}

/** Pushes an image of one file a layer, of so many bytes of noise each. */
export async function pushKnown(
  registry: TestRegistry,
  repository: string,
  sizes: readonly number[],
): Promise<KnownImage> {
  const files = new Map(sizes.map((size, i) => [`${repository}-${i}`, randomBytes(size)]));
  const tars = await Promise.all([...files].map(([name, content]) => tarOf([{ name, content }])));
  const image = await pushImage(registry.host, repository, 'v1', tars, { compression: 'none' });
  return { ...image, files };
}

/** Bytes of a blob that the registry sent, and requests that it answered with some. */
export async function downloadsOf(
  registry: TestRegistry,
  digest: Digest,
): Promise<{ bytes: number; requests: number }> {
  const sent = (await registry.accessLog()).filter(
    ({ method, path, status }) =>
      method === 'GET' && path.includes(`/blobs/${digest}`) && (status === 200 || status === 206),
  );
  return { bytes: sent.reduce((sum, { bytes }) => sum + bytes, 0), requests: sent.length };
}

/** Bytes of a part of a blob, while it is on its way into S3. */
export const partSize = 8 << 20;

/** Where the parts of a blob begin that S3 has acknowledged, in order; each as often as it was put. */
export async function partsOf(gateway: TestRadosgw, digest: Digest): Promise<number[]> {
  const [, hex = ''] = digest.split(':');
  return (await gateway.accessLog()).flatMap(({ method, path, status }) => {
    const [key = ''] = path.split('?');
    const found = /\/ingests\/.*\/(\d+)$/.exec(key);
    if (method !== 'PUT' || status !== 200 || !key.includes(hex) || !found) return [];
    return [Number(found[1])];
  });
}

/** How often an object of that digest came to be: puts of it, and uploads in parts that were completed. */
export async function writesOf(gateway: TestRadosgw, digest: Digest): Promise<number> {
  const place = `/v1/blobs/${digest.replace(':', '/')}`;
  return (await gateway.accessLog()).filter(({ method, path, status }) => {
    const [key = '', query = ''] = path.split('?');
    if (status !== 200 || !key.endsWith(place)) return false;
    if (method === 'PUT') return !query.includes('partNumber');
    return method === 'POST' && query.includes('uploadId');
  }).length;
}
