import { statfs } from 'node:fs/promises';
import type { ImageRecord, Store } from '../../../shared/content/store.ts';
import { imagesUnder } from '../../../shared/content/stored-image.ts';
import { hasEnded, manifestsOf, retainedVersions } from '../../../shared/desired/desired-set.ts';
import { ageOf } from '../../../shared/duration.ts';
import { DrayError, messageOf } from '../../../shared/errors.ts';
import { emptyReport, type GcReport, keep } from '../../../shared/gc/report.ts';
import type { GcConfig } from '../../../shared/gc/settings.ts';
import type { Digest } from '../../../shared/image/digest.ts';
import type { Containers } from '../containers/containers.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import type { Snapshots } from '../snapshot/snapshots.ts';
import type { ImageRows, NodeImage } from './image-rows.ts';

/** Milliseconds for which an image stays that was just brought or used, however full the disk is. */
const leastAge = 120_000;

export interface NodeGcServices {
  /** The agent's root folder, whose disk counts. */
  root: string;
  images: ImageRows;
  snapshots: Pick<Snapshots, 'list' | 'remove'>;
  containers: Pick<Containers, 'list'>;
  store: Pick<Store, 'images' | 'desired' | 'content'>;
}

export interface NodeGcOptions extends Pick<GcConfig, 'graceMs'> {
  node: GcConfig['node'];
  dryRun: boolean;
  signal: AbortSignal;
}

/** Why an image goes, and when it had been used then: who uses it since, keeps it. */
type Doomed = Map<Digest, { why: string; usedAt: Date }>;

/**
 * Removes snapshots that the node does not need: of images that no name leads to any more, of those that nobody has used
 * for long, while the disk is too full of those used longest ago, and what belongs to no image. What a container stands
 * on, what is being unpacked, and what a desired set names stay. Without the store nothing goes: it says what is named.
 */
export async function collectNode(
  services: NodeGcServices,
  options: NodeGcOptions,
): Promise<GcReport> {
  const report = emptyReport();
  const { signal, graceMs, node, dryRun } = options;
  const doomed: Doomed = new Map();
  const others: NodeImage[] = [];
  try {
    const pinned = await pinnedManifests(services.store, signal);
    const running = new Set(services.containers.list().map(({ manifest }) => manifest));
    for (const image of services.images.list()) {
      const { manifest, usedAt } = image;
      if (pinned.has(manifest)) keep(report, 'images that a desired set names', 0);
      else if (running.has(manifest)) keep(report, 'images of containers', 0);
      else {
        const why = await whyOf(image, services, options);
        if (why === undefined) others.push(image);
        else doomed.set(manifest, { why, usedAt });
      }
    }
  } catch (error) {
    signal.throwIfAborted();
    report.problems.push(`the content store can't say what is named: ${messageOf(error)}`);
    return report;
  }
  await removeUnneeded(doomed, services, options, report);

  const measure = async () => {
    const { used, free } = await diskOf(services.root);
    return { used: used - (dryRun ? bytesOf(report) : 0), total: used + free };
  };
  let { used, total } = await measure();
  const goal = (total * node.lowWater) / 100;
  if (used <= (total * node.highWater) / 100) return report;
  for (const { manifest, names, usedAt } of others) {
    if (used <= goal) return report;
    if (Date.now() - usedAt.getTime() < Math.min(leastAge, graceMs)) {
      keep(report, 'images that were used just now', 0);
      continue;
    }
    const why = `the disk is ${percent(used, total)} full, and ${names[0]} was used longest ago, ${ageOf(usedAt, new Date())}`;
    doomed.set(manifest, { why, usedAt });
    await removeUnneeded(doomed, services, options, report);
    ({ used, total } = await measure());
  }
  if (used > goal) {
    report.problems.push(
      `the disk of ${services.root} is ${percent(used, total)} full, and no more images can go: containers, desired sets or other files take the room`,
    );
  }
  return report;
}

async function pinnedManifests(
  store: Pick<Store, 'desired'>,
  signal: AbortSignal,
): Promise<Set<Digest>> {
  const sets = (await store.desired.list({ signal })).filter((set) => !hasEnded(set));
  const manifests = sets.flatMap(retainedVersions).flatMap(manifestsOf);
  return new Set(manifests.map(({ digest }) => digest));
}

