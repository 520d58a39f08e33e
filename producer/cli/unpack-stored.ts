import { findManifest, readBlob } from '../../shared/content/stored-image.ts';
import { ContentLease } from '../../shared/gc/lease.ts';
import type { Digest } from '../../shared/image/digest.ts';
import { maxManifestBytes, parseManifest } from '../../shared/image/manifest.ts';
import type { Context } from './context.ts';

/**
 * Unpacks an image of the content store on this node. None of it is collected as garbage meanwhile, though it may have no
 * name; while Redis is away nobody collects.
 * @returns the chainID; undefined for an image without layers
 * @throws NOT_FOUND, BLOB_UNKNOWN, and what the agent throws
 */
export async function unpackStored(context: Context, digest: Digest): Promise<string | undefined> {
  const agent = await context.agent();
  await using store = await context.openStore();
  const descriptor = await findManifest(store.content, digest);
  const bytes = await readBlob(store.content, descriptor, { maxBytes: maxManifestBytes });
  const { config, layers } = parseManifest(bytes, descriptor.mediaType, digest);
  await using queue = await context.openQueue();
  await using lease = new ContentLease(queue.redis, context.config.redis.prefix);
  const needed = [descriptor, config, ...layers].map((each) => each.digest);
  await lease.hold([digest, ...needed]).catch(() => {});
  return (await agent.unpack(digest)).chainID;
}
