import { type Digest, isDigest } from '../image/digest.ts';
import type { Redis } from '../queue/connection.ts';
import { keysOf } from '../queue/names.ts';

/** The manifests whose images some nodes hold, ready to run. */
export async function imagesOfNodes(
  redis: Redis,
  prefix: string,
  names: readonly string[],
): Promise<Map<string, Digest[]>> {
  const keys = keysOf(prefix);
  const held = await Promise.all(names.map((name) => redis.smembers(keys.nodeImages(name))));
  return new Map(names.map((name, i) => [name, (held[i] ?? []).filter(isDigest).toSorted()]));
}

/** Which of some nodes hold the image of a manifest, ready to run: one question, however many they are. */
export async function holdersOf(
  redis: Redis,
  prefix: string,
  manifest: Digest,
  names: readonly string[],
): Promise<Set<string>> {
  if (names.length === 0) return new Set();
  const answers = await redis.smismember(keysOf(prefix).imageNodes(manifest), ...names);
  return new Set(names.filter((_, i) => answers[i] === 1));
}