/** Why an image goes however much room there is. */
async function whyOf(
  { manifest, names, usedAt }: NodeImage,
  { store }: NodeGcServices,
  { graceMs, node: { unusedForMs }, signal }: NodeGcOptions,
): Promise<string | undefined> {
  const unusedMs = Date.now() - usedAt.getTime();
  const name = names[0] ?? manifest;
  const age = ageOf(usedAt, new Date());
  if (unusedForMs !== undefined && unusedMs > unusedForMs)
    return `${name} was last used ${age} ago`;
  if (unusedMs < graceMs) return undefined;
  for (const each of names) {
    const record = await store.images.get(each, { signal });
    if (record !== undefined && (await leadsTo(record, manifest, store, signal))) return undefined;
  }
  return `no name leads to it any more; it was ${name}, last used ${age} ago`;
}

/** Whether a name leads to a manifest: of its own, or of another platform that its index names. */
async function leadsTo(
  { target, manifest: own }: ImageRecord,
  manifest: Digest,
  { content }: Pick<Store, 'content'>,
  signal: AbortSignal,
): Promise<boolean> {
  if (own.digest === manifest || target.digest === manifest) return true;
  try {
    const images = await imagesUnder(content, target, { signal });
    return images.some(({ digest }) => digest === manifest);
  } catch (error) {
    if (error instanceof DrayError && error.code === 'BLOB_UNKNOWN') return true;
    throw error;
  }
}

/** Removes the snapshots that no image needs but doomed ones, those first that nothing stands on, and forgets those images. */
async function removeUnneeded(
  doomed: Doomed,
  services: NodeGcServices,
  options: NodeGcOptions,
  report: GcReport,
): Promise<void> {
  const { images, snapshots } = services;
  const { dryRun, graceMs } = options;
  const gone = new Set(dryRun ? report.items.map(({ name }) => name) : []);
  const all = new Map(
    snapshots
      .list()
      .filter(({ name }) => !gone.has(name))
      .map((snapshot) => [snapshot.name, snapshot]),
  );
  const needed = new Set<Snapshot>();
  const whys = new Map<Snapshot, string>();
  const goes: NodeImage[] = [];
  for (const image of images.list()) {
    const why = doomed.get(image.manifest);
    const isDoomed = why !== undefined && image.usedAt <= why.usedAt;
    if (isDoomed) goes.push(image);
    for (const snapshot of stackOf(image.chainID, all)) {
      if (isDoomed) whys.set(snapshot, why.why);
      else needed.add(snapshot);
    }
  }
  for (const { kind, parent } of all.values()) {
    if (kind !== 'committed') for (const below of stackOf(parent, all)) needed.add(below);
  }
  const unneeded = [...all.values()]
    .filter((snapshot) => snapshot.kind === 'committed' && !needed.has(snapshot))
    .sort((a, b) => stackOf(b.name, all).length - stackOf(a.name, all).length);
  for (const snapshot of unneeded) {
    const { createdAt, bytes } = snapshot;
    if (!whys.has(snapshot) && Date.now() - createdAt.getTime() < graceMs) {
      keep(
        report,
        'no image of this node has them, but they are younger than the grace time (--grace)',
        bytes,
      );
      continue;
    }
    const why =
      whys.get(snapshot) ??
      `no image of this node has it; made ${ageOf(createdAt, new Date())} ago`;
    await removeSnapshot(snapshot, why, services, options, report);
  }
  // What of them could not go belongs to no image from now on.
  if (!dryRun) for (const { manifest, usedAt } of goes) images.remove(manifest, usedAt);
}

async function removeSnapshot(
  { name, bytes }: Snapshot,
  why: string,
  { snapshots }: NodeGcServices,
  { dryRun, signal }: NodeGcOptions,
  report: GcReport,
): Promise<void> {
  signal.throwIfAborted();
  try {
    if (!dryRun) await snapshots.remove(name, { signal });
    report.items.push({ kind: 'snapshot', name, bytes, why });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof DrayError && error.code === 'CONFLICT') {
      keep(report, 'snapshots that something stands on, or that are being unpacked', bytes);
    } else report.problems.push(`${name}: ${messageOf(error)}`);
  }
}

/** The snapshot and those below it, nearest first, as far as they are there. */
function stackOf(name: string | undefined, all: ReadonlyMap<string, Snapshot>): Snapshot[] {
  const stack: Snapshot[] = [];
  for (let next = name; next !== undefined; next = stack.at(-1)?.parent) {
    const found = all.get(next);
    if (found === undefined) break;
    stack.push(found);
  }
  return stack;
}

function percent(part: number, whole: number): string {
  return `${Math.round((100 * part) / whole)} %`;
}

function bytesOf({ items }: GcReport): number {
  return items.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Bytes of the disk, as `df` counts them: what only root may use is neither. */
export async function diskOf(folder: string): Promise<{ used: number; free: number }> {
  const { bsize, blocks, bfree, bavail } = await statfs(folder);
  return { used: (blocks - bfree) * bsize, free: bavail * bsize };
}
