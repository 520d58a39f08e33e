import type { Descriptor } from '../image/descriptor.ts';
import type { Pace } from '../pull/pace.ts';
import type { Priority } from '../pull/priority.ts';

/** What a tag was, once. */
export interface DesiredVersion {
  /** What the reference was resolved to. */
  target: Descriptor;
  /** The manifest for the set's platform, or the first of several, which the nodes hold. */
  manifest: Descriptor;
  /** Of several platforms those that there are, each with its manifest. */
  images?: { platform: string; manifest: Descriptor }[];
  /** When it was first resolved to that. */
  since: Date;
}

/**
 * An image that nodes shall hold from now on: also those that join later and match, and those that have lost it.
 * The record stands in the content store, beside the names of images, so that it outlives Redis.
 */
export interface DesiredSet {
  /** What people call it; see {@link parseSetName}. */
  name: string;
  /** The full reference, as `host/repository:tag`. */
  reference: string;
  /** `os/architecture[/variant]`, or several with commas between: nodes of others are no members, whatever the selector says. */
  platform: string;
  /** Which nodes, as parseSelector reads it; empty: all. */
  selector: string;
  retention: Retention;
  /** How nodes are brought to it. */
  pace: Pace;
  priority: Priority;
  /** The name of a credential of the workers. */
  credential?: string;
  /** When the tag is asked of the registry again: a duration (`6h`), or a cron expression in UTC; undefined: never. */
  schedule?: string;
  createdAt: Date;
  /** What the nodes shall hold; undefined until the reference was first resolved. */
  current?: DesiredVersion;
  /** What they were to hold before, the latest first: as many as the retention says. */
  previous: DesiredVersion[];
}

/** What of a set is not collected as garbage: its current version always, and these. */
export interface Retention {
  /** Versions before the current one that stay, in the store and on its nodes, for the way back. */
  previous: number;
  /** When the set ends by itself, and keeps nothing any more. */
  until?: Date;
}

/** The versions that nothing may collect: the content of each in the store, its snapshots on the set's nodes. */
export function retainedVersions(set: DesiredSet): DesiredVersion[] {
  const { current, previous, retention } = set;
  return [...(current === undefined ? [] : [current]), ...previous.slice(0, retention.previous)];
}

/** What nodes of a platform hold of a version; undefined where there is nothing for them. */
export function manifestFor(
  { manifest, images }: DesiredVersion,
  platform: string,
): Descriptor | undefined {
  if (images === undefined) return manifest;
  return images.find((image) => image.platform === platform)?.manifest;
}

/** What nodes hold of a version, of any platform. */
export function manifestsOf({ manifest, images }: DesiredVersion): Descriptor[] {
  return images === undefined ? [manifest] : images.map((image) => image.manifest);
}

/** Whether the set has ended by itself. */
export function hasEnded({ retention: { until } }: DesiredSet, now = new Date()): boolean {
  return until !== undefined && until <= now;
}

/** The set after its reference was resolved; the same object when nothing is new. */
export function withVersion(set: DesiredSet, version: DesiredVersion): DesiredSet {
  const { current, previous, retention } = set;
  const digests = (of: DesiredVersion) => manifestsOf(of).map(({ digest }) => digest);
  const isSame = (other: DesiredVersion) => digests(other).join() === digests(version).join();
  if (current !== undefined && isSame(current)) return set;
  const before = current === undefined ? previous : [current, ...previous];
  return {
    ...set,
    current: version,
    previous: before.filter((each) => !isSame(each)).slice(0, retention.previous),
  };
}
